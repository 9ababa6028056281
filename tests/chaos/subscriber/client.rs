//! A subscriber's sessions, one connection after the other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rand::rngs::StdRng;
use serde_json::{Map, Value, json};
use testkit::backoff::Backoff;
use testkit::log::{Channel, ChannelNumber, LogEvent, Position};
use testkit::recorder::Recorder;
use testkit::server_message::ServerMessage;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::SocketKind;
use crate::directory::Directory;

/// The idle time after which the client sends a ping, and gives up after the same time without a message.
const SILENCE_MAX: Duration = Duration::from_secs(6);

/// The pause before a refused subscription is repeated.
const REFUSED_PAUSE: Duration = Duration::from_millis(250);

type Socket = WebSocketStream<TcpStream>;

pub struct Client {
    pub socket_kind: SocketKind,
    /// The last position of each channel.
    pub positions: HashMap<ChannelNumber, Option<Position>>,
    pub all: Arc<[Channel]>,
    pub directory: Directory,
    pub random: StdRng,
    pub backoff: Backoff,
    pub pause: watch::Receiver<bool>,
    pub record: Arc<Mutex<Recorder>>,
}

impl Client {
    pub async fn run(mut self) {
        loop {
            // After a failed connect it tries the next node; that is not recorded.
            if let Ok((node, socket)) =
                self.directory.connect(&mut self.random, self.socket_kind).await
            {
                self.write(LogEvent::Opened { node });
                let why = self.run_session(socket).await;
                self.write(LogEvent::Closed { why });
            }
            // Shorter than the node's `after_ms`, to save time.
            sleep(self.backoff.next(&mut self.random)).await;
        }
    }

    /// Runs until the connection ends; returns the reason.
    async fn run_session(&mut self, mut socket: Socket) -> String {
        let all: Vec<_> = self.positions.keys().copied().collect();
        if let Err(error) = self.subscribe(&mut socket, &all).await {
            return error.to_string();
        }
        let mut pinged = false;
        loop {
            if *self.pause.borrow() {
                // Fails only at the end of the run.
                let _ = self.pause.wait_for(|idle| !idle).await;
            }
            let message = tokio::select! {
                message = timeout(SILENCE_MAX, socket.next()) => message,
                _ = self.pause.wait_for(|idle| *idle) => continue,
            };
            let text = match message {
                Ok(Some(Ok(Message::Text(text)))) => text,
                Ok(Some(Ok(Message::Close(frame)))) => {
                    let why = frame.map_or("no code".to_owned(), |it| {
                        format!("{} {}", u16::from(it.code), it.reason)
                    });
                    // The next read sends the reply to the close frame.
                    let _ = timeout(SILENCE_MAX, socket.next()).await;
                    return why;
                }
                Ok(Some(Ok(_))) => continue,
                Ok(Some(Err(error))) => return error.to_string(),
                Ok(None) => return "ended".to_owned(),
                Err(_) if pinged => return "silent".to_owned(),
                Err(_) => {
                    pinged = true;
                    let ping = Message::text(r#"{"type":"ping","id":0}"#);
                    if timeout(SILENCE_MAX, socket.send(ping)).await.is_err() {
                        return "the node did not read a ping".to_owned();
                    }
                    continue;
                }
            };
            pinged = false;
            if let Some(refused) = self.handle_message(text.as_str()) {
                sleep(REFUSED_PAUSE).await;
                if let Err(error) = self.subscribe(&mut socket, &[refused]).await {
                    return error.to_string();
                }
            }
        }
    }

    async fn subscribe(
        &mut self,
        socket: &mut Socket,
        channels: &[ChannelNumber],
    ) -> Result<(), Error> {
        let since = |number: &ChannelNumber| {
            let name = self.all[*number].name.clone();
            (name, self.positions[number].map_or(Value::Null, |it| it.to_string().into()))
        };
        let channels: Map<String, Value> = channels.iter().map(since).collect();
        let command = json!({"type": "subscribe", "id": 1, "channels": channels});
        socket.send(Message::text(command.to_string())).await
    }

    /// Returns the channel of a temporarily refused subscription.
    fn handle_message(&mut self, text: &str) -> Option<ChannelNumber> {
        let Some(push) = ServerMessage::parse(text) else {
            self.write(LogEvent::Unexpected(text.to_owned()));
            return None;
        };
        let channel = push.channel.as_deref().and_then(|name| self.number(name));
        match (push.kind.as_ref(), channel) {
            ("publication", Some(channel)) => {
                let Some(body) = push.data else {
                    self.write(LogEvent::Unexpected(text.to_owned()));
                    return None;
                };
                let (publisher, number) = (body.p, body.n);
                if push.position.is_some() {
                    self.positions.insert(channel, push.position);
                }
                let position = push.position;
                self.write(LogEvent::Publication { channel, publisher, number, position });
            }
            ("subscribed", Some(channel)) => {
                self.backoff.reset();
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
            ("error", Some(channel)) if push.temporary == Some(true) => {
                let why = push.message.unwrap_or_default().into_owned();
                self.write(LogEvent::Refused { channel, why });
                return Some(channel);
            }
            ("welcome" | "pong" | "reconnect", _) => {}
            _ => {
                self.write(LogEvent::Unexpected(text.to_owned()));
            }
        }
        None
    }

    fn number(&self, name: &str) -> Option<ChannelNumber> {
        self.positions.keys().copied().find(|number| self.all[*number].name == name)
    }

    fn write(&self, event: LogEvent) {
        self.record.lock().expect("no panic while the lock is held").record(event);
    }
}
