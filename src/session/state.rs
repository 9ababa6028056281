//! A session's rules without I/O: a message goes in, what to do comes out.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use super::Config;
use super::principal::Principal;
use super::rates::{Excess, RateKind, Rates};
use crate::auth::access::{Denied, Right};
use crate::close::Close;
use crate::limits::Limits;
use crate::protocol::{Code, Command, DecodeError, Message, Protocol, Reply, ReplyError, Speak};
use crate::publication::Channel;
use crate::rules::Rules;
use crate::telemetry::{self, Rejected};

/// Bad commands in a row that a client may send. More of them is no client that learns.
const BAD_COMMANDS_MAX: u32 = 100;

/// What is to be done about a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// The command is allowed.
    Do(Command),
    Reply(Reply),
    Close(Close),
}

/// What a session knows beside its socket.
pub struct SubscriptionState {
    protocol: Protocol,
    rules: Rules,
    bearer: Principal,
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
        bearer: Principal,
    ) -> Self {
        Self { protocol, rules, bearer, rates: Rates::new(limits), bad_commands: 0, config }
    }

    pub fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    pub fn bearer(&self) -> &Principal {
        &self.bearer
    }

    /// From here on the session belongs to somebody else, or to the same for longer.
    pub fn belong_to(&mut self, bearer: Principal) {
        self.bearer = bearer;
    }

    /// The wall clock may have stepped.
    pub fn follow_clock(&mut self, now: Instant, wall: SystemTime) {
        self.bearer.follow_clock(now, wall);
    }

    /// May it do this on the channel?
    pub fn check(&self, right: Right, channel: &Channel) -> Result<(), Denied> {
        self.bearer.check(&self.rules, right, channel)
    }

    /// The client sent a heartbeat of its own. Some: one too many.
    pub fn count_heartbeat(&mut self, now: Instant) -> Option<Close> {
        self.rates.count(RateKind::Commands, 1, now).err().map(|_| Close::RateLimited)
    }

    /// What a message asks for. `subscribed`: channels the session has or waits for; `is_subscribed`
    /// tells whether it has this one.
    pub fn message(
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
        let mut actions = Vec::with_capacity(outcomes.len());
        for outcome in outcomes {
            let kind = outcome.as_ref().map_or(RateKind::Commands, kind);
            let rate = match &too_much {
                Some(excess) => Err(excess.clone()),
                None => self.rates.count(kind, 1, now),
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
        self.bad_commands += u32::from(error.code == Code::BadRequest);
        match rate {
            Ok(()) => Action::Reply(Reply::Error(error)),
            Err(excess) => self.too_fast(excess, error),
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
        if let Some(channel) = self.begun(&command, *subscribed)
            && !is_subscribed(channel)
            && let Err(excess) = self.rates.open(channel, self.config.channels_max, now)
        {
            return self.exceed(&command, excess);
        }
        if let Command::Subscribe { channel, .. } = &command
            && !is_subscribed(channel)
        {
            if *subscribed >= self.config.channels_max {
                let error = command.error(Code::LimitReached, self.too_many_channels());
                return Action::Reply(Reply::Error(error));
            }
            *subscribed += 1;
        }
        Action::Do(command)
    }

    /// The channel that a command could be the first of anybody to use. None: it begins none.
    fn begun<'a>(&self, command: &'a Command, subscribed: usize) -> Option<&'a Channel> {
        match command {
            // It has just the one.
            _ if self.protocol.channel().is_some() => None,
            Command::Publish { channel, .. } => Some(channel),
            Command::Subscribe { channel, .. } if subscribed < self.config.channels_max => {
                Some(channel)
            }
            _ => None,
        }
    }

    pub fn too_many_channels(&self) -> String {
        format!("at most {} channels a connection", self.config.channels_max)
    }

    /// May a session that is bound to a channel be? It may if there is something that it may do there.
    pub fn check_bound(&self, channel: &Channel) -> Result<(), Denied> {
        let subscribes = self.check(Right::Subscribe, channel);
        match self.protocol.publishes() && self.check(Right::Publish, channel).is_ok() {
            true => Ok(()),
            false => subscribes,
        }
    }

    /// Does a rule let the session do this?
    fn allow(&self, command: &Command) -> Result<(), Denied> {
        match command {
            Command::Publish { channel, .. } => self.check(Right::Publish, channel),
            Command::Subscribe { channel, .. }
            | Command::History { channel, .. }
            | Command::Presence { channel, .. } => self.check(Right::Subscribe, channel),
            Command::Unsubscribe { .. } | Command::Auth { .. } | Command::Ping { .. } => Ok(()),
        }
    }

    fn deny(&self, command: &Command, denied: Denied) -> Action {
        telemetry::rejected(Rejected::Forbidden, &denied);
        tell_of_refusal(command, code_of(denied));
        self.refuse(command.error(code_of(denied), denied.to_string()), close_of(denied))
    }

    fn exceed(&self, command: &Command, excess: Excess) -> Action {
        tell_of_refusal(command, Code::RateLimited);
        self.too_fast(excess, command.error(Code::RateLimited, String::new()))
    }

    /// `error`: that of the command.
    fn too_fast(&self, excess: Excess, error: ReplyError) -> Action {
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

/// Where traces are kept, a publication that was refused stands in them too.
fn tell_of_refusal(command: &Command, code: Code) {
    if let Command::Publish { channel, publication, .. } = command {
        telemetry::publication_refused(channel, publication, code.as_str());
    }
}

fn kind(command: &Command) -> RateKind {
    match command {
        Command::Publish { .. } => RateKind::Publications,
        _ => RateKind::Commands,
    }
}

/// How a client is told that may not do something.
pub fn code_of(denied: Denied) -> Code {
    match denied {
        Denied::Unauthorized => Code::Unauthorized,
        Denied::Forbidden => Code::Forbidden,
    }
}

/// How a session ends that may not do what it is there for.
pub fn close_of(denied: Denied) -> Close {
    match denied {
        Denied::Unauthorized => Close::Unauthorized("this channel needs a token"),
        Denied::Forbidden => Close::Forbidden,
    }
}

#[cfg(test)]
mod tests;
