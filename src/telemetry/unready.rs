//! The reasons why a node is not ready, and their labels.

/// Values of the `reason` label of `tidegate_unready`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unready {
    Drain,
    Broker,
    Memory,
    Lag,
}

impl Unready {
    pub(super) const COUNT: usize = 4;
    pub(super) const EACH: [Self; Self::COUNT] =
        [Self::Drain, Self::Broker, Self::Memory, Self::Lag];

    pub fn label(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Broker => "broker",
            Self::Memory => "memory",
            Self::Lag => "lag",
        }
    }
}
