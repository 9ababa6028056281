//! The journals of clients and publishers while they are written.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use testkit::audit::channels::ChannelNumber;
use testkit::audit::journal::{
    ClientJournal, Entry, JournalPublication, PublishOutcome, PublishPath, PublisherJournal,
    RunCallJournal,
};
use testkit::log::PublisherNumber;

/// A client's journal, and the state for which the end of a run waits.
#[derive(Default)]
pub struct ClientRecord {
    pub journal: ClientJournal,
    /// The channels that are subscribed on the current connection.
    pub subscribed: HashSet<ChannelNumber>,
    /// The highest number that was received from each publisher.
    pub newest: HashMap<PublisherNumber, u64>,
    /// The runs of whose end the current subscriptions know.
    pub ended: HashSet<ChannelNumber>,
}

impl ClientRecord {
    pub fn write(&mut self, entry: Entry) {
        match &entry {
            Entry::Publication { name, .. } => {
                let newest = self.newest.entry(name.0).or_default();
                *newest = (*newest).max(name.1);
            }
            Entry::Subscribed { channel, .. } => {
                let is_new = self.subscribed.insert(*channel);
                self.ended.retain(|ended| !is_new || ended != channel);
            }
            Entry::Ended { channel, .. } => {
                self.ended.insert(*channel);
            }
            Entry::Gap { channel, .. } => {
                self.ended.remove(channel);
            }
            Entry::OpenedPlain(plain) => {
                self.subscribed.insert(plain.channel);
            }
            Entry::Unsubscribed { channel, .. } | Entry::Refused { id: None, channel, .. } => {
                self.subscribed.remove(channel);
            }
            Entry::Closed { .. } => self.subscribed.clear(),
            _ => {}
        }
        self.journal.entries.push((Instant::now(), entry));
    }
}

/// The calls about runs while they are written.
pub type CallRecord = Arc<Mutex<Vec<RunCallJournal>>>;

/// A publisher's journal while it is written.
#[derive(Clone)]
pub struct PublisherRecord(Arc<Mutex<PublisherJournal>>);

impl PublisherRecord {
    pub fn new(channel: ChannelNumber, path: PublishPath, client: Option<usize>) -> Self {
        let journal = PublisherJournal { channel, path, client, publications: Vec::new() };
        Self(Arc::new(Mutex::new(journal)))
    }

    /// Records the next publication before it is sent. Returns its number.
    pub fn begin(&self, connection: Option<usize>) -> u64 {
        let mut journal = self.lock();
        journal.publications.push(JournalPublication {
            started: Instant::now(),
            ended: None,
            bytes: 0,
            attempts: 1,
            outcome: PublishOutcome::Unknown,
            connection,
        });
        journal.publications.len() as u64
    }

    pub fn set_bytes(&self, number: u64, bytes: usize) {
        self.lock().publications[number as usize - 1].bytes = bytes;
    }

    /// Records that a publication is sent once more.
    pub fn count_attempt(&self, number: u64) {
        self.lock().publications[number as usize - 1].attempts += 1;
    }

    pub fn end(&self, number: u64, outcome: PublishOutcome) {
        let publication = &mut self.lock().publications[number as usize - 1];
        publication.ended = Some(Instant::now());
        publication.outcome = outcome;
    }

    pub fn copy(&self) -> PublisherJournal {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, PublisherJournal> {
        self.0.lock().expect("no panic while the lock is held")
    }
}
