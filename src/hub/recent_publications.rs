//! The newest publications of a channel from which clients resume. Thousands of clients that resume at the
//! same time share one read of the history, and each publication is encoded once for all of them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::broker::Unavailable;
use crate::protocol::Format;
use crate::publication::{Position, Publication};
use crate::rules::History;

/// Most payload bytes kept of one channel while no client resumes; older ones are read again when needed.
const BYTES_MAX: usize = 4 << 20;

/// Most payload bytes of a backlog. A client that missed more must reload its state.
pub const BACKLOG_BYTES_MAX: usize = 32 << 20;

/// Payload bytes on the whole node beyond which idle channels are dropped early.
const TOTAL_BYTES_MAX: usize = 64 << 20;

/// How long a channel's publications are kept after the last client resumed.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// How long clients that waited for a read may take to use it.
const FETCH_TIME_MAX: Duration = Duration::from_secs(2);

/// Replaces [`IDLE_MAX`] while [`TOTAL_BYTES_MAX`] is exceeded.
const SHORT_IDLE_MAX: Duration = Duration::from_secs(2);

/// How many publications a history may keep beyond its size (contract, section 6).
const SIZE_SLACK: usize = 100;

/// The approximate memory of a publication besides its payload.
const OVERHEAD_BYTES: usize = 256;

static TOTAL_BYTES: AtomicUsize = AtomicUsize::new(0);

/// A publication and its frames, each encoded when the first client needs it.
pub struct RecentPublication {
    pub publication: Publication,
    position: Position,
    frames: [OnceLock<Bytes>; Format::COUNT],
}

impl RecentPublication {
    fn new(publication: &Publication) -> Option<Arc<Self>> {
        let (publication, position) = (publication.clone(), publication.position?);
        Some(Arc::new(Self { publication, position, frames: Default::default() }))
    }

    pub fn frame(&self, channel: &str, format: Format) -> Bytes {
        let frame = &self.frames[format as usize];
        frame.get_or_init(|| format.publication(channel, &self.publication)).clone()
    }

    pub fn position(&self) -> Position {
        self.position
    }

    fn cost(&self) -> usize {
        self.publication.payload.len() + OVERHEAD_BYTES
    }
}

/// An unbroken chain of publications up to the channel's last one.
pub struct Recent {
    /// The position that the first of the chain follows. None: it is the first of all.
    start: Option<Position>,
    chain: VecDeque<Arc<RecentPublication>>,
    bytes: usize,
    history: History,
    phase: ReadPhase,
    /// The oldest position from which a client wants to resume.
    oldest_requested: Position,
    waiters: Vec<oneshot::Sender<Unavailable>>,
    used_at: Instant,
}

/// How much of the history before the chain has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadPhase {
    /// As much as was requested; there may be more.
    Partial,
    Loading,
    /// Everything that exists, or as much as one client may get.
    Complete,
}

/// Whether a client can resume from a position.
pub enum ResumeCheck {
    /// Yes, with these publications and no others.
    Yes(Vec<Arc<RecentPublication>>),
    /// The publications after it no longer exist.
    No,
    /// This node has not yet reached the position.
    Ahead,
    /// The publications after it are being read.
    Read(oneshot::Receiver<Unavailable>),
    /// The same, and the caller must start the read.
    Load(oneshot::Receiver<Unavailable>),
}

impl Recent {
    /// `last`: the channel's last position.
    pub fn new(last: Position, history: History) -> Self {
        Self {
            start: Some(last),
            chain: VecDeque::new(),
            bytes: 0,
            history,
            phase: ReadPhase::Partial,
            oldest_requested: last,
            waiters: Vec::new(),
            used_at: Instant::now(),
        }
    }

    /// The last position of the chain.
    pub fn end(&self) -> Option<Position> {
        self.chain.back().map(|entry| entry.position).or(self.start)
    }

    /// Requests the publications before the chain, back to `since`.
    pub fn request_load(&mut self, since: Position) -> ResumeCheck {
        let (waiter, loaded) = oneshot::channel();
        let phase = self.phase;
        if phase != ReadPhase::Complete {
            self.phase = ReadPhase::Loading;
            self.oldest_requested = self.oldest_requested.min(since);
            self.waiters.push(waiter);
        }
        match phase {
            ReadPhase::Partial => ResumeCheck::Load(loaded),
            ReadPhase::Loading => ResumeCheck::Read(loaded),
            ReadPhase::Complete => ResumeCheck::No,
        }
    }

    /// Appends the next publication to the chain.
    pub fn push(&mut self, publication: &Publication) {
        if let Some(entry) = RecentPublication::new(publication) {
            self.count(entry.cost());
            self.chain.push_back(entry);
            self.trim_to_size();
        }
    }

    /// The range to read: from the first position back to the second. None: nothing precedes the chain.
    pub fn range(&self) -> Option<(Position, Position)> {
        Some((self.start?, self.oldest_requested))
    }

    /// Fails the waiting sessions, because the history could not be read.
    pub fn fail_waiters(&mut self, why: Unavailable) {
        self.phase = ReadPhase::Partial;
        for waiter in self.waiters.drain(..) {
            // The waiting session may be gone.
            let _ = waiter.send(why);
        }
    }

    /// Takes the result of a read, newest first, which leads to the start of the chain. `is_all`: nothing
    /// precedes it, or nothing that a client may get.
    pub fn add_loaded(&mut self, newest_first: Vec<Publication>, is_all: bool) {
        self.phase = if is_all { ReadPhase::Complete } else { ReadPhase::Partial };
        for publication in newest_first {
            let Some(entry) = RecentPublication::new(&publication) else { continue };
            match self.start {
                // It arrived during the read and is in the chain already.
                Some(start) if entry.position > start => continue,
                Some(start) if entry.position == start => {}
                _ => {
                    // It belongs to another history, which does not lead to the chain.
                    self.phase = ReadPhase::Complete;
                    break;
                }
            }
            self.start = previous_position(&publication);
            self.count(entry.cost());
            self.chain.push_front(entry);
        }
        self.trim_to_size();
        self.used_at = Instant::now();
        // Dropping the senders wakes the waiting sessions, which check again.
        self.waiters = Vec::new();
    }

    /// The publications after the position. None: the position is not in the chain.
    pub fn after(&mut self, since: Position) -> Option<Vec<Arc<RecentPublication>>> {
        self.used_at = Instant::now();
        let at = match self.start == Some(since) {
            true => 0,
            false => match self.chain.binary_search_by_key(&since, |entry| entry.position) {
                Ok(at) => at + 1,
                Err(at) => {
                    let next = self.chain.get(at)?;
                    next.publication.follows(since).then_some(at)?
                }
            },
        };
        Some(self.chain.range(at..).cloned().collect())
    }

    /// Trims the chain's memory. Returns false if the whole chain can be dropped.
    pub fn trim_memory(&mut self) -> bool {
        if self.phase != ReadPhase::Loading && self.used_at.elapsed() >= FETCH_TIME_MAX {
            while self.bytes > BYTES_MAX {
                self.drop_first();
                self.phase = ReadPhase::Partial;
                self.oldest_requested = self.start.unwrap_or(self.oldest_requested);
            }
        }
        let crowded = TOTAL_BYTES.load(Ordering::Relaxed) > TOTAL_BYTES_MAX;
        let idle_max = if crowded { SHORT_IDLE_MAX } else { IDLE_MAX };
        self.phase == ReadPhase::Loading || self.used_at.elapsed() < idle_max
    }

    /// Drops what the history has trimmed too.
    fn trim_to_size(&mut self) {
        while self.chain.len() > self.history.size as usize + SIZE_SLACK {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        if let Some(first) = self.chain.pop_front() {
            self.start = Some(first.position);
            self.bytes -= first.cost();
            TOTAL_BYTES.fetch_sub(first.cost(), Ordering::Relaxed);
        }
    }

    fn count(&mut self, bytes: usize) {
        self.bytes += bytes;
        TOTAL_BYTES.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for Recent {
    fn drop(&mut self) {
        TOTAL_BYTES.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The position that the publication follows.
fn previous_position(publication: &Publication) -> Option<Position> {
    let position = publication.position?;
    publication.previous.or(match position.seq {
        0 => None,
        seq => Some(Position { seq: seq - 1, ..position }),
    })
}
