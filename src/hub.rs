//! The local registry: which sessions of this node subscribe to which channel. The first local subscriber of
//! a channel makes the broker subscribe to it, the last one's end makes the broker unsubscribe. The hub puts
//! each publication of the broker into the subscribers' outbound queues, and never waits for a socket.

mod busiest;
mod channel_cursor;
mod channel_event;
mod channel_traffic;
mod channels;
mod connections;
mod delivered_positions;
mod fan_out;
mod interest;
mod lease_checks;
mod lease_watch;
mod pattern_delivery;
mod pattern_interest;
mod patterns;
mod recent_publications;
mod recovery;
mod recovery_queue;
mod registry;
mod resuming;
mod rollup;
mod rollup_delivery;
mod rollup_task;
mod rollup_timers;
mod shard;
mod state;
mod subscribers;

use std::sync::Arc;

pub use self::busiest::Busiest;
pub use self::channel_traffic::{BusyChannel, TrafficMeasure};
pub use self::delivered_positions::RunEnd;
pub use self::interest::{Interest, Subscription};
pub use self::pattern_interest::{PatternInterest, PatternSubscription};
pub use self::patterns::{PATTERNS_MAX, PatternSession, TooManyPatterns};
pub use self::recent_publications::RecentPublication;
pub use self::registry::Registry;
pub use self::resuming::SubscribeEvent;
pub use self::shard::ChannelCount;
use self::state::HubState;
pub use self::subscribers::Subscriber;
use crate::broker::{Broker, Receipt};
use crate::outbound::Outbound;
use crate::publication::{Channel, Position, Publication, ReplayStart, SessionId};
use crate::rules::{Pattern, Rules, SubscriptionPattern};

/// The node's channels and connections, and the broker behind them. Cheap to clone.
#[derive(Clone)]
pub struct Hub(Arc<HubState>);

impl Hub {
    /// `registry`: the one whose [`Registry::sink`] the broker got.
    pub fn new(registry: Arc<Registry>, broker: Arc<dyn Broker>) -> Self {
        recovery::start(registry.clone(), broker.clone());
        rollup_task::start(registry.clone());
        lease_checks::start(registry.clone(), broker.clone());
        Self(Arc::new(HubState { registry, broker }))
    }

    /// Passes a publication to the broker, which returns it to this node's subscribers too.
    pub fn publish(&self, channel: Channel, publication: Publication) -> Receipt<Option<Position>> {
        self.0.broker.publish(channel, publication)
    }

    /// Requests a channel, and its past from `start` on if given. Publications before the interest becomes a
    /// subscription are not delivered to it.
    pub fn interest(&self, channel: Channel, start: Option<ReplayStart>) -> Interest {
        Interest::new(self.0.clone(), channel, start)
    }

    /// Requests the channels of a pattern, of the rules with these patterns, for a session that has called
    /// [`Hub::begin_patterns`]. Fails if the node has [`PATTERNS_MAX`].
    pub fn pattern_interest(
        &self,
        pattern: Arc<SubscriptionPattern>,
        sources: Vec<Pattern>,
    ) -> Result<PatternInterest, TooManyPatterns> {
        PatternInterest::new(self.0.clone(), pattern, sources)
    }

    /// Registers a session that is about to have its first pattern. From then on the hub knows to which channels it is
    /// subscribed.
    pub fn begin_patterns(&self, session: Arc<PatternSession>) {
        self.registry().patterns.add_session(session);
    }

    /// The session has no pattern any more.
    pub fn end_patterns(&self, session: SessionId) {
        self.registry().patterns.remove_session(session);
    }

    /// Calls `report` with the channel's position while every subscriber's queue holds exactly the publications
    /// up to it. Returns false, without the call, if a publication is being delivered.
    pub fn when_settled(&self, channel: &Channel, report: impl FnOnce(Option<Position>)) -> bool {
        self.registry().channels.when_settled(channel, report)
    }

    /// Registers a connection until its [`Membership`] is dropped.
    pub fn register(&self, outbound: Arc<Outbound>) -> Membership {
        let session = outbound.session();
        self.registry().connections.add(outbound);
        Membership { state: self.0.clone(), session }
    }

    /// Applies new rules, also to channels that are subscribed. Waits a bounded time for the broker.
    pub async fn replace_rules(&self, rules: &Rules) {
        // The broker first: it must have the new rules before the hub's requests depend on them.
        self.broker().follow_rules(rules).await;
        self.rules().replace(rules);
        self.registry().follow_rules(self.broker());
    }

    pub fn rules(&self) -> &Rules {
        self.registry().channels.rules()
    }

    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    pub fn broker(&self) -> &dyn Broker {
        &*self.0.broker
    }
}

/// A connection's entry in the registry. The drop removes it.
pub struct Membership {
    state: Arc<HubState>,
    session: SessionId,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.state.registry.connections.remove(self.session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{self, Config, Url};
    use crate::protocol::Format;
    use crate::publication::NodeId;
    use bytes::Bytes;
    use std::time::Duration;

    fn hub() -> Hub {
        let registry = Arc::new(Registry::new(Rules::default()));
        let config = Config {
            url: Url::Memory,
            prefix: String::new(),
            publish_timeout: Duration::from_secs(1),
            idempotency_window: Duration::from_secs(300),
            rules: Rules::default(),
            secret: None,
            trust: None,
        };
        let broker = broker::connect(&config, NodeId::random(), registry.clone().sink());
        Hub::new(registry, broker)
    }

    fn subscriber(number: u64, echo: bool) -> Subscriber {
        let session = SessionId { node: NodeId::random(), number };
        let outbound = Arc::new(Outbound::new(session, 1 << 20));
        Subscriber {
            outbound,
            format: Format::Plain,
            echo,
            closes_on_gap: false,
            reads_private: true,
        }
    }

    async fn subscribe(hub: &Hub, name: &str, subscriber: &Subscriber) -> Subscription {
        let mut interest = hub.interest(Channel::new(name).unwrap(), None);
        (&mut interest).await.unwrap();
        interest.subscribe(subscriber.clone(), &mut |_| {})
    }

    async fn publish(hub: &Hub, name: &str, session: Option<SessionId>) {
        let publication =
            Publication { session, ..Publication::bare(Bytes::from_static(b"hello")) };
        hub.publish(Channel::new(name).unwrap(), publication).await.unwrap();
    }

    #[tokio::test]
    async fn subscribers_get_publications_of_their_channel_until_they_unsubscribe() {
        let hub = hub();
        let (here, elsewhere) = (subscriber(1, true), subscriber(2, true));
        let subscription = subscribe(&hub, "news", &here).await;
        let _other = subscribe(&hub, "sport", &elsewhere).await;
        publish(&hub, "news", None).await;
        assert!(here.outbound.bytes() > 0);
        assert_eq!(elsewhere.outbound.bytes(), 0);
        let before = here.outbound.bytes();
        drop(subscription);
        publish(&hub, "news", None).await;
        assert_eq!(here.outbound.bytes(), before);
        assert_eq!(hub.registry().channels().len(), 1, "only sport is left");
    }

    #[tokio::test]
    async fn a_session_without_echo_gets_only_the_publications_of_others() {
        let hub = hub();
        let quiet = subscriber(1, false);
        let _subscription = subscribe(&hub, "news", &quiet).await;
        publish(&hub, "news", Some(quiet.outbound.session())).await;
        assert_eq!(quiet.outbound.bytes(), 0);
        publish(&hub, "news", Some(subscriber(1, true).outbound.session())).await;
        assert!(quiet.outbound.bytes() > 0);
    }

    #[tokio::test]
    async fn a_thousand_subscriptions_leave_no_channel_behind() {
        let hub = hub();
        let mut all = Vec::new();
        for number in 0..1000 {
            all.push((subscribe(&hub, "news", &subscriber(number, true)).await, number));
        }
        assert_eq!(hub.registry().channels()[0].subscribers, 1000);
        all.retain(|(_, number)| number % 10 == 0);
        assert_eq!(hub.registry().channels()[0].subscribers, 100);
        let late = subscriber(1000, true);
        let _last = subscribe(&hub, "news", &late).await;
        drop(all);
        publish(&hub, "news", None).await;
        assert!(late.outbound.bytes() > 0);
        drop(_last);
        assert!(hub.registry().channels().is_empty());
    }
}
