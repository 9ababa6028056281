//! What comes of a push.

/// The queue has no room for the frame; it was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueFull;

/// What is to follow a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "unflushed, the frame waits for the next one"]
pub enum Pushed {
    /// A writer is about to write it.
    Covered,
    /// The outbound must be given to the [`Flushers`](super::Flushers).
    Flush,
    /// The subscription has ended: the frame was dropped.
    Ended,
}

/// What came of a push to a `latest` channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "unflushed, the frame waits for the next one; a skipped one is to be counted"]
pub struct Latest {
    pub pushed: Pushed,
    /// It took the place of an older one, which is never sent.
    pub skipped: bool,
}
