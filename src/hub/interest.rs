//! A session's interest in a channel until it subscribes, and its subscription.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

use super::recent_publications::ResumeCheck;
use super::registry::Registry;
use super::resuming::{self, SubscribeEvent};
use super::state::HubState;
use super::subscribers::Subscriber;
use crate::broker::{Receipt, Unavailable};
use crate::publication::{Channel, ReplayStart};

/// How often an interest waits for a history read. After an interruption of the broker, the result of a read
/// may be dropped before the interest uses it.
const READS_MAX: u32 = 3;

/// How often, and how long each time, an interest waits for this node to reach the client's position: as long
/// as a busy node may be behind another one.
const POSITION_WAITS_MAX: u32 = 20;
const POSITION_WAIT: Duration = Duration::from_millis(25);

/// A requested channel. Resolves when the broker has confirmed it and, if the channel keeps history, when
/// this node knows the history's end and has the publications that were requested.
pub struct Interest {
    step: InterestStep,
    start: Option<ReplayStart>,
    reads: u32,
    position_waits: u32,
    claim: ChannelClaim,
}

enum InterestStep {
    Confirming(Receipt<()>),
    Opening(oneshot::Receiver<Result<(), Unavailable>>),
    Loading(oneshot::Receiver<Unavailable>),
    /// This node has not yet reached the position that another node delivered to the client.
    AwaitingPosition(Pin<Box<Sleep>>),
    Ready,
}

impl Interest {
    /// Subscribes the broker to the channel for as long as the interest or its subscription exists.
    pub(super) fn new(state: Arc<HubState>, channel: Channel, start: Option<ReplayStart>) -> Self {
        let receipt = state.registry.channels.add_interest(&channel, &*state.broker);
        let claim = ChannelClaim { state, channel };
        Self { step: InterestStep::Confirming(receipt), start, reads: 0, position_waits: 0, claim }
    }

    pub fn channel(&self) -> &Channel {
        &self.claim.channel
    }

    /// From where the channel's past was requested.
    pub fn start(&self) -> Option<ReplayStart> {
        self.start
    }

    /// Turns the interest into a subscription. `on_event` gets the position and the backlog before any publication
    /// is delivered.
    pub fn subscribe(
        self,
        subscriber: Subscriber,
        on_event: &mut dyn FnMut(SubscribeEvent<'_>),
    ) -> Subscription {
        let echo = subscriber.echo;
        let ChannelClaim { state, channel } = &self.claim;
        let number =
            resuming::add_subscriber(&state.registry, channel, subscriber, self.start, on_event);
        Subscription { number, echo, claim: self.claim }
    }

    fn opening(&self) -> InterestStep {
        match resuming::wait_open(self.claim.registry(), &self.claim.channel) {
            Some(opened) => InterestStep::Opening(opened),
            None => self.loading(),
        }
    }

    fn loading(&self) -> InterestStep {
        let Some(start) = self.start.filter(|_| self.reads < READS_MAX) else {
            return InterestStep::Ready;
        };
        match resuming::check_resume(self.claim.registry(), &self.claim.channel, start) {
            ResumeCheck::Yes | ResumeCheck::No => InterestStep::Ready,
            ResumeCheck::Ahead if self.position_waits < POSITION_WAITS_MAX => {
                InterestStep::AwaitingPosition(Box::pin(sleep(POSITION_WAIT)))
            }
            ResumeCheck::Ahead => InterestStep::Ready,
            ResumeCheck::Read(loaded) | ResumeCheck::Load(loaded) => InterestStep::Loading(loaded),
        }
    }
}

impl Future for Interest {
    type Output = Result<(), Unavailable>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let next = match &mut self.step {
                InterestStep::Confirming(receipt) => match ready!(Pin::new(receipt).poll(cx)) {
                    Ok(()) => self.opening(),
                    Err(why) => return Poll::Ready(Err(why)),
                },
                InterestStep::Opening(opened) => match ready!(Pin::new(opened).poll(cx)) {
                    Ok(Ok(())) => self.loading(),
                    Ok(Err(why)) => return Poll::Ready(Err(why)),
                    // The channel was dropped, which the claim prevents.
                    Err(_) => self.opening(),
                },
                InterestStep::Loading(loaded) => {
                    if let Ok(why) = ready!(Pin::new(loaded).poll(cx)) {
                        return Poll::Ready(Err(why));
                    }
                    self.reads += 1;
                    self.loading()
                }
                InterestStep::AwaitingPosition(pause) => {
                    ready!(pause.as_mut().poll(cx));
                    self.position_waits += 1;
                    self.loading()
                }
                InterestStep::Ready => return Poll::Ready(Ok(())),
            };
            self.step = next;
        }
    }
}

/// A session's entry among a channel's subscribers. The drop removes it.
pub struct Subscription {
    number: u64,
    echo: bool,
    claim: ChannelClaim,
}

impl Subscription {
    pub fn channel(&self) -> &Channel {
        &self.claim.channel
    }

    /// The number under which the outbound queue knows the subscription.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The session's entry. None: the channel is no longer in use.
    pub fn subscriber(&self) -> Option<Subscriber> {
        self.claim.registry().channels.subscriber(&self.claim.channel, self.number)
    }

    /// Sets whether the session gets private publications.
    pub fn set_reads_private(&self, reads_private: bool) {
        let ChannelClaim { channel, .. } = &self.claim;
        self.claim.registry().channels.set_reads_private(channel, self.number, reads_private);
    }

    /// Whether the session gets its own publications.
    pub fn echo(&self) -> bool {
        self.echo
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.claim.registry().remove_subscriber(&self.claim.channel, self.number);
    }
}

/// A claim on a channel: the broker stays subscribed while one exists. The drop releases it.
struct ChannelClaim {
    state: Arc<HubState>,
    channel: Channel,
}

impl ChannelClaim {
    fn registry(&self) -> &Registry {
        &self.state.registry
    }
}

impl Drop for ChannelClaim {
    fn drop(&mut self) {
        let HubState { registry, broker } = &*self.state;
        registry.channels.remove_interest(&self.channel, &**broker);
    }
}
