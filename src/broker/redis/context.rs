//! What all lanes of the broker share.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::redis::RedisConnectionInfo;
use tokio::sync::{Notify, RwLock};

use super::connection::server::{RedisServer, ServerAddress};
use super::functions::library::Library;
use super::lanes::lane::{Lane, LaneShared};
use super::lanes::lane_map::LaneMap;
use super::presence::calls::PresenceCalls;
use super::pubsub::PubSub;
use super::rules::routing::Routing;
use super::secret::Secrets;
use super::state::BrokerState;
use super::subscribing::subscription_counts::SubscriptionCounts;
use super::url::Deployment;
use crate::broker::config::Config;
use crate::broker::event::{BrokerEvent, Sink};
use crate::broker::queue::Intake;
use crate::broker::receipt::Receipt;
use crate::live::Live;
use crate::publication::{Channel, NodeId, Position, Publication};
use crate::rules::Rules;
use crate::tls::Trust;

pub struct RedisContext {
    pub node: NodeId,
    pub prefix: Arc<str>,
    pub pubsub: PubSub,
    pub rules: Rules,
    pub library: Live<Library>,
    pub secrets: Arc<Secrets>,
    pub routing: Routing,
    /// The rules in Redis may have changed.
    pub rules_news: Notify,
    /// It takes part for a moment, as a command does, and changes nothing of the fleet.
    pub is_visitor: bool,
    pub presence: PresenceCalls,
    /// The channel of revocations was subscribed: what was told before went past this node.
    pub revocations_subscribed: Notify,
    pub login: RedisConnectionInfo,
    /// None: servers are spoken to without TLS.
    pub trust: Option<Trust>,
    publish_timeout: Duration,
    pub sink: Sink,
    pub intake: Intake,
    pub map: LaneMap,
    pub state: Arc<BrokerState>,
    tally: Arc<SubscriptionCounts>,
    /// Somebody has seen a sign that the masters have changed.
    pub doubt: Arc<Notify>,
    /// Read while publications are on their way round to a master that their slots move to: the map stands still
    /// meanwhile, or newer ones would go there straight and overtake them.
    pub detours: RwLock<()>,
    /// While slots move, one channel is heard of two masters: one of them at a time.
    turn: Mutex<()>,
}

impl RedisContext {
    pub fn new(config: &Config, deployment: &Deployment, node: NodeId, sink: Sink) -> Self {
        let prefix: Arc<str> = config.prefix.as_str().into();
        let tally = Arc::<SubscriptionCounts>::default();
        let pubsub = deployment.pubsub();
        let library = Library::new(config, pubsub.publish(), deployment.login.db(), node);
        Self {
            node,
            prefix: prefix.clone(),
            pubsub,
            rules: config.rules.clone(),
            secrets: library.secrets.clone(),
            library: Live::new(library),
            routing: Routing::default(),
            rules_news: Notify::new(),
            is_visitor: false,
            presence: PresenceCalls::new(prefix.clone(), node, pubsub.publish()),
            revocations_subscribed: Notify::new(),
            login: deployment.login.clone(),
            trust: config.trust.clone(),
            publish_timeout: config.publish_timeout,
            sink,
            intake: Intake::new(config.publish_timeout),
            map: LaneMap::new(pubsub, prefix, config.publish_timeout, tally.clone()),
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

    /// The server at this address, with the login of all masters.
    pub fn server(&self, address: &ServerAddress) -> RedisServer {
        RedisServer {
            address: address.clone(),
            login: self.login.clone(),
            trust: self.trust.clone(),
        }
    }

    /// A lane to the master at this address. Its tasks are not started.
    pub fn lane(&self, address: &ServerAddress) -> Arc<Lane> {
        let shared = LaneShared {
            takers: &self.map.takers,
            tally: &self.tally,
            state: &self.state,
            doubt: &self.doubt,
        };
        Lane::new(self.server(address), self.publish_timeout, shared)
    }

    /// Puts a publication in line at the channel's master.
    pub fn publish(&self, channel: Channel, publication: Publication) -> Receipt<Option<Position>> {
        self.map.publish(&self.intake, channel, publication)
    }

    /// Hands an event of a channel to the hub.
    pub fn hand_on(&self, event: BrokerEvent<'_>) {
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
    pub fn presence_channel(&self, channel: &Channel) -> Channel {
        let name = self.presence.key(channel.as_str());
        Channel::internal(name.strip_prefix(&*self.prefix).unwrap_or(&name))
    }

    /// Does the channel's rule keep presence?
    pub fn keeps_presence(&self, channel: &Channel) -> bool {
        self.rules.of(channel.as_str()).presence
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
