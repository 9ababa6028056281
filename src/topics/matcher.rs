//! Patterns of texts as a machine of steps. All states go through the text at once, so a match takes time in proportion to
//! the text and to the steps, whatever the pattern.

/// The most steps of a pattern.
pub const STEPS_MAX: usize = 1024;

/// The pattern has more than [`STEPS_MAX`] steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManySteps;

/// A pattern of whole texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher(Box<[MatcherStep]>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MatcherStep {
    /// One byte of the class.
    One(Class),
    /// Continues here and also at another step.
    Fork(usize),
    Jump(usize),
}

/// A set of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Byte(u8),
    Any,
    /// What the expansion of a URI template's variable contains: unreserved characters, percent-encoded ones, those
    /// beyond ASCII, which IRIs have, and the comma of lists.
    Value,
    /// The same, equals signs, and this separator: of a list or of an associative array that is exploded.
    Exploded(u8),
    /// All but what ends a segment of a path.
    Segment,
}

impl Class {
    fn has(self, byte: u8) -> bool {
        let is_value = |byte: u8| {
            byte.is_ascii_alphanumeric()
                || byte >= 0x80
                || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%' | b',')
        };
        match self {
            Self::Byte(it) => it == byte,
            Self::Any => true,
            Self::Value => is_value(byte),
            Self::Exploded(separator) => is_value(byte) || byte == b'=' || byte == separator,
            Self::Segment => !matches!(byte, b'/' | b'?' | b'#'),
        }
    }
}

impl Matcher {
    pub fn matches(&self, text: &str) -> bool {
        let mut states = States::new(self.0.len());
        states.add(&self.0, 0);
        let mut next = States::new(self.0.len());
        for byte in text.bytes() {
            if states.list.is_empty() {
                return false;
            }
            for at in states.list.drain(..) {
                states.known[at] = false;
                if let Some(MatcherStep::One(class)) = self.0.get(at)
                    && class.has(byte)
                {
                    next.add(&self.0, at + 1);
                }
            }
            std::mem::swap(&mut states, &mut next);
        }
        states.known[self.0.len()]
    }
}

/// The steps at which the machine is.
struct States {
    list: Vec<usize>,
    known: Vec<bool>,
}

impl States {
    fn new(steps: usize) -> Self {
        Self { list: Vec::new(), known: vec![false; steps + 1] }
    }

    /// Adds a step, and those to which it leads without a byte.
    fn add(&mut self, steps: &[MatcherStep], at: usize) {
        let mut open = vec![at];
        while let Some(at) = open.pop() {
            if std::mem::replace(&mut self.known[at], true) {
                continue;
            }
            self.list.push(at);
            match steps.get(at) {
                Some(MatcherStep::Fork(other)) => open.extend([at + 1, *other]),
                Some(MatcherStep::Jump(other)) => open.push(*other),
                Some(MatcherStep::One(_)) | None => {}
            }
        }
    }
}

/// A pattern under construction.
#[derive(Default)]
pub struct MatcherSteps(Vec<MatcherStep>);

/// A step whose target is not yet known.
#[must_use]
pub struct Open(usize);

impl MatcherSteps {
    pub fn literal(&mut self, text: &str) {
        text.bytes().for_each(|byte| self.one(Class::Byte(byte)));
    }

    pub fn one(&mut self, class: Class) {
        self.0.push(MatcherStep::One(class));
    }

    /// Any number of bytes of the class, none included.
    pub fn any(&mut self, class: Class) {
        let begin = self.here();
        let end = self.fork();
        self.one(class);
        self.repeat(begin);
        self.close(end);
    }

    /// Where the next step will be.
    pub fn here(&self) -> usize {
        self.0.len()
    }

    /// What follows may be left out up to where this is closed.
    pub fn fork(&mut self) -> Open {
        self.0.push(MatcherStep::Fork(0));
        Open(self.0.len() - 1)
    }

    /// Continues where this is closed.
    pub fn jump(&mut self) -> Open {
        self.0.push(MatcherStep::Jump(0));
        Open(self.0.len() - 1)
    }

    /// Continues at an earlier step.
    pub fn repeat(&mut self, at: usize) {
        self.0.push(MatcherStep::Jump(at));
    }

    pub fn close(&mut self, Open(at): Open) {
        let here = self.here();
        match &mut self.0[at] {
            MatcherStep::Fork(other) | MatcherStep::Jump(other) => *other = here,
            MatcherStep::One(_) => {}
        }
    }

    /// What follows the step may not be left out.
    pub fn make_plain(&mut self, Open(at): Open) {
        self.0[at] = MatcherStep::Jump(at + 1);
    }

    /// Whether there are more steps than a pattern may have.
    pub fn is_too_long(&self) -> bool {
        self.0.len() > STEPS_MAX
    }

    pub fn finish(self) -> Result<Matcher, TooManySteps> {
        match self.is_too_long() {
            true => Err(TooManySteps),
            false => Ok(Matcher(self.0.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_of_many_loops_matches_in_linear_time() {
        let mut steps = MatcherSteps::default();
        (0..200).for_each(|_| steps.any(Class::Byte(b'a')));
        steps.literal("b");
        let matcher = steps.finish().unwrap();
        assert!(matcher.matches(&("a".repeat(200) + "b")));
        assert!(!matcher.matches(&"a".repeat(255)));
        assert!(!matcher.matches(""));
    }
}
