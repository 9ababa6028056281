//! What clients and publishers write into while they run.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use testkit::audit::channels::ChannelNumber;
use testkit::audit::journal::{
    ClientJournal, Entry, JournalPublication, PublishOutcome, PublishPath, PublisherJournal,
};
use testkit::log::PublisherNumber;

/// A client's journal, and what the run waits for.
#[derive(Default)]
pub struct Record {
    pub journal: ClientJournal,
    /// Subscribed on the connection that is there now.
    pub live: HashSet<ChannelNumber>,
    /// The highest number that came of each publisher.
    pub newest: HashMap<PublisherNumber, u64>,
}

impl Record {
    pub fn write(&mut self, entry: Entry) {
        match &entry {
            Entry::Publication { name, .. } => {
                let newest = self.newest.entry(name.0).or_default();
                *newest = (*newest).max(name.1);
            }
            Entry::Subscribed { channel, .. } => {
                self.live.insert(*channel);
            }
            Entry::OpenedPlain(plain) => {
                self.live.insert(plain.channel);
            }
            Entry::Unsubscribed { channel, .. } | Entry::Refused { id: None, channel, .. } => {
                self.live.remove(channel);
            }
            Entry::Closed { .. } => self.live.clear(),
            _ => {}
        }
        self.journal.entries.push((Instant::now(), entry));
    }
}

/// A ledger that is being written.
#[derive(Clone)]
pub struct OpenLedger(Arc<Mutex<PublisherJournal>>);

impl OpenLedger {
    pub fn new(channel: ChannelNumber, way: PublishPath, client: Option<usize>) -> Self {
        let ledger = PublisherJournal { channel, path: way, client, publications: Vec::new() };
        Self(Arc::new(Mutex::new(ledger)))
    }

    /// Writes the next publication down, which is about to be sent. Returns its number.
    pub fn begin(&self, connection: Option<usize>) -> u64 {
        let mut ledger = self.lock();
        ledger.publications.push(JournalPublication {
            started: Instant::now(),
            ended: None,
            bytes: 0,
            attempts: 1,
            outcome: PublishOutcome::Unknown,
            connection,
        });
        ledger.publications.len() as u64
    }

    pub fn has_bytes(&self, number: u64, bytes: usize) {
        self.lock().publications[number as usize - 1].bytes = bytes;
    }

    pub fn again(&self, number: u64) {
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
        self.0.lock().expect("no code panics with a ledger")
    }
}
