//! A subscriber that behaves like a good client: it keeps the last position of each channel, reconnects to any
//! node with a backoff, and resumes. It records everything it receives.

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
    /// While true, the client does not read.
    paused: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// The kind of its socket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SocketKind {
    Usual,
    /// A tiny receive buffer, so that a pause in reading has an effect.
    Narrow,
}

impl Subscriber {
    pub fn start(
        name: String,
        socket_kind: SocketKind,
        channels: Vec<ChannelNumber>,
        all: Arc<[Channel]>,
        directory: Directory,
        seed: u64,
    ) -> Self {
        let record = Arc::new(Mutex::new(Recorder::new(name)));
        let (paused, pause) = watch::channel(false);
        let client = Client {
            socket_kind,
            positions: channels.iter().map(|number| (*number, None)).collect(),
            all,
            directory,
            random: StdRng::seed_from_u64(seed),
            backoff: Backoff::default(),
            pause,
            record: record.clone(),
        };
        Self { channels, record, paused, task: tokio::spawn(client.run()) }
    }

    /// Whether every channel is subscribed.
    pub fn is_subscribed(&self) -> bool {
        self.record().is_subscribed(&self.channels)
    }

    /// Whether it received this number of the publisher, or a later one.
    pub fn has_received(
        &self,
        channel: ChannelNumber,
        publisher: PublisherNumber,
        number: u64,
    ) -> bool {
        self.record().has_received(channel, publisher, number)
    }

    /// The address of its current or last node.
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
        self.record.lock().expect("no panic while the lock is held")
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A separate seed for the `number`th of several users of one seed.
pub fn seed_of(seed: u64, number: usize) -> u64 {
    StdRng::seed_from_u64(seed.wrapping_add(number as u64)).random()
}
