//! A client: one connection after another, each with the operations of its role.

mod commands;
mod event_stream;
mod messages;
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

use crate::directory::{Directory, Socket};
use crate::plan::Role;
use crate::record::{ClientRecord, PublisherRecord};

/// The idle time after which the client gives up a connection; pongs prevent it on a healthy connection.
const SILENCE_MAX: Duration = Duration::from_secs(6);

const PING_INTERVAL: Duration = Duration::from_millis(1500);

/// The longest pause before a client reconnects, in milliseconds.
const PAUSE_MAX: u64 = 120;

/// The most past positions of a channel that a client keeps, to resume from them.
const REMEMBERED_MAX: usize = 400;

/// A publishing client's number as a publisher, its channel and its journal.
#[derive(Clone)]
pub struct PublisherSlot {
    pub number: PublisherNumber,
    pub channel: ChannelNumber,
    pub record: PublisherRecord,
}

pub struct Client {
    pub role: Role,
    /// The channels to which the client subscribes.
    pub assigned: Vec<ChannelNumber>,
    pub channels: Arc<[AuditChannel]>,
    pub directory: Directory,
    pub record: Arc<Mutex<ClientRecord>>,
    pub publisher: Option<PublisherSlot>,
    /// True at the end of a run: the client only stays subscribed and does nothing else.
    pub settle: watch::Receiver<bool>,
    pub random: StdRng,
    states: HashMap<ChannelNumber, ChannelState>,
    /// The `since` of each `history` command without a reply, by id.
    history_requests: HashMap<u64, Option<Position>>,
    /// The number of connections so far, including the current one.
    connections: usize,
    id: u64,
    echo: bool,
}

/// The client's state of a channel.
#[derive(Default)]
struct ChannelState {
    /// Whether its last command was `subscribe`, not `unsubscribe`.
    requested: bool,
    /// The id and `since` of each `subscribe` command without a reply.
    pending_subscribes: Vec<(u64, Option<Position>)>,
    /// The position from which it would resume.
    last: Option<Position>,
    past: Vec<Position>,
}

/// The numbers of unanswered publications, by the id of the command.
type Pending = HashMap<u64, u64>;

impl Client {
    pub fn new(
        plan: &crate::plan::Client,
        seed: u64,
        channels: Arc<[AuditChannel]>,
        (directory, settle): (Directory, watch::Receiver<bool>),
        record: Arc<Mutex<ClientRecord>>,
        publisher: Option<PublisherSlot>,
    ) -> Self {
        let states = plan.channels.iter().map(|channel| (*channel, ChannelState::default()));
        Self {
            role: plan.role,
            assigned: plan.channels.clone(),
            channels,
            directory,
            record,
            publisher,
            settle,
            random: StdRng::seed_from_u64(seed),
            states: states.collect(),
            history_requests: HashMap::new(),
            connections: 0,
            id: 0,
            echo: true,
        }
    }

    pub async fn run(mut self) {
        match self.role {
            Role::Plain { publishes } => return self.run_plain(publishes).await,
            Role::EventStream { several } => return self.run_event_stream(several).await,
            _ => {}
        }
        loop {
            let narrow = self.role == Role::Pauser;
            if let Ok((node, socket, _)) =
                self.directory.open(&mut self.random, "/ws", narrow).await
            {
                self.connections += 1;
                self.write(Entry::Opened { node: node.public.to_string() });
                let mut pending = Pending::new();
                let why = self.run_session(socket, &mut pending).await;
                self.write(Entry::Closed { why });
                for (_, number) in pending {
                    self.publisher
                        .as_ref()
                        .expect("only a client with a publisher has pending publications")
                        .record
                        .end(number, PublishOutcome::Unknown);
                }
            }
            let pause = self.random.random_range(1..PAUSE_MAX);
            sleep(Duration::from_millis(pause)).await;
        }
    }

    /// Runs until the connection ends; returns the reason.
    async fn run_session(&mut self, mut socket: Socket, pending: &mut Pending) -> String {
        match self.exchange(&mut socket, pending).await {
            Ok(why) => why,
            Err(error) => error.to_string(),
        }
    }

    /// Reads messages, pings and executes operations until the connection ends; returns the reason.
    async fn exchange(
        &mut self,
        socket: &mut Socket,
        pending: &mut Pending,
    ) -> Result<String, Error> {
        for state in self.states.values_mut() {
            state.requested = false;
            state.pending_subscribes.clear();
        }
        self.history_requests.clear();
        self.echo = self.role != Role::PublishingSubscriber || self.random.random_bool(0.5);
        self.subscribe_all(socket).await?;
        let mut received_at = Instant::now();
        let mut ping_at = received_at + PING_INTERVAL;
        let mut operate_at = received_at + self.pause();
        loop {
            let wake = operate_at.min(ping_at).min(received_at + SILENCE_MAX);
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
                    // The next read sends the reply to the close frame.
                    let _ = timeout(SILENCE_MAX, socket.next()).await;
                    return Ok(why);
                }
                Some(Some(Err(error))) => return Err(error),
                Some(Some(Ok(message))) => {
                    received_at = Instant::now();
                    if let Message::Text(text) = message {
                        self.handle_message(text.as_str(), pending);
                    }
                }
                None => {}
            }
            let now = Instant::now();
            if now >= received_at + SILENCE_MAX {
                return Ok("silent".to_owned());
            }
            if now >= ping_at {
                ping_at = now + PING_INTERVAL;
                self.send_command(socket, r#"{"type":"ping","id":0}"#.to_owned()).await?;
            }
            if now >= operate_at {
                if self.operate(socket, pending).await? {
                    return Ok("the client disconnected".to_owned());
                }
                operate_at = Instant::now() + self.pause();
                received_at = received_at.max(now);
            }
        }
    }

    /// The pause before the next operation of the role.
    fn pause(&mut self) -> Duration {
        let range = match self.role {
            _ if *self.settle.borrow() => 150..250,
            Role::LongSubscriber => 60..600,
            Role::Toggler => 3..30,
            Role::Resumer => 60..900,
            Role::Pauser => 200..700,
            Role::PublishingSubscriber | Role::Plain { .. } | Role::EventStream { .. } => 8..50,
        };
        Duration::from_millis(self.random.random_range(range))
    }

    /// Executes one operation. Returns true if it ends the connection.
    async fn operate(&mut self, socket: &mut Socket, pending: &mut Pending) -> Result<bool, Error> {
        if *self.settle.borrow() {
            self.subscribe_all(socket).await?;
            return Ok(false);
        }
        match self.role {
            Role::LongSubscriber => {
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
                    self.request_history(socket).await?;
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
                    // Fails only at the end of the run.
                    _ = self.settle.wait_for(|settle| *settle) => {}
                }
                self.write(Entry::Paused(false));
            }
            Role::PublishingSubscriber => {
                self.publish(socket, pending).await?;
                if self.random.random_bool(0.05) {
                    self.toggle(socket).await?;
                }
                if self.random.random_bool(0.05) {
                    self.subscribe_all(socket).await?;
                }
            }
            Role::Plain { .. } | Role::EventStream { .. } => {}
        }
        Ok(false)
    }

    fn is_subscribed(&self, channel: ChannelNumber) -> bool {
        self.record.lock().expect("no panic while the lock is held").subscribed.contains(&channel)
    }

    fn number(&self, name: &str) -> Option<ChannelNumber> {
        self.assigned.iter().copied().find(|number| self.channels[*number].name == name)
    }

    fn write(&self, entry: Entry) {
        self.record.lock().expect("no panic while the lock is held").write(entry);
    }
}
