//! A session that a request has started.

use std::time::Duration;

use crate::session::{JoinPosition, Session};

/// A session that a request has started, and what the response needs of it.
pub struct StartedSession {
    pub session: Box<Session>,
    pub join_position: JoinPosition,
    /// How long a poll waits.
    pub wait: Duration,
}
