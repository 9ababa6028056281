//! What all lanes of the broker share.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::redis::RedisConnectionInfo;
use tokio::sync::{Notify, RwLock};

use crate::broker::queue::Intake;
use crate::broker::redis::functions::library::Library;
use crate::broker::redis::lanes::map::Map;
use crate::broker::redis::presence::calls::Calls;
use crate::broker::redis::revocation::Desk;
use crate::broker::redis::rules::following::Following;
use crate::broker::redis::rules::routing::Routing;
use crate::broker::redis::secret::Secrets;
use crate::broker::redis::state::State;
use crate::broker::redis::subscribing::tally::Tally;
use crate::broker::redis::url::{Deployment, Masters};
use crate::broker::{Config, Event, Sink};
use crate::live::Live;
use crate::publication::{Channel, NodeId};
use crate::rules::Rules;
use crate::tls::Trust;

pub struct Context {
    pub node: NodeId,
    pub prefix: Arc<str>,
    pub rules: Rules,
    pub library: Live<Library>,
    pub secrets: Arc<Secrets>,
    pub routing: Routing,
    pub following: Following,
    /// It takes part for a moment, as a command does, and changes nothing of the fleet.
    pub is_visitor: bool,
    pub presence: Calls,
    pub revoking: Desk,
    pub login: RedisConnectionInfo,
    /// None: servers are spoken to without TLS.
    pub trust: Option<Trust>,
    pub publish_timeout: Duration,
    pub sink: Sink,
    pub intake: Intake,
    pub map: Map,
    pub state: Arc<State>,
    pub tally: Arc<Tally>,
    /// Somebody has seen a sign that the masters have changed.
    pub doubt: Arc<Notify>,
    /// Read while publications are on their way round to a master that their slots move to: the map stands still
    /// meanwhile, or newer ones would go there straight and overtake them.
    pub detours: RwLock<()>,
    /// While slots move, one channel is heard of two masters: one of them at a time.
    turn: Mutex<()>,
}

impl Context {
    pub fn new(config: &Config, deployment: &Deployment, node: NodeId, sink: Sink) -> Self {
        let prefix: Arc<str> = config.prefix.as_str().into();
        let tally = Arc::<Tally>::default();
        let is_sharded = matches!(deployment.masters, Masters::Cluster { .. });
        let publish = if is_sharded { "SPUBLISH" } else { "PUBLISH" };
        let library = Library::new(config, publish, deployment.login.db(), node);
        let map = Map::new(is_sharded, prefix.clone(), config.publish_timeout, tally.clone());
        Self {
            node,
            prefix: prefix.clone(),
            rules: config.rules.clone(),
            secrets: library.secrets.clone(),
            library: Live::new(library),
            routing: Routing::default(),
            following: Following::default(),
            is_visitor: false,
            presence: Calls::new(prefix.clone(), node, publish),
            revoking: Desk::default(),
            login: deployment.login.clone(),
            trust: config.trust.clone(),
            publish_timeout: config.publish_timeout,
            sink,
            intake: Intake::new(config.publish_timeout),
            map,
            state: Arc::default(),
            tally,
            doubt: Arc::default(),
            detours: RwLock::default(),
            turn: Mutex::default(),
        }
    }

    /// The same for one that only visits.
    pub fn visiting(self) -> Self {
        Self { is_visitor: true, ..self }
    }

    /// Hands an event of a channel to the hub.
    pub fn hand_on(&self, event: Event<'_>) {
        // Whoever panicked with it has ended the process.
        let turn = || self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let _turn = self.map.has_moves().then(turn);
        (self.sink)(event);
    }

    /// The channel's name in Redis.
    pub fn name(&self, channel: &Channel) -> String {
        format!("{}{channel}", self.prefix)
    }

    /// The channel of a name in Redis. None: it is not one of this broker's.
    pub fn channel<'a>(&self, name: &'a [u8]) -> Option<&'a str> {
        std::str::from_utf8(name.strip_prefix(self.prefix.as_bytes())?).ok()
    }

    /// The channel of Redis on which a channel's joins and leaves are told.
    pub fn roster(&self, channel: &Channel) -> Channel {
        let name = self.presence.key(channel.as_str());
        Channel::internal(name.strip_prefix(&*self.prefix).unwrap_or(&name))
    }

    /// The same, where the channel's rule keeps presence.
    pub fn roster_of(&self, channel: &Channel) -> Option<Channel> {
        self.rules.of(channel.as_str()).presence.then(|| self.roster(channel))
    }

    /// Does the channel keep history? The nodes' own never do, whatever the rules say of their names.
    /// For a visitor it does also where only the fleet's rules in Redis say so.
    pub fn keeps_history(&self, channel: &str) -> bool {
        let is_kept = || self.rules.of(channel).history.is_some();
        !Channel::is_internal(channel)
            && (is_kept() || self.is_visitor && self.routing.appends(channel))
    }

    /// Does what is published on the channel go to the function that appends? A visitor goes by the rules
    /// in Redis alone, once it knows them.
    pub fn appends(&self, channel: &str) -> bool {
        if self.is_visitor && self.routing.is_known() {
            return !Channel::is_internal(channel) && self.routing.appends(channel);
        }
        self.keeps_history(channel)
            || !Channel::is_internal(channel) && self.routing.appends(channel)
    }
}
