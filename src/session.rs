//! One client's conversation, first frame to last: one task, one `select!`.
//!
//! The rules without I/O are in [`state`]: what a command asks for, when a ping is due. Here they
//! meet the socket, the hub and the clock.

mod again;
mod bearer;
mod beginning;
mod config;
mod context;
mod history;
mod in_flight;
mod presence;
mod rates;
mod rights;
mod state;
mod users;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::time::{Instant, sleep_until};

use self::again::Again;
pub use self::beginning::{Beginning, Standing};
pub use self::config::Config;
pub use self::context::{Context, Parts};
use self::in_flight::{Done, InFlight};
pub use self::rights::TooMany;
use self::state::{Action, Beat, State};
pub use self::users::{Entered, Refusal, Users};
use crate::auth::access::Right;
use crate::broker::{TOO_LARGE, Unavailable};
use crate::close::Close;
use crate::drain;
use crate::frame;
use crate::hub::{Interest, Membership, Subscriber, Subscription, Word};
use crate::outbound::{Full, Outbound, Wire};
use crate::presence::Present;
use crate::protocol::{Code, Message, Protocol, Push, Reply, ReplyError};
use crate::publication::{Channel, Position, Publication};
use crate::telemetry;

/// What a session needs of a transport.
pub trait Connection: Send {
    /// What happens next on the socket. Writes what the outbound queue holds meanwhile.
    ///
    /// Cancel safe: what was read or half written is kept. With `reading` off, nothing new is read,
    /// so that the client's own socket holds it back.
    fn poll_event(
        &mut self,
        cx: &mut TaskContext<'_>,
        outbound: &Outbound,
        reading: bool,
    ) -> Poll<Event>;

    /// Says why, waits a bounded time for the client to agree, and is gone.
    fn close(&mut self, close: Close, outbound: &Outbound) -> impl Future<Output = ()> + Send;
}

/// What happens on a socket.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    Message(Message),
    Ping(Bytes),
    Pong(Bytes),
    /// The client sent a close frame; nothing follows it.
    Close(Option<u16>),
    /// The client broke a rule; nothing after it can be understood.
    Violation(Close),
    /// The node's settings have changed, or the session is asked to leave.
    Nudge,
    /// The connection is to end for this reason.
    End(Close),
}

/// A channel that the session listens to.
struct Joined {
    subscription: Subscription,
    /// Where the channel's rule keeps presence.
    present: Option<Box<Present>>,
}

/// How long a session that leaves waits for its own last publications to come back.
const ECHO_TIMEOUT: Duration = Duration::from_millis(500);

/// How often it looks.
const ECHO_INTERVAL: Duration = Duration::from_millis(2);

/// A leaving session's wait for answers, and for its own publications.
struct Waiting {
    since: Instant,
    until: Instant,
}

/// One client's conversation.
pub struct Session {
    context: Arc<Context>,
    outbound: Arc<Outbound>,
    state: State,
    subscriptions: Vec<Joined>,
    in_flight: InFlight,
    /// The client said its last word, or one that cannot be understood, or was told to go: what it
    /// asked for before is still seen through.
    leaving: Option<Close>,
    /// How many of its own publications are to come back to it, or have. Wraps around.
    echoes_due: u32,
    /// Tokens in a row that were not accepted.
    bad_tokens: u8,
    /// Bytes that were queued for it at the last heartbeat.
    owed: usize,
    /// Boxed, as most sessions stay.
    waiting: Option<Box<Waiting>>,
    _membership: Membership,
}

impl Session {
    /// The label under which it is counted.
    pub fn protocol(&self) -> telemetry::Protocol {
        self.state.protocol().encoding().label()
    }

    /// The queue to its socket.
    pub fn outbound(&self) -> &Arc<Outbound> {
        &self.outbound
    }

    /// Lets what the hub delivers be written without waking this session.
    pub fn attach(&self, wire: Arc<dyn Wire>) {
        self.outbound.attach(wire);
    }

    /// Largest message its client may send.
    pub fn message_bytes_max(&self) -> usize {
        self.context.config.message_bytes_max
    }

    /// Converses until one side ends it.
    ///
    /// Inputs: the broker's answers to what the client asked; the broker's having room again; the
    /// socket, which also writes the outbound queue; the heartbeat's timer. In this order, so that
    /// answers that came together leave in one write, and a pong that has come counts before its
    /// lateness. Each arm is cancel safe: the timer and what is in flight are kept outside the loop,
    /// the connection keeps what it has half read or written.
    pub async fn run(mut self: Box<Self>, connection: &mut impl Connection) -> Close {
        self.greet();
        if matches!(self.state.protocol(), Protocol::Json) {
            self.subscribe_listed();
        }
        let heartbeat = sleep_until(self.state.next_beat());
        tokio::pin!(heartbeat);
        let close = loop {
            let broker = self.context.hub.broker();
            let held_back = !broker.has_room();
            // A client that does not take what it has missed gets no more of that kind.
            let owes = self.outbound.has_backlog();
            // Nor does one that was told to go get anything more done.
            let stays = self.leaving.is_none() && self.outbound.closing().is_none();
            let reading = stays && self.in_flight.has_room() && !held_back && !owes;
            tokio::select! {
                biased;
                done = self.in_flight.next(), if !self.in_flight.is_empty() => {
                    self.finish(done);
                    // A token may have brought another end.
                    if heartbeat.deadline() > self.state.next_beat() {
                        heartbeat.as_mut().reset(self.state.next_beat());
                    }
                }
                () = async { broker.room().await }, if held_back => {}
                event = poll_fn(|cx| connection.poll_event(cx, &self.outbound, reading)) => {
                    if let Some(close) = self.handle(event) {
                        break close;
                    }
                    // New settings may have brought another end.
                    if heartbeat.deadline() > self.state.next_beat() {
                        heartbeat.as_mut().reset(self.state.next_beat());
                    }
                }
                () = poll_fn(|cx| self.outbound.poll_backlog(cx)), if owes => {}
                () = &mut heartbeat, if self.outbound.closing().is_none() => {
                    let owed = self.outbound.bytes();
                    if !reading && (!owes || owed < self.owed) {
                        // What we do not read we cannot miss. Who takes nothing of what it has missed
                        // is dead all the same.
                        self.state.heard(Instant::now());
                    }
                    self.owed = owed;
                    self.beat();
                    heartbeat.as_mut().reset(self.state.next_beat());
                }
            }
            if let Some(close) = self.leaving
                && self.outbound.closing().is_none()
            {
                match self.wait_to_leave() {
                    Some(look) => heartbeat.as_mut().reset(look),
                    None => self.leave(close),
                }
            }
        };
        // What others send from here on is for nobody.
        self.subscriptions.clear();
        // In a box, because a task is as large as the largest thing it ever waits for.
        Box::pin(connection.close(close, &self.outbound)).await;
        close
    }

    /// When a session that leaves is to look again whether it may. None: now, as everything that its
    /// client asked for is answered, and everything it published has come back to it that will. The
    /// broker may answer a publication a moment before it brings it.
    fn wait_to_leave(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let timeout = match self.leaving.and_then(Close::reconnects_after) {
            // The node leaves too, and has said when it will be gone.
            Some(_) => self.context.leave_timeout.min(drain::LEAVE_MAX),
            None => self.context.leave_timeout,
        };
        let begin = || Box::new(Waiting { since: now, until: now + timeout });
        let Waiting { until, .. } = &mut **self.waiting.get_or_insert_with(begin);
        let mut look = *until;
        if self.in_flight.is_empty() {
            *until = (*until).min(now + ECHO_TIMEOUT);
            let missing = self.echoes_due.wrapping_sub(self.outbound.echoes()) as i32;
            if missing <= 0 {
                return None;
            }
            look = now + ECHO_INTERVAL;
        }
        (now < *until).then_some(look)
    }

    /// Says when to come back, where the client is told, and ends.
    fn leave(&self, close: Close) {
        let waited = self.waiting.as_ref().map(|it| it.since.elapsed()).unwrap_or_default();
        let reconnect = close
            .reconnects_after()
            .map(|after| drain::left(after, waited, rand::random()))
            .map(|after| Push::Reconnect { after, reason: close.label() })
            .and_then(|push| self.state.protocol().encoding().push(&push));
        if let Some(reconnect) = reconnect {
            // Where there is no room for it, the close itself says enough.
            let _ = self.outbound.push_own(reconnect);
        }
        self.outbound.close(close);
    }

    fn greet(&mut self) {
        let welcome = Push::Welcome {
            session: self.outbound.session().to_string(),
            node: self.context.node.to_string(),
            ping_interval_ms: self.context.config.ping_interval.as_millis() as u64,
        };
        if let Some(frame) = self.state.protocol().encoding().push(&welcome) {
            self.push(frame);
        }
    }

    /// Some: the conversation is over.
    fn handle(&mut self, event: Event) -> Option<Close> {
        let now = Instant::now();
        if event != Event::Nudge {
            self.state.heard(now);
        }
        match event {
            Event::Message(message) => self.message(message, now),
            Event::Ping(payload) => {
                self.push(frame::pong(&payload));
                self.leaving = self.leaving.or(self.state.count_frame(now));
            }
            Event::Pong(payload) => {
                if let Some(round_trip) = self.state.pong(&payload, now) {
                    telemetry::pong_received(round_trip);
                }
            }
            Event::Nudge => match self.outbound.asked_to_leave() {
                Some(close) => self.leaving = self.leaving.or(Some(close)),
                None => self.follow_settings(),
            },
            Event::Close(code) => self.leaving = Some(Close::Client(code)),
            Event::Violation(close) => self.leaving = Some(close),
            Event::End(close) => return Some(close),
        }
        None
    }

    fn message(&mut self, message: Message, now: Instant) {
        let subscribed = self.subscriptions.len() + self.in_flight.subscribing();
        for action in self.state.message(
            message,
            subscribed,
            |channel| {
                self.subscriptions.iter().any(|joined| joined.subscription.channel() == channel)
            },
            now,
        ) {
            match action {
                Action::Publish { id, channel, publication } => {
                    let mut own = self.subscriptions.iter().map(|joined| &joined.subscription);
                    let own = own.find(|it| *it.channel() == channel);
                    let echo = own.is_some_and(Subscription::echo);
                    self.echoes_due = self.echoes_due.wrapping_add(u32::from(echo));
                    let mut publication = self.signed(publication);
                    let trace = telemetry::publication_received(
                        self.protocol(),
                        &channel,
                        &mut publication,
                    );
                    let receipt = self.context.hub.publish(channel, publication);
                    self.in_flight.publish(id, receipt, now, trace);
                }
                Action::Subscribe { id, channel, since, echo } => {
                    let interest = self.context.hub.interest(channel, since);
                    self.in_flight.subscribe(id, interest, echo);
                }
                Action::SubscribeAgain { id, channel, since } => {
                    self.subscribe_again(id, channel, since);
                }
                Action::History { id, channel, since, limit } => {
                    let reading =
                        history::read(self.context.hub.clone(), id, channel, since, limit);
                    self.in_flight.ask(Box::pin(reading.map(Some)));
                }
                Action::Presence { id, channel } => {
                    let (presence, rules) = (&self.context.presence, self.context.hub.rules());
                    let reading = presence::read(presence.clone(), rules.clone(), id, channel);
                    self.in_flight.ask(Box::pin(reading.map(Some)));
                }
                Action::Authenticate { id, token } => self.authenticate(id, token),
                Action::Unsubscribe(channel) => {
                    // What was published there may no longer come back: none is waited for.
                    self.echoes_due = self.outbound.echoes();
                    self.subscriptions.retain(|joined| *joined.subscription.channel() != channel);
                }
                Action::Reply(reply) => self.reply(&reply),
                Action::Close(close) => {
                    self.leaving = Some(close);
                    return;
                }
            }
        }
    }

    /// Says who sent it and when.
    fn signed(&self, publication: Publication) -> Publication {
        let (session, user) = (Some(self.outbound.session()), self.state.bearer().user());
        Publication { session, user, ..publication.sent_now() }
    }

    /// The broker has answered the oldest of what was asked.
    fn finish(&mut self, done: Done) {
        match done {
            Done::Published { id, started, trace, answer } => {
                let told = answer.map_err(|why| why.0);
                telemetry::publication_answered(trace, started.elapsed(), told);
                match answer {
                    Ok(position) => self.reply(&Reply::Published { id, position }),
                    Err(unavailable) => {
                        // Nobody knows what comes back of those in flight: none is waited for.
                        self.echoes_due = self.outbound.echoes();
                        self.unavailable(id, None, unavailable);
                    }
                }
            }
            Done::Answered(reply) => reply.iter().for_each(|reply| self.reply(reply)),
            Done::Authenticated { id, answer } => self.authenticated(id, answer),
            Done::Subscribed { id, interest, echo, answer } => match answer {
                Ok(()) => {
                    // The rules may have changed while it was waited for.
                    if let Err(denied) = self.state.check(Right::Subscribe, interest.channel()) {
                        self.reply(&rights::denial(id, interest.channel(), denied));
                        return;
                    }
                    let channel = interest.channel().clone();
                    let subscriber = self.subscriber(echo);
                    self.subscribe(interest, subscriber, |standing| {
                        let Standing { position, recovered } = standing;
                        Some(Reply::Subscribed {
                            id,
                            channel: channel.clone(),
                            position,
                            recovered,
                        })
                    });
                }
                Err(unavailable) => {
                    self.unavailable(id, Some(interest.channel().to_string()), unavailable);
                }
            },
        }
    }

    fn unavailable(&mut self, id: Option<i64>, channel: Option<String>, why: Unavailable) {
        let (code, close) = match why {
            TOO_LARGE => (Code::TooLarge, Close::TooLarge),
            _ => (Code::Unavailable, Close::Unavailable),
        };
        let error = ReplyError { id, channel, code, message: why.to_string() };
        match self.state.protocol() {
            // It cannot be told which frame was lost, so the connection says it by its end.
            Protocol::Plain { .. } => {
                self.outbound.close(close);
            }
            Protocol::Json => self.reply(&Reply::Error(error)),
        }
    }

    /// One that is told of gaps, where the protocol has words for them.
    fn subscriber(&self, echo: bool) -> Subscriber {
        let encoding = self.state.protocol().encoding();
        Subscriber { outbound: self.outbound.clone(), encoding, echo, closes_on_gap: false }
    }

    /// Adds it to the channel's subscribers, with the `answer` and what it missed before anything
    /// else.
    fn subscribe(
        &mut self,
        interest: Interest,
        subscriber: Subscriber,
        answer: impl Fn(Standing) -> Option<Reply>,
    ) -> Standing {
        let protocol = self.state.protocol().clone();
        let Subscriber { encoding, echo, closes_on_gap, .. } = subscriber;
        let channel = interest.channel().clone();
        let mut standing = Standing::default();
        let subscription = interest.subscribe(subscriber, &mut |word| match word {
            Word::Subscribed { position, recovered } => {
                standing = Standing { position, recovered };
                if let Some(recovered) = recovered {
                    telemetry::history_resumed(recovered);
                }
                if let Some(frame) = answer(standing).and_then(|reply| protocol.reply(&reply)) {
                    self.push(frame);
                }
            }
            Word::Backlog(backlog) => {
                let session = Some(self.outbound.session());
                let due = backlog.iter().filter(|it| echo || it.publication.session != session);
                telemetry::publications_recovered(self.protocol(), due.clone().count());
                let frames = due.map(|kept| kept.frame(channel.as_str(), encoding));
                self.outbound.push_backlog(frames);
            }
            Word::Gap(reason) => {
                let gap = Push::Gap { channel: channel.as_str(), reason };
                match encoding.push(&gap) {
                    Some(frame) => self.push(frame),
                    None if closes_on_gap => _ = self.outbound.close(Close::Gap),
                    None => {}
                }
            }
        });
        let present = self.context.hub.rules().of(channel.as_str()).presence.then(|| {
            let user = self.state.bearer().user();
            Box::new(self.context.presence.enter(channel, user))
        });
        self.subscriptions.push(Joined { subscription, present });
        standing
    }

    fn subscribe_again(&mut self, id: Option<i64>, channel: Channel, since: Option<Position>) {
        let mut all = self.subscriptions.iter().map(|joined| &joined.subscription);
        // It was found there a moment ago.
        let Some(subscription) = all.find(|it| *it.channel() == channel) else { return };
        let again = Again { id, channel, since, subscription: subscription.number() };
        let (hub, outbound) = (self.context.hub.clone(), self.outbound.clone());
        let answer = again::answer(again, hub, outbound, self.state.protocol().clone());
        self.in_flight.ask(Box::pin(answer));
    }

    fn beat(&mut self) {
        match self.state.beat(Instant::now()) {
            Beat::Ping(payload) => self.push(frame::ping(&payload)),
            Beat::End(close) => {
                self.outbound.close(close);
            }
            Beat::Wait => {}
        }
    }

    fn reply(&mut self, reply: &Reply) {
        if let Some(frame) = self.state.protocol().reply(reply) {
            self.push(frame);
        }
    }

    fn push(&self, frame: Bytes) {
        if self.outbound.push_own(frame) == Err(Full) && self.outbound.close(Close::Slow) {
            telemetry::slow_consumer_closed();
        }
    }
}
