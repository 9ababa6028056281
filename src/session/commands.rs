//! Executes the commands of a client's messages and sends their replies.

use futures_util::FutureExt;
use tokio::time::Instant;

use super::Session;
use super::in_flight::CompletedCommand;
use super::state::Action;
use super::{history, presence, rights};
use crate::auth::access::Right;
use crate::hub::Interest;
use crate::protocol::{Command, Id, Message, Reply, Speak};
use crate::publication::Channel;

impl Session {
    /// Executes the commands of one message.
    pub(super) fn handle_message(&mut self, message: Message, now: Instant) {
        let subscribed = self.subscriptions.len() + self.in_flight.subscribing();
        let is_subscribed =
            |channel: &Channel| self.subscriptions.iter().any(|it| it.is_of(channel));
        for action in self.state.handle_message(message, subscribed, is_subscribed, now) {
            match action {
                Action::Do(command) => self.execute(command, now),
                Action::Reply(reply) => {
                    self.reply(&reply);
                    if self.ends_with_refusals() && self.outbound.is_ending() {
                        return;
                    }
                }
                Action::Close(close) => {
                    self.end_for(close);
                    return;
                }
            }
        }
    }

    /// Whether a refused command ends the session, so that those behind it are not executed.
    fn ends_with_refusals(&self) -> bool {
        self.state.protocol().control().is_some()
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
            Command::Subscribe { id, channel, start, echo, .. } => {
                if !self.check_membership(&id, &channel) {
                    return;
                }
                let interest = self.context.hub.interest(channel, start);
                self.in_flight.subscribe(id, interest, echo);
            }
            Command::Unsubscribe { id, channel } => {
                // Its publications to this channel may not be delivered to it any more, so the session does
                // not wait for them.
                self.echoes_due = self.outbound.echoes();
                self.subscriptions.retain(|joined| !joined.is_of(&channel));
                self.state.withdraw(&channel);
                self.reply(&Reply::Unsubscribed { id, channel });
            }
            Command::SubscribePattern { id, pattern, echo } => {
                self.subscribe_pattern(id, pattern, echo);
            }
            Command::UnsubscribePattern { id, pattern } => self.unsubscribe_pattern(id, pattern),
            Command::History { id, channel, since, limit } => {
                let reads_private = self.state.reads_private(&channel);
                let query = history::read(self.context.hub.clone(), id, channel, since, limit);
                let query = query.map(move |reply| Some(history::readable(reply, reads_private)));
                self.in_flight.query(Box::pin(query));
            }
            Command::Presence { id, channel } => {
                let (presence, rules) = (&self.context.presence, self.context.hub.rules());
                let query = presence::read(presence.clone(), rules.clone(), id, channel);
                self.in_flight.query(Box::pin(query.map(Some)));
            }
            Command::FollowRun { id, channel, with_ended, request } => {
                self.follow_run(id, channel, with_ended, request);
            }
            Command::LeaveRun { id, channel, request } => self.leave_run(id, channel, request, now),
            Command::Connect { id, token } => self.connect(id, token),
            Command::Auth { id, token } => self.authenticate(id, token),
            Command::SignIn { id, user, info } => self.sign_in(id, user, info),
            Command::Ping { id } => self.reply(&Reply::Pong { id }),
            Command::Acknowledge => self.reply(&Reply::Acknowledged),
        }
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
            CompletedCommand::Joined { id, channel, answer } => self.joined(id, channel, answer),
            CompletedCommand::RunFound { request, answer } => self.run_found(*request, answer),
            CompletedCommand::Authenticated { id, answer } => self.authenticated(id, answer),
            CompletedCommand::PatternConfirmed { request, answer } => {
                self.pattern_confirmed(*request, answer);
            }
            CompletedCommand::Subscribed { id, interest, echo, answer } => match answer {
                Ok(()) => self.subscribed(id, interest, echo),
                Err(unavailable) => {
                    self.state.withdraw(interest.channel());
                    let channel = Some(interest.channel().to_string());
                    self.reply_or_close(self.unavailable(id, channel, unavailable));
                }
            },
        }
    }

    /// The broker has confirmed the subscription to the channel.
    fn subscribed(&mut self, id: Option<Id>, interest: Interest, echo: bool) {
        // The rules may have changed since the command was allowed.
        match self.state.check(Right::Subscribe, interest.channel()) {
            Err(denied) => {
                self.reply(&rights::denial(id, interest.channel(), denied));
                self.state.withdraw(interest.channel());
            }
            Ok(()) if self.state.is_member(interest.channel()) => {
                let channel = interest.channel().clone();
                self.stamp_members();
                let subscriber = self.subscriber_of(&channel, echo);
                self.subscribe(id.clone(), interest, subscriber);
                self.list_members(id, channel);
            }
            Ok(()) => {
                let subscriber = self.subscriber_of(interest.channel(), echo);
                self.subscribe(id, interest, subscriber);
            }
        }
    }
}
