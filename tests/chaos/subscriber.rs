//! A subscriber as a good client is one: it keeps the last position of each channel, comes back with a
//! backoff to any node, and asks for what it missed. It writes down all it sees.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::backoff::Backoff;
use crate::directory::Directory;
use crate::log::{Channel, ChannelNumber, Event, Position, PublisherNumber, Seen};
use crate::push::Push;

/// Silence after which a node is asked for a sign of life, and then given up.
const SILENCE_MAX: Duration = Duration::from_secs(6);

/// Before a subscription that was answered with an error is asked for again.
const REFUSED_PAUSE: Duration = Duration::from_millis(250);

type Socket = WebSocketStream<tokio::net::TcpStream>;

pub struct Subscriber {
    pub channels: Vec<ChannelNumber>,
    record: Arc<Mutex<Record>>,
    /// It does not read while this is true.
    idle: watch::Sender<bool>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Record {
    seen: Seen,
    /// Confirmed on the connection that is there now.
    live: HashSet<ChannelNumber>,
    /// The newest number got, of each channel and publisher.
    newest: HashMap<(ChannelNumber, PublisherNumber), u64>,
}

/// How its socket is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Build {
    Usual,
    /// The system takes next to nothing for it, so that a pause shows.
    Narrow,
}

impl Subscriber {
    pub fn start(
        name: String,
        build: Build,
        channels: Vec<ChannelNumber>,
        all: Arc<[Channel]>,
        directory: Directory,
        seed: u64,
    ) -> Self {
        let record = Record { seen: Seen { name, ..Seen::default() }, ..Record::default() };
        let record = Arc::new(Mutex::new(record));
        let (idle, pause) = watch::channel(false);
        let client = Client {
            build,
            wanted: channels.iter().map(|number| (*number, None)).collect(),
            all,
            directory,
            random: StdRng::seed_from_u64(seed),
            backoff: Backoff::default(),
            pause,
            record: record.clone(),
        };
        Self { channels, record, idle, task: tokio::spawn(client.run()) }
    }

    /// Every channel is subscribed.
    pub fn is_live(&self) -> bool {
        let record = self.record();
        self.channels.iter().all(|channel| record.live.contains(channel))
    }

    /// It got this number of the publisher, or a later one.
    pub fn has(&self, channel: ChannelNumber, publisher: PublisherNumber, number: u64) -> bool {
        self.record().newest.get(&(channel, publisher)).is_some_and(|it| *it >= number)
    }

    /// The address of the node it is connected to, or was last.
    pub fn node(&self) -> Option<String> {
        let record = self.record();
        record.seen.events.iter().rev().find_map(|(_, event)| match event {
            Event::Opened { node } => Some(node.clone()),
            _ => None,
        })
    }

    pub fn stop_reading(&self) {
        self.idle.send_replace(true);
    }

    pub fn read_on(&self) {
        self.idle.send_replace(false);
    }

    pub fn name(&self) -> String {
        self.record().seen.name.clone()
    }

    pub fn seen(&self) -> Seen {
        self.record().seen.clone()
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().expect("nobody panics with the record")
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Client {
    build: Build,
    /// With the position to go on from.
    wanted: HashMap<ChannelNumber, Option<Position>>,
    all: Arc<[Channel]>,
    directory: Directory,
    random: StdRng,
    backoff: Backoff,
    pause: watch::Receiver<bool>,
    record: Arc<Mutex<Record>>,
}

impl Client {
    async fn run(mut self) {
        loop {
            // Who cannot connect tries the next one, and has nothing to write down.
            if let Ok((node, socket)) = self.directory.connect(&mut self.random, self.build).await {
                self.write(Event::Opened { node });
                let why = self.converse(socket).await;
                self.write(Event::Closed { why });
            }
            // A node that leaves asks for more patience; the suite has less of it than a browser.
            sleep(self.backoff.next(&mut self.random)).await;
        }
    }

    /// Until the connection ends; returns why.
    async fn converse(&mut self, mut socket: Socket) -> String {
        let all: Vec<_> = self.wanted.keys().copied().collect();
        if let Err(error) = self.subscribe(&mut socket, &all).await {
            return error.to_string();
        }
        let mut asked = false;
        loop {
            if *self.pause.borrow() {
                // Fails only when nobody could end the pause.
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
                    // The answer to a close frame goes out with the next read.
                    let _ = timeout(SILENCE_MAX, socket.next()).await;
                    return why;
                }
                Ok(Some(Ok(_))) => continue,
                Ok(Some(Err(error))) => return error.to_string(),
                Ok(None) => return "ended".to_owned(),
                Err(_) if asked => return "silent".to_owned(),
                Err(_) => {
                    asked = true;
                    let ping = Message::text(r#"{"type":"ping","id":0}"#);
                    if timeout(SILENCE_MAX, socket.send(ping)).await.is_err() {
                        return "does not take a ping".to_owned();
                    }
                    continue;
                }
            };
            asked = false;
            if let Some(refused) = self.hear(text.as_str()) {
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
            (name, self.wanted[number].map_or(Value::Null, |it| it.to_string().into()))
        };
        let channels: Map<String, Value> = channels.iter().map(since).collect();
        let command = json!({"type": "subscribe", "id": 1, "channels": channels});
        socket.send(Message::text(command.to_string())).await
    }

    /// Returns a channel that could not be subscribed now.
    fn hear(&mut self, text: &str) -> Option<ChannelNumber> {
        let Some(push) = Push::parse(text) else {
            self.write(Event::Odd(text.to_owned()));
            return None;
        };
        let channel = push.channel.as_deref().and_then(|name| self.number(name));
        match (push.kind.as_ref(), channel) {
            ("publication", Some(channel)) => {
                let Some(body) = push.data else {
                    self.write(Event::Odd(text.to_owned()));
                    return None;
                };
                let (publisher, number) = (body.p, body.n);
                if push.position.is_some() {
                    self.wanted.insert(channel, push.position);
                }
                let position = push.position;
                self.write(Event::Publication { channel, publisher, number, position });
            }
            ("subscribed", Some(channel)) => {
                self.backoff.reset();
                let (position, recovered) = (push.position, push.recovered);
                let since = self.wanted[&channel];
                if since.is_none() || recovered == Some(false) {
                    self.wanted.insert(channel, position);
                }
                self.write(Event::Subscribed { channel, since, position, recovered });
            }
            ("gap", Some(channel)) => {
                let reason = push.reason.unwrap_or_default().into_owned();
                self.write(Event::Gap { channel, reason });
            }
            ("error", Some(channel)) if push.temporary == Some(true) => {
                let why = push.message.unwrap_or_default().into_owned();
                self.write(Event::Refused { channel, why });
                return Some(channel);
            }
            ("welcome" | "pong" | "reconnect", _) => {}
            _ => {
                self.write(Event::Odd(text.to_owned()));
            }
        }
        None
    }

    fn number(&self, name: &str) -> Option<ChannelNumber> {
        self.wanted.keys().copied().find(|number| self.all[*number].name == name)
    }

    fn write(&self, event: Event) {
        let mut record = self.record.lock().expect("nobody panics with the record");
        match &event {
            Event::Publication { channel, publisher, number, .. } => {
                let newest = record.newest.entry((*channel, *publisher)).or_default();
                *newest = (*newest).max(*number);
            }
            Event::Subscribed { channel, .. } => {
                record.live.insert(*channel);
            }
            Event::Closed { .. } => record.live.clear(),
            _ => {}
        }
        record.seen.events.push((Instant::now(), event));
    }
}

/// A seed of its own for the `number`th of those who share one.
pub fn seed_of(seed: u64, number: usize) -> u64 {
    StdRng::seed_from_u64(seed.wrapping_add(number as u64)).random()
}
