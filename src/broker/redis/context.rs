//! What all lanes of the broker share.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::redis::RedisConnectionInfo;
use tokio::sync::{Notify, RwLock};

use super::connection::server::{RedisServer, ServerAddress};
use super::functions::library::Library;
use super::lanes::lane::{Lane, LaneShared};
use super::lanes::lane_map::LaneMap;
use super::lanes::slot;
use super::pattern_channels::FollowedPatterns;
use super::presence::calls::PresenceCalls;
use super::pubsub::PubSub;
use super::rules::routing::Routing;
use super::secret::Secrets;
use super::sibling_key::sibling_key;
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
    /// Notified when the rules in Redis may have changed.
    pub rules_may_have_changed: Notify,
    /// The broker serves a command for a short time and changes nothing of the fleet.
    pub is_command: bool,
    pub presence: PresenceCalls,
    /// Notified when the channel of revocations was subscribed: earlier messages were missed.
    pub revocations_subscribed: Notify,
    pub login: RedisConnectionInfo,
    /// `None`: connections without TLS.
    pub trust: Option<Trust>,
    publish_timeout: Duration,
    pub sink: Sink,
    pub intake: Intake,
    pub map: LaneMap,
    pub patterns: FollowedPatterns,
    pub state: Arc<BrokerState>,
    counts: Arc<SubscriptionCounts>,
    /// Notified when a lane saw a sign that the masters have changed.
    pub topology_refresh: Arc<Notify>,
    /// Read-locked while publications are being redirected to the master that their slots move to:
    /// the layout must not change meanwhile, or newer publications would go there directly and
    /// overtake them.
    pub layout_lock: RwLock<()>,
    /// While slots move, two masters deliver one channel: this lock lets one of them deliver at a
    /// time.
    delivery_lock: Mutex<()>,
}

impl RedisContext {
    pub fn new(config: &Config, deployment: &Deployment, node: NodeId, sink: Sink) -> Self {
        let prefix: Arc<str> = config.prefix.as_str().into();
        let counts = Arc::<SubscriptionCounts>::default();
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
            rules_may_have_changed: Notify::new(),
            is_command: false,
            presence: PresenceCalls::new(prefix.clone(), node, pubsub.publish()),
            revocations_subscribed: Notify::new(),
            login: deployment.login.clone(),
            trust: config.trust.clone(),
            publish_timeout: config.publish_timeout,
            sink,
            intake: Intake::new(config.publish_timeout),
            map: LaneMap::new(pubsub, prefix, config.publish_timeout, counts.clone()),
            patterns: FollowedPatterns::default(),
            state: Arc::default(),
            counts,
            topology_refresh: Arc::default(),
            layout_lock: RwLock::default(),
            delivery_lock: Mutex::default(),
        }
    }

    /// Marks the context as that of a command.
    pub fn for_command(self) -> Self {
        Self { is_command: true, ..self }
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
            slot_owners: &self.map.slot_owners,
            counts: &self.counts,
            state: &self.state,
            topology_refresh: &self.topology_refresh,
        };
        Lane::new(self.server(address), self.publish_timeout, shared)
    }

    /// Queues a publication for the channel's master.
    pub fn publish(&self, channel: Channel, publication: Publication) -> Receipt<Option<Position>> {
        self.map.publish(&self.intake, channel, publication)
    }

    /// Hands an event of a channel to the hub.
    pub fn deliver(&self, event: BrokerEvent<'_>) {
        // A task that panicked while it held the lock has ended the process.
        let lock = || self.delivery_lock.lock().unwrap_or_else(PoisonError::into_inner);
        let _lock = self.map.has_moving_slots().then(lock);
        (self.sink)(event);
    }

    /// The channel's name in Redis.
    pub fn name(&self, channel: &Channel) -> String {
        format!("{}{channel}", self.prefix)
    }

    /// The channel of a name in Redis. `None`: another broker's.
    pub fn channel<'a>(&self, name: &'a [u8]) -> Option<&'a str> {
        std::str::from_utf8(name.strip_prefix(self.prefix.as_bytes())?).ok()
    }

    /// The key of a run's lease (`runs.lua`). `None`: this node's rules have no run for the channel; or its name
    /// has an unbalanced brace, for which only the functions know the key.
    pub fn lease_key(&self, name: &str) -> Option<String> {
        let channel = name.strip_prefix(&*self.prefix)?;
        self.rules.of(channel).run?;
        let key = sibling_key(&self.prefix, "lease", name);
        (slot::of(key.as_bytes()) == slot::of(name.as_bytes())).then_some(key)
    }

    /// The key of what a channel has as a stream (`streams.lua`). `None`: as for [`RedisContext::lease_key`].
    pub fn stream_key(&self, name: &str) -> Option<String> {
        let channel = name.strip_prefix(&*self.prefix)?;
        let key = sibling_key(&self.prefix, "stream", name);
        let is_there =
            self.rules.of(channel).streams && slot::of(key.as_bytes()) == slot::of(name.as_bytes());
        is_there.then_some(key)
    }

    /// The Redis channel that carries the channel's joins and leaves.
    pub fn presence_channel(&self, channel: &Channel) -> Channel {
        let name = self.presence.key(channel.as_str());
        Channel::internal(name.strip_prefix(&*self.prefix).unwrap_or(&name))
    }

    /// Whether the channel's rule keeps presence.
    pub fn keeps_presence(&self, channel: &Channel) -> bool {
        self.rules.of(channel.as_str()).presence
    }

    /// Whether the channel keeps history. The nodes' own channels never do, even if a rule matches
    /// their names. For a command, also if only the fleet's rules in Redis keep it.
    pub fn keeps_history(&self, channel: &str) -> bool {
        let is_kept = || self.rules.of(channel).history.is_some();
        !Channel::is_internal(channel)
            && (is_kept() || self.is_command && self.routing.appends(channel))
    }

    /// Whether a function must publish on the channel, because nodes with patterns get its publications by another channel.
    pub fn relays_to_patterns(&self, channel: &str) -> bool {
        self.pubsub.is_sharded()
            && !Channel::is_internal(channel)
            && self.rules.of(channel).patterns
    }

    /// Whether publications of the channel go through the function that appends. A command uses
    /// only the rules in Redis once it knows them.
    pub fn appends(&self, channel: &str) -> bool {
        if self.is_command && self.routing.is_known() {
            return !Channel::is_internal(channel) && self.routing.appends(channel);
        }
        if Channel::is_internal(channel) {
            return false;
        }
        let own = self.rules.get();
        own.of(channel).history.is_some() || self.routing.appends_besides(&own, channel)
    }
}
