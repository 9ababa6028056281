//! The subscribed connection: reconciles what is wanted with what Redis has confirmed, hands on what
//! Redis pushes, and finds out when Redis has gone silent.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::feed::{self, Asking, Feed, Lost};
use super::header;
use super::link::Backoff;
use super::resp::Said;
use super::state::{Part, State};
use super::url::Server;
use super::wanted::Wanted;
use crate::broker::queue::Queue;
use crate::broker::{Event, Sink};
use crate::publication::{Channel, NodeId, Publication};
use crate::telemetry;

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
const RECONNECTED: &str = "broker_reconnected";
const TOO_LARGE: &str = "publication_too_large";

/// The task that owns the subscribed connection.
pub struct Subscriber {
    pub server: Server,
    pub prefix: Arc<str>,
    pub node: NodeId,
    pub sink: Sink,
    pub wanted: Arc<Wanted>,
    pub state: Arc<State>,
    /// Where probes go in: the same way as everybody's publications.
    pub queue: Queue,
}

impl Subscriber {
    /// Listens for ever, whatever happens to the connection.
    pub async fn run(self) {
        tokio::select! {
            never = self.listen() => match never {},
            never = self.expire() => match never {},
        }
    }

    async fn listen(&self) -> Infallible {
        let mut backoff = Backoff::default();
        loop {
            let Err(why) = match feed::open(&self.server).await {
                Ok((feed, asking)) => {
                    backoff.connected();
                    self.serve(feed, asking).await
                }
                Err(why) => Err(why),
            };
            // Also what was left while there was no connection is forgotten.
            self.wanted.lost();
            self.state.fails(Part::Subscriber, &why);
            self.state.fails(Part::Probe, &"");
            sleep(backoff.next()).await;
            telemetry::broker_reconnecting();
        }
    }

    /// Answers those who wait too long for a subscription, whether there is a connection or not.
    async fn expire(&self) -> Infallible {
        loop {
            sleep(TICK).await;
            self.wanted.expire();
        }
    }

    /// Serves one connection until it fails.
    ///
    /// Inputs: what Redis says; Redis' taking what it is asked; a channel newly wanted; the tick at
    /// which channels are left; the probe. Each arm is cancel safe.
    async fn serve(&self, mut feed: Feed, mut asking: Asking) -> Result<Infallible, Lost> {
        let probe_channel = Channel::of_node(self.node);
        let (probes, probed) = watch::channel(0);
        asking.ask("SUBSCRIBE", &self.names(std::slice::from_ref(&probe_channel)));
        let mut refusal = Refusal::default();
        self.subscribe(&mut asking, &refusal);
        self.state.works(Part::Subscriber);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let probing = self.probe(probed);
        tokio::pin!(probing);
        loop {
            tokio::select! {
                read = feed.read(|said, more| match said {
                    Said::Message { channel, payload } => {
                        let Some(channel) = self.channel(channel) else { return };
                        let publication = header::read(Bytes::copy_from_slice(payload));
                        if channel == probe_channel.as_str() {
                            probes.send_replace(number(&publication.payload));
                        } else {
                            (self.sink)(Event::Publication { channel, publication, more });
                        }
                    }
                    Said::Subscribed { channel } => {
                        if let Some(Ok(channel)) = self.channel(channel).map(Channel::new) {
                            self.confirm(channel);
                        }
                    }
                    Said::TooLarge { channel, .. } => {
                        if let Some(Ok(channel)) = self.channel(channel).map(Channel::new) {
                            (self.sink)(Event::Gap { channel: &channel, reason: TOO_LARGE });
                        }
                    }
                    Said::Error(error) => {
                        if refusal.came() {
                            let error = String::from_utf8_lossy(error);
                            telemetry::broker_refused("SUBSCRIBE", &error);
                        }
                    }
                    Said::Other => {}
                }) => read?,
                written = asking.write(), if asking.is_waiting() => written?,
                () = self.wanted.changed() => self.subscribe(&mut asking, &refusal),
                _ = tick.tick() => {
                    self.unsubscribe(&mut asking);
                    if refusal.is_due() {
                        self.ask_again(&mut asking, &mut refusal);
                    }
                }
                silent = &mut probing => return Err(silent),
            }
        }
    }

    /// The channel flows; if it was interrupted, that is told before what comes next.
    fn confirm(&self, channel: Channel) {
        let interrupted = self.wanted.confirm(&channel).then_some(RECONNECTED);
        (self.sink)(Event::Subscribed { channel: &channel, interrupted });
    }

    /// Asks for all that is wanted and not yet asked for.
    ///
    /// One channel a command after Redis has refused one: it refuses a whole command for one channel
    /// that it forbids.
    fn subscribe(&self, asking: &mut Asking, refusal: &Refusal) {
        loop {
            let channels = self.wanted.next_to_subscribe();
            if channels.is_empty() {
                return;
            }
            let together = if refusal.is_over() { channels.len() } else { 1 };
            for channels in channels.chunks(together) {
                asking.ask("SUBSCRIBE", &self.names(channels));
            }
        }
    }

    /// Asks again for what Redis refused, and lets go of what nobody wants of that any more.
    fn ask_again(&self, asking: &mut Asking, refusal: &mut Refusal) {
        for channel in self.wanted.abandon() {
            asking.ask("UNSUBSCRIBE", &self.names(&[channel]));
        }
        let channels = self.wanted.unconfirmed();
        if channels.is_empty() {
            *refusal = Refusal::default();
        }
        for channel in channels {
            asking.ask("SUBSCRIBE", &self.names(&[channel]));
        }
    }

    /// Leaves the channels that nobody has come back to.
    fn unsubscribe(&self, asking: &mut Asking) {
        loop {
            match self.wanted.next_to_unsubscribe() {
                none if none.is_empty() => return,
                channels => asking.ask("UNSUBSCRIBE", &self.names(&channels)),
            }
        }
    }

    fn names(&self, channels: &[Channel]) -> Vec<String> {
        channels.iter().map(|channel| format!("{}{channel}", self.prefix)).collect()
    }

    fn channel<'a>(&self, name: &'a [u8]) -> Option<&'a str> {
        std::str::from_utf8(name.strip_prefix(self.prefix.as_bytes())?).ok()
    }

    /// Publishes to the node itself, again and again, the way everybody publishes. Returns when
    /// what Redis has taken no longer comes back.
    async fn probe(&self, mut probed: watch::Receiver<u64>) -> Lost {
        let mut seen = Instant::now();
        for number in 1.. {
            let sent = Instant::now();
            let payload = Publication::bare(Bytes::from(number.to_string()));
            let receipt = self.queue.push(Channel::of_node(self.node), payload);
            if !matches!(timeout(PROBE_TIMEOUT, receipt).await, Ok(Ok(_))) {
                // Redis did not take it: that is for the publisher to mend.
                seen = Instant::now();
                self.state.fails(Part::Probe, &"");
            } else if timeout(PROBE_TIMEOUT, probed.wait_for(|it| *it >= number)).await.is_ok() {
                seen = Instant::now();
                telemetry::broker_probed(sent.elapsed());
                self.state.works(Part::Probe);
            } else {
                self.state.fails(Part::Probe, &"it took a publication and did not bring it back");
            }
            if seen.elapsed() >= SILENCE_MAX {
                return Lost::Silent;
            }
            sleep(PROBE_INTERVAL.saturating_sub(sent.elapsed())).await;
        }
        Lost::Silent
    }
}

/// When what Redis refused is asked for again: after a second, and ever less often.
#[derive(Default)]
struct Refusal {
    times: u32,
    due: Option<Instant>,
}

impl Refusal {
    const FIRST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(5);

    /// True for the first one since the last asking: only that is told.
    fn came(&mut self) -> bool {
        let first = self.due.is_none();
        if first {
            let pause = Self::FIRST * 2u32.pow(self.times.min(6));
            self.due = Some(Instant::now() + pause.min(Self::LONGEST));
            self.times += 1;
        }
        first
    }

    /// Has nothing been refused that is still wanted?
    fn is_over(&self) -> bool {
        self.times == 0
    }

    /// True once for each time it comes due.
    fn is_due(&mut self) -> bool {
        self.due.take_if(|due| *due <= Instant::now()).is_some()
    }
}

/// The number in a probe's payload.
fn number(payload: &[u8]) -> u64 {
    std::str::from_utf8(payload).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}
