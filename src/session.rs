//! A session: the conversation with one client, in one task with one `select!`.
//!
//! The rules without I/O are in [`state`]. [`run`] applies them to the connection and the clock; the files
//! that it calls use the hub. Each field of [`Session`] names the file that changes it.

mod authenticating;
mod behind;
mod catching_up;
mod commands;
mod config;
mod connecting;
mod connection;
mod context;
mod ending;
mod ending_session;
mod following;
mod grants;
mod history;
mod in_flight;
mod joined;
mod membership;
mod parameters;
mod pattern_request;
mod patterns;
mod presence;
mod principal;
mod publishing;
mod rates;
mod repeated_subscribe;
mod replaying;
mod request;
mod request_rates;
mod rights;
mod run;
mod run_search;
mod service;
mod session_patterns;
mod signing_in;
mod state;
mod streams;
mod subscribing;
mod updates;
mod users;

use std::sync::Arc;

use self::behind::CatchingUp;
pub use self::config::Config;
pub use self::connection::{Connection, ConnectionEvent};
pub use self::context::{SessionContext, SessionState};
use self::ending_session::EndingSession;
use self::in_flight::InFlight;
pub use self::joined::JoinPosition;
use self::joined::Joined;
pub use self::parameters::SessionParameters;
pub use self::request::RequestAnswer;
pub use self::rights::TooMany;
pub use self::run_search::RunWanted;
pub use self::service::answer as answer_service;
use self::session_patterns::SessionPatterns;
use self::state::SubscriptionState;
pub use self::users::{Entered, UserRefusal, Users, disconnect};
use crate::hub::Membership;
use crate::outbound::{Outbound, Wire};
use crate::protocol::{Format, Packets, Reply, SessionControl, Speak};

/// The conversation with one client.
pub struct Session {
    context: Arc<SessionContext>,
    outbound: Arc<Outbound>,
    /// Changed by [`commands`], which passes each message to it, and by [`authenticating`].
    state: SubscriptionState,
    /// [`subscribing`] adds to it; [`commands`] and [`authenticating`] remove from it.
    subscriptions: Vec<Joined>,
    /// Filled by [`commands`], [`subscribing`] and [`authenticating`], emptied by [`run`].
    in_flight: InFlight,
    /// Set by [`ending`]. If Some, the session reads nothing more and completes the commands in flight.
    /// Boxed, because it is None for most of a session's life.
    ending: Option<Box<EndingSession>>,
    /// The subscriptions that have fallen behind. Changed by [`catching_up`].
    catching_up: CatchingUp,
    /// Its patterns. None for most sessions. Changed by [`patterns`].
    patterns: Option<Box<SessionPatterns>>,
    /// How many of its own publications the hub has delivered to it or is still to deliver. Wraps around.
    /// Changed by [`commands`].
    echoes_due: u32,
    /// Consecutive tokens that were not accepted. Changed by [`authenticating`].
    bad_tokens: u8,
    /// Bytes in the outbound queue when the timer last fired. Changed by [`run`].
    queued_bytes: usize,
    _membership: Membership,
}

impl Session {
    /// The format of its publications, also the metric label under which the session is counted.
    pub fn format(&self) -> Format {
        self.state.protocol().format()
    }

    /// What divides the client's data into messages. None: each message of the transport is one.
    pub fn packets(&self) -> Option<Box<dyn Packets>> {
        self.state.protocol().packets()
    }

    /// The outbound queue to the session's socket.
    pub fn outbound(&self) -> &Arc<Outbound> {
        &self.outbound
    }

    /// Sets the wire to which flushers write what the hub delivers, without waking this session.
    pub fn attach(&self, wire: Arc<dyn Wire>) {
        self.outbound.attach(wire);
    }

    /// The `[session]` settings.
    pub fn config(&self) -> &Arc<Config> {
        &self.context.config
    }

    /// Queues a reply, if the protocol has a message for it.
    fn reply(&self, reply: &Reply) {
        if let Some(frame) = self.state.protocol().reply(reply) {
            self.outbound.push_own_or_close(frame);
        }
        if let Some(close) = self.state.protocol().control().and_then(SessionControl::end_reason) {
            self.outbound.ask_to_end(close);
        }
    }
}
