//! A session's rules without I/O: a message or a moment goes in, what to do comes out.

use std::time::Duration;

use tokio::time::Instant;

use super::Config;
use crate::close::Close;
use crate::protocol::{Code, Command, Id, Message, Protocol, Refusal, Reply, ReplyError};
use crate::publication::{Channel, Position, Publication};

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
    Reply(Reply),
    Close(Close),
}

/// What is to be done at a moment.
#[derive(Debug, PartialEq, Eq)]
pub enum Beat {
    /// Send a ping with this payload.
    Ping([u8; 4]),
    /// Nothing was heard since the last ping.
    Dead,
    Wait,
}

/// What a session knows beside its socket.
#[derive(Debug)]
pub struct State {
    protocol: Protocol,
    channels_max: usize,
    bad_commands: u32,
    ping_interval: Duration,
    pong_timeout: Duration,
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
    pub fn new(protocol: Protocol, config: &Config, now: Instant) -> Self {
        Self {
            protocol,
            channels_max: config.channels_max,
            bad_commands: 0,
            ping_interval: config.ping_interval,
            pong_timeout: config.pong_timeout,
            next_ping: now + config.ping_interval.mul_f64(rand::random_range(0.5..1.0)),
            pinged_at: now,
            pings: 0,
            heard_at: now,
        }
    }

    pub fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    /// What a message asks for. `subscribed`: channels the session has or waits for; `is_subscribed`
    /// tells whether it has this one.
    pub fn message(
        &mut self,
        message: Message,
        mut subscribed: usize,
        is_subscribed: impl Fn(&Channel) -> bool,
    ) -> Vec<Action> {
        let outcomes = match self.protocol.decode(message) {
            Ok(outcomes) => outcomes,
            Err(Refusal::Answer(error)) => vec![Err(error)],
            Err(Refusal::Close(close)) => return vec![Action::Close(close)],
        };
        let mut actions = Vec::with_capacity(outcomes.len());
        for outcome in outcomes {
            match outcome {
                Ok(command) => {
                    self.bad_commands = 0;
                    self.command(command, &mut subscribed, &is_subscribed, &mut actions);
                }
                Err(error) => {
                    self.bad_commands += u32::from(error.code == Code::BadRequest);
                    actions.push(Action::Reply(Reply::Error(error)));
                }
            }
        }
        if self.bad_commands > BAD_COMMANDS_MAX {
            actions.push(Action::Close(Close::Policy("too many bad commands in a row")));
        }
        actions
    }

    fn command(
        &self,
        command: Command,
        subscribed: &mut usize,
        is_subscribed: &impl Fn(&Channel) -> bool,
        actions: &mut Vec<Action>,
    ) {
        let action = match command {
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
            Command::Subscribe { id, channel, .. } if *subscribed >= self.channels_max => {
                let message = format!("at most {} channels a connection", self.channels_max);
                let code = Code::LimitReached;
                Action::Reply(Reply::Error(ReplyError {
                    id,
                    channel: Some(channel.to_string()),
                    code,
                    message,
                }))
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
        match self.awaits_pong() {
            true => self.next_ping.min(self.pinged_at + self.pong_timeout),
            false => self.next_ping,
        }
    }

    pub fn beat(&mut self, now: Instant) -> Beat {
        if self.awaits_pong() && now >= self.pinged_at + self.pong_timeout {
            return Beat::Dead;
        }
        if now < self.next_ping {
            return Beat::Wait;
        }
        self.next_ping = now + self.ping_interval;
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
        };
        State::new(protocol, &config, Instant::now())
    }

    fn say(state: &mut State, text: &str, subscribed: usize) -> Vec<Action> {
        let payload = Bytes::copy_from_slice(text.as_bytes());
        state.message(Message { kind: Kind::Text, payload }, subscribed, |_| false)
    }

    #[test]
    fn a_plain_frame_is_a_publication_as_it_is() {
        let channel = Channel::new("a").unwrap();
        let mut state = state(Protocol::Plain { channel: channel.clone() });
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
        assert_eq!(state.beat(first + 35 * SECOND), Beat::Dead);
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
