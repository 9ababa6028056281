//! One master's subscribed connection: reconciles what is wanted with what Redis has confirmed,
//! hands on what Redis pushes, and finds out when Redis has gone silent.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::course::{Course, Kept, OWN_INTERVAL};
use crate::broker::Event;
use crate::broker::redis::announcement;
use crate::broker::redis::connection::feed::{self, Asking, Feed, Lost};
use crate::broker::redis::connection::link::Backoff;
use crate::broker::redis::connection::resp::Said;
use crate::broker::redis::context::Context;
use crate::broker::redis::header;
use crate::broker::redis::lanes::lane::Lane;
use crate::broker::redis::lanes::slot::Slot;
use crate::broker::redis::presence::calls as presence;
use crate::broker::redis::publishing::verdict::Cause;
use crate::broker::redis::revocation::calls as revocation;
use crate::broker::redis::rules::routing::{PastHistory, Turn};
use crate::broker::redis::secret;
use crate::broker::redis::state::Part;
use crate::broker::redis::subscribing::probe::{self, OwnChannel, Prober};
use crate::publication::Channel;
use crate::telemetry;

/// How often what is due is looked for: channels to leave or to ask for again, waiters to answer.
const TICK: Duration = Duration::from_millis(100);

/// Commands to leave channels that are asked at a tick: who leaves can wait, others may not.
const LEAVES_PER_TICK_MAX: usize = 4;

/// Longest pause before one that was refused is asked for again; each refusal doubles it.
const OWN_PAUSE_MAX: Duration = Duration::from_secs(30);

/// What a gap is put down to.
const RECONNECTED: &str = "broker_reconnected";
const RULES_CHANGED: &str = "rules_changed";
const TOO_LARGE: &str = "publication_too_large";

/// Listens for ever, whatever happens to the connection.
pub async fn run(lane: Arc<Lane>, context: Arc<Context>) {
    let subscriber = Subscriber { lane, context };
    tokio::select! {
        never = subscriber.listen() => match never {},
        never = expire(&subscriber.lane.wanted) => match never {},
    }
}

/// Answers those who wait too long for a subscription, whether there is a connection or not.
pub async fn expire(wanted: &crate::broker::redis::subscribing::wanted::Wanted) -> Infallible {
    loop {
        sleep(TICK).await;
        wanted.expire();
    }
}

struct Subscriber {
    lane: Arc<Lane>,
    context: Arc<Context>,
}

impl Subscriber {
    async fn listen(&self) -> Infallible {
        let mut backoff = Backoff::default();
        loop {
            let Err(why) = match feed::open(&self.lane.server).await {
                Ok((feed, asking)) => {
                    backoff.connected();
                    self.serve(feed, asking).await
                }
                Err(why) => Err(why),
            };
            // Also what was left while there was no connection is forgotten.
            self.lane.wanted.lost();
            self.lane.state.fails(Part::Subscriber, &why);
            self.lane.state.fails(Part::Probe, &"");
            self.lane.doubt();
            sleep(backoff.next()).await;
            telemetry::broker_reconnecting();
        }
    }

    /// Serves one connection until it fails.
    ///
    /// Inputs: what Redis says; Redis' taking what it is asked; a channel newly wanted; the tick at
    /// which channels are left or asked for again; the publisher's finding that the server is no
    /// master; the probe. Each arm is cancel safe.
    async fn serve(&self, mut feed: Feed, mut asking: Asking) -> Result<Infallible, Lost> {
        self.learn_secret(&mut feed, &mut asking).await?;
        let own = self.ask_own(&mut asking);
        let mut course = Course {
            is_doubtful: false,
            pings: VecDeque::new(),
            own_asked: Instant::now(),
            own: watch::Sender::new(own),
            probed: watch::Sender::new(0),
            kept: match self.context.is_visitor {
                // What nodes tell each other is not for it.
                true => Vec::new(),
                false => [revocation::channel(), announcement::channel()].map(Kept::new).into(),
            },
        };
        course.kept.iter_mut().for_each(|kept| self.keep(&mut asking, kept));
        self.subscribe(&mut asking, &mut course);
        self.lane.state.works(Part::Subscriber);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let prober = Prober {
            lane: &self.lane,
            context: &self.context,
            own: course.own.subscribe(),
            probed: course.probed.subscribe(),
        };
        let probing = prober.run();
        let demoted = self.lane.demoted.notified();
        tokio::pin!(probing, demoted);
        loop {
            let mut answered = None;
            tokio::select! {
                read = feed.read(|said, more| match course.pong(&said) {
                    Some(number) => answered = Some(number),
                    None => self.hear(said, more, &mut course),
                }) => read?,
                written = asking.write(), if asking.is_waiting() => written?,
                () = self.lane.wanted.changed() => self.subscribe(&mut asking, &mut course),
                _ = tick.tick() => self.tick(&mut asking, &mut course),
                () = &mut demoted => return Err(Lost::Replica),
                silent = &mut probing => return Err(silent),
            }
            if let Some(number) = answered {
                self.lane.wanted.answered(number);
                self.subscribe(&mut asking, &mut course);
            }
        }
    }

    /// Asks for the secret that the server's functions sign with, before there is anything that they could
    /// have signed. Where Redis refuses the functions, channels without history work all the same.
    async fn learn_secret(&self, feed: &mut Feed, asking: &mut Asking) -> Result<(), Lost> {
        for is_again in [false, true] {
            let error = match feed::ask(feed, asking, &secret::QUESTION).await? {
                Ok(answer) => {
                    self.lane.learn(&self.context.secrets, &answer);
                    return Ok(());
                }
                Err(error) => error,
            };
            match Cause::of_line(&error) {
                Some(Cause::NoFunction) if !is_again && !self.context.is_visitor => {
                    // What is wrong with it the publisher tells: it does the same.
                    let _ = self.context.install(&self.lane, &PastHistory::default()).await;
                }
                Some(Cause::Busy | Cause::Moved) => {
                    return Err(Lost::Unready(String::from_utf8_lossy(&error).into_owned()));
                }
                _ => break,
            }
        }
        Ok(())
    }

    fn hear(&self, said: Said<'_>, more: bool, course: &mut Course) {
        match said {
            Said::Message { channel, payload } => {
                let Some(channel) = self.context.channel(channel) else { return };
                if revocation::is_channel(channel) {
                    if let Some((user, before)) = revocation::told(payload) {
                        (self.context.sink)(Event::Revoked { user, before });
                    }
                    return;
                }
                let publication = header::read(Bytes::copy_from_slice(payload), |key| {
                    self.context.secrets.knows(key)
                });
                if announcement::is_channel(channel) {
                    if let Some(announcement) = announcement::told(&publication.payload) {
                        (self.context.sink)(Event::Announced(announcement));
                    } else if announcement::told_news(&publication.payload)
                        .is_some_and(|node| node != self.context.node)
                    {
                        self.context.following.news.notify_one();
                    }
                    return;
                }
                if Channel::is_probe(channel) {
                    course.probed.send_replace(probe::number(&publication.payload));
                    return;
                }
                if let Some(told) = self.context.presence.channel_of(channel) {
                    if let Some((user, change)) = presence::change(&publication.payload) {
                        self.context.hand_on(Event::Presence { channel: told, user, change });
                    }
                    return;
                }
                self.context.hand_on(Event::Publication { channel, publication, more });
            }
            Said::Subscribed { channel } => {
                course.own_is(channel, true, &self.context);
                if let Some(kept) = course.kept(channel, &self.context) {
                    kept.confirmed = true;
                    kept.pause = OWN_INTERVAL;
                    if revocation::is_channel(kept.channel.as_str()) {
                        self.context.revoking.subscribed.notify_one();
                    }
                    if announcement::is_channel(kept.channel.as_str()) {
                        // What was said before went past this node.
                        self.context.following.news.notify_one();
                    }
                }
                if let Some(channel) = self.channel(channel)
                    && let Some(interrupted) = self.lane.wanted.confirm(&channel)
                {
                    // While its slot comes here, others may have appended to its history before.
                    let imported = self.imports(&channel);
                    let behind = imported && self.context.keeps_history(channel.as_str());
                    if !imported || interrupted || behind {
                        let interrupted = (interrupted || behind).then_some(RECONNECTED);
                        self.context.hand_on(Event::Subscribed { channel: &channel, interrupted });
                    }
                }
            }
            Said::Unsubscribed { channel } => {
                course.own_is(channel, false, &self.context);
                if let Some(kept) = course.kept(channel, &self.context) {
                    kept.confirmed = false;
                    self.lane.doubt();
                }
                if let Some(channel) = self.channel(channel)
                    && self.lane.wanted.interrupted(&channel)
                {
                    // The channel's slot has gone to another master.
                    self.lane.doubt();
                }
            }
            Said::TooLarge { channel, .. } => {
                if let Some(channel) = self.channel(channel) {
                    self.context.hand_on(Event::Gap { channel: &channel, reason: TOO_LARGE });
                }
            }
            Said::Error(error) => {
                course.is_doubtful = true;
                match Cause::of_line(error) {
                    Some(Cause::Moved) => self.lane.doubt(),
                    _ => self.refused(error, course),
                }
            }
            Said::Greeted { .. } | Said::Echoed(_) | Said::Other => {}
        }
    }

    /// Redis refuses to subscribe something. It does not say what, but what of the nodes' own is not confirmed
    /// is among it.
    fn refused(&self, error: &[u8], course: &mut Course) {
        let refused = course.kept.iter_mut().filter(|kept| kept.asked.is_some() && !kept.confirmed);
        let names: Vec<_> = refused
            .map(|kept| {
                kept.pause = (kept.pause * 2).min(OWN_PAUSE_MAX);
                self.context.name(&kept.channel)
            })
            .collect();
        let error = String::from_utf8_lossy(error);
        telemetry::broker_refused("SUBSCRIBE", &names.join(", "), &error);
    }

    /// Leaves what nobody wants, asks again for what was refused, and keeps the probe where it is
    /// relayed, and what is always subscribed so.
    fn tick(&self, asking: &mut Asking, course: &mut Course) {
        for _ in 0..LEAVES_PER_TICK_MAX {
            let channels = self.lane.wanted.next_to_unsubscribe();
            if channels.is_empty() {
                break;
            }
            self.ask(asking, Verb::Unsubscribe, &channels.iter().collect::<Vec<_>>());
        }
        self.lane.wanted.retry();
        self.lane.turns.due(Instant::now()).iter().for_each(|turn| self.turn(turn));
        if let Some(number) = self.lane.wanted.unanswered()
            && std::mem::take(&mut course.is_doubtful)
        {
            course.ping(asking, number);
        }
        let OwnChannel { channel, confirmed } = course.own.borrow().clone();
        let waits = !confirmed && course.own_asked.elapsed() >= OWN_INTERVAL;
        let is_over = waits || !self.context.map.owns(&self.lane, &channel);
        if is_over && self.context.map.has_slots(&self.lane) {
            course.own_asked = Instant::now();
            course.own.send_replace(self.ask_own(asking));
        }
        course.kept.iter_mut().for_each(|kept| self.keep(asking, kept));
    }

    /// Has the hub look again at channels whose history begins or ends by other rules than the node's own.
    fn turn(&self, turn: &Turn) {
        let own = self.context.library.get().rules();
        let is_meant = |channel: &Channel| {
            let name = channel.as_str();
            !Channel::is_internal(name) && own.kept_since(name).is_some() && turn.is_about(name)
        };
        for channel in self.lane.wanted.confirmed(is_meant) {
            let interrupted = Some(RULES_CHANGED);
            (self.context.sink)(Event::Subscribed { channel: &channel, interrupted });
        }
    }

    /// Asks for a channel that is always subscribed, where it is the lane's and not confirmed.
    fn keep(&self, asking: &mut Asking, kept: &mut Kept) {
        let is_due = kept.asked.is_none_or(|asked| asked.elapsed() >= kept.pause);
        let is_here = |channel| self.context.map.owns(&self.lane, channel) || self.imports(channel);
        if !kept.confirmed && is_due && is_here(&kept.channel) {
            kept.asked = Some(Instant::now());
            self.ask(asking, Verb::Subscribe, &[&kept.channel]);
        }
    }

    /// Asks for a channel of the node's own, for the probe.
    fn ask_own(&self, asking: &mut Asking) -> OwnChannel {
        if !self.context.map.has_slots(&self.lane) {
            return OwnChannel {
                channel: Channel::of_probe(self.context.node, 0),
                confirmed: false,
            };
        }
        let channel = self.context.map.probe(&self.lane, self.context.node);
        self.ask(asking, Verb::Subscribe, &[&channel]);
        OwnChannel { channel, confirmed: false }
    }

    /// Asks for what is wanted and not yet asked for, as much as may be asked at once.
    fn subscribe(&self, asking: &mut Asking, course: &mut Course) {
        while let Some(batch) = self.lane.wanted.next_to_subscribe() {
            self.ask(asking, Verb::Subscribe, &batch.together.iter().collect::<Vec<_>>());
            for channel in &batch.alone {
                self.ask(asking, Verb::Subscribe, &[channel]);
            }
            // Redis answers in order: with this it has answered all of the batch.
            course.ping(asking, batch.number);
        }
    }

    /// One command for all; on a cluster one for each slot.
    fn ask(&self, asking: &mut Asking, verb: Verb, channels: &[&Channel]) {
        let mut by_slot: BTreeMap<Slot, Vec<String>> = BTreeMap::new();
        for channel in channels {
            let slot = self.context.map.slot(channel);
            by_slot.entry(slot).or_default().push(self.context.name(channel));
        }
        let command = match (verb, self.context.map.is_sharded()) {
            (Verb::Subscribe, false) => "SUBSCRIBE",
            (Verb::Unsubscribe, false) => "UNSUBSCRIBE",
            (Verb::Subscribe, true) => "SSUBSCRIBE",
            (Verb::Unsubscribe, true) => "SUNSUBSCRIBE",
        };
        for (slot, names) in &by_slot {
            if self.context.map.imports(&self.lane, *slot) {
                asking.ask("ASKING", &[]);
            }
            asking.ask(command, names);
        }
    }

    /// Is the channel's slot on its way to this master?
    fn imports(&self, channel: &Channel) -> bool {
        self.context.map.imports(&self.lane, self.context.map.slot(channel))
    }

    /// The channel of a name in Redis.
    fn channel(&self, name: &[u8]) -> Option<Channel> {
        let name = self.context.channel(name)?;
        match Channel::is_internal(name) {
            true => Some(Channel::internal(name)),
            false => Channel::new(name).ok(),
        }
    }
}

#[derive(Clone, Copy)]
enum Verb {
    Subscribe,
    Unsubscribe,
}
