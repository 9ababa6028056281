//! One master's subscribed connection: reconciles the wanted channels with those that Redis has
//! confirmed, dispatches pushes, and detects when Redis has gone silent.

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
use crate::broker::redis::connection::feed::{self, CommandWriter, Feed, FeedLost};
use crate::broker::redis::connection::reconnecting::Reconnecting;
use crate::broker::redis::context::RedisContext;
use crate::broker::redis::lanes::lane::Lane;
use crate::broker::redis::revocation::calls as revocation;
use crate::broker::redis::rules::bypassed_history::BypassedHistory;
use crate::broker::redis::rules::installing::install;
use crate::broker::redis::secret;
use crate::broker::redis::state::LaneComponent;
use crate::telemetry;

/// How often due work is done: channels to unsubscribe or to request again, subscribers to answer.
const TICK: Duration = Duration::from_millis(100);

/// Runs without end, whatever happens to the connection.
pub async fn run(lane: Arc<Lane>, context: Arc<RedisContext>) {
    let subscriber = RedisSubscriber { lane: &lane, context: &context };
    tokio::select! {
        never = subscriber.listen() => match never {},
        never = expire(&lane.subscriptions) => match never {},
    }
}

/// Fails subscriptions that have waited too long, with or without a connection.
async fn expire(subscriptions: &SubscriptionQueue) -> Infallible {
    loop {
        sleep(TICK).await;
        subscriptions.expire();
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
                Ok((feed, writer)) => {
                    reconnecting.connected();
                    self.serve(feed, writer).await
                }
                Err(why) => Err(why),
            };
            // This also forgets channels that lost their last subscriber while there was no
            // connection.
            self.lane.subscriptions.connection_lost();
            self.lane.state.fails(LaneComponent::Subscriber, &why);
            self.lane.state.fails(LaneComponent::Probe, &"");
            self.lane.request_refresh();
            sleep(reconnecting.next_pause()).await;
            telemetry::broker_reconnecting();
        }
    }

    /// Serves one connection until it fails.
    ///
    /// Inputs: messages from Redis; writability of the socket; new wanted channels; the tick
    /// at which channels are unsubscribed or requested again; the publisher's finding that the
    /// server is no longer a master; the probe. Each arm is cancel safe.
    async fn serve(
        &self,
        mut feed: Feed,
        mut writer: CommandWriter,
    ) -> Result<Infallible, FeedLost> {
        self.learn_secret(&mut feed, &mut writer).await?;
        let (commands, dispatcher) = (self.commands(), self.dispatcher());
        let mut state = self.subscribe_all(&mut writer);
        self.lane.state.works(LaneComponent::Subscriber);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let probing = self.prober(&state).run();
        let demoted = self.lane.demoted.notified();
        tokio::pin!(probing, demoted);
        loop {
            let mut answered = None;
            tokio::select! {
                read = feed.read(|message, more| match state.pong(&message) {
                    Some(number) => answered = Some(number),
                    None => dispatcher.dispatch(message, more, &mut state),
                }) => read?,
                written = writer.write(), if writer.has_pending() => written?,
                () = self.lane.subscriptions.changed() => commands.subscribe(&mut writer, &mut state),
                _ = tick.tick() => self.tick(&mut writer, &mut state),
                () = &mut demoted => return Err(FeedLost::Replica),
                lost = &mut probing => return Err(lost),
            }
            if let Some(number) = answered {
                self.lane.subscriptions.answered(number);
                commands.subscribe(&mut writer, &mut state);
            }
        }
    }

    /// Reads the secret of the server's functions before any message that they could have signed.
    /// Where Redis refuses the functions, channels without history still work.
    async fn learn_secret(
        &self,
        feed: &mut Feed,
        writer: &mut CommandWriter,
    ) -> Result<(), FeedLost> {
        for is_again in [false, true] {
            let error = match feed::request(feed, writer, &secret::GET_WORDS).await? {
                Ok(answer) => {
                    self.lane.learn_secret(&self.context.secrets, &answer);
                    return Ok(());
                }
                Err(error) => error,
            };
            match Cause::of_line(&error) {
                Some(Cause::NoFunction) if !is_again && !self.context.is_command => {
                    // The publisher installs too, and reports the error.
                    let _ = install(self.context, self.lane, &BypassedHistory::default()).await;
                }
                Some(Cause::Busy | Cause::Moved) => {
                    return Err(FeedLost::NotReady(String::from_utf8_lossy(&error).into_owned()));
                }
                _ => break,
            }
        }
        Ok(())
    }

    /// Subscribes to all channels.
    fn subscribe_all(&self, writer: &mut CommandWriter) -> ConnectionState {
        let commands = self.commands();
        let probe = commands.subscribe_probe(writer);
        let pinned = match self.context.is_command {
            // A command does not need messages between nodes.
            true => Vec::new(),
            false => {
                [revocation::channel(), announcement::channel()].map(PinnedChannel::new).into()
            }
        };
        let mut state = ConnectionState::new(probe, pinned);
        state.pinned.iter_mut().for_each(|pinned| commands.subscribe_pinned(writer, pinned));
        commands.subscribe(writer, &mut state);
        state
    }

    /// Unsubscribes from unused channels, requests refused ones again, and keeps the probe channel
    /// and the pinned channels subscribed.
    fn tick(&self, writer: &mut CommandWriter, state: &mut ConnectionState) {
        let commands = self.commands();
        commands.unsubscribe(writer);
        self.lane.subscriptions.retry();
        self.lane
            .rule_changes
            .due(Instant::now())
            .iter()
            .for_each(|change| self.dispatcher().rules_changed(change));
        if let Some(number) = self.lane.subscriptions.last_unanswered()
            && std::mem::take(&mut state.had_error)
        {
            state.ping(writer, number);
        }
        self.dispatcher().tell_patterns(state);
        commands.renew_pinned(writer, state);
    }

    fn commands(&self) -> Commands<'_> {
        Commands { lane: self.lane, context: self.context }
    }

    fn dispatcher(&self) -> Dispatcher<'_> {
        Dispatcher { lane: self.lane, context: self.context }
    }

    fn prober(&self, state: &ConnectionState) -> Prober<'_> {
        Prober {
            lane: self.lane,
            context: self.context,
            probe: state.probe.subscribe(),
            last_probe: state.last_probe.subscribe(),
        }
    }
}
