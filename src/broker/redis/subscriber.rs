//! The subscribed connection: reconciles what is wanted with what Redis has confirmed, reads what
//! Redis pushes, and finds out when Redis has gone silent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{PushInfo, PushKind, Value};
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::header;
use super::link::{Backoff, Link};
use super::state::{Part, State};
use super::wanted::Wanted;
use crate::broker::queue::Queue;
use crate::broker::{Event, Receipt, Sink};
use crate::publication::{Channel, NodeId, Publication};
use crate::telemetry;

/// How long Redis may take to confirm a batch of subscriptions.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(5);

/// How often what is due is looked for: channels to leave, waiters to answer.
const TICK: Duration = Duration::from_millis(100);

/// How often the node publishes to itself.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// A probe away for so long makes the node unready.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// A probe that Redis took but that is away for so long condemns the connection. Longer than Redis
/// hangs while it forks or expires keys, since connecting again costs every channel a gap.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// What a gap is put down to.
const GAP_REASON: &str = "broker_reconnected";

/// The task that owns the subscribed connection.
pub struct Subscriber {
    pub link: Link,
    pub prefix: Arc<str>,
    pub node: NodeId,
    pub sink: Sink,
    pub wanted: Arc<Wanted>,
    pub state: Arc<State>,
    /// Where probes go in: the same way as everybody's publications.
    pub queue: Queue,
}

/// What the connection's own task tells ours.
#[derive(Default)]
struct Signals {
    disconnected: Notify,
    /// The number of the latest probe that came back.
    probe: AtomicU64,
    probed: Notify,
}

impl Subscriber {
    pub async fn run(self) {
        let mut backoff = Backoff::default();
        loop {
            let signals = Arc::new(Signals::default());
            let opened = tokio::select! {
                opened = self.link.open_pushing(self.push(signals.clone())) => opened,
                never = self.expire() => match never {},
            };
            match opened {
                Ok(connection) => {
                    backoff.connected();
                    let Err(error) = self.serve(connection, &signals).await;
                    self.state.set(Part::Subscriber, false);
                    self.state.set(Part::Probe, false);
                    telemetry::broker_unreachable(&error, Duration::ZERO);
                    self.wanted.lost();
                }
                Err(error) => telemetry::broker_unreachable(&error, Duration::ZERO),
            }
            tokio::select! {
                () = sleep(backoff.next()) => telemetry::broker_reconnecting(),
                never = self.expire() => match never {},
            }
        }
    }

    /// Answers those who wait for a subscription while there is no connection.
    async fn expire(&self) -> std::convert::Infallible {
        loop {
            sleep(TICK).await;
            self.wanted.expire();
        }
    }

    /// Runs in the connection's own task, once for each message: routes it and must not block.
    fn push(&self, signals: Arc<Signals>) -> impl Fn(PushInfo) -> Result<(), ()> + use<> {
        let (prefix, sink) = (self.prefix.clone(), self.sink.clone());
        let probe_channel = Channel::of_node(self.node);
        move |push| {
            match push.kind {
                PushKind::Disconnection => signals.disconnected.notify_one(),
                PushKind::Message => {
                    let Some((channel, payload)) = message(push.data) else { return Ok(()) };
                    let Some(channel) = channel_name(&channel, &prefix) else { return Ok(()) };
                    let publication = header::read(payload);
                    if channel == probe_channel.as_str() {
                        signals.came_back(&publication.payload);
                    } else {
                        sink(Event::Publication { channel, publication });
                    }
                }
                _ => {}
            }
            Ok(())
        }
    }

    /// Serves one connection until it fails. The reason is always an error.
    async fn serve(
        &self,
        mut connection: MultiplexedConnection,
        signals: &Signals,
    ) -> Result<std::convert::Infallible, Lost> {
        self.subscribe(&mut connection, &[Channel::of_node(self.node)]).await?;
        self.subscribe_all(&mut connection).await?;
        self.state.set(Part::Subscriber, true);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let probing = self.probe(signals);
        tokio::pin!(probing);
        loop {
            tokio::select! {
                () = signals.disconnected.notified() => return Err(Lost::Disconnected),
                silent = &mut probing => return Err(silent),
                () = self.wanted.changed() => self.subscribe_all(&mut connection).await?,
                _ = tick.tick() => {
                    self.wanted.expire();
                    self.unsubscribe(&mut connection).await?;
                }
            }
        }
    }

    /// Subscribes to all that is wanted and not yet asked for.
    async fn subscribe_all(&self, connection: &mut MultiplexedConnection) -> Result<(), Lost> {
        loop {
            let channels = self.wanted.next_to_subscribe();
            if channels.is_empty() {
                return Ok(());
            }
            self.subscribe(connection, &channels).await?;
            for channel in self.wanted.confirm(&channels) {
                (self.sink)(Event::Gap { channel: &channel, reason: GAP_REASON });
            }
        }
    }

    async fn subscribe(
        &self,
        connection: &mut MultiplexedConnection,
        channels: &[Channel],
    ) -> Result<(), Lost> {
        let names = self.names(channels);
        timeout(CONFIRM_TIMEOUT, connection.subscribe(names)).await.map_err(|_| Lost::Silent)??;
        Ok(())
    }

    /// Leaves the channels that nobody has come back to.
    async fn unsubscribe(&self, connection: &mut MultiplexedConnection) -> Result<(), Lost> {
        loop {
            let channels = self.wanted.next_to_unsubscribe();
            if channels.is_empty() {
                return Ok(());
            }
            let leaving = connection.unsubscribe(self.names(&channels));
            timeout(CONFIRM_TIMEOUT, leaving).await.map_err(|_| Lost::Silent)??;
        }
    }

    fn names(&self, channels: &[Channel]) -> Vec<String> {
        channels.iter().map(|channel| format!("{}{channel}", self.prefix)).collect()
    }

    /// Publishes to the node itself, again and again, the way everybody publishes. Returns when
    /// what Redis has taken no longer comes back.
    async fn probe(&self, signals: &Signals) -> Lost {
        let mut seen = Instant::now();
        for number in 1.. {
            let sent = Instant::now();
            let payload = Publication::bare(Bytes::from(number.to_string()));
            let receipt = self.queue.push(Channel::of_node(self.node), payload);
            match timeout(PROBE_TIMEOUT, signals.probed(number, receipt)).await {
                Ok(true) => {
                    seen = Instant::now();
                    telemetry::broker_probed(sent.elapsed());
                    self.state.set(Part::Probe, true);
                }
                // Redis did not take it: that is for the publisher to mend.
                Ok(false) => {
                    seen = Instant::now();
                    self.state.set(Part::Probe, false);
                }
                Err(_) => self.state.set(Part::Probe, false),
            }
            if seen.elapsed() >= SILENCE_MAX {
                return Lost::Silent;
            }
            sleep(PROBE_INTERVAL.saturating_sub(sent.elapsed())).await;
        }
        Lost::Silent
    }
}

impl Signals {
    fn came_back(&self, payload: &[u8]) {
        let number = std::str::from_utf8(payload).ok().and_then(|digits| digits.parse().ok());
        self.probe.fetch_max(number.unwrap_or(0), Ordering::Relaxed);
        self.probed.notify_one();
    }

    /// True once the probe is back, false when it could not be published.
    async fn probed(&self, number: u64, receipt: Receipt) -> bool {
        if receipt.await.is_err() {
            return false;
        }
        while self.probe.load(Ordering::Relaxed) < number {
            self.probed.notified().await;
        }
        true
    }
}

/// Why a connection is given up.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("redis closed the connection")]
    Disconnected,
    #[error("redis is connected but silent")]
    Silent,
    #[error(transparent)]
    Redis(#[from] ::redis::RedisError),
}

/// Channel and payload of a `message` push.
fn message(data: Vec<Value>) -> Option<(Vec<u8>, Bytes)> {
    match <[Value; 2]>::try_from(data).ok()? {
        [Value::BulkString(channel), Value::BulkString(payload)] => Some((channel, payload.into())),
        _ => None,
    }
}

fn channel_name<'a>(name: &'a [u8], prefix: &str) -> Option<&'a str> {
    std::str::from_utf8(name.strip_prefix(prefix.as_bytes())?).ok()
}
