//! What all sessions of a node share.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Config, Users};
use crate::auth::{Auth, Identity, TokenRefused};
use crate::hub::Hub;
use crate::limits::Limits;
use crate::presence::Presence;
use crate::publication::{NodeId, SessionId};

/// What all sessions of a node share.
pub struct SessionContext {
    parts: SessionState,
    /// The number of the next one.
    sessions: AtomicU64,
}

/// What a session talks to, and what it is told to keep to.
pub struct SessionState {
    pub hub: Hub,
    pub presence: Presence,
    pub auth: Auth,
    pub users: Users,
    pub limits: Limits,
    pub config: Arc<Config>,
    /// How long a session that leaves waits for the broker's answers to what its client asked for; one that is
    /// told to reconnect no longer than [`LEAVE_MAX`](crate::drain::LEAVE_MAX).
    pub leave_timeout: Duration,
    pub node: NodeId,
}

impl Deref for SessionContext {
    type Target = SessionState;

    fn deref(&self) -> &SessionState {
        &self.parts
    }
}

impl SessionContext {
    pub fn new(parts: SessionState) -> Self {
        Self { parts, sessions: AtomicU64::new(1) }
    }

    /// The name of one more session.
    pub(super) fn next(&self) -> SessionId {
        SessionId { node: self.node, number: self.sessions.fetch_add(1, Ordering::Relaxed) }
    }

    /// Do clients prove who they are?
    pub fn takes_tokens(&self) -> bool {
        self.auth.is_on()
    }

    /// Whose token it is.
    pub async fn identify(&self, token: &str) -> Result<Identity, TokenRefused> {
        self.auth.identify(token).await
    }

    /// How long a stranger has to show a token. None: for ever, as there is something that anyone
    /// may do, or nobody has tokens.
    pub(super) fn patience(&self) -> Option<Duration> {
        let needed = self.auth.is_on() && !self.hub.rules().get().lets_anyone();
        needed.then(|| self.auth.timeout())
    }
}
