//! Executes the commands of a client's messages and sends their replies.

use futures_util::FutureExt;
use tokio::time::Instant;

use super::Session;
use super::in_flight::CompletedCommand;
use super::state::Action;
use super::{history, presence, rights};
use crate::auth::access::Right;
use crate::broker::{ENDED, PublishedEvent, Receipt, TOO_LARGE, Unavailable};
use crate::close::Close;
use crate::hub::Interest;
use crate::protocol::{Code, Command, Id, Message, Reply, ReplyError, Speak};
use crate::publication::{Channel, Position, Publication};
use crate::rules::NoControl;
use crate::telemetry::{self, Trace};

/// Where a run's rule gives its control channel, and that one cannot be used.
const NO_CONTROL: Unavailable = Unavailable(
    "the run's control channel would have too long a name, or be a run itself: see run.control of its rule",
);

impl Session {
    /// Executes the commands of one message.
    pub(super) fn handle_message(&mut self, message: Message, now: Instant) {
        let subscribed = self.subscriptions.len() + self.in_flight.subscribing();
        let is_subscribed =
            |channel: &Channel| self.subscriptions.iter().any(|it| it.is_of(channel));
        for action in self.state.handle_message(message, subscribed, is_subscribed, now) {
            match action {
                Action::Do(command) => self.execute(command, now),
                Action::Reply(reply) => self.reply(&reply),
                Action::Close(close) => {
                    self.end_for(close);
                    return;
                }
            }
        }
    }

    /// Executes a command that [`SubscriptionState`](super::state::SubscriptionState) has allowed.
    pub(super) fn execute(&mut self, command: Command, now: Instant) {
        match command {
            Command::Publish { id, channel, publication } => {
                self.publish(id, channel, publication, now);
            }
            Command::Subscribe { id, channel, start, .. }
                if self.subscriptions.iter().any(|it| it.is_of(&channel)) =>
            {
                self.subscribe_again(id, channel, start);
            }
            Command::Subscribe { id, channel, start, echo } => {
                let interest = self.context.hub.interest(channel, start);
                self.in_flight.subscribe(id, interest, echo);
            }
            Command::Unsubscribe { id, channel } => {
                // Its publications to this channel may not be delivered to it any more, so the session does
                // not wait for them.
                self.echoes_due = self.outbound.echoes();
                self.subscriptions.retain(|joined| !joined.is_of(&channel));
                self.reply(&Reply::Unsubscribed { id, channel });
            }
            Command::History { id, channel, since, limit } => {
                let query = history::read(self.context.hub.clone(), id, channel, since, limit);
                self.in_flight.query(Box::pin(query.map(Some)));
            }
            Command::Presence { id, channel } => {
                let (presence, rules) = (&self.context.presence, self.context.hub.rules());
                let query = presence::read(presence.clone(), rules.clone(), id, channel);
                self.in_flight.query(Box::pin(query.map(Some)));
            }
            Command::Auth { id, token } => self.authenticate(id, token),
            Command::Ping { id } => self.reply(&Reply::Pong { id }),
        }
    }

    fn publish(
        &mut self,
        id: Option<Id>,
        channel: Channel,
        publication: Publication,
        now: Instant,
    ) {
        let control = self.context.hub.rules().control(&channel);
        let (channel, is_control) = match control {
            None => (channel, false),
            Some(Ok(control)) => (control, true),
            Some(Err(NoControl)) => {
                let refused = Receipt::ready(Err(NO_CONTROL));
                self.in_flight.publish(id, refused, now, Trace::default(), None);
                return;
            }
        };
        let mut own = self.subscriptions.iter().filter(|it| it.is_of(&channel));
        let echo = own.next().is_some_and(|own| own.subscription.echo());
        self.echoes_due = self.echoes_due.wrapping_add(u32::from(echo));
        let mut publication = self.with_origin(publication);
        let trace = telemetry::publication_received(self.format(), &channel, &mut publication);
        let policy = || self.context.hub.rules().of(channel.as_str());
        let event = self.context.events.publication(&channel, policy, &publication);
        let mut receipt = self.context.hub.publish(channel, publication);
        if is_control {
            // The position would be one of another channel than the client's.
            receipt = receipt.without_position();
        }
        self.in_flight.publish(id, receipt, now, trace, event);
    }

    /// Adds the session, the user and the time.
    fn with_origin(&self, publication: Publication) -> Publication {
        let (session, user) = (Some(self.outbound.session()), self.state.principal().user());
        Publication { session, user, ..publication.sent_now() }
    }

    /// Replies to the oldest command in flight, which the broker has answered.
    pub(super) fn complete(&mut self, completed: CompletedCommand) {
        match completed {
            CompletedCommand::Published { id, started, trace, event, answer } => {
                self.report_published(event, answer);
                let outcome = self.published(id, started, trace, answer);
                self.reply_or_close(outcome);
            }
            CompletedCommand::Answered(reply) => reply.iter().for_each(|reply| self.reply(reply)),
            CompletedCommand::Authenticated { id, answer } => self.authenticated(id, answer),
            CompletedCommand::Subscribed { id, interest, echo, answer } => match answer {
                Ok(()) => self.subscribed(id, interest, echo),
                Err(unavailable) => {
                    let channel = Some(interest.channel().to_string());
                    self.reply_or_close(self.unavailable(id, channel, unavailable));
                }
            },
        }
    }

    /// Reports a publication to the backend, if the broker has accepted it.
    pub(super) fn report_published(
        &self,
        event: Option<Box<PublishedEvent>>,
        answer: Result<Option<Position>, Unavailable>,
    ) {
        if let Ok(position) = answer {
            self.context.events.published(event, position);
        }
    }

    /// The broker has answered a publication. Returns the reply, or the close reason if the protocol has no
    /// message for it.
    pub(super) fn published(
        &mut self,
        id: Option<Id>,
        started: Instant,
        trace: Trace,
        answer: Result<Option<Position>, Unavailable>,
    ) -> Result<Reply, Close> {
        telemetry::publication_answered(trace, started.elapsed(), answer.map_err(|why| why.0));
        match answer {
            Ok(position) => Ok(Reply::Published { id, position }),
            Err(unavailable) => {
                // It is unknown which publications in flight will be delivered, so the session waits for
                // none.
                self.echoes_due = self.outbound.echoes();
                self.unavailable(id, None, unavailable)
            }
        }
    }

    fn reply_or_close(&self, outcome: Result<Reply, Close>) {
        match outcome {
            Ok(reply) => self.reply(&reply),
            Err(close) => _ = self.outbound.close(close),
        }
    }

    /// The broker has confirmed the subscription to the channel.
    fn subscribed(&mut self, id: Option<Id>, interest: Interest, echo: bool) {
        // The rules may have changed since the command was allowed.
        match self.state.check(Right::Subscribe, interest.channel()) {
            Err(denied) => self.reply(&rights::denial(id, interest.channel(), denied)),
            Ok(()) => _ = self.subscribe(id, interest, self.subscriber(echo)),
        }
    }

    fn unavailable(
        &self,
        id: Option<Id>,
        channel: Option<String>,
        why: Unavailable,
    ) -> Result<Reply, Close> {
        let (code, close) = match why {
            TOO_LARGE => (Code::TooLarge, Close::TooLarge),
            NO_CONTROL => (Code::BadRequest, Close::Policy(NO_CONTROL.0)),
            ENDED => (Code::Ended, Close::Ended { is_told: false }),
            _ => (Code::Unavailable, Close::Unavailable),
        };
        let error = ReplyError { id, channel, code, message: why.to_string() };
        self.state.protocol().refuse(error, close)
    }
}
