//! A subscriber as a good client is one: it keeps the last position of each channel, comes back with a
//! backoff to any node, and asks for what it missed. It writes down all it sees.

mod client;

use std::sync::{Arc, Mutex, MutexGuard};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use testkit::backoff::Backoff;
use testkit::log::{Channel, ChannelNumber, LogEvent, PublisherNumber, SubscriberLog};
use testkit::recorder::Recorder;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::directory::Directory;
use client::Client;

pub struct Subscriber {
    pub channels: Vec<ChannelNumber>,
    record: Arc<Mutex<Recorder>>,
    /// It does not read while this is true.
    paused: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// How its socket is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SocketKind {
    Usual,
    /// The system takes next to nothing for it, so that a pause shows.
    Narrow,
}

impl Subscriber {
    pub fn start(
        name: String,
        build: SocketKind,
        channels: Vec<ChannelNumber>,
        all: Arc<[Channel]>,
        directory: Directory,
        seed: u64,
    ) -> Self {
        let record = Arc::new(Mutex::new(Recorder::new(name)));
        let (idle, pause) = watch::channel(false);
        let client = Client {
            build,
            positions: channels.iter().map(|number| (*number, None)).collect(),
            all,
            directory,
            random: StdRng::seed_from_u64(seed),
            backoff: Backoff::default(),
            pause,
            record: record.clone(),
        };
        Self { channels, record, paused: idle, task: tokio::spawn(client.run()) }
    }

    /// Every channel is subscribed.
    pub fn is_subscribed(&self) -> bool {
        self.record().is_subscribed(&self.channels)
    }

    /// It got this number of the publisher, or a later one.
    pub fn has_received(
        &self,
        channel: ChannelNumber,
        publisher: PublisherNumber,
        number: u64,
    ) -> bool {
        self.record().has_received(channel, publisher, number)
    }

    /// The address of the node it is connected to, or was last.
    pub fn node(&self) -> Option<String> {
        let record = self.record();
        record.seen.events.iter().rev().find_map(|(_, event)| match event {
            LogEvent::Opened { node } => Some(node.clone()),
            _ => None,
        })
    }

    pub fn stop_reading(&self) {
        self.paused.send_replace(true);
    }

    pub fn resume_reading(&self) {
        self.paused.send_replace(false);
    }

    pub fn name(&self) -> String {
        self.record().seen.name.clone()
    }

    pub fn seen(&self) -> SubscriberLog {
        self.record().seen.clone()
    }

    fn record(&self) -> MutexGuard<'_, Recorder> {
        self.record.lock().expect("nobody panics with the record")
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A seed of its own for the `number`th of those who share one.
pub fn seed_of(seed: u64, number: usize) -> u64 {
    StdRng::seed_from_u64(seed.wrapping_add(number as u64)).random()
}
