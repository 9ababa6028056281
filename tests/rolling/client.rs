//! One client, connection after connection: it reconnects after the node's `after_ms` and resumes.

mod connect;
mod publisher;

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Map, Value, json};
use testkit::log::{Channel, ChannelNumber, LogEvent, Position};
use testkit::publisher::Unacknowledged;
use testkit::recorder::Recorder;
use testkit::server_message::ServerMessage;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::counters::ClientCounters;
use connect::connect;
pub use publisher::ClientPublisher;

/// The longest that a handshake may take: longer than all retries of the load balancer.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(15);

/// The idle time after which the connection counts as dead, because all channels are busy.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// The pause of a client without an `after_ms`.
const RECONNECT_PAUSE: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(3);

/// The close code of a node that drains.
const DRAIN_CLOSE_CODE: u16 = 1012;

type Socket = WebSocketStream<TcpStream>;

/// The id of commands other than publications.
const SUBSCRIBE_ID: u64 = 0;

pub struct Client {
    pub address: SocketAddr,
    /// The last position of each channel.
    pub positions: HashMap<ChannelNumber, Option<Position>>,
    pub all: Arc<[Channel]>,
    pub publisher: ClientPublisher,
    pub random: StdRng,
    pub record: Arc<Mutex<Recorder>>,
    pub counters: Arc<ClientCounters>,
    /// When to reconnect, from the draining node's `after_ms`.
    pub reconnect_at: Option<Instant>,
}

impl Client {
    pub async fn run(mut self) {
        let (mut first_command, mut due) = (None, None);
        loop {
            match timeout(HANDSHAKE_TIME_MAX, connect(self.address)).await {
                Ok(Ok((node, socket))) => {
                    self.write(LogEvent::Opened { node });
                    if let Some(due) = due.take() {
                        self.counters.reconnected(due);
                    }
                    let why = self.run_session(socket, first_command.take()).await;
                    first_command = self.publisher.repeat_last();
                    self.counters.closed(&why, self.reconnect_at.is_some());
                    self.write(LogEvent::Closed { why: why.to_string() });
                }
                Ok(Err(why)) => self.counters.refused(why),
                Err(_) => self.counters.refused("no handshake in time".to_owned()),
            }
            let pause = match self.reconnect_at.take() {
                Some(then) => {
                    due = Some(then);
                    then.saturating_duration_since(Instant::now())
                }
                // Not after a drain, which is a fault here: it need not wait as long as a real client.
                None => self.random.random_range(RECONNECT_PAUSE),
            };
            sleep(pause).await;
        }
    }

    /// Runs until the connection ends. Sends the subscriptions first, then `first_command`.
    async fn run_session(
        &mut self,
        mut socket: Socket,
        first_command: Option<String>,
    ) -> CloseCause {
        for command in std::iter::once(self.subscription()).chain(first_command) {
            if let Err(error) = socket.send(Message::text(command)).await {
                return CloseCause::Broken(error.to_string());
            }
        }
        loop {
            let message = tokio::select! {
                message = timeout(SILENCE_MAX, socket.next()) => message,
                command = self.publisher.command() => {
                    if let Err(error) = socket.send(Message::text(command)).await {
                        return CloseCause::Broken(error.to_string());
                    }
                    continue;
                }
            };
            let text = match message {
                Ok(Some(Ok(Message::Text(text)))) => text,
                Ok(Some(Ok(Message::Close(frame)))) => {
                    // The next read sends the reply to the close frame.
                    let _ = timeout(SILENCE_MAX, socket.next()).await;
                    return match frame {
                        Some(frame) if u16::from(frame.code) == DRAIN_CLOSE_CODE => {
                            CloseCause::Drained
                        }
                        frame => CloseCause::Broken(format!("closed with {frame:?}")),
                    };
                }
                Ok(Some(Ok(_))) => continue,
                Ok(Some(Err(error))) => return CloseCause::Broken(error.to_string()),
                Ok(None) => return CloseCause::Broken("ended without a close frame".to_owned()),
                Err(_) => return CloseCause::Broken("silent".to_owned()),
            };
            self.handle_message(text.as_str());
        }
    }

    fn subscription(&self) -> String {
        let since = |(number, since): (&ChannelNumber, &Option<Position>)| {
            let since = since.map_or(Value::Null, |it| it.to_string().into());
            (self.all[*number].name.clone(), since)
        };
        let channels: Map<String, Value> = self.positions.iter().map(since).collect();
        json!({"type": "subscribe", "id": SUBSCRIBE_ID, "channels": channels}).to_string()
    }

    fn handle_message(&mut self, text: &str) {
        let Some(push) = ServerMessage::parse(text) else {
            return self.write(LogEvent::Unexpected(text.to_owned()));
        };
        let channel = push.channel.as_deref().and_then(|name| self.number(name));
        match (push.kind.as_ref(), channel) {
            ("publication", Some(channel)) => {
                let Some(body) = push.data else {
                    return self.write(LogEvent::Unexpected(text.to_owned()));
                };
                let (publisher, number, position) = (body.p, body.n, push.position);
                if position.is_some() {
                    self.positions.insert(channel, position);
                }
                self.write(LogEvent::Publication { channel, publisher, number, position });
            }
            ("subscribed", Some(channel)) => {
                let (position, recovered) = (push.position, push.recovered);
                let since = self.positions[&channel];
                if since.is_none() || recovered == Some(false) {
                    self.positions.insert(channel, position);
                }
                self.write(LogEvent::Subscribed { channel, since, position, recovered });
            }
            ("gap", Some(channel)) => {
                let reason = push.reason.unwrap_or_default().into_owned();
                self.write(LogEvent::Gap { channel, reason });
            }
            ("published", _) => self.handle_reply(push.id, Ok(push.position)),
            ("error", _) if push.id != Some(SUBSCRIBE_ID) => {
                let why = push.message.unwrap_or_default().into_owned();
                self.handle_reply(push.id, Err(Unacknowledged(why)));
            }
            ("reconnect", _) => {
                let after = push.after_ms.map(Duration::from_millis);
                self.reconnect_at = after.map(|after| Instant::now() + after);
            }
            ("welcome", _) => {}
            _ => self.write(LogEvent::Unexpected(text.to_owned())),
        }
    }

    fn handle_reply(&mut self, id: Option<u64>, outcome: Result<Option<Position>, Unacknowledged>) {
        if let Err(why) = self.publisher.handle_reply(id, outcome) {
            self.write(LogEvent::Unexpected(why));
        }
    }

    fn number(&self, name: &str) -> Option<ChannelNumber> {
        self.positions.keys().copied().find(|number| self.all[*number].name == name)
    }

    fn write(&self, event: LogEvent) {
        self.record.lock().expect("no panic while the lock is held").record(event);
    }
}

/// Why a connection ended.
pub enum CloseCause {
    /// The node drains.
    Drained,
    /// Any other reason: a drain must not break connections.
    Broken(String),
}

impl fmt::Display for CloseCause {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Drained => write!(f, "{DRAIN_CLOSE_CODE}"),
            Self::Broken(why) => f.write_str(why),
        }
    }
}
