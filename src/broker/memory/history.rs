//! Channel histories of a single node: the memory broker's counterpart of Redis Streams, under the
//! same contract.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::broker::contract::{PAGE_MAX, Page};
use crate::broker::run::HistoryEnd;
use crate::publication::{Channel, Position, Publication, Publisher};
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
        let stream = self.stream(channel, limits, now);
        let was_empty = stream.last.seq == 0;
        let position = Position { seq: stream.last.seq + 1, ..stream.last };
        publication.position = Some(position);
        stream.last = position;
        stream.appended_at = now;
        if publication.end.is_some() {
            stream.lease_until = None;
        }
        stream.entries.push_back((now, publication.clone()));
        stream.trim(now);
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
            let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            *epoch = (*epoch + 1).max(u64::try_from(clock.as_micros()).unwrap_or(u64::MAX));
            let last = Position { epoch: *epoch, seq: 0 };
            let (entries, lease_until) = (VecDeque::new(), None);
            HistoryStream { last, entries, limits, appended_at: now, lease_until }
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

fn idempotency_key(channel: &Channel, publication: &Publication) -> Option<IdempotencyKey> {
    Some((channel.clone(), publication.publisher(), publication.id.clone()?))
}

impl HistoryStream {
    fn trim(&mut self, now: Instant) {
        let size = self.limits.size as usize;
        while let Some((at, _)) = self.entries.front()
            && (self.entries.len() > size || *at + self.limits.age <= now)
        {
            self.entries.pop_front();
        }
    }

    fn is_expired(&self, now: Instant) -> bool {
        self.appended_at + self.limits.age <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publication::{NodeId, SessionId};
    use bytes::Bytes;

    const LIMITS: History = History { size: 3, age: Duration::from_secs(10) };
    const WINDOW: Duration = Duration::from_secs(60);

    fn channel() -> Channel {
        Channel::new("news").unwrap()
    }

    fn append(histories: &mut Histories, text: &str, now: Instant) -> Position {
        let publication = Publication::bare(Bytes::copy_from_slice(text.as_bytes()));
        match histories.append(&channel(), publication, LIMITS, WINDOW, now) {
            Appended::New(publication) => publication.position.unwrap(),
            Appended::Duplicate(position) => panic!("{text} is already at {position}"),
        }
    }

    fn payloads(page: &[Publication]) -> Vec<&[u8]> {
        page.iter().map(|publication| &publication.payload[..]).collect()
    }

    #[test]
    fn positions_grow_by_one_and_pages_are_read_in_both_directions() {
        let (mut histories, now) = (Histories::default(), Instant::now());
        let positions: Vec<_> =
            ["a", "b", "c", "d"].iter().map(|it| append(&mut histories, it, now)).collect();
        for pair in positions.windows(2) {
            assert_eq!((pair[1].epoch, pair[1].seq), (pair[0].epoch, pair[0].seq + 1));
        }
        let mut page = |page, count| histories.page(&channel(), page, count, now);
        assert_eq!(payloads(&page(Page::Newest, 2)), [b"d", b"c"]);
        assert_eq!(payloads(&page(Page::After(positions[0]), 2)), [b"b", b"c"]);
        assert_eq!(payloads(&page(Page::Before(positions[3]), 9)), [b"c", b"b"]);
        assert_eq!(histories.end(&channel(), LIMITS, now).position, positions[3]);
    }

    #[test]
    fn entries_expire_by_age_and_an_expired_history_starts_a_new_epoch() {
        let (mut histories, now) = (Histories::default(), Instant::now());
        let first = append(&mut histories, "a", now);
        append(&mut histories, "b", now + LIMITS.age / 2);
        let page = histories.page(&channel(), Page::Newest, 9, now + LIMITS.age);
        assert_eq!(payloads(&page), [b"b"]);
        let later = append(&mut histories, "c", now + LIMITS.age * 2);
        assert!(later.epoch > first.epoch);
        histories.sweep(now + LIMITS.age * 4);
        assert!(histories.streams.is_empty());
    }

    #[test]
    fn a_repeated_idempotency_key_is_published_once_within_the_window() {
        let (mut histories, now) = (Histories::default(), Instant::now());
        let keyed = Publication { id: Some("k".into()), ..Publication::bare(Bytes::new()) };
        let mut append = |now| histories.append(&channel(), keyed.clone(), LIMITS, WINDOW, now);
        let Appended::New(first) = append(now) else { panic!("it is the first") };
        let Appended::Duplicate(again) = append(now + WINDOW / 2) else { panic!("it is not new") };
        assert_eq!(Some(again), first.position);
        assert!(matches!(append(now + WINDOW), Appended::New(_)));
    }

    #[test]
    fn idempotency_keys_of_different_publishers_are_independent() {
        let (mut histories, now) = (Histories::default(), Instant::now());
        let session = |number| Some(SessionId { node: NodeId::random(), number });
        let of = |user: Option<&str>, session| Publication {
            id: Some("k".into()),
            user: user.map(Into::into),
            session,
            ..Publication::bare(Bytes::new())
        };
        let mut append =
            |it: &Publication| histories.append(&channel(), it.clone(), LIMITS, WINDOW, now);
        let all = [
            of(Some("ada"), session(1)),
            of(Some("bo"), session(2)),
            of(None, session(1)),
            of(None, None),
        ];
        for publication in &all {
            assert!(matches!(append(publication), Appended::New(_)), "{publication:?}");
        }
        for publication in &all {
            assert!(matches!(append(publication), Appended::Duplicate(_)), "{publication:?}");
        }
        // A key is the same on every connection of its user, and of all clients without one.
        assert!(matches!(append(&of(Some("ada"), session(9))), Appended::Duplicate(_)));
        assert!(matches!(append(&of(None, session(9))), Appended::Duplicate(_)));
    }

    #[test]
    fn reading_positions_cannot_create_unbounded_histories() {
        let (mut histories, now) = (Histories::default(), Instant::now());
        let channel = |i: usize| Channel::new(&format!("a:{i}")).unwrap();
        let publication = Publication::bare(Bytes::from_static(b"x"));
        let window = Duration::from_secs(1);
        histories.append(&channel(0), publication, LIMITS, window, now);
        let before = histories.end(&channel(0), LIMITS, now);
        for i in 1..=2 * EMPTY_MAX {
            histories.end(&channel(i), LIMITS, now);
        }
        assert!(histories.streams.len() <= EMPTY_MAX + 1, "{}", histories.streams.len());
        assert_eq!(
            histories.end(&channel(0), LIMITS, now),
            before,
            "a history with a publication stays"
        );
    }
}
