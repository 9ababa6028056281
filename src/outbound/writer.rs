//! Which task writes the queued frames. Each transition is a method here.
//!
//! | from | when | to |
//! | --- | --- | --- |
//! | `Idle` | a delivery queues a frame, and flushers have a wire | `Flusher` |
//! | `Idle` | a delivery queues a frame, and they have none | `Connection` |
//! | `Idle` | the session queues a frame itself | `Connection` |
//! | `Flusher` | the socket takes less than it was given | `Blocked` |
//! | `Connection` | the socket takes less than it was given | `Blocked` |
//! | `Blocked` | the connection has written some of what it took | `Connection` |
//! | any | everything is written | `Idle` |

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueWriter {
    /// No task: nothing is queued, and nothing is being written.
    #[default]
    Idle,
    /// A flusher, which is writing the queue or is about to.
    Flusher,
    /// The connection's own task.
    Connection,
    /// The connection's own task, under back-pressure: the socket took less than it was given, and the
    /// connection has not yet written the rest.
    Blocked,
}

impl QueueWriter {
    pub fn is_connection(self) -> bool {
        matches!(self, Self::Connection | Self::Blocked)
    }

    /// A frame was queued. Returns the writer if it changes, which must be woken unless it queued the frame
    /// itself.
    ///
    /// `has_wire`: whether flushers can and should write to the socket.
    pub fn queued(&mut self, has_wire: impl FnOnce() -> bool) -> Option<Self> {
        if *self != Self::Idle {
            return None;
        }
        *self = if has_wire() { Self::Flusher } else { Self::Connection };
        Some(*self)
    }

    /// The socket took less than it was given: the connection waits until it has room.
    pub fn blocked(&mut self) {
        *self = Self::Blocked;
    }

    /// The connection has written some of what it took.
    pub fn advanced(&mut self) {
        if *self == Self::Blocked {
            *self = Self::Connection;
        }
    }

    /// Everything is written.
    pub fn finish(&mut self) {
        *self = Self::Idle;
    }
}
