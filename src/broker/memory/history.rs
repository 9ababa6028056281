//! Channel histories of a single node: the memory broker's counterpart of Redis Streams, under the
//! same contract.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::broker::contract::{PAGE_MAX, Page};
use crate::broker::run::HistoryEnd;
use crate::publication::{Channel, EndReason, Position, Publication, Publisher};
use crate::rules::{History, Rules};

/// Maximum number of histories that never held a publication, because clients that only read could
/// create one for every name. Beyond it these histories are removed, and their channels start new
/// ones.
const EMPTY_MAX: usize = 1 << 16;

/// Maximum number of remembered idempotency keys over all channels; the oldest are forgotten.
const IDS_MAX: usize = 1_000_000;

/// All channels' histories. Plain data: the caller holds the lock.
#[derive(Default)]
pub struct Histories {
    streams: HashMap<Channel, HistoryStream>,
    /// Number of streams that never held a publication.
    empty: usize,
    /// The last epoch that was used; each new one is greater.
    epoch: u64,
    ids: HashMap<IdempotencyKey, Position>,
    /// When each key was used, oldest first.
    ids_used: VecDeque<(Instant, IdempotencyKey)>,
}

/// Locks the histories, for a few lines.
pub fn locked(histories: &Mutex<Histories>) -> MutexGuard<'_, Histories> {
    histories.lock().expect("no code panics while it holds the histories' lock")
}

/// Channel, publisher and idempotency key.
type IdempotencyKey = (Channel, Publisher, Arc<str>);

struct HistoryStream {
    last: Position,
    entries: VecDeque<(Instant, Publication)>,
    limits: History,
    /// When a publication was last appended, or the lease of a run was renewed.
    appended_at: Instant,
    /// Until when the run on the channel lives without its worker. None: there is no run.
    lease_until: Option<Instant>,
    /// When it expires, though it may be younger than the rule's age.
    expires_at: Option<Instant>,
    /// The entries are those of another channel, which may continue the epoch: the next one begins an epoch.
    is_inherited: bool,
}

/// Where a channel's history begins and ends.
#[derive(Debug, PartialEq, Eq)]
pub struct HistoryBounds {
    pub last: Position,
    /// None: it holds no publication.
    pub oldest: Option<Position>,
    pub ended: Option<EndReason>,
}

/// The state of a channel's run.
#[derive(Debug, PartialEq, Eq)]
pub enum StoredRun {
    /// Nothing was published.
    None,
    /// Its lease lasts for so long.
    Open(Duration),
    /// Its lease is over, and it has no end yet.
    Lapsed,
    Ended(HistoryEnd),
}

/// The result of appending a publication.
#[derive(Debug)]
pub enum Appended {
    /// The history holds it now, with this position.
    New(Publication),
    /// The history holds a publication with the same idempotency key at this position.
    Duplicate(Position),
}

impl Histories {
    /// `window`: how long an idempotency key is remembered.
    pub fn append(
        &mut self,
        channel: &Channel,
        mut publication: Publication,
        limits: History,
        window: Duration,
        now: Instant,
    ) -> Appended {
        if let Some(before) = self.duplicate(channel, &publication, window, now) {
            return Appended::Duplicate(before);
        }
        let id = idempotency_key(channel, &publication);
        let epoch = next_epoch(self.epoch);
        let stream = self.stream(channel, limits, now);
        let was_empty = stream.last.seq == 0;
        let mut position = Position { seq: stream.last.seq + 1, ..stream.last };
        let begins_epoch = std::mem::take(&mut stream.is_inherited);
        if begins_epoch {
            publication.previous = Some(stream.last);
            position = Position { epoch, seq: 1 };
        }
        publication.position = Some(position);
        stream.last = position;
        stream.appended_at = now;
        if publication.end.is_some() {
            stream.lease_until = None;
        }
        stream.entries.push_back((now, publication.clone()));
        stream.trim(now);
        self.epoch = self.epoch.max(position.epoch);
        self.empty = self.empty.saturating_sub(usize::from(was_empty));
        if let Some(id) = id {
            self.ids.insert(id.clone(), position);
            self.ids_used.push_back((now, id));
        }
        Appended::New(publication)
    }

    /// The position of a publication with the same idempotency key.
    pub fn duplicate(
        &mut self,
        channel: &Channel,
        publication: &Publication,
        window: Duration,
        now: Instant,
    ) -> Option<Position> {
        self.forget_ids(window, now);
        self.ids.get(&idempotency_key(channel, publication)?).copied()
    }

    /// The state of the run on the channel.
    pub fn run(&mut self, channel: &Channel, now: Instant) -> StoredRun {
        let stream = self.streams.get_mut(channel).filter(|stream| !stream.is_expired(now));
        let Some(stream) = stream else { return StoredRun::None };
        stream.trim(now);
        let newest = stream.entries.back().map(|(_, publication)| publication);
        if let Some(ended) = newest.and_then(|newest| newest.end.clone()) {
            return StoredRun::Ended(HistoryEnd { position: stream.last, ended: Some(ended) });
        }
        match stream.lease_until {
            Some(until) if until > now => StoredRun::Open(until - now),
            _ if newest.is_some() => StoredRun::Lapsed,
            _ => StoredRun::None,
        }
    }

    /// Sets until when the run on the channel lives.
    pub fn set_lease(&mut self, channel: &Channel, limits: History, until: Instant) {
        let now = Instant::now();
        let stream = self.stream(channel, limits, now);
        (stream.lease_until, stream.appended_at) = (Some(until), now);
    }

    /// The end of the channel's history; starts one where there is none.
    pub fn end(&mut self, channel: &Channel, limits: History, now: Instant) -> HistoryEnd {
        let stream = self.stream(channel, limits, now);
        let ended = stream.entries.back().and_then(|(_, newest)| newest.end.clone());
        HistoryEnd { position: stream.last, ended }
    }

    /// One page of a channel's history.
    pub fn page(
        &mut self,
        channel: &Channel,
        page: Page,
        count: usize,
        now: Instant,
    ) -> Vec<Publication> {
        let Some(stream) = self.streams.get_mut(channel) else { return Vec::new() };
        stream.trim(now);
        if stream.is_expired(now) {
            return Vec::new();
        }
        let count = count.min(PAGE_MAX);
        let all = stream.entries.iter().map(|(_, publication)| publication);
        match page {
            Page::After(after) => {
                all.filter(|it| it.position > Some(after)).take(count).cloned().collect()
            }
            Page::Before(before) => {
                all.rev().filter(|it| it.position < Some(before)).take(count).cloned().collect()
            }
            Page::Newest => all.rev().take(count).cloned().collect(),
        }
    }

    /// Where the channel's history begins and ends. None: it has none.
    pub fn bounds(&mut self, channel: &Channel, now: Instant) -> Option<HistoryBounds> {
        let stream = self.streams.get_mut(channel).filter(|stream| !stream.is_expired(now))?;
        stream.trim(now);
        let oldest = stream.entries.front().and_then(|(_, publication)| publication.position);
        let ended = stream.entries.back().and_then(|(_, newest)| newest.end.clone());
        Some(HistoryBounds { last: stream.last, oldest, ended })
    }

    /// Replaces the channel's history by publications of another one, with their positions.
    pub fn inherit(
        &mut self,
        channel: &Channel,
        publications: Vec<Publication>,
        limits: History,
        now: Instant,
    ) {
        let Some(last) = publications.last().and_then(|it| it.position) else { return };
        self.remove(channel);
        let stream = self.stream(channel, limits, now);
        stream.last = last;
        stream.entries = publications.into_iter().map(|publication| (now, publication)).collect();
        stream.is_inherited = true;
        self.empty = self.empty.saturating_sub(1);
    }

    /// Removes the channel's history.
    pub fn remove(&mut self, channel: &Channel) {
        if let Some(stream) = self.streams.remove(channel) {
            self.empty = self.empty.saturating_sub(usize::from(stream.last.seq == 0));
        }
    }

    /// Sets when the channel's history expires, whatever its rule's age is.
    pub fn expire_at(&mut self, channel: &Channel, at: Option<Instant>) {
        if let Some(stream) = self.streams.get_mut(channel) {
            stream.expires_at = at;
        }
    }

    /// Removes expired histories.
    pub fn sweep(&mut self, now: Instant) {
        self.retain(|_, stream| !stream.is_expired(now));
    }

    fn retain(&mut self, keep: impl Fn(&Channel, &HistoryStream) -> bool) {
        self.streams.retain(|channel, stream| keep(channel, stream));
        self.streams.shrink_to(self.streams.len() * 2);
        self.empty = self.streams.values().filter(|stream| stream.last.seq == 0).count();
    }

    /// Removes the histories of channels that no rule keeps any more, so that no client resumes
    /// across the time in which publications were not stored.
    pub fn retain_kept_by(&mut self, rules: &Rules) {
        let rules = rules.current();
        self.retain(|channel, _| rules.of(channel.as_str()).history.is_some());
    }

    fn stream(&mut self, channel: &Channel, limits: History, now: Instant) -> &mut HistoryStream {
        if self.empty >= EMPTY_MAX {
            self.retain(|_, stream| stream.last.seq > 0);
        }
        let Self { streams, epoch, empty, .. } = self;
        let begin = |epoch: &mut u64| {
            *epoch = next_epoch(*epoch);
            HistoryStream::new(Position { epoch: *epoch, seq: 0 }, limits, now)
        };
        let stream = streams.entry(channel.clone()).or_insert_with(|| {
            *empty += 1;
            begin(epoch)
        });
        if stream.is_expired(now) {
            *empty += usize::from(stream.last.seq > 0);
            *stream = begin(epoch);
        }
        stream.limits = limits;
        stream
    }

    fn forget_ids(&mut self, window: Duration, now: Instant) {
        while let Some((used, _)) = self.ids_used.front()
            && (*used + window <= now || self.ids_used.len() > IDS_MAX)
        {
            let (_, id) = self.ids_used.pop_front().expect("the queue was just found not empty");
            self.ids.remove(&id);
        }
    }
}

/// An epoch that is later than `epoch` and than those before the node's start.
fn next_epoch(epoch: u64) -> u64 {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (epoch + 1).max(u64::try_from(clock.as_micros()).unwrap_or(u64::MAX))
}

fn idempotency_key(channel: &Channel, publication: &Publication) -> Option<IdempotencyKey> {
    Some((channel.clone(), publication.publisher(), publication.id.clone()?))
}

impl HistoryStream {
    fn new(last: Position, limits: History, appended_at: Instant) -> Self {
        Self {
            last,
            entries: VecDeque::new(),
            limits,
            appended_at,
            lease_until: None,
            expires_at: None,
            is_inherited: false,
        }
    }

    fn trim(&mut self, now: Instant) {
        let size = self.limits.size as usize;
        while let Some((at, _)) = self.entries.front()
            && (self.entries.len() > size || *at + self.limits.age <= now)
        {
            self.entries.pop_front();
        }
    }

    fn is_expired(&self, now: Instant) -> bool {
        self.appended_at + self.limits.age <= now || self.expires_at.is_some_and(|at| at <= now)
    }
}

#[cfg(test)]
mod tests;
