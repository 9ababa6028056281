//! What all sessions of a node share.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::request_rates::RequestRates;
use super::{Config, Users};
use crate::auth::{Auth, Identity, TokenRefused};
use crate::events::Events;
use crate::hub::Hub;
use crate::limits::Limits;
use crate::presence::Presence;
use crate::publication::{NodeId, SessionId};

/// What all sessions of a node share.
pub struct SessionContext {
    state: SessionState,
    /// The number of the next session.
    sessions: AtomicU64,
    pub(super) request_rates: RequestRates,
}

/// The node's services and settings that a session uses.
pub struct SessionState {
    pub hub: Hub,
    pub presence: Presence,
    pub events: Events,
    pub auth: Auth,
    pub users: Users,
    pub limits: Limits,
    pub config: Arc<Config>,
    /// How long an ending session waits for the broker's answers to its commands in flight; at most
    /// [`LEAVE_MAX`](crate::drain::LEAVE_MAX) if its client is to reconnect.
    pub ending_timeout: Duration,
    pub node: NodeId,
}

impl Deref for SessionContext {
    type Target = SessionState;

    fn deref(&self) -> &SessionState {
        &self.state
    }
}

impl SessionContext {
    pub fn new(state: SessionState) -> Self {
        Self { state, sessions: AtomicU64::new(1), request_rates: RequestRates::default() }
    }

    /// Creates the id of the next session.
    pub(super) fn next_id(&self) -> SessionId {
        SessionId { node: self.node, number: self.sessions.fetch_add(1, Ordering::Relaxed) }
    }

    /// Whether the node accepts tokens.
    pub fn accepts_tokens(&self) -> bool {
        self.auth.is_on()
    }

    /// Verifies a token.
    pub async fn identify(&self, token: &str) -> Result<Identity, TokenRefused> {
        self.auth.identify(token).await
    }

    /// How long an anonymous session may stay without a token. None: without limit, because the rules allow
    /// `anyone` something, or because the node or the session's protocol takes no tokens.
    pub(super) fn anonymous_timeout(&self, takes_tokens: bool) -> Option<Duration> {
        let takes_tokens = takes_tokens && self.auth.is_on();
        let needed = takes_tokens && !self.hub.rules().get().allows_anonymous();
        needed.then(|| self.auth.timeout())
    }
}
