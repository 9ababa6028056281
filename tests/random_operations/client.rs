//! A json client: one connection after another, each with the operations of its role.

mod commands;
mod hearing;
mod plain;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use testkit::audit::channels::{AuditChannel, ChannelNumber};
use testkit::audit::journal::{Entry, PublishOutcome};
use testkit::log::{Position, PublisherNumber};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::doors::{Doors, Socket};
use crate::plan::Role;
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
    pub channels: Arc<[AuditChannel]>,
    pub doors: Doors,
    pub record: Arc<Mutex<Record>>,
    pub pen: Option<Pen>,
    /// From here on it only stays subscribed.
    pub settle: watch::Receiver<bool>,
    pub random: StdRng,
    states: HashMap<ChannelNumber, State>,
    /// Of each `history` that is not answered: since where.
    questions: HashMap<u64, Option<Position>>,
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
        channels: Arc<[AuditChannel]>,
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
            questions: HashMap::new(),
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
                        .end(number, PublishOutcome::Unknown);
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
        self.questions.clear();
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
                if self.random.random_bool(0.2) {
                    self.ask_history(socket).await?;
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
