//! A json client: one connection after another, each with the operations of its role.

mod plain;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::channels::{Channel, ChannelNumber};
use crate::doors::{Doors, Socket};
use crate::journal::{Entry, Outcome};
use crate::log::{Position, PublisherNumber};
use crate::plan::Role;
use crate::push::{Body, Push};
use crate::record::{OpenLedger, Record};

/// Silence after which a connection is given up. Pings go out all the time.
const SILENCE_MAX: Duration = Duration::from_secs(6);

const PING_INTERVAL: Duration = Duration::from_millis(1500);

/// Before a client comes back, at most.
const PAUSE_MAX: u64 = 120;

/// Positions that a client remembers of each channel, to come back from.
const REMEMBERED_MAX: usize = 400;

/// What a client publishes on, if it does.
#[derive(Clone)]
pub struct Pen {
    pub publisher: PublisherNumber,
    pub channel: ChannelNumber,
    pub ledger: OpenLedger,
}

pub struct Client {
    pub role: Role,
    pub wanted: Vec<ChannelNumber>,
    pub channels: Arc<[Channel]>,
    pub doors: Doors,
    pub record: Arc<Mutex<Record>>,
    pub pen: Option<Pen>,
    /// From here on it only stays subscribed.
    pub settle: watch::Receiver<bool>,
    pub random: StdRng,
    states: HashMap<ChannelNumber, State>,
    /// Counts connections, from 1.
    connections: usize,
    id: u64,
    echo: bool,
}

/// What the client knows of a channel.
#[derive(Default)]
struct State {
    /// It sent `subscribe` last, and not `unsubscribe`.
    wants: bool,
    /// Of each `subscribe` that is not answered: its id, and since where.
    asked: Vec<(u64, Option<Position>)>,
    /// Where it would go on.
    last: Option<Position>,
    past: Vec<Position>,
}

/// Publications on their way: the id of the command, and the number.
type Pending = HashMap<u64, u64>;

impl Client {
    pub fn new(
        plan: &crate::plan::Client,
        seed: u64,
        channels: Arc<[Channel]>,
        (doors, settle): (Doors, watch::Receiver<bool>),
        record: Arc<Mutex<Record>>,
        pen: Option<Pen>,
    ) -> Self {
        let states = plan.channels.iter().map(|channel| (*channel, State::default()));
        Self {
            role: plan.role,
            wanted: plan.channels.clone(),
            channels,
            doors,
            record,
            pen,
            settle,
            random: StdRng::seed_from_u64(seed),
            states: states.collect(),
            connections: 0,
            id: 0,
            echo: true,
        }
    }

    pub async fn run(mut self) {
        if let Role::Plain { publishes } = self.role {
            return self.run_plain(publishes).await;
        }
        loop {
            let narrow = self.role == Role::Pauser;
            if let Ok((door, socket, _)) = self.doors.open(&mut self.random, "/ws", narrow).await {
                self.connections += 1;
                self.write(Entry::Opened { node: door.public.to_string() });
                let mut pending = Pending::new();
                let why = self.converse(socket, &mut pending).await;
                self.write(Entry::Closed { why });
                for (_, number) in pending {
                    self.pen
                        .as_ref()
                        .expect("it has published")
                        .ledger
                        .end(number, Outcome::Doubtful);
                }
            }
            let pause = self.random.random_range(1..PAUSE_MAX);
            sleep(Duration::from_millis(pause)).await;
        }
    }

    /// Until the connection ends; returns why.
    async fn converse(&mut self, mut socket: Socket, pending: &mut Pending) -> String {
        match self.talk(&mut socket, pending).await {
            Ok(why) => why,
            Err(error) => error.to_string(),
        }
    }

    async fn talk(&mut self, socket: &mut Socket, pending: &mut Pending) -> Result<String, Error> {
        for state in self.states.values_mut() {
            state.wants = false;
            state.asked.clear();
        }
        self.echo = self.role != Role::Talker || self.random.random_bool(0.5);
        self.subscribe_all(socket).await?;
        let mut heard = Instant::now();
        let mut ping_at = heard + PING_INTERVAL;
        let mut act_at = heard + self.pause();
        loop {
            let wake = act_at.min(ping_at).min(heard + SILENCE_MAX);
            let message = tokio::select! {
                biased;
                () = tokio::time::sleep_until(wake) => None,
                message = socket.next() => Some(message),
            };
            match message {
                Some(None) => return Ok("ended".to_owned()),
                Some(Some(Ok(Message::Close(frame)))) => {
                    let why = frame.map_or("no code".to_owned(), |it| {
                        format!("{} {}", u16::from(it.code), it.reason)
                    });
                    // The answer to a close frame goes out with the next read.
                    let _ = timeout(SILENCE_MAX, socket.next()).await;
                    return Ok(why);
                }
                Some(Some(Err(error))) => return Err(error),
                Some(Some(Ok(message))) => {
                    heard = Instant::now();
                    if let Message::Text(text) = message {
                        self.hear(text.as_str(), pending);
                    }
                }
                None => {}
            }
            let now = Instant::now();
            if now >= heard + SILENCE_MAX {
                return Ok("silent".to_owned());
            }
            if now >= ping_at {
                ping_at = now + PING_INTERVAL;
                self.say(socket, r#"{"type":"ping","id":0}"#.to_owned()).await?;
            }
            if now >= act_at {
                if self.act(socket, pending).await? {
                    return Ok("the client left".to_owned());
                }
                act_at = Instant::now() + self.pause();
                heard = heard.max(now);
            }
        }
    }

    /// Until the next operation of the role.
    fn pause(&mut self) -> Duration {
        let range = match self.role {
            _ if *self.settle.borrow() => 150..250,
            Role::Holder => 60..600,
            Role::Toggler => 3..30,
            Role::Resumer => 60..900,
            Role::Pauser => 200..700,
            Role::Talker | Role::Plain { .. } => 8..50,
        };
        Duration::from_millis(self.random.random_range(range))
    }

    /// One operation. True: the connection is to end.
    async fn act(&mut self, socket: &mut Socket, pending: &mut Pending) -> Result<bool, Error> {
        if *self.settle.borrow() {
            self.subscribe_all(socket).await?;
            return Ok(false);
        }
        match self.role {
            Role::Holder => {
                self.subscribe_all(socket).await?;
                if self.random.random_bool(0.6) {
                    let channel = self.any_channel();
                    self.subscribe(socket, channel, None).await?;
                }
                if self.random.random_bool(0.05) {
                    let channel = self.any_channel();
                    self.unsubscribe(socket, channel).await?;
                }
            }
            Role::Toggler => self.toggle(socket).await?,
            Role::Resumer => {
                if self.random.random_bool(0.5) {
                    let _ = timeout(SILENCE_MAX, socket.close(None)).await;
                }
                return Ok(true);
            }
            Role::Pauser => {
                self.subscribe_all(socket).await?;
                self.write(Entry::Paused(true));
                let time = Duration::from_millis(self.random.random_range(100..2500));
                tokio::select! {
                    () = sleep(time) => {}
                    // Fails only where the run is over.
                    _ = self.settle.wait_for(|settle| *settle) => {}
                }
                self.write(Entry::Paused(false));
            }
            Role::Talker => {
                self.publish(socket, pending).await?;
                if self.random.random_bool(0.05) {
                    self.toggle(socket).await?;
                }
                if self.random.random_bool(0.05) {
                    self.subscribe_all(socket).await?;
                }
            }
            Role::Plain { .. } => {}
        }
        Ok(false)
    }

    /// Leaves a channel or comes back to it, or both at once.
    async fn toggle(&mut self, socket: &mut Socket) -> Result<(), Error> {
        let channel = self.any_channel();
        if self.states[&channel].wants {
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

    /// Asks for every channel that the client wants and has not asked for.
    async fn subscribe_all(&mut self, socket: &mut Socket) -> Result<(), Error> {
        let missing: Vec<ChannelNumber> =
            self.wanted.iter().copied().filter(|it| !self.states[it].wants).collect();
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
            self.asks(channel, since, true);
            let name = self.channels[channel].name.clone();
            list.insert(name, since.map_or(Value::Null, |it| it.to_string().into()));
        }
        let command = json!({"type": "subscribe", "id": self.id, "channels": list});
        self.say(socket, command.to_string()).await
    }

    async fn subscribe(
        &mut self,
        socket: &mut Socket,
        channel: ChannelNumber,
        since: Option<Position>,
    ) -> Result<(), Error> {
        self.id += 1;
        self.asks(channel, since, self.echo);
        let mut command = json!({"type": "subscribe", "id": self.id});
        command["channel"] = self.channels[channel].name.clone().into();
        if let Some(since) = since {
            command["since"] = since.to_string().into();
        }
        if !self.echo {
            command["echo"] = false.into();
        }
        self.say(socket, command.to_string()).await
    }

    fn asks(&mut self, channel: ChannelNumber, since: Option<Position>, echo: bool) {
        let id = self.id;
        self.write(Entry::Subscribe { id, channel, since, echo });
        let state = self.states.get_mut(&channel).expect("it is wanted");
        state.wants = true;
        state.asked.push((id, since));
    }

    async fn unsubscribe(
        &mut self,
        socket: &mut Socket,
        channel: ChannelNumber,
    ) -> Result<(), Error> {
        self.id += 1;
        self.write(Entry::Unsubscribe { id: self.id, channel });
        self.states.get_mut(&channel).expect("it is wanted").wants = false;
        let name = &self.channels[channel].name;
        let command = json!({"type": "unsubscribe", "id": self.id, "channel": name});
        self.say(socket, command.to_string()).await
    }

    async fn publish(&mut self, socket: &mut Socket, pending: &mut Pending) -> Result<(), Error> {
        let Some(pen) = self.pen.clone() else { return Ok(()) };
        let number = pen.ledger.begin(Some(self.connections - 1));
        self.id += 1;
        pending.insert(self.id, number);
        let payload = Body { p: pen.publisher, n: number }.text(self.random.random_range(0..120));
        let (id, name) = (self.id, &self.channels[pen.channel].name);
        let command =
            format!(r#"{{"type":"publish","id":{id},"channel":"{name}","data":{payload}}}"#);
        self.say(socket, command).await
    }

    async fn say(&mut self, socket: &mut Socket, text: String) -> Result<(), Error> {
        match timeout(SILENCE_MAX, socket.send(Message::text(text))).await {
            Ok(sent) => sent,
            Err(_) => Err(Error::Io(std::io::ErrorKind::TimedOut.into())),
        }
    }

    fn any_channel(&mut self) -> ChannelNumber {
        *self.wanted.choose(&mut self.random).expect("a client wants something")
    }

    /// Where to come back from: mostly the last position, as a good client does.
    fn since(&mut self, channel: ChannelNumber) -> Option<Position> {
        let state = &self.states[&channel];
        let last = state.last?;
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

    fn hear(&mut self, text: &str, pending: &mut Pending) {
        let Some(push) = Push::parse(text) else { return self.write(Entry::Odd(text.to_owned())) };
        let channel = push.channel.as_deref().and_then(|name| self.number(name));
        match (push.kind.as_ref(), channel) {
            ("publication", Some(channel)) => {
                let Some(body) = push.data else { return self.write(Entry::Odd(text.to_owned())) };
                if let Some(position) = push.position {
                    self.comes_to(channel, position);
                }
                let name = (body.p, body.n);
                self.write(Entry::Publication { channel, name, position: push.position });
            }
            ("subscribed", Some(channel)) => {
                let (id, position, recovered) = (push.id, push.position, push.recovered);
                self.is_subscribed(channel, id, position, recovered);
                self.write(Entry::Subscribed { id, channel, position, recovered });
            }
            ("unsubscribed", Some(channel)) => {
                self.write(Entry::Unsubscribed { id: push.id, channel });
            }
            ("gap", Some(channel)) => {
                let reason = push.reason.unwrap_or_default().into_owned();
                self.write(Entry::Gap { channel, reason });
            }
            ("published", _) => {
                let number = push.id.and_then(|id| pending.remove(&id));
                match (number, &self.pen) {
                    (Some(number), Some(pen)) => {
                        pen.ledger.end(number, Outcome::Taken(push.position));
                    }
                    _ => self.write(Entry::Odd(text.to_owned())),
                }
            }
            ("error", channel) => self.is_refused(channel, &push, text, pending),
            ("welcome" | "pong" | "reconnect", _) => {}
            _ => self.write(Entry::Odd(text.to_owned())),
        }
    }

    fn is_subscribed(
        &mut self,
        channel: ChannelNumber,
        id: Option<u64>,
        position: Option<Position>,
        recovered: Option<bool>,
    ) {
        let state = self.states.get_mut(&channel).expect("it is wanted");
        let at = state.asked.iter().position(|(asked, _)| Some(*asked) == id);
        let since = at.and_then(|at| state.asked.remove(at).1);
        match (recovered, since) {
            (Some(true), since) => state.last = since,
            // That of a repeated one counts where there was none.
            (None, None) if state.last.is_some() => {}
            _ => state.last = position,
        }
    }

    fn is_refused(
        &mut self,
        channel: Option<ChannelNumber>,
        push: &Push<'_>,
        text: &str,
        pending: &mut Pending,
    ) {
        let why = push.message.as_deref().unwrap_or_default().to_owned();
        if let Some(number) = push.id.and_then(|id| pending.remove(&id)) {
            let pen = self.pen.as_ref().expect("it has published");
            return pen.ledger.end(number, Outcome::Doubtful);
        }
        let Some(channel) = channel else { return self.write(Entry::Odd(text.to_owned())) };
        let state = self.states.get_mut(&channel).expect("it is wanted");
        state.asked.retain(|(asked, _)| Some(*asked) != push.id);
        let (is_live, waits) = (self.is_live(channel), !self.states[&channel].asked.is_empty());
        self.states.get_mut(&channel).expect("it is wanted").wants = is_live || waits;
        self.write(Entry::Refused { id: push.id, channel, why });
    }

    fn comes_to(&mut self, channel: ChannelNumber, position: Position) {
        let state = self.states.get_mut(&channel).expect("it is wanted");
        state.last = Some(position);
        if state.past.len() < REMEMBERED_MAX {
            state.past.push(position);
        } else {
            let at = self.random.random_range(..REMEMBERED_MAX);
            state.past[at] = position;
        }
    }

    fn is_live(&self, channel: ChannelNumber) -> bool {
        self.record.lock().expect("no code panics with a record").live.contains(&channel)
    }

    fn number(&self, name: &str) -> Option<ChannelNumber> {
        self.wanted.iter().copied().find(|number| self.channels[*number].name == name)
    }

    fn write(&self, entry: Entry) {
        self.record.lock().expect("no code panics with a record").write(entry);
    }
}
