//! Who on this node listens to what. The first local subscriber of a channel makes the broker
//! subscribe, the last one's leaving makes it leave; what the broker brings is put in line for
//! each subscriber's socket, and never waits for one.

mod registry;
mod shard;
mod subscribers;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

pub use self::registry::{ChannelCount, Registry};
pub use self::subscribers::Subscriber;
use crate::broker::{Broker, Receipt, Unavailable};
use crate::outbound::Outbound;
use crate::publication::{Channel, Position, Publication, SessionId};

/// The node's channels and connections, and the broker behind them. Cheap to clone.
#[derive(Clone)]
pub struct Hub(Arc<Parts>);

struct Parts {
    registry: Arc<Registry>,
    broker: Arc<dyn Broker>,
}

impl Hub {
    /// `registry` is what the broker's events were promised to.
    pub fn new(registry: Arc<Registry>, broker: Arc<dyn Broker>) -> Self {
        Self(Arc::new(Parts { registry, broker }))
    }

    /// Hands a publication to the broker, which brings it back for the local subscribers too.
    pub fn publish(&self, channel: Channel, publication: Publication) -> Receipt<Option<Position>> {
        self.0.broker.publish(channel, publication)
    }

    /// Asks for a channel. What is published before the interest becomes a subscription is not
    /// delivered to it.
    pub fn interest(&self, channel: Channel) -> Interest {
        let receipt = self.0.registry.add_interest(&channel, self.broker());
        Interest { receipt, claim: Claim { hub: self.clone(), channel } }
    }

    /// Makes a connection known, until its [`Membership`] is dropped.
    pub fn join(&self, outbound: Arc<Outbound>) -> Membership {
        let session = outbound.session();
        self.0.registry.add_connection(outbound);
        Membership { hub: self.clone(), session }
    }

    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    pub fn broker(&self) -> &dyn Broker {
        &*self.0.broker
    }
}

/// A claim on a channel: while there is one, the broker is subscribed. Given back by its drop.
struct Claim {
    hub: Hub,
    channel: Channel,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.hub.registry().remove_interest(&self.channel, self.hub.broker());
    }
}

/// A channel that was asked for; resolves when the broker has confirmed it.
pub struct Interest {
    receipt: Receipt<()>,
    claim: Claim,
}

impl Interest {
    pub fn channel(&self) -> &Channel {
        &self.claim.channel
    }

    /// From here on the subscriber gets what is published.
    pub fn subscribe(self, subscriber: Subscriber) -> Subscription {
        let echo = subscriber.echo;
        let number = self.claim.hub.registry().add_subscriber(&self.claim.channel, subscriber);
        Subscription { number, echo, claim: self.claim }
    }
}

impl Future for Interest {
    type Output = Result<(), Unavailable>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receipt).poll(cx)
    }
}

/// A session's place among a channel's subscribers. Left by its drop.
pub struct Subscription {
    number: u64,
    echo: bool,
    claim: Claim,
}

impl Subscription {
    pub fn channel(&self) -> &Channel {
        &self.claim.channel
    }

    /// Does the session get what it publishes there itself?
    pub fn echo(&self) -> bool {
        self.echo
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.claim.hub.registry().remove_subscriber(&self.claim.channel, self.number);
    }
}

/// A connection's place among those of the node. Left by its drop.
pub struct Membership {
    hub: Hub,
    session: SessionId,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.hub.registry().remove_connection(self.session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{self, Config, Url};
    use crate::protocol::Encoding;
    use crate::publication::NodeId;
    use crate::rules::Rules;
    use bytes::Bytes;
    use std::time::Duration;

    fn hub() -> Hub {
        let registry = Arc::new(Registry::default());
        let config = Config {
            url: Url::Memory,
            prefix: String::new(),
            publish_timeout: Duration::from_secs(1),
            idempotency_window: Duration::from_secs(300),
            rules: Rules::default(),
        };
        let broker = broker::connect(&config, NodeId::random(), registry.clone().sink());
        Hub::new(registry, broker)
    }

    fn subscriber(number: u64, echo: bool) -> Subscriber {
        let session = SessionId { node: NodeId::random(), number };
        let outbound = Arc::new(Outbound::new(session, 1 << 20));
        Subscriber { outbound, encoding: Encoding::Plain, echo }
    }

    async fn subscribe(hub: &Hub, name: &str, subscriber: &Subscriber) -> Subscription {
        let mut interest = hub.interest(Channel::new(name).unwrap());
        (&mut interest).await.unwrap();
        interest.subscribe(subscriber.clone())
    }

    async fn publish(hub: &Hub, name: &str, session: Option<SessionId>) {
        let publication =
            Publication { session, ..Publication::bare(Bytes::from_static(b"hello")) };
        hub.publish(Channel::new(name).unwrap(), publication).await.unwrap();
    }

    #[tokio::test]
    async fn subscribers_get_what_is_published_until_they_leave() {
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
    async fn a_session_without_echo_gets_only_what_others_sent() {
        let hub = hub();
        let quiet = subscriber(1, false);
        let _subscription = subscribe(&hub, "news", &quiet).await;
        publish(&hub, "news", Some(quiet.outbound.session())).await;
        assert_eq!(quiet.outbound.bytes(), 0);
        publish(&hub, "news", Some(subscriber(1, true).outbound.session())).await;
        assert!(quiet.outbound.bytes() > 0);
    }

    #[tokio::test]
    async fn many_come_and_go_and_nothing_stays() {
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
