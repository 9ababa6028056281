//! The newest publications of a channel from which clients resume. Thousands of clients that resume at the
//! same time share one read of the history, and each publication is encoded once for all of them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::broker::Unavailable;
use crate::protocol::Format;
use crate::publication::{Position, Publication, ReplayStart, TextPieces};
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

/// How long the chain serves clients that ask for what the history keeps, before it is compared with the
/// history again. Many clients at once share that comparison too.
const TRIMMED_AGE_MAX: Duration = Duration::from_secs(1);

/// The same as a part of the history's age: Redis trims by age in steps of that size.
const AGE_STEPS: u32 = 8;

/// Replaces [`IDLE_MAX`] while [`TOTAL_BYTES_MAX`] is exceeded.
const SHORT_IDLE_MAX: Duration = Duration::from_secs(2);

/// How many publications a history may keep beyond its size (contract, section 6).
const SIZE_SLACK: usize = 100;

/// The approximate memory of a publication besides its payload.
const OVERHEAD_BYTES: usize = 256;

static TOTAL_BYTES: AtomicUsize = AtomicUsize::new(0);

static CHAINS: AtomicU64 = AtomicU64::new(0);

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

    /// The publications of a streamed text, joined.
    pub fn joined(publications: &[Arc<Self>]) -> Vec<Arc<Self>> {
        let all = publications.iter().map(|it| it.publication.clone());
        let pieces = TextPieces::join(all).into_iter();
        pieces.filter_map(|piece| Self::new(&piece.publication)).collect()
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
    /// Differs from those of all other chains of this process.
    id: u64,
    /// The position that the first of the chain follows. None: it is the first of all.
    start: Option<Position>,
    chain: VecDeque<Arc<RecentPublication>>,
    bytes: usize,
    history: History,
    /// The chain holds everything that exists, or as much as one client may get.
    is_complete: bool,
    is_loading: bool,
    requested: Requested,
    /// When publications that the history no longer keeps were last dropped from the chain.
    trimmed_at: Option<Instant>,
    waiters: Vec<oneshot::Sender<Unavailable>>,
    used_at: Instant,
}

/// What clients want that the chain does not hold.
#[derive(Clone, Copy, Debug)]
struct Requested {
    /// The oldest position from which one wants to resume.
    oldest: Position,
    /// The most publications that one wants.
    count: usize,
    /// Whether one wants to know what the history still keeps.
    trim: bool,
}

/// What to read of the history.
#[derive(Clone, Copy, Debug)]
pub struct LoadRequest {
    /// The chain that lacks it.
    chain: u64,
    /// The position before the chain, from which to read backwards. None: nothing precedes the chain.
    pub start: Option<Position>,
    /// Read back to here,
    pub oldest: Position,
    /// and at least this many publications.
    pub count: usize,
    /// Some: find the first publication that the history still keeps. The position is the end of the chain.
    pub trim_up_to: Option<Position>,
}

/// What was read of the history.
#[derive(Debug, Default)]
pub struct LoadedHistory {
    pub newest_first: Vec<Publication>,
    /// Nothing precedes them, or nothing that a client may get.
    pub is_all: bool,
    /// The history keeps nothing before this position. None: unknown.
    pub kept_from: Option<Position>,
}

/// What a new subscriber gets of the past.
pub struct Replay {
    /// Oldest first.
    pub publications: Vec<Arc<RecentPublication>>,
    /// Whether they are all that it asked for. None: it asked for a number.
    pub recovered: Option<bool>,
}

/// Whether a new subscriber can get the past that it asked for.
pub enum ResumeCheck {
    Yes,
    /// The publications after its position no longer exist.
    No,
    /// This node has not yet reached the position.
    Ahead,
    /// The publications are being read.
    Read(oneshot::Receiver<Unavailable>),
    /// The same, and the caller must start the read.
    Load(oneshot::Receiver<Unavailable>),
}

impl Recent {
    /// `last`: the channel's last position.
    pub fn new(last: Position, history: History) -> Self {
        Self {
            id: CHAINS.fetch_add(1, Ordering::Relaxed),
            start: Some(last),
            chain: VecDeque::new(),
            bytes: 0,
            history,
            is_complete: false,
            is_loading: false,
            requested: Requested { oldest: last, count: 0, trim: false },
            trimmed_at: None,
            waiters: Vec::new(),
            used_at: Instant::now(),
        }
    }

    /// The last position of the chain.
    pub fn end(&self) -> Option<Position> {
        self.chain.back().map(|entry| entry.position).or(self.start)
    }

    /// The position that the first of the chain follows.
    pub fn start(&self) -> Option<Position> {
        self.start
    }

    /// Requests what the chain lacks for this start.
    pub fn request_load(&mut self, start: ReplayStart) -> ResumeCheck {
        match start {
            ReplayStart::After(_) if self.is_complete => return ResumeCheck::No,
            ReplayStart::After(since) => {
                self.requested.oldest = self.requested.oldest.min(since);
            }
            ReplayStart::First => {
                self.requested.oldest = Position::MIN;
                self.requested.trim = true;
            }
            ReplayStart::Newest(count) => {
                self.requested.count = self.requested.count.max(self.with_end(count));
                self.requested.trim = true;
            }
        }
        let (waiter, loaded) = oneshot::channel();
        self.waiters.push(waiter);
        match std::mem::replace(&mut self.is_loading, true) {
            true => ResumeCheck::Read(loaded),
            false => ResumeCheck::Load(loaded),
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

    /// What to read for the waiting clients.
    pub fn load_request(&mut self) -> LoadRequest {
        let Requested { oldest, count, trim } = self.requested;
        self.requested.trim = false;
        LoadRequest {
            chain: self.id,
            start: self.start.filter(|_| !self.is_complete),
            oldest,
            count: count.saturating_sub(self.chain.len()),
            trim_up_to: self.end().filter(|_| trim),
        }
    }

    /// Takes the result of a read. One that a slow server answers after the channel has begun another chain does not lead to that one.
    pub fn finish_load(
        &mut self,
        request: LoadRequest,
        loaded: Result<LoadedHistory, Unavailable>,
    ) {
        match loaded {
            _ if request.chain != self.id => {}
            Ok(loaded) => self.add_loaded(loaded),
            Err(why) => self.fail_waiters(why),
        }
    }

    /// Fails the waiting sessions, because the history could not be read.
    fn fail_waiters(&mut self, why: Unavailable) {
        self.is_loading = false;
        for waiter in self.waiters.drain(..) {
            // The waiting session may be gone.
            let _ = waiter.send(why);
        }
    }

    /// Takes the result of a read, which leads to the start of the chain.
    pub fn add_loaded(&mut self, loaded: LoadedHistory) {
        self.is_loading = false;
        self.is_complete |= loaded.is_all;
        for publication in loaded.newest_first {
            let Some(entry) = RecentPublication::new(&publication) else { continue };
            match self.start {
                // It arrived during the read and is in the chain already.
                Some(start) if entry.position > start => continue,
                Some(start) if entry.position == start => {}
                _ => {
                    // It belongs to another history, which does not lead to the chain.
                    self.is_complete = true;
                    break;
                }
            }
            self.start = publication.position_before();
            self.count(entry.cost());
            self.chain.push_front(entry);
        }
        self.trim_to_size();
        if let Some(first) = loaded.kept_from {
            while self.chain.front().is_some_and(|entry| entry.position < first) {
                self.drop_first();
            }
            self.trimmed_at = Some(Instant::now());
        }
        self.used_at = Instant::now();
        // Dropping the senders wakes the waiting sessions, which check again.
        self.waiters = Vec::new();
    }

    /// Whether what the history no longer keeps has just been dropped from the chain.
    pub fn is_trimmed(&self) -> bool {
        let age_max = TRIMMED_AGE_MAX.min(self.history.age / AGE_STEPS);
        self.trimmed_at.is_some_and(|at| at.elapsed() < age_max)
    }

    /// The publications from this start on. None: the chain does not reach back so far.
    pub fn replay(&mut self, start: ReplayStart) -> Option<Replay> {
        let first = self.find(start)?;
        let recovered = match start {
            ReplayStart::After(_) => Some(true),
            ReplayStart::First => Some(self.is_whole()),
            ReplayStart::Newest(_) => None,
        };
        Some(Replay { publications: self.chain.range(first..).cloned().collect(), recovered })
    }

    /// The index of the first publication from this start on. None: the chain does not reach back so far.
    pub fn find(&mut self, start: ReplayStart) -> Option<usize> {
        self.used_at = Instant::now();
        match start {
            ReplayStart::After(since) => self.index_after(since),
            ReplayStart::First => self.is_complete.then_some(0),
            ReplayStart::Newest(count) => {
                match self.chain.len().checked_sub(self.with_end(count)) {
                    Some(first) => Some(first),
                    None => self.is_complete.then_some(0),
                }
            }
        }
    }

    /// How many entries this many of the newest publications are. The end of a run is an entry and no publication.
    fn with_end(&self, count: usize) -> usize {
        let is_end = |newest: &Arc<RecentPublication>| newest.publication.end.is_some();
        count + usize::from(self.chain.back().is_some_and(is_end))
    }

    /// Whether the chain begins with the first publication of its history.
    fn is_whole(&self) -> bool {
        let is_first_epoch = self.chain.front().is_none_or(|it| !it.publication.rules_changed);
        is_first_epoch && self.start.is_none_or(|start| start.seq == 0)
    }

    /// The index of the first publication after the position. None: the position is not in the chain.
    fn index_after(&self, since: Position) -> Option<usize> {
        if self.start == Some(since) {
            return Some(0);
        }
        match self.chain.binary_search_by_key(&since, |entry| entry.position) {
            Ok(at) => Some(at + 1),
            Err(at) => {
                let next = self.chain.get(at)?;
                next.publication.follows(since).then_some(at)
            }
        }
    }

    /// Trims the chain's memory. Returns false if the whole chain can be dropped.
    pub fn trim_memory(&mut self) -> bool {
        if !self.is_loading && self.used_at.elapsed() >= FETCH_TIME_MAX {
            while self.bytes > BYTES_MAX {
                self.drop_first();
                self.is_complete = false;
                let oldest = self.start.unwrap_or(self.requested.oldest);
                self.requested = Requested { oldest, count: 0, trim: false };
            }
        }
        let crowded = TOTAL_BYTES.load(Ordering::Relaxed) > TOTAL_BYTES_MAX;
        let idle_max = if crowded { SHORT_IDLE_MAX } else { IDLE_MAX };
        self.is_loading || self.used_at.elapsed() < idle_max
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
