//! Decides what to do at which memory use. Plain numbers, no I/O.

/// Percent of the limit from which new connections are refused.
const SHORT_PERCENT: usize = 85;

/// Percent of the limit below which they are accepted again.
const RECOVERED_PERCENT: usize = 80;

/// Percent of the limit from which connections are closed.
const SHED_PERCENT: usize = 92;

/// Percent of the limit that shedding aims at, so that the node accepts clients again afterwards.
const AIM_PERCENT: usize = 75;

/// How often the amount to shed is multiplied by four, at most.
const STEPS_MAX: u32 = 15;

/// How many measurements, five seconds of them, to wait for shed memory to be freed. The allocator keeps freed memory
/// for a second or more before it returns it.
const WAIT_LOOKS: u32 = 500;

/// Percent of the limit from which growing use is not waited for.
const URGENT_PERCENT: usize = 96;

/// Percent of the limit by which use must have grown for that.
const GROWTH_PERCENT: usize = 2;

/// How near the limit the process is, and how often it has shed.
#[derive(Debug, Default)]
pub struct Pressure {
    is_short: bool,
    /// How often it has shed since memory became short.
    sheds: u32,
    /// Measurements since it last shed.
    looks: u32,
    /// The bytes used then.
    used_then: usize,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PressureStep {
    Nothing,
    /// Close connections that have this many queued bytes together.
    Shed(usize),
}

impl Pressure {
    /// Adds a measurement: `used` of `max` bytes are in use.
    pub fn step(&mut self, used: usize, max: usize) -> PressureStep {
        let percent = |percent: usize| max / 100 * percent;
        self.is_short = match self.is_short {
            false => used >= percent(SHORT_PERCENT),
            true => used >= percent(RECOVERED_PERCENT),
        };
        // Once started, shedding continues until connections are accepted again, because freed memory is fragmented, and
        // returns to the system only with its neighbours.
        let begins = self.sheds == 0 && used >= percent(SHED_PERCENT);
        if !self.is_short || (self.sheds == 0 && !begins) {
            self.sheds = 0;
            return PressureStep::Nothing;
        }
        self.looks += 1;
        let grows = used > self.used_then.saturating_add(percent(GROWTH_PERCENT));
        let is_urgent = grows && used >= percent(URGENT_PERCENT);
        if !begins && !is_urgent && self.looks < WAIT_LOOKS {
            return PressureStep::Nothing;
        }
        (self.looks, self.used_then) = (0, used);
        // Subscribers of one channel share the same bytes, which are freed only with the last of them. So each step that
        // did not help is followed by a larger one.
        let bytes = (used - percent(AIM_PERCENT)).saturating_mul(1 << (2 * self.sheds));
        self.sheds = (self.sheds + 1).min(STEPS_MAX);
        PressureStep::Shed(bytes)
    }

    /// Whether new connections are refused.
    pub fn is_short(&self) -> bool {
        self.is_short
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_short_from_85_percent_and_recovers_below_80() {
        let mut pressure = Pressure::default();
        for (used, is_short) in [(849, false), (850, true), (849, true), (800, true), (799, false)]
        {
            assert_eq!(pressure.step(used, 1000), PressureStep::Nothing);
            assert_eq!(pressure.is_short(), is_short, "at {used}");
        }
    }

    #[test]
    fn each_shedding_step_that_does_not_help_is_followed_by_a_larger_one() {
        let mut pressure = Pressure::default();
        let mut looks = |used, times| -> Vec<_> {
            let steps = (0..times).map(|_| pressure.step(used, 1000));
            steps.filter(|step| *step != PressureStep::Nothing).collect()
        };
        assert_eq!(looks(930, 1), [PressureStep::Shed(180)]);
        assert_eq!(looks(959, WAIT_LOOKS - 1), [], "what was shed may yet come back");
        assert_eq!(looks(930, 1), [PressureStep::Shed(720)]);
        assert_eq!(looks(960, 1), [PressureStep::Shed(3360)], "it grows");
        assert_eq!(looks(979, 1), [], "a little more");
        assert_eq!(looks(850, WAIT_LOOKS - 2), []);
        assert_eq!(
            looks(850, 1),
            [PressureStep::Shed(6400)],
            "it takes nobody in, for those that are left"
        );
        assert_eq!(looks(799, WAIT_LOOKS), []);
        assert_eq!(looks(919, WAIT_LOOKS), [], "it has not begun");
        assert_eq!(looks(950, 1), [PressureStep::Shed(200)]);
        assert!(looks(usize::MAX, 10 * WAIT_LOOKS).len() >= 10);
    }
}
