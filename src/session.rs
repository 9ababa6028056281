//! One client's conversation, first message to last: one task, one `select!`.
//!
//! The rules without I/O are in [`state`]; in [`run`] they meet the connection and the clock, and in the files that it
//! calls the hub. Each field of [`Session`] says which file changes it.

mod authenticating;
mod commands;
mod config;
mod connection;
mod context;
mod ending;
mod ending_session;
mod history;
mod in_flight;
mod joined;
mod parameters;
mod presence;
mod principal;
mod rates;
mod repeated_subscribe;
mod rights;
mod run;
mod state;
mod subscribing;
mod users;

use std::sync::Arc;

pub use self::config::Config;
pub use self::connection::{Connection, ConnectionEvent};
pub use self::context::{SessionContext, SessionState};
use self::ending_session::EndingSession;
use self::in_flight::InFlight;
pub use self::joined::JoinPosition;
use self::joined::Joined;
pub use self::parameters::SessionParameters;
pub use self::rights::TooMany;
use self::state::SubscriptionState;
pub use self::users::{Entered, UserRefusal, Users};
use crate::hub::Membership;
use crate::outbound::{Outbound, Wire};
use crate::protocol::{Format, Reply, Speak};

/// One client's conversation.
pub struct Session {
    context: Arc<SessionContext>,
    outbound: Arc<Outbound>,
    /// Changed by [`commands`], which asks it what a message means, and by [`authenticating`].
    state: SubscriptionState,
    /// Grows by [`subscribing`]; [`commands`] and [`authenticating`] end some.
    subscriptions: Vec<Joined>,
    /// Filled by [`commands`], [`subscribing`] and [`authenticating`], emptied by [`run`].
    in_flight: InFlight,
    /// Of [`ending`]. Some: nothing more is read; what the client asked for before is still seen through. In a
    /// box, as most sessions stay.
    leaving: Option<Box<EndingSession>>,
    /// How many of its own publications are to come back to it, or have. Wraps around. Of [`commands`].
    echoes_due: u32,
    /// Tokens in a row that were not accepted. Of [`authenticating`].
    bad_tokens: u8,
    /// Bytes that were queued for it when its timer last fired. Of [`run`].
    owed: usize,
    _membership: Membership,
}

impl Session {
    /// How its publications are written, and the label under which it is counted.
    pub fn format(&self) -> Format {
        self.state.protocol().format()
    }

    /// The queue to its socket.
    pub fn outbound(&self) -> &Arc<Outbound> {
        &self.outbound
    }

    /// Lets what the hub delivers be written without waking this session.
    pub fn attach(&self, wire: Arc<dyn Wire>) {
        self.outbound.attach(wire);
    }

    /// What operators have set of sessions.
    pub fn config(&self) -> &Arc<Config> {
        &self.context.config
    }

    /// Queues a reply, where the protocol has words for it.
    fn reply(&self, reply: &Reply) {
        if let Some(frame) = self.state.protocol().reply(reply) {
            self.outbound.say(frame);
        }
    }
}
