//! What is to be done at which measure. Plain numbers, no I/O.

/// Percent of the ceiling from which nobody new comes in.
const SHORT_PERCENT: usize = 85;

/// Percent of the ceiling below which they come in again.
const RECOVERED_PERCENT: usize = 80;

/// Percent of the ceiling from which connections are closed.
const SHED_PERCENT: usize = 92;

/// Percent of the ceiling that shedding aims at, so that the node takes clients again after it.
const AIM_PERCENT: usize = 75;

/// How often what is asked for is made four times as much, at most.
const STEPS_MAX: u32 = 15;

/// Looks, five seconds of them, until what was shed is missed. The allocator keeps what is freed for a
/// second and more before it gives it back.
const PATIENCE_LOOKS: u32 = 500;

/// Percent of the ceiling from which there is no patience with more and more in use.
const URGENT_PERCENT: usize = 96;

/// Percent of the ceiling by which it must be more, to be waited for no longer.
const GROWTH_PERCENT: usize = 2;

/// How near the ceiling the process is, and for how long it has shed.
#[derive(Debug, Default)]
pub struct Pressure {
    is_short: bool,
    /// How often it has shed since it was short.
    sheds: u32,
    /// Looks since it last did.
    looks: u32,
    /// What was in use then.
    used_then: usize,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PressureStep {
    Nothing,
    /// Connections that owe so many bytes together are to go.
    Shed(usize),
}

impl Pressure {
    /// `used` of `max` bytes are in use.
    pub fn step(&mut self, used: usize, max: usize) -> PressureStep {
        let percent = |percent: usize| max / 100 * percent;
        self.is_short = match self.is_short {
            false => used >= percent(SHORT_PERCENT),
            true => used >= percent(RECOVERED_PERCENT),
        };
        // Once begun, it goes on until somebody may come in: pieces of what was freed lie between
        // others in use, and come back only with them.
        let begins = self.sheds == 0 && used >= percent(SHED_PERCENT);
        if !self.is_short || (self.sheds == 0 && !begins) {
            self.sheds = 0;
            return PressureStep::Nothing;
        }
        self.looks += 1;
        let grows = used > self.used_then.saturating_add(percent(GROWTH_PERCENT));
        let is_urgent = grows && used >= percent(URGENT_PERCENT);
        if !begins && !is_urgent && self.looks < PATIENCE_LOOKS {
            return PressureStep::Nothing;
        }
        (self.looks, self.used_then) = (0, used);
        // Subscribers of one channel owe the same bytes: memory comes back with the last of them. So
        // more go each time that it did not help.
        let bytes = (used - percent(AIM_PERCENT)).saturating_mul(1 << (2 * self.sheds));
        self.sheds = (self.sheds + 1).min(STEPS_MAX);
        PressureStep::Shed(bytes)
    }

    /// May nobody new come in?
    pub fn is_short(&self) -> bool {
        self.is_short
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_short_from_one_line_and_recovers_at_another() {
        let mut pressure = Pressure::default();
        for (used, is_short) in [(849, false), (850, true), (849, true), (800, true), (799, false)]
        {
            assert_eq!(pressure.step(used, 1000), PressureStep::Nothing);
            assert_eq!(pressure.is_short(), is_short, "at {used}");
        }
    }

    #[test]
    fn it_sheds_more_as_long_as_it_does_not_help() {
        let mut pressure = Pressure::default();
        let mut looks = |used, times| -> Vec<_> {
            let steps = (0..times).map(|_| pressure.step(used, 1000));
            steps.filter(|step| *step != PressureStep::Nothing).collect()
        };
        assert_eq!(looks(930, 1), [PressureStep::Shed(180)]);
        assert_eq!(looks(959, PATIENCE_LOOKS - 1), [], "what was shed may yet come back");
        assert_eq!(looks(930, 1), [PressureStep::Shed(720)]);
        assert_eq!(looks(960, 1), [PressureStep::Shed(3360)], "it grows");
        assert_eq!(looks(979, 1), [], "a little more");
        assert_eq!(looks(850, PATIENCE_LOOKS - 2), []);
        assert_eq!(
            looks(850, 1),
            [PressureStep::Shed(6400)],
            "it takes nobody in, for those that are left"
        );
        assert_eq!(looks(799, PATIENCE_LOOKS), []);
        assert_eq!(looks(919, PATIENCE_LOOKS), [], "it has not begun");
        assert_eq!(looks(950, 1), [PressureStep::Shed(200)]);
        assert!(looks(usize::MAX, 10 * PATIENCE_LOOKS).len() >= 10);
    }
}
