//! The newest publications of a channel that clients resume, so that thousands who come back at once
//! share one read of its history, and each publication is encoded once for all of them.

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

/// Payload bytes that are kept of one channel while nobody resumes; what is older is read again.
const BYTES_MAX: usize = 4 << 20;

/// Payload bytes beyond which a client is not caught up: it reloads its state.
pub const BACKLOG_BYTES_MAX: usize = 32 << 20;

/// Payload bytes kept on the whole node beyond which what nobody needs right now is dropped.
const TOTAL_BYTES_MAX: usize = 64 << 20;

/// How long it is kept after the last client resumed.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// How long clients that were told that it is read may take to come for it.
const FETCHED_MAX: Duration = Duration::from_secs(2);

/// The same as [`IDLE_MAX`], while [`TOTAL_BYTES_MAX`] is exceeded.
const CROWDED_IDLE_MAX: Duration = Duration::from_secs(2);

/// What history keeps beyond its size (contract, section 6).
const SIZE_SLACK: usize = 100;

/// What a publication costs beside its payload, about.
const OVERHEAD_BYTES: usize = 256;

static TOTAL_BYTES: AtomicUsize = AtomicUsize::new(0);

/// A publication and its frames, made when the first client needs them.
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
    /// What the first of the chain follows. None: nothing came before it.
    start: Option<Position>,
    chain: VecDeque<Arc<RecentPublication>>,
    bytes: usize,
    history: History,
    phase: ReadPhase,
    /// The oldest position that a client wants to go on from.
    wanted: Position,
    waiting: Vec<oneshot::Sender<Unavailable>>,
    used_at: Instant,
}

/// How much of what came before the chain has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadPhase {
    /// As much as was wanted; there may be more.
    Some,
    Loading,
    /// All that is there, or that one client may get.
    All,
}

/// May a client go on from a position?
pub enum ResumeCheck {
    /// With these, and nothing else is missing.
    Yes(Vec<Arc<RecentPublication>>),
    /// What follows it is no longer there.
    No,
    /// The channel has not come to it here.
    Ahead,
    /// What follows it is being read.
    Read(oneshot::Receiver<Unavailable>),
    /// Whoever calls must have it read.
    Load(oneshot::Receiver<Unavailable>),
}

impl Recent {
    /// `last`: where the channel stands.
    pub fn new(last: Position, history: History) -> Self {
        Self {
            start: Some(last),
            chain: VecDeque::new(),
            bytes: 0,
            history,
            phase: ReadPhase::Some,
            wanted: last,
            waiting: Vec::new(),
            used_at: Instant::now(),
        }
    }

    /// The last position of the chain.
    pub fn end(&self) -> Option<Position> {
        self.chain.back().map(|kept| kept.position).or(self.start)
    }

    /// Somebody needs what came before the chain, back to a position.
    pub fn load(&mut self, since: Position) -> ResumeCheck {
        let (waiting, loaded) = oneshot::channel();
        let phase = self.phase;
        if phase != ReadPhase::All {
            self.phase = ReadPhase::Loading;
            self.wanted = self.wanted.min(since);
            self.waiting.push(waiting);
        }
        match phase {
            ReadPhase::Some => ResumeCheck::Load(loaded),
            ReadPhase::Loading => ResumeCheck::Read(loaded),
            ReadPhase::All => ResumeCheck::No,
        }
    }

    /// The next publication of the chain.
    pub fn push(&mut self, publication: &Publication) {
        if let Some(kept) = RecentPublication::new(publication) {
            self.count(kept.cost());
            self.chain.push_back(kept);
            self.trim_to_size();
        }
    }

    /// What is to be read: from where on, and back to which position. None: nothing comes before.
    pub fn range(&self) -> Option<(Position, Position)> {
        Some((self.start?, self.wanted))
    }

    /// It could not be read. Whoever waits is told; who is not was not waiting in vain.
    pub fn failed(&mut self, why: Unavailable) {
        self.phase = ReadPhase::Some;
        for waiting in self.waiting.drain(..) {
            // The session may be gone; then nobody waits.
            let _ = waiting.send(why);
        }
    }

    /// What was read, newest first: all that leads to where the chain starts. `is_all`: nothing
    /// comes before it, or nothing that a client may get.
    pub fn loaded(&mut self, newest_first: Vec<Publication>, is_all: bool) {
        self.phase = if is_all { ReadPhase::All } else { ReadPhase::Some };
        for publication in newest_first {
            let Some(kept) = RecentPublication::new(&publication) else { continue };
            match self.start {
                // It came while the rest was being read, and is there already.
                Some(start) if kept.position > start => continue,
                Some(start) if kept.position == start => {}
                _ => {
                    // Another history, which leads nowhere.
                    self.phase = ReadPhase::All;
                    break;
                }
            }
            self.start = before(&publication);
            self.count(kept.cost());
            self.chain.push_front(kept);
        }
        self.trim_to_size();
        self.used_at = Instant::now();
        // Whoever waits looks for itself.
        self.waiting = Vec::new();
    }

    /// All that follows the position. None: it is not in the chain.
    pub fn after(&mut self, since: Position) -> Option<Vec<Arc<RecentPublication>>> {
        self.used_at = Instant::now();
        let at = match self.start == Some(since) {
            true => 0,
            false => match self.chain.binary_search_by_key(&since, |kept| kept.position) {
                Ok(at) => at + 1,
                Err(at) => {
                    let next = self.chain.get(at)?;
                    next.publication.follows(since).then_some(at)?
                }
            },
        };
        Some(self.chain.range(at..).cloned().collect())
    }

    /// Looks after its memory. False: it is not worth any.
    pub fn is_worth_keeping(&mut self) -> bool {
        if self.phase != ReadPhase::Loading && self.used_at.elapsed() >= FETCHED_MAX {
            while self.bytes > BYTES_MAX {
                self.drop_first();
                self.phase = ReadPhase::Some;
                self.wanted = self.start.unwrap_or(self.wanted);
            }
        }
        let crowded = TOTAL_BYTES.load(Ordering::Relaxed) > TOTAL_BYTES_MAX;
        let idle_max = if crowded { CROWDED_IDLE_MAX } else { IDLE_MAX };
        self.phase == ReadPhase::Loading || self.used_at.elapsed() < idle_max
    }

    /// What history no longer has is gone from here too.
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
fn before(publication: &Publication) -> Option<Position> {
    let position = publication.position?;
    publication.previous.or(match position.seq {
        0 => None,
        seq => Some(Position { seq: seq - 1, ..position }),
    })
}
