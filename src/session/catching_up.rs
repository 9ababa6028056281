//! Catches up subscriptions whose connection was too slow, once it has taken what was queued for it.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::behind::CaughtUp;
use super::{Session, replaying};
use crate::backoff::Backoff;
use crate::hub::{Hub, Interest, SubscribeEvent};
use crate::outbound::Outbound;
use crate::publication::{Channel, Position, ReplayStart};
use crate::telemetry;

/// Why a client that was too slow may miss publications: the history does not reach back to its position.
const TRIMMED: &str = "history_trimmed";

/// The pauses between attempts while the history cannot be read.
const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));

impl Session {
    /// Starts to catch up the subscriptions that have fallen behind.
    pub(super) fn catch_up_behind(&mut self) {
        let Self { catching_up, subscriptions, .. } = self;
        let is_of = |number| subscriptions.iter().any(|it| it.subscription.number() == number);
        catching_up.retain(is_of);
        for (number, after) in self.outbound.take_behind() {
            let joined = self.subscriptions.iter().find(|it| it.subscription.number() == number);
            let Some(joined) = joined else { continue };
            let channel = joined.subscription.channel().clone();
            telemetry::subscriber_fell_behind();
            let (hub, outbound) = (self.context.hub.clone(), self.outbound.clone());
            let interest = Box::pin(wait(hub, outbound, channel, after));
            self.catching_up.add(number, interest);
        }
    }

    /// Queues what the client has missed, and lets it get what follows.
    pub(super) fn caught_up(&mut self, caught_up: CaughtUp) {
        let CaughtUp { subscription, interest } = caught_up;
        let Some(joined) =
            self.subscriptions.iter_mut().find(|it| it.subscription.number() == subscription)
        else {
            return;
        };
        let Some(subscriber) = joined.subscription.subscriber() else { return };
        let channel = interest.channel().clone();
        let own = subscriber.clone();
        joined.subscription = interest.subscribe(subscriber, &mut |event| match event {
            SubscribeEvent::Subscribed { recovered: Some(false), .. } => {
                replaying::push_gap(&own, channel.as_str(), TRIMMED);
            }
            SubscribeEvent::Subscribed { .. } => {}
            SubscribeEvent::Gap(reason) => replaying::push_gap(&own, channel.as_str(), reason),
            SubscribeEvent::Backlog(backlog) => {
                replaying::push_backlog(&own, channel.as_str(), backlog);
            }
            SubscribeEvent::Ended(end) => replaying::push_end(&own, channel.as_str(), end),
        });
    }
}

/// Waits until the connection has taken what is queued, and then until the channel's publications after the position
/// are at hand.
async fn wait(hub: Hub, outbound: Arc<Outbound>, channel: Channel, after: Position) -> Interest {
    let mut retry = RETRY;
    loop {
        poll_fn(|cx| outbound.poll_written(cx)).await;
        let mut interest = hub.interest(channel.clone(), Some(ReplayStart::After(after)));
        match (&mut interest).await {
            Ok(()) => return interest,
            Err(_) => sleep(retry.next_pause()).await,
        }
    }
}
