//! Who on this node listens to what. The first local subscriber of a channel makes the broker
//! subscribe, the last one's leaving makes it leave; what the broker brings is put in line for
//! each subscriber's socket, and never waits for one.

mod catching_up;
mod cursor;
mod recent;
mod recovery;
mod registry;
mod shard;
mod subscribers;
mod tail;
mod top;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

pub use self::catching_up::Word;
use self::recent::Since;
pub use self::registry::{ChannelCount, Registry};
pub use self::subscribers::Subscriber;
pub use self::top::{Busiest, Busy, By};
use crate::broker::{Broker, Receipt, Unavailable};
use crate::outbound::Outbound;
use crate::publication::{Channel, Position, Publication, SessionId};
use crate::rules::Rules;

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
        recovery::start(registry.clone(), broker.clone());
        Self(Arc::new(Parts { registry, broker }))
    }

    /// Hands a publication to the broker, which brings it back for the local subscribers too.
    pub fn publish(&self, channel: Channel, publication: Publication) -> Receipt<Option<Position>> {
        self.0.broker.publish(channel, publication)
    }

    /// Asks for a channel, to go on from `since` where it is given. What is published before the
    /// interest becomes a subscription is not delivered to it.
    pub fn interest(&self, channel: Channel, since: Option<Position>) -> Interest {
        let receipt = self.0.registry.add_interest(&channel, self.broker());
        let claim = Claim { hub: self.clone(), channel };
        Interest { step: Step::Confirming(receipt), since, reads: 0, waits: 0, claim }
    }

    /// Calls `say` with the channel's position, at a moment in which every subscriber's queue has exactly
    /// what leads to it. False: a publication is on its way to the subscribers, so `say` was not called.
    pub fn when_settled(&self, channel: &Channel, say: impl FnOnce(Option<Position>)) -> bool {
        self.registry().when_settled(channel, say)
    }

    /// Makes a connection known, until its [`Membership`] is dropped.
    pub fn join(&self, outbound: Arc<Outbound>) -> Membership {
        let session = outbound.session();
        self.0.registry.add_connection(outbound);
        Membership { hub: self.clone(), session }
    }

    /// From here on channels are treated by these rules, those that are subscribed too. Waits a
    /// bounded time for the broker.
    pub async fn replace_rules(&self, rules: &Rules) {
        // The broker first: what it is asked by new rules it must know.
        self.broker().follow_rules(rules).await;
        self.rules().replace(rules);
        self.registry().follow_rules(self.broker());
    }

    pub fn rules(&self) -> &Rules {
        self.0.registry.rules()
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

/// A channel that was asked for; resolves when the broker has confirmed it, and where it keeps
/// history, when this node knows how far that goes and has what follows the position it was asked
/// for with.
pub struct Interest {
    step: Step,
    since: Option<Position>,
    reads: u32,
    waits: u32,
    claim: Claim,
}

enum Step {
    Confirming(Receipt<()>),
    Opening(oneshot::Receiver<Result<(), Unavailable>>),
    Loading(oneshot::Receiver<Unavailable>),
    /// Another node was quicker to deliver what the client has.
    Behind(Pin<Box<Sleep>>),
    Ready,
}

/// How often an interest waits for a history to be read. What is read may be dropped again before
/// it is looked at, when the broker is interrupted.
const READS_MAX: u32 = 3;

/// How often, and how long each time, an interest waits for this node to come to where the client
/// is: as long as a busy node may be behind another one.
const BEHIND_MAX: u32 = 20;
const BEHIND_PAUSE: Duration = Duration::from_millis(25);

impl Interest {
    pub fn channel(&self) -> &Channel {
        &self.claim.channel
    }

    /// From here on the subscriber gets what is published; `say` is told first where it comes in and
    /// what it has missed.
    pub fn subscribe(self, subscriber: Subscriber, say: &mut dyn FnMut(Word<'_>)) -> Subscription {
        let echo = subscriber.echo;
        let registry = self.claim.hub.registry();
        let number = registry.join(&self.claim.channel, subscriber, self.since, say);
        Subscription { number, echo, claim: self.claim }
    }

    fn opening(&self) -> Step {
        match self.claim.hub.registry().opened(&self.claim.channel) {
            Some(opened) => Step::Opening(opened),
            None => self.loading(),
        }
    }

    fn loading(&self) -> Step {
        let Some(since) = self.since.filter(|_| self.reads < READS_MAX) else { return Step::Ready };
        match self.claim.hub.registry().since(&self.claim.channel, since) {
            Since::Yes(_) | Since::No => Step::Ready,
            Since::Ahead if self.waits < BEHIND_MAX => Step::Behind(Box::pin(sleep(BEHIND_PAUSE))),
            Since::Ahead => Step::Ready,
            Since::Read(loaded) | Since::Load(loaded) => Step::Loading(loaded),
        }
    }
}

impl Future for Interest {
    type Output = Result<(), Unavailable>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let next = match &mut self.step {
                Step::Confirming(receipt) => match ready!(Pin::new(receipt).poll(cx)) {
                    Ok(()) => self.opening(),
                    Err(why) => return Poll::Ready(Err(why)),
                },
                Step::Opening(opened) => match ready!(Pin::new(opened).poll(cx)) {
                    Ok(Ok(())) => self.loading(),
                    Ok(Err(why)) => return Poll::Ready(Err(why)),
                    // The channel was dropped; a claim prevents that.
                    Err(_) => self.opening(),
                },
                Step::Loading(loaded) => {
                    if let Ok(why) = ready!(Pin::new(loaded).poll(cx)) {
                        return Poll::Ready(Err(why));
                    }
                    self.reads += 1;
                    self.loading()
                }
                Step::Behind(pause) => {
                    ready!(pause.as_mut().poll(cx));
                    self.waits += 1;
                    self.loading()
                }
                Step::Ready => return Poll::Ready(Ok(())),
            };
            self.step = next;
        }
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

    /// What its outbound queue knows it by.
    pub fn number(&self) -> u64 {
        self.number
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
        Subscriber { outbound, encoding: Encoding::Plain, echo, closes_on_gap: false }
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
