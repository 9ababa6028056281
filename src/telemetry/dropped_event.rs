//! Which events for the backend may be dropped.

/// An event that could not be kept until it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DroppedEvent {
    /// The end of a session.
    Disconnected,
    Published,
}

impl DroppedEvent {
    pub const EACH: [Self; 2] = [Self::Disconnected, Self::Published];

    /// The value of the `type` label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Published => "published",
        }
    }
}
