//! What is to be done at which measure. Plain numbers, no I/O.

/// Percent of the ceiling from which nobody new comes in.
const SHORT_PERCENT: usize = 85;

/// Percent of the ceiling below which they come in again.
const RECOVERED_PERCENT: usize = 80;

/// Percent of the ceiling from which connections are closed.
const SHED_PERCENT: usize = 92;

/// How often what is asked for doubles, at most.
const DOUBLINGS_MAX: u32 = 30;

/// How near the ceiling the process is, and for how long it has shed.
#[derive(Debug, Default)]
pub struct Pressure {
    is_short: bool,
    /// Looks in a row at which it had to shed.
    sheds: u32,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Nothing,
    /// Connections that owe so many bytes together are to go.
    Shed(usize),
}

impl Pressure {
    /// `used` of `max` bytes are in use.
    pub fn step(&mut self, used: usize, max: usize) -> Step {
        let percent = |percent: usize| max / 100 * percent;
        self.is_short = match self.is_short {
            false => used >= percent(SHORT_PERCENT),
            true => used >= percent(RECOVERED_PERCENT),
        };
        if used < percent(SHED_PERCENT) {
            self.sheds = 0;
            return Step::Nothing;
        }
        // Subscribers of one channel owe the same bytes: memory comes back with the last of them. So
        // more go at each look that finds no less in use.
        let bytes = (used - percent(SHORT_PERCENT)).saturating_mul(1 << self.sheds);
        self.sheds = (self.sheds + 1).min(DOUBLINGS_MAX);
        Step::Shed(bytes)
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
            assert_eq!(pressure.step(used, 1000), Step::Nothing);
            assert_eq!(pressure.is_short(), is_short, "at {used}");
        }
    }

    #[test]
    fn it_sheds_more_as_long_as_it_does_not_help() {
        let mut pressure = Pressure::default();
        let steps: Vec<_> = (0..3).map(|_| pressure.step(950, 1000)).collect();
        assert_eq!(steps, [Step::Shed(100), Step::Shed(200), Step::Shed(400)]);
        assert_eq!(pressure.step(919, 1000), Step::Nothing);
        assert_eq!(pressure.step(950, 1000), Step::Shed(100));
        for _ in 0..100 {
            pressure.step(usize::MAX, 1000);
        }
    }
}
