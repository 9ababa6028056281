//! What a protocol decides that has heartbeats of its own, or whose sessions end with a refused command.

use bytes::Bytes;
use tokio::time::Instant;

use crate::close::Close;

/// What few protocols decide about their sessions, besides [`Speak`](super::Speak).
pub trait SessionControl {
    /// When to call [`SessionControl::check_beat`] next. None: not before the next message.
    fn next_beat(&self) -> Option<Instant>;

    /// What is due of the heartbeats. `is_excused`: that the client has sent nothing does not prove that it is dead.
    fn check_beat(&self, now: Instant, is_excused: bool) -> SessionBeat;

    /// Why the session ends, behind the replies to all commands in flight, after the reply that was just encoded. None: it
    /// goes on.
    fn end_reason(&self) -> Option<Close>;
}

/// What is due of a protocol's heartbeats.
#[derive(Debug, PartialEq, Eq)]
pub enum SessionBeat {
    Nothing,
    /// Unless something else is queued, which is a sign of life too.
    Send(Bytes),
    Dead(Close),
}
