//! The steps that match names, byte by byte, following all ways to match at once.

/// One step of matching.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchStep {
    Byte(u8),
    /// One byte of the class.
    One(ByteClass),
    /// Any number of bytes of the class, also none.
    Run(ByteClass),
}

/// The bytes that a wildcard matches. No class has the space, because channels with one are the nodes' own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteClass {
    /// All but `:` and `/`: one segment of a name.
    Segment,
    /// All but `/`.
    Level,
    /// All but `/` and `$`.
    LevelWithoutDollar,
    Any,
    /// All but `$`.
    AnyWithoutDollar,
    /// What a variable of a URI template expands to: unreserved characters of RFC 3986, `%` and `,`.
    Unreserved,
}

impl ByteClass {
    pub fn takes(self, byte: u8) -> bool {
        match self {
            _ if byte == b' ' => false,
            Self::Segment => !matches!(byte, b':' | b'/'),
            Self::Level => byte != b'/',
            Self::LevelWithoutDollar => !matches!(byte, b'/' | b'$'),
            Self::Any => true,
            Self::AnyWithoutDollar => byte != b'$',
            Self::Unreserved => {
                byte.is_ascii_alphanumeric()
                    || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%' | b',')
            }
        }
    }
}

impl MatchStep {
    /// Any bytes within a segment.
    pub const WITHIN: Self = Self::Run(ByteClass::Segment);
    /// Any bytes.
    pub const ACROSS: Self = Self::Run(ByteClass::Any);

    pub fn is_run(self) -> bool {
        matches!(self, Self::Run(_))
    }

    pub fn takes(self, byte: u8) -> bool {
        match self {
            Self::Byte(expected) => byte == expected,
            Self::One(class) | Self::Run(class) => class.takes(byte),
        }
    }
}

/// How many runs must be tried against each other. A run before a byte that it does not take has only one way to
/// match: it multiplies the time of those before it, but not of those after it.
pub fn depth(steps: &[MatchStep]) -> u32 {
    let (mut open, mut depth) = (0, 0);
    for (i, step) in steps.iter().enumerate() {
        match (step, steps.get(i + 1)) {
            (MatchStep::Byte(_) | MatchStep::One(_), _) | (&MatchStep::ACROSS, None) => {}
            (MatchStep::Run(_), None) => depth = depth.max(open + 1),
            (MatchStep::Run(class), Some(MatchStep::Byte(byte))) if !class.takes(*byte) => {
                depth = depth.max(open + 1);
            }
            (MatchStep::Run(_), Some(_)) => open += 1,
        }
    }
    depth.max(open)
}

/// Whether the steps match the whole text. `reached`: one element more than there are steps, all false.
pub fn can_match(steps: &[MatchStep], reached: &mut [bool], text: &[u8]) -> bool {
    reach_first(steps, reached);
    text.iter().all(|byte| advance(steps, reached, *byte)) && reached[steps.len()]
}

/// What the steps reach without any text: `reached[i]` says whether the first `i` steps can match it.
pub fn begin(steps: &[MatchStep]) -> Vec<bool> {
    let mut reached = vec![false; steps.len() + 1];
    reach_first(steps, &mut reached);
    reached
}

fn reach_first(steps: &[MatchStep], reached: &mut [bool]) {
    reached[0] = true;
    for (i, step) in steps.iter().enumerate() {
        reached[i + 1] = reached[i] && step.is_run();
    }
}

/// Takes the next byte. Returns false if no text that goes on like this can match.
pub fn advance(steps: &[MatchStep], reached: &mut [bool], byte: u8) -> bool {
    let mut before = std::mem::take(&mut reached[0]);
    let mut is_alive = false;
    for (i, step) in steps.iter().enumerate() {
        let here = reached[i + 1];
        reached[i + 1] = match step.is_run() {
            true => (here && step.takes(byte)) || reached[i],
            false => before && step.takes(byte),
        };
        before = here;
        is_alive |= reached[i + 1];
    }
    is_alive
}
