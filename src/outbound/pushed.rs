//! The results of a push.

/// The queue has no room for the frame, which was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueFull;

/// What the caller must do after a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "without a flush the frame stays queued until the next one"]
pub enum Pushed {
    /// Nothing: a writer will write it.
    Covered,
    /// Pass the outbound to the [`Flushers`](super::Flushers).
    Flush,
    /// Nothing: the subscription has ended and the frame was dropped.
    Ended,
}

/// The result of a push to a `latest` channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "without a flush the frame stays queued until the next one; a skipped frame must be counted"]
pub struct Latest {
    pub pushed: Pushed,
    /// It replaced an older frame, which is never sent.
    pub skipped: bool,
}
