//! The rules of a session without I/O: takes a message, returns the actions.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use super::Config;
use super::grants::Grants;
use super::principal::Principal;
use super::rates::{Excess, RateKind, Rates};
use crate::auth::Identity;
use crate::auth::access::{self, Denied, PatternShown, Right};
use crate::close::Close;
use crate::limits::Limits;
use crate::protocol::{Code, Command, DecodeError, Message, Protocol, Reply, ReplyError, Speak};
use crate::publication::Channel;
use crate::rules::{Rules, SubscriptionPattern};
use crate::telemetry::{self, Rejected};

/// Most consecutive bad commands. A client that sends more does not react to errors.
const BAD_COMMANDS_MAX: u32 = 100;

/// What the session must do about a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Execute the command, which is allowed.
    Do(Command),
    Reply(Reply),
    Close(Close),
}

/// The state of a session without its connection and subscriptions.
pub struct SubscriptionState {
    protocol: Protocol,
    rules: Rules,
    principal: Principal,
    /// None for most sessions.
    grants: Option<Box<Grants>>,
    rates: Rates,
    config: Arc<Config>,
    bad_commands: u32,
}

impl SubscriptionState {
    pub fn new(
        protocol: Protocol,
        config: Arc<Config>,
        rules: Rules,
        limits: Limits,
        principal: Principal,
    ) -> Self {
        let rates = Rates::new(limits);
        Self { protocol, rules, principal, grants: None, rates, bad_commands: 0, config }
    }

    pub fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Sets another principal, or the same one with a later expiry.
    pub fn set_principal(&mut self, principal: Principal) {
        self.principal = principal;
    }

    /// Recomputes the token's expiry after a step of the wall clock.
    pub fn follow_clock(&mut self, now: Instant, wall: SystemTime) {
        self.principal.follow_clock(now, wall);
    }

    /// Checks whether the session has the right on the channel.
    pub fn check(&self, right: Right, channel: &Channel) -> Result<(), Denied> {
        match self.granted(channel) {
            Some(identity) => {
                access::check(&self.rules.get(), Some(identity), right, channel.as_str())
            }
            None => self.principal.check(&self.rules, right, channel),
        }
    }

    /// Checks whether the session may subscribe to the pattern.
    pub fn check_pattern(&self, pattern: &SubscriptionPattern) -> Result<PatternShown, Denied> {
        self.principal.check_pattern(&self.rules, pattern)
    }

    /// Whether the node takes no tokens, so that every session has all rights.
    pub fn is_without_tokens(&self) -> bool {
        self.principal.identity().is_none() && !self.principal.takes_tokens()
    }

    /// Whether the session may read private publications of a channel to which it may subscribe.
    pub fn reads_private(&self, channel: &Channel) -> bool {
        let identity = self.identity_on(channel);
        (identity.is_none() && self.is_without_tokens())
            || access::reads_private(&self.rules.get(), identity, channel.as_str())
    }

    /// Who the session is on the channel: by what an application has signed about it, or by its token.
    pub fn identity_on(&self, channel: &Channel) -> Option<&Identity> {
        self.granted(channel).or(self.principal.identity().map(Arc::as_ref))
    }

    fn granted(&self, channel: &Channel) -> Option<&Identity> {
        self.grants.as_deref().and_then(|grants| grants.of(channel))
    }

    /// Whether an application has signed that the session is a member of the channel.
    pub fn is_member(&self, channel: &Channel) -> bool {
        self.grants.as_deref().is_some_and(|grants| grants.is_member(channel))
    }

    /// Forgets what an application has signed about the channel.
    pub fn withdraw(&mut self, channel: &Channel) {
        if let Some(grants) = &mut self.grants {
            grants.remove(channel);
        }
    }

    /// Exchanges the rate limiter: the requests of one client share one.
    pub fn swap_rates(&mut self, rates: &mut Rates) {
        std::mem::swap(&mut self.rates, rates);
    }

    /// Counts a heartbeat that the client sent. Returns the close reason if it exceeds the limit.
    pub fn count_heartbeat(&mut self, now: Instant) -> Option<Close> {
        self.rates.count(RateKind::Commands, 1, now).err().map(|_| Close::RateLimited)
    }

    /// The actions for a message. `subscribed`: how many channels the session has or waits for;
    /// `is_subscribed`: whether it has this one.
    pub fn handle_message(
        &mut self,
        message: Message,
        mut subscribed: usize,
        is_subscribed: impl Fn(&Channel) -> bool,
        now: Instant,
    ) -> Vec<Action> {
        let too_much = self.rates.count(RateKind::Bytes, message.payload.len(), now).err();
        let outcomes = match self.protocol.decode(message, self.config.json_depth_max) {
            Ok(outcomes) => outcomes,
            Err(DecodeError::Answer(error)) => vec![Err(error)],
            Err(DecodeError::TooDeep(error)) => {
                telemetry::rejected(Rejected::JsonDepth, &error.message);
                vec![Err(error)]
            }
            Err(DecodeError::Close(close)) => return vec![Action::Close(close)],
        };
        if outcomes.is_empty()
            && let Some(close) = self.count_heartbeat(now)
        {
            return vec![Action::Close(close)];
        }
        let mut actions = Vec::with_capacity(outcomes.len());
        for outcome in outcomes {
            let kind = outcome.as_ref().map_or(Some(RateKind::Commands), rate_kind);
            let rate = match (&too_much, kind) {
                (Some(excess), _) => Err(excess.clone()),
                (None, Some(kind)) => self.rates.count(kind, 1, now),
                (None, None) => Ok(()),
            };
            actions.push(match (outcome, rate) {
                (Ok(command), Ok(())) => {
                    self.bad_commands = 0;
                    self.command(command, &mut subscribed, &is_subscribed, now)
                }
                (Ok(command), Err(excess)) => self.exceed(&command, excess),
                (Err(error), rate) => self.bad_command(error, rate),
            });
        }
        if self.bad_commands > BAD_COMMANDS_MAX {
            actions.push(Action::Close(Close::Policy("too many bad commands in a row")));
        }
        actions
    }

    fn bad_command(&mut self, error: ReplyError, rate: Result<(), Excess>) -> Action {
        // A protocol that refuses a command itself has checked a signature.
        let is_bad = matches!(error.code, Code::BadRequest | Code::Unauthorized);
        self.bad_commands += u32::from(is_bad);
        match rate {
            Ok(()) => Action::Reply(Reply::Error(error)),
            Err(excess) => self.rate_limited(excess, error),
        }
    }

    fn command(
        &mut self,
        command: Command,
        subscribed: &mut usize,
        is_subscribed: &impl Fn(&Channel) -> bool,
        now: Instant,
    ) -> Action {
        if let Err(denied) = self.allow(&command) {
            return self.deny(&command, denied);
        }
        if let Some(channel) = self.new_channel(&command, *subscribed)
            && !is_subscribed(channel)
            && let Err(excess) = self.rates.count_channel(channel, self.config.channels_max, now)
        {
            return self.exceed(&command, excess);
        }
        if let Command::Subscribe { channel, .. } | Command::FollowRun { channel, .. } = &command
            && !is_subscribed(channel)
        {
            if *subscribed >= self.config.channels_max {
                let error = command.error(Code::LimitReached, self.too_many_channels());
                return Action::Reply(Reply::Error(error));
            }
            *subscribed += 1;
            if let Command::Subscribe { channel, grant: Some(grant), .. } = &command {
                let principal = self.principal.identity();
                self.grants.get_or_insert_default().add(channel, grant, principal);
            }
        }
        Action::Do(command)
    }

    /// The channel that a command may use for the first time. None: the command uses no new channel.
    fn new_channel<'a>(&self, command: &'a Command, subscribed: usize) -> Option<&'a Channel> {
        match command {
            // A bound session uses only its own channels.
            _ if !self.protocol.channels().is_empty() => None,
            Command::Publish { channel, .. } => Some(channel),
            Command::Subscribe { channel, .. } | Command::FollowRun { channel, .. }
                if subscribed < self.config.channels_max =>
            {
                Some(channel)
            }
            _ => None,
        }
    }

    pub fn too_many_channels(&self) -> String {
        format!("at most {} channels per connection", self.config.channels_max)
    }

    /// Checks whether the session may be bound to each of its protocol's channels. Fails with the first denied
    /// one.
    pub fn check_all_bound(&self) -> Result<(), (&Channel, Denied)> {
        let mut channels = self.protocol.channels().iter();
        channels.try_for_each(|it| self.check_bound(it).map_err(|denied| (it, denied)))
    }

    /// Checks whether a session may be bound to the channel: it must be allowed to subscribe or to publish.
    fn check_bound(&self, channel: &Channel) -> Result<(), Denied> {
        let subscribes = self.check(Right::Subscribe, channel);
        match self.protocol.publishes() && self.check(Right::Publish, channel).is_ok() {
            true => Ok(()),
            false => subscribes,
        }
    }

    /// Checks whether a rule allows the command.
    fn allow(&self, command: &Command) -> Result<(), Denied> {
        match command {
            Command::Publish { channel, .. } => self.check(Right::Publish, channel),
            Command::Subscribe { channel, grant: Some(grant), .. } => {
                let identity = Grants::identity(channel, grant, self.principal.identity());
                let rules = self.rules.get();
                access::check(&rules, Some(&identity), Right::Subscribe, channel.as_str())
            }
            Command::SubscribePattern { pattern, .. } => self.check_pattern(pattern).map(|_| ()),
            Command::Subscribe { channel, .. }
            | Command::History { channel, .. }
            | Command::Presence { channel, .. } => self.check(Right::Subscribe, channel),
            Command::FollowRun { channel, request, .. } => {
                self.check(Right::Subscribe, channel)?;
                request.as_ref().map_or(Ok(()), |_| self.check(Right::Publish, channel))
            }
            // A client that may not publish may leave.
            Command::LeaveRun { .. }
            | Command::Unsubscribe { .. }
            | Command::Connect { .. }
            | Command::UnsubscribePattern { .. }
            | Command::Auth { .. }
            | Command::SignIn { .. }
            | Command::Acknowledge
            | Command::Ping { .. } => Ok(()),
        }
    }

    fn deny(&self, command: &Command, denied: Denied) -> Action {
        telemetry::rejected(Rejected::Forbidden, &denied);
        trace_refusal(command, code_of(denied));
        self.refuse(command.error(code_of(denied), denied.to_string()), close_of(denied))
    }

    fn exceed(&self, command: &Command, excess: Excess) -> Action {
        trace_refusal(command, Code::RateLimited);
        self.rate_limited(excess, command.error(Code::RateLimited, String::new()))
    }

    /// `error`: the error reply of the command.
    fn rate_limited(&self, excess: Excess, error: ReplyError) -> Action {
        match excess {
            Excess::Warn(message) => {
                let error = ReplyError { code: Code::RateLimited, message, ..error };
                self.refuse(error, Close::RateLimited)
            }
            Excess::Close => Action::Close(Close::RateLimited),
        }
    }

    fn refuse(&self, error: ReplyError, close: Close) -> Action {
        self.protocol.refuse(error, close).map_or_else(Action::Close, Action::Reply)
    }
}

/// Records a refused publication in the traces, if traces are kept.
fn trace_refusal(command: &Command, code: Code) {
    if let Command::Publish { channel, publication, .. } = command {
        telemetry::publication_refused(channel, publication, code.as_str());
    }
}

/// None: the command counts against no rate.
fn rate_kind(command: &Command) -> Option<RateKind> {
    match command {
        Command::Publish { .. }
        | Command::FollowRun { request: Some(_), .. }
        | Command::LeaveRun { .. } => Some(RateKind::Publications),
        Command::Acknowledge => None,
        _ => Some(RateKind::Commands),
    }
}

/// The error code of a denied command.
pub fn code_of(denied: Denied) -> Code {
    match denied {
        Denied::Unauthorized => Code::Unauthorized,
        Denied::Forbidden | Denied::NoPatterns => Code::Forbidden,
    }
}

/// The close reason of a session whose only purpose is denied.
pub fn close_of(denied: Denied) -> Close {
    match denied {
        Denied::Unauthorized => Close::Unauthorized("this channel needs a token"),
        Denied::Forbidden | Denied::NoPatterns => Close::Forbidden,
    }
}

#[cfg(test)]
mod tests;
