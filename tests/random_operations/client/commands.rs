//! The commands of a client.

use futures_util::SinkExt;
use rand::Rng;
use rand::seq::IndexedRandom;
use serde_json::{Map, Value, json};
use testkit::audit::channels::ChannelNumber;
use testkit::audit::journal::{Entry, FIRST};
use testkit::log::Position;
use testkit::server_message::Payload;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{Client, Pending, SILENCE_MAX};
use crate::directory::Socket;
use crate::plan::Role;

/// A position as a command has it.
fn written(since: Position) -> Value {
    if since == FIRST { "first".into() } else { since.to_string().into() }
}

impl Client {
    /// Unsubscribes from a channel, subscribes to it, or both.
    pub(super) async fn toggle(&mut self, socket: &mut Socket) -> Result<(), Error> {
        let channel = self.any_channel();
        if self.states[&channel].requested {
            self.unsubscribe(socket, channel).await?;
            if self.random.random_bool(0.5) {
                return Ok(());
            }
        }
        let since = match self.random.random_range(..10u32) {
            0 => self.since(channel),
            1 => self.states[&channel].last,
            _ => None,
        };
        self.subscribe(socket, channel, since).await
    }

    /// Subscribes to every assigned channel for which no subscribe command was sent.
    pub(super) async fn subscribe_all(&mut self, socket: &mut Socket) -> Result<(), Error> {
        let missing: Vec<ChannelNumber> =
            self.assigned.iter().copied().filter(|it| !self.states[it].requested).collect();
        if missing.is_empty() {
            return Ok(());
        }
        if missing.len() == 1 || !self.echo || self.random.random_bool(0.5) {
            for channel in missing {
                let since = self.since(channel);
                self.subscribe(socket, channel, since).await?;
            }
            return Ok(());
        }
        self.id += 1;
        let mut list = Map::new();
        for channel in missing {
            let since = self.since(channel);
            self.record_subscribe(channel, since, true);
            let name = self.channels[channel].name.clone();
            list.insert(name, since.map_or(Value::Null, written));
        }
        let command = json!({"type": "subscribe", "id": self.id, "channels": list});
        self.send_command(socket, command.to_string()).await
    }

    pub(super) async fn subscribe(
        &mut self,
        socket: &mut Socket,
        channel: ChannelNumber,
        since: Option<Position>,
    ) -> Result<(), Error> {
        self.id += 1;
        self.record_subscribe(channel, since, self.echo);
        let mut command = json!({"type": "subscribe", "id": self.id});
        command["channel"] = self.channels[channel].name.clone().into();
        if let Some(since) = since {
            command["since"] = written(since);
        }
        if !self.echo {
            command["echo"] = false.into();
        }
        self.send_command(socket, command.to_string()).await
    }

    fn record_subscribe(&mut self, channel: ChannelNumber, since: Option<Position>, echo: bool) {
        let id = self.id;
        self.write(Entry::Subscribe { id, channel, since, echo });
        let state = self.states.get_mut(&channel).expect("it is assigned");
        state.requested = true;
        state.pending_subscribes.push((id, since));
    }

    pub(super) async fn unsubscribe(
        &mut self,
        socket: &mut Socket,
        channel: ChannelNumber,
    ) -> Result<(), Error> {
        self.id += 1;
        self.write(Entry::Unsubscribe { id: self.id, channel });
        self.states.get_mut(&channel).expect("it is assigned").requested = false;
        let name = &self.channels[channel].name;
        let command = json!({"type": "unsubscribe", "id": self.id, "channel": name});
        self.send_command(socket, command.to_string()).await
    }

    pub(super) async fn publish(
        &mut self,
        socket: &mut Socket,
        pending: &mut Pending,
    ) -> Result<(), Error> {
        let Some(publisher) = self.publisher.clone() else { return Ok(()) };
        let number = publisher.record.begin(Some(self.connections - 1));
        self.id += 1;
        pending.insert(self.id, number);
        let payload =
            Payload { p: publisher.number, n: number }.text(self.random.random_range(0..120));
        let (id, name) = (self.id, &self.channels[publisher.channel].name);
        let command =
            format!(r#"{{"type":"publish","id":{id},"channel":"{name}","data":{payload}}}"#);
        self.send_command(socket, command).await
    }

    /// Requests the publications after a past position, or the newest ones.
    pub(super) async fn request_history(&mut self, socket: &mut Socket) -> Result<(), Error> {
        let channel = self.any_channel();
        let state = &self.states[&channel];
        let since = match self.random.random_bool(0.5) {
            true => state.past.choose(&mut self.random).copied().or(state.last),
            false => None,
        };
        self.id += 1;
        self.history_requests.insert(self.id, since);
        let mut command = json!({"type": "history", "id": self.id, "limit": 1000});
        command["channel"] = self.channels[channel].name.clone().into();
        if let Some(since) = since {
            command["since"] = since.to_string().into();
        }
        self.send_command(socket, command.to_string()).await
    }

    pub(super) async fn send_command(
        &mut self,
        socket: &mut Socket,
        text: String,
    ) -> Result<(), Error> {
        match timeout(SILENCE_MAX, socket.send(Message::text(text))).await {
            Ok(sent) => sent,
            Err(_) => Err(Error::Io(std::io::ErrorKind::TimedOut.into())),
        }
    }

    pub(super) fn any_channel(&mut self) -> ChannelNumber {
        *self.assigned.choose(&mut self.random).expect("a client has channels")
    }

    /// The position to resume from: mostly the last one, as a well-behaved client sends it.
    fn since(&mut self, channel: ChannelNumber) -> Option<Position> {
        let state = &self.states[&channel];
        let Some(last) = state.last else {
            let is_run = self.channels[channel].kind.is_run();
            return (is_run && self.random.random_bool(0.6)).then_some(FIRST);
        };
        if *self.settle.borrow() || !matches!(self.role, Role::Resumer | Role::Toggler) {
            return Some(last);
        }
        match self.random.random_range(..20u32) {
            0..11 => Some(last),
            11..15 => state.past.choose(&mut self.random).copied(),
            15 => Some(Position { seq: last.seq + self.random.random_range(1..30), ..last }),
            16 => {
                let moved: u64 = self.random.random_range(1..1_000_000_000);
                Some(Position { epoch: last.epoch ^ moved, ..last })
            }
            _ => None,
        }
    }
}
