//! Subscribes a session to a channel.

use super::Session;
use super::joined::{JoinPosition, Joined, ReportedSubscription};
use super::repeated_subscribe::{self, RepeatedSubscribe};
use super::replaying;
use crate::close::Close;
use crate::hub::{Interest, SubscribeEvent, Subscriber};
use crate::protocol::{Id, Reply, Speak};
use crate::publication::{Channel, ReplayStart};
use crate::telemetry;

impl Session {
    /// A subscriber that gets a gap message if the format has one.
    pub(super) fn subscriber(&self, echo: bool) -> Subscriber {
        let (outbound, format) = (self.outbound.clone(), self.format());
        // Of a pattern, whose channels are not known: the hub asks for the rights on each.
        let reads_private = format.checks_private() || self.state.is_without_tokens();
        Subscriber { outbound, format, echo, closes_on_gap: false, reads_private }
    }

    /// A subscriber to this channel, whose publications may look different from those of other channels.
    pub(super) fn subscriber_of(&self, channel: &Channel, echo: bool) -> Subscriber {
        let (format, stamp) = self.state.protocol().subscription(channel);
        if let Some(stamp) = stamp {
            self.outbound.stamp_from_now(stamp);
        }
        Subscriber { format, ..self.subscriber(echo) }
    }

    /// Adds the session to the channel's subscribers. The reply and the backlog are queued before any other
    /// publication.
    pub(super) fn subscribe(
        &mut self,
        id: Option<Id>,
        interest: Interest,
        subscriber: Subscriber,
    ) -> JoinPosition {
        self.subscribe_or_close(id, interest, subscriber, None)
    }

    /// The same. If the client cannot have all of the past that it asked for, the session is closed for the reason in
    /// `unless_whole`, before anything of the past is queued: an end in it would close the session too.
    pub(super) fn subscribe_or_close(
        &mut self,
        id: Option<Id>,
        interest: Interest,
        subscriber: Subscriber,
        unless_whole: Option<Close>,
    ) -> JoinPosition {
        let (channel, start) = (interest.channel().clone(), interest.start());
        let reads_private = self.gets_private(&channel);
        let subscriber = Subscriber { reads_private, ..subscriber };
        let own = subscriber.clone();
        let mut join_position = JoinPosition::default();
        let subscription = interest.subscribe(subscriber, &mut |event| match event {
            SubscribeEvent::Subscribed { position, recovered } => {
                join_position = JoinPosition { position, recovered };
                if let Some(recovered) = recovered {
                    telemetry::history_resumed(recovered);
                }
                if let Some(close) = unless_whole.filter(|_| recovered == Some(false)) {
                    own.outbound.close(close);
                }
                let (id, channel) = (id.clone(), channel.clone());
                self.reply(&Reply::Subscribed { id, channel, position, recovered });
            }
            SubscribeEvent::Backlog([]) if matches!(start, Some(ReplayStart::Newest(_))) => {
                let frame = self.state.protocol().nothing_kept(&channel);
                frame.into_iter().for_each(|frame| self.outbound.push_own_or_close(frame));
            }
            SubscribeEvent::Backlog(backlog) => {
                replaying::push_backlog(&own, channel.as_str(), backlog);
            }
            SubscribeEvent::Ended(end) => {
                replaying::push_end(&own, channel.as_str(), end);
            }
            SubscribeEvent::Gap(reason) => replaying::push_gap(&own, channel.as_str(), reason),
        });
        let identity = self.state.identity_on(&channel);
        let attendance = ReportedSubscription::new(&self.context, &channel, identity);
        self.subscriptions.push(Joined { subscription, attendance });
        join_position
    }

    /// Whether the hub delivers private publications of the channel to the session. A protocol that knows more of an update
    /// than its channel checks them itself.
    fn gets_private(&self, channel: &Channel) -> bool {
        self.format().checks_private() || self.state.reads_private(channel)
    }

    /// Applies changed rights or rules to the delivery of private publications.
    pub(super) fn renew_private_reads(&self) {
        for joined in &self.subscriptions {
            let reads_private = self.gets_private(joined.subscription.channel());
            joined.subscription.set_reads_private(reads_private);
        }
    }

    pub(super) fn subscribe_again(
        &mut self,
        id: Option<Id>,
        channel: Channel,
        start: Option<ReplayStart>,
    ) {
        // The caller has just found it.
        let Some(joined) = self.subscriptions.iter().find(|it| it.is_of(&channel)) else { return };
        let request =
            RepeatedSubscribe { id, channel, start, subscription: joined.subscription.number() };
        let (hub, outbound) = (self.context.hub.clone(), self.outbound.clone());
        let answer =
            repeated_subscribe::answer(request, hub, outbound, self.state.protocol().clone());
        self.in_flight.query(Box::pin(answer));
    }
}
