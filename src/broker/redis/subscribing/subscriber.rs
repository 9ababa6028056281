//! One master's subscribed connection: reconciles what is wanted with what Redis has confirmed,
//! hands on what Redis pushes, and finds out when Redis has gone silent.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::commands::Commands;
use super::connection_state::{ConnectionState, PinnedChannel};
use super::dispatcher::Dispatcher;
use super::probe::Prober;
use super::subscription_queue::SubscriptionQueue;
use crate::broker::redis::announcement;
use crate::broker::redis::connection::cause::Cause;
use crate::broker::redis::connection::feed::{self, Asking, Feed, FeedLost};
use crate::broker::redis::connection::reconnecting::Reconnecting;
use crate::broker::redis::context::RedisContext;
use crate::broker::redis::lanes::lane::Lane;
use crate::broker::redis::revocation::calls as revocation;
use crate::broker::redis::rules::bypassed_history::BypassedHistory;
use crate::broker::redis::rules::installing::install;
use crate::broker::redis::secret;
use crate::broker::redis::state::LaneComponent;
use crate::telemetry;

/// How often what is due is looked for: channels to leave or to ask for again, waiters to answer.
const TICK: Duration = Duration::from_millis(100);

/// Listens for ever, whatever happens to the connection.
pub async fn run(lane: Arc<Lane>, context: Arc<RedisContext>) {
    let subscriber = RedisSubscriber { lane: &lane, context: &context };
    tokio::select! {
        never = subscriber.listen() => match never {},
        never = expire(&lane.wanted) => match never {},
    }
}

/// Answers those who wait too long for a subscription, whether there is a connection or not.
async fn expire(wanted: &SubscriptionQueue) -> Infallible {
    loop {
        sleep(TICK).await;
        wanted.expire();
    }
}

struct RedisSubscriber<'a> {
    lane: &'a Lane,
    context: &'a RedisContext,
}

impl RedisSubscriber<'_> {
    async fn listen(&self) -> Infallible {
        let mut reconnecting = Reconnecting::default();
        loop {
            let Err(why) = match feed::open(&self.lane.server).await {
                Ok((feed, asking)) => {
                    reconnecting.connected();
                    self.serve(feed, asking).await
                }
                Err(why) => Err(why),
            };
            // Also what was left while there was no connection is forgotten.
            self.lane.wanted.lost();
            self.lane.state.fails(LaneComponent::Subscriber, &why);
            self.lane.state.fails(LaneComponent::Probe, &"");
            self.lane.request_refresh();
            sleep(reconnecting.next_pause()).await;
            telemetry::broker_reconnecting();
        }
    }

    /// Serves one connection until it fails.
    ///
    /// Inputs: what Redis says; Redis' taking what it is asked; a channel newly wanted; the tick at
    /// which channels are left or asked for again; the publisher's finding that the server is no
    /// master; the probe. Each arm is cancel safe.
    async fn serve(&self, mut feed: Feed, mut asking: Asking) -> Result<Infallible, FeedLost> {
        self.learn_secret(&mut feed, &mut asking).await?;
        let (commands, hearing) = (self.commands(), self.hearing());
        let mut course = self.begin(&mut asking);
        self.lane.state.works(LaneComponent::Subscriber);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let probing = self.prober(&course).run();
        let demoted = self.lane.demoted.notified();
        tokio::pin!(probing, demoted);
        loop {
            let mut answered = None;
            tokio::select! {
                read = feed.read(|said, more| match course.pong(&said) {
                    Some(number) => answered = Some(number),
                    None => hearing.dispatch(said, more, &mut course),
                }) => read?,
                written = asking.write(), if asking.is_waiting() => written?,
                () = self.lane.wanted.changed() => commands.subscribe(&mut asking, &mut course),
                _ = tick.tick() => self.tick(&mut asking, &mut course),
                () = &mut demoted => return Err(FeedLost::Replica),
                silent = &mut probing => return Err(silent),
            }
            if let Some(number) = answered {
                self.lane.wanted.answered(number);
                commands.subscribe(&mut asking, &mut course);
            }
        }
    }

    /// Asks for the secret that the server's functions sign with, before there is anything that they could
    /// have signed. Where Redis refuses the functions, channels without history work all the same.
    async fn learn_secret(&self, feed: &mut Feed, asking: &mut Asking) -> Result<(), FeedLost> {
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
                    let _ = install(self.context, self.lane, &BypassedHistory::default()).await;
                }
                Some(Cause::Busy | Cause::Moved) => {
                    return Err(FeedLost::Unready(String::from_utf8_lossy(&error).into_owned()));
                }
                _ => break,
            }
        }
        Ok(())
    }

    /// Asks for all that is to be subscribed.
    fn begin(&self, asking: &mut Asking) -> ConnectionState {
        let commands = self.commands();
        let own = commands.ask_own(asking);
        let kept = match self.context.is_visitor {
            // What nodes tell each other is not for it.
            true => Vec::new(),
            false => {
                [revocation::channel(), announcement::channel()].map(PinnedChannel::new).into()
            }
        };
        let mut course = ConnectionState::new(own, kept);
        course.kept.iter_mut().for_each(|kept| commands.keep(asking, kept));
        commands.subscribe(asking, &mut course);
        course
    }

    /// Leaves what nobody wants, asks again for what was refused, and keeps the probe where it is
    /// relayed, and what is always subscribed so.
    fn tick(&self, asking: &mut Asking, course: &mut ConnectionState) {
        let commands = self.commands();
        commands.unsubscribe(asking);
        self.lane.wanted.retry();
        self.lane.turns.due(Instant::now()).iter().for_each(|turn| self.hearing().turn(turn));
        if let Some(number) = self.lane.wanted.unanswered()
            && std::mem::take(&mut course.is_doubtful)
        {
            course.ping(asking, number);
        }
        commands.keep_all(asking, course);
    }

    fn commands(&self) -> Commands<'_> {
        Commands { lane: self.lane, context: self.context }
    }

    fn hearing(&self) -> Dispatcher<'_> {
        Dispatcher { lane: self.lane, context: self.context }
    }

    fn prober(&self, course: &ConnectionState) -> Prober<'_> {
        Prober {
            lane: self.lane,
            context: self.context,
            own: course.own.subscribe(),
            probed: course.probed.subscribe(),
        }
    }
}
