//! A session's rules without I/O: a message or a moment goes in, what to do comes out.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::Config;
use super::bearer::Bearer;
use super::rates::{Excess, Kind, Rates};
use crate::auth::access::{Denied, Right};
use crate::close::Close;
use crate::limits::Limits;
use crate::protocol::{Code, Command, Id, Message, Protocol, Refusal, Reply, ReplyError, Token};
use crate::publication::{Channel, Position, Publication};
use crate::rules::Rules;
use crate::telemetry::{self, Rejected};

/// Bad commands in a row that a client may send. More of them is no client that learns.
const BAD_COMMANDS_MAX: u32 = 100;

/// What is to be done about a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    Publish {
        id: Option<Id>,
        channel: Channel,
        publication: Publication,
    },
    Subscribe {
        id: Option<Id>,
        channel: Channel,
        since: Option<Position>,
        echo: bool,
    },
    /// It is subscribed already.
    SubscribeAgain {
        id: Option<Id>,
        channel: Channel,
        since: Option<Position>,
    },
    Unsubscribe(Channel),
    History {
        id: Option<Id>,
        channel: Channel,
        since: Option<Position>,
        limit: usize,
    },
    Presence {
        id: Option<Id>,
        channel: Channel,
    },
    Authenticate {
        id: Option<Id>,
        token: Token,
    },
    Reply(Reply),
    Close(Close),
}

/// What is to be done at a moment.
#[derive(Debug, PartialEq, Eq)]
pub enum Beat {
    /// Send a ping with this payload.
    Ping([u8; 4]),
    /// The session ends: nothing was heard since the last ping, or its token's time is over.
    End(Close),
    Wait,
}

/// What a session knows beside its socket.
pub struct State {
    protocol: Protocol,
    rules: Rules,
    bearer: Bearer,
    rates: Rates,
    config: Arc<Config>,
    bad_commands: u32,
    next_ping: Instant,
    /// When the last ping went out.
    pinged_at: Instant,
    pings: u32,
    /// When the last frame came in.
    heard_at: Instant,
}

impl State {
    /// The first ping comes after half to one interval, at random, so that those of clients who
    /// came together are spread.
    pub fn new(
        protocol: Protocol,
        config: Arc<Config>,
        rules: Rules,
        limits: Limits,
        bearer: Bearer,
        now: Instant,
    ) -> Self {
        Self {
            protocol,
            rules,
            bearer,
            rates: Rates::new(limits),
            bad_commands: 0,
            next_ping: now + config.ping_interval.mul_f64(rand::random_range(0.5..1.0)),
            pinged_at: now,
            pings: 0,
            heard_at: now,
            config,
        }
    }

    pub fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    pub fn bearer(&self) -> &Bearer {
        &self.bearer
    }

    /// From here on the session belongs to somebody else, or to the same for longer.
    pub fn belong_to(&mut self, bearer: Bearer) {
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

    /// A frame came in that is none of the protocol's. Some: one too many.
    pub fn count_frame(&mut self, now: Instant) -> Option<Close> {
        self.rates.count(Kind::Commands, 1, now).err().map(|_| Close::RateLimited)
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
        let too_much = self.rates.count(Kind::Bytes, message.payload.len(), now).err();
        let too_deep = self.protocol.too_deep(&message, self.config.json_depth_max);
        let outcomes = match (self.protocol.decode(message), too_deep) {
            (Err(Refusal::Close(close)), _) => return vec![Action::Close(close)],
            (_, Some(error)) => {
                telemetry::rejected(Rejected::JsonDepth, &error.message);
                vec![Err(error)]
            }
            (Ok(outcomes), None) => outcomes,
            (Err(Refusal::Answer(error)), None) => vec![Err(error)],
        };
        let mut actions = Vec::with_capacity(outcomes.len());
        for outcome in outcomes {
            match outcome {
                Ok(command) => {
                    let rate = match &too_much {
                        Some(excess) => Err(excess.clone()),
                        None => self.rates.count(kind(&command), 1, now),
                    };
                    match rate {
                        Ok(()) => {
                            self.bad_commands = 0;
                            let so_far = (&mut subscribed, &is_subscribed, now);
                            self.command(command, so_far, &mut actions);
                        }
                        Err(excess) => actions.push(self.exceed(&command, excess)),
                    }
                }
                Err(error) => {
                    self.bad_commands += u32::from(error.code == Code::BadRequest);
                    let rate = match &too_much {
                        Some(excess) => Err(excess.clone()),
                        None => self.rates.count(Kind::Commands, 1, now),
                    };
                    actions.push(match rate {
                        Ok(()) => Action::Reply(Reply::Error(error)),
                        Err(Excess::Warn(message)) => {
                            let code = Code::RateLimited;
                            Action::Reply(Reply::Error(ReplyError { code, message, ..error }))
                        }
                        Err(Excess::Close) => Action::Close(Close::RateLimited),
                    });
                }
            }
        }
        if self.bad_commands > BAD_COMMANDS_MAX {
            actions.push(Action::Close(Close::Policy("too many bad commands in a row")));
        }
        actions
    }

    fn command(
        &mut self,
        command: Command,
        (subscribed, is_subscribed, now): (&mut usize, &impl Fn(&Channel) -> bool, Instant),
        actions: &mut Vec<Action>,
    ) {
        if let Err(denied) = self.allow(&command) {
            actions.push(self.deny(&command, denied));
            return;
        }
        if let Some(channel) = self.begun(&command, *subscribed)
            && !is_subscribed(channel)
            && let Err(excess) = self.rates.open(channel, self.config.channels_max, now)
        {
            actions.push(self.exceed(&command, excess));
            return;
        }
        let action = match command {
            Command::Auth { id, token } => Action::Authenticate { id, token },
            Command::Publish { id, channel, publication } => {
                Action::Publish { id, channel, publication }
            }
            Command::Subscribe { id, channel, since, .. } if is_subscribed(&channel) => {
                Action::SubscribeAgain { id, channel, since }
            }
            Command::History { id, channel, since, limit } => {
                Action::History { id, channel, since, limit }
            }
            Command::Presence { id, channel } => Action::Presence { id, channel },
            Command::Subscribe { .. } if *subscribed >= self.config.channels_max => {
                Action::Reply(command.refuse(Code::LimitReached, self.too_many_channels()))
            }
            Command::Subscribe { id, channel, since, echo } => {
                *subscribed += 1;
                Action::Subscribe { id, channel, since, echo }
            }
            Command::Unsubscribe { id, channel } => {
                actions.push(Action::Unsubscribe(channel.clone()));
                Action::Reply(Reply::Unsubscribed { id, channel })
            }
            Command::Ping { id } => Action::Reply(Reply::Pong { id }),
        };
        actions.push(action);
    }

    /// The channel that a command could be the first of anybody to use. None: it begins none.
    fn begun<'a>(&self, command: &'a Command, subscribed: usize) -> Option<&'a Channel> {
        match (command, &self.protocol) {
            // It has just the one.
            (_, Protocol::Plain { .. }) => None,
            (Command::Publish { channel, .. }, _) => Some(channel),
            (Command::Subscribe { channel, .. }, _) if subscribed < self.config.channels_max => {
                Some(channel)
            }
            _ => None,
        }
    }

    pub fn too_many_channels(&self) -> String {
        format!("at most {} channels a connection", self.config.channels_max)
    }

    /// How a denied plain session ends.
    pub fn close_of(&self, denied: Denied) -> Close {
        match denied {
            Denied::Unauthorized => Close::Unauthorized("this channel needs a token"),
            Denied::Forbidden => Close::Forbidden,
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
        match self.protocol {
            Protocol::Plain { .. } => Action::Close(self.close_of(denied)),
            Protocol::Json => Action::Reply(command.refuse(code_of(denied), denied.to_string())),
        }
    }

    /// A plain client has no words for a warning, and what it sent must not be lost without one.
    fn exceed(&self, command: &Command, excess: Excess) -> Action {
        tell_of_refusal(command, Code::RateLimited);
        match (excess, &self.protocol) {
            (Excess::Warn(why), Protocol::Json) => {
                Action::Reply(command.refuse(Code::RateLimited, why))
            }
            _ => Action::Close(Close::RateLimited),
        }
    }

    /// A frame came in, whichever.
    pub fn heard(&mut self, now: Instant) {
        self.heard_at = now;
    }

    /// A pong came in. The round trip, where it answers the last ping.
    pub fn pong(&mut self, payload: &[u8], now: Instant) -> Option<Duration> {
        (self.pings > 0 && payload == self.pings.to_be_bytes()).then(|| now - self.pinged_at)
    }

    /// When [`State::beat`] is to be called next.
    pub fn next_beat(&self) -> Instant {
        let beat = match self.awaits_pong() {
            true => self.next_ping.min(self.pinged_at + self.config.pong_timeout),
            false => self.next_ping,
        };
        self.bearer.ends_at().map_or(beat, |end| end.min(beat))
    }

    pub fn beat(&mut self, now: Instant) -> Beat {
        if self.awaits_pong() && now >= self.pinged_at + self.config.pong_timeout {
            return Beat::End(Close::PongTimeout);
        }
        if let Some(close) = self.bearer.over(now) {
            return Beat::End(close);
        }
        if now < self.next_ping {
            return Beat::Wait;
        }
        self.next_ping = now + self.config.ping_interval;
        if self.awaits_pong() {
            // Another ping would put off the end of a dead connection.
            return Beat::Wait;
        }
        self.pinged_at = now;
        self.pings = self.pings.wrapping_add(1);
        Beat::Ping(self.pings.to_be_bytes())
    }

    /// Was nothing heard since the last ping?
    fn awaits_pong(&self) -> bool {
        self.pings > 0 && self.heard_at <= self.pinged_at
    }
}

/// Where traces are kept, a publication that was refused stands in them too.
fn tell_of_refusal(command: &Command, code: Code) {
    if let Command::Publish { channel, publication, .. } = command {
        telemetry::publication_refused(channel, publication, code.as_str());
    }
}

fn kind(command: &Command) -> Kind {
    match command {
        Command::Publish { .. } => Kind::Publications,
        _ => Kind::Commands,
    }
}

/// How a json client is told.
pub fn code_of(denied: Denied) -> Code {
    match denied {
        Denied::Unauthorized => Code::Unauthorized,
        Denied::Forbidden => Code::Forbidden,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publication::Kind;
    use bytes::Bytes;

    const SECOND: Duration = Duration::from_secs(1);

    fn state(protocol: Protocol) -> State {
        let config = Config {
            ping_interval: 25 * SECOND,
            pong_timeout: 10 * SECOND,
            message_bytes_max: 1,
            queue_bytes_max: 1,
            channels_max: 2,
            json_depth_max: 128,
        };
        let (rules, limits) = (Rules::default(), Limits::default());
        State::new(protocol, Arc::new(config), rules, limits, Bearer::default(), Instant::now())
    }

    fn say(state: &mut State, text: &str, subscribed: usize) -> Vec<Action> {
        let payload = Bytes::copy_from_slice(text.as_bytes());
        state.message(Message { kind: Kind::Text, payload }, subscribed, |_| false, Instant::now())
    }

    #[test]
    fn a_plain_frame_is_a_publication_as_it_is() {
        let channel = Channel::new("a").unwrap();
        let mut state = state(Protocol::Plain { channel: channel.clone(), traceparent: None });
        let publication = Publication::new(Bytes::from_static(b"{]"), Kind::Text);
        assert_eq!(say(&mut state, "{]", 1), [Action::Publish { id: None, channel, publication }]);
    }

    #[test]
    fn channels_beyond_the_limit_are_refused_each_by_name() {
        let text = r#"{"type":"subscribe","id":1,"channels":{"a":null,"b":null,"c":null}}"#;
        let actions = say(&mut state(Protocol::Json), text, 1);
        assert!(matches!(actions[0], Action::Subscribe { .. }));
        for (action, name) in actions[1..].iter().zip(["b", "c"]) {
            let Action::Reply(Reply::Error(error)) = action else { panic!("{action:?}") };
            assert_eq!((error.code, error.channel.as_deref().unwrap()), (Code::LimitReached, name));
        }
    }

    #[test]
    fn bad_commands_are_answered_until_there_are_too_many_in_a_row() {
        let mut state = state(Protocol::Json);
        for _ in 0..BAD_COMMANDS_MAX {
            assert_eq!(say(&mut state, "{}", 0).len(), 1);
        }
        say(&mut state, r#"{"type":"ping"}"#, 0);
        for _ in 0..BAD_COMMANDS_MAX {
            assert_eq!(say(&mut state, "{}", 0).len(), 1);
        }
        assert!(matches!(say(&mut state, "{}", 0)[1], Action::Close(Close::Policy(_))));
    }

    #[test]
    fn what_is_well_formed_and_not_there_is_no_bad_command() {
        let mut state = state(Protocol::Json);
        for _ in 0..=BAD_COMMANDS_MAX {
            assert_eq!(say(&mut state, r#"{"type":"history","channel":"a"}"#, 0).len(), 1);
        }
    }

    #[test]
    fn a_ping_is_due_every_interval_and_silence_after_one_is_death() {
        let mut state = state(Protocol::Json);
        let first = state.next_beat();
        assert_eq!(state.beat(first - SECOND), Beat::Wait);
        assert_eq!(state.beat(first), Beat::Ping(1u32.to_be_bytes()));
        assert_eq!(state.pong(&1u32.to_be_bytes(), first + SECOND), Some(SECOND));
        state.heard(first + SECOND);
        assert_eq!(state.next_beat(), first + 25 * SECOND);
        assert_eq!(state.beat(first + 25 * SECOND), Beat::Ping(2u32.to_be_bytes()));
        assert_eq!(state.next_beat(), first + 35 * SECOND);
        assert_eq!(state.beat(first + 35 * SECOND), Beat::End(Close::PongTimeout));
    }

    #[test]
    fn any_frame_counts_as_life_and_a_forged_pong_measures_nothing() {
        let mut state = state(Protocol::Json);
        let first = state.next_beat();
        state.beat(first);
        assert_eq!(state.pong(b"what?", first + SECOND), None);
        state.heard(first + 9 * SECOND);
        assert_eq!(state.beat(first + 10 * SECOND), Beat::Wait);
    }
}
