//! The histories of a node by itself: what Redis Streams are for a fleet, under the same contract.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::broker::contract::{PAGE_MAX, Page};
use crate::publication::{Channel, Position, Publication, Publisher};
use crate::rules::{History, Rules};

/// Most histories in which nothing has ever been: whoever may only ask for them could begin as many as
/// there are names. Beyond it those are forgotten, and their channels begin anew.
const EMPTY_MAX: usize = 1 << 16;

/// Most idempotency keys that are remembered, of all channels together; the oldest are forgotten.
const IDS_MAX: usize = 1_000_000;

/// All channels' histories. Plain data; whoever calls holds the lock.
#[derive(Default)]
pub struct Histories {
    streams: HashMap<Channel, HistoryStream>,
    /// Those of them in which nothing has ever been.
    empty: usize,
    /// The last epoch that was begun: another one is never the same.
    epoch: u64,
    ids: HashMap<IdempotencyKey, Position>,
    /// When each was used, oldest first.
    ids_used: VecDeque<(Instant, IdempotencyKey)>,
}

/// An idempotency key, whose it is, and of which channel.
type IdempotencyKey = (Channel, Publisher, Arc<str>);

struct HistoryStream {
    last: Position,
    entries: VecDeque<(Instant, Publication)>,
    kept: History,
    /// When something was last appended.
    touched: Instant,
}

/// What became of a publication.
#[derive(Debug)]
pub enum Appended {
    /// It stands in the history now, with this position.
    New(Publication),
    /// One with the same idempotency key stands there already.
    Before(Position),
}

impl Histories {
    /// `window`: how long an idempotency key is remembered.
    pub fn append(
        &mut self,
        channel: &Channel,
        mut publication: Publication,
        kept: History,
        window: Duration,
        now: Instant,
    ) -> Appended {
        self.forget_ids(window, now);
        let id = publication.id.clone();
        let id = id.map(|id| (channel.clone(), publication.publisher(), id));
        if let Some(before) = id.as_ref().and_then(|id| self.ids.get(id)) {
            return Appended::Before(*before);
        }
        let stream = self.stream(channel, kept, now);
        let was_empty = stream.last.seq == 0;
        let position = Position { seq: stream.last.seq + 1, ..stream.last };
        publication.position = Some(position);
        stream.last = position;
        stream.touched = now;
        stream.entries.push_back((now, publication.clone()));
        stream.trim(now);
        self.empty = self.empty.saturating_sub(usize::from(was_empty));
        if let Some(id) = id {
            self.ids.insert(id.clone(), position);
            self.ids_used.push_back((now, id));
        }
        Appended::New(publication)
    }

    /// Where the channel's history ends; it is begun where there is none.
    pub fn position(&mut self, channel: &Channel, kept: History, now: Instant) -> Position {
        self.stream(channel, kept, now).last
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

    /// Forgets the histories in which nothing is left.
    pub fn sweep(&mut self, now: Instant) {
        self.retain(|_, stream| !stream.is_over(now));
    }

    fn retain(&mut self, keep: impl Fn(&Channel, &HistoryStream) -> bool) {
        self.streams.retain(|channel, stream| keep(channel, stream));
        self.streams.shrink_to(self.streams.len() * 2);
        self.empty = self.streams.values().filter(|stream| stream.last.seq == 0).count();
    }

    /// Forgets the histories of channels that no rule keeps any more: what is published until one does
    /// again stands in none, so that nobody may go on from before.
    pub fn keep_those_of(&mut self, rules: &Rules) {
        let rules = rules.current();
        self.retain(|channel, _| rules.of(channel.as_str()).history.is_some());
    }

    fn stream(&mut self, channel: &Channel, kept: History, now: Instant) -> &mut HistoryStream {
        if self.empty >= EMPTY_MAX {
            self.retain(|_, stream| stream.last.seq > 0);
        }
        let Self { streams, epoch, empty, .. } = self;
        let begin = |epoch: &mut u64| {
            let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            *epoch = (*epoch + 1).max(u64::try_from(clock.as_micros()).unwrap_or(u64::MAX));
            let last = Position { epoch: *epoch, seq: 0 };
            HistoryStream { last, entries: VecDeque::new(), kept, touched: now }
        };
        let stream = streams.entry(channel.clone()).or_insert_with(|| {
            *empty += 1;
            begin(epoch)
        });
        if stream.is_over(now) {
            *empty += usize::from(stream.last.seq > 0);
            *stream = begin(epoch);
        }
        stream.kept = kept;
        stream
    }

    fn forget_ids(&mut self, window: Duration, now: Instant) {
        while let Some((used, _)) = self.ids_used.front()
            && (*used + window <= now || self.ids_used.len() > IDS_MAX)
        {
            let (_, id) = self.ids_used.pop_front().expect("it was just looked at");
            self.ids.remove(&id);
        }
    }
}

impl HistoryStream {
    fn trim(&mut self, now: Instant) {
        let size = self.kept.size as usize;
        while let Some((at, _)) = self.entries.front()
            && (self.entries.len() > size || *at + self.kept.age <= now)
        {
            self.entries.pop_front();
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.touched + self.kept.age <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publication::{NodeId, SessionId};
    use bytes::Bytes;

    const KEPT: History = History { size: 3, age: Duration::from_secs(10) };
    const WINDOW: Duration = Duration::from_secs(60);

    fn channel() -> Channel {
        Channel::new("news").unwrap()
    }

    fn append(histories: &mut Histories, text: &str, now: Instant) -> Position {
        let publication = Publication::bare(Bytes::copy_from_slice(text.as_bytes()));
        match histories.append(&channel(), publication, KEPT, WINDOW, now) {
            Appended::New(publication) => publication.position.unwrap(),
            Appended::Before(position) => panic!("{text} stands at {position}"),
        }
    }

    fn payloads(page: &[Publication]) -> Vec<&[u8]> {
        page.iter().map(|publication| &publication.payload[..]).collect()
    }

    #[test]
    fn positions_grow_by_one_and_pages_go_both_ways_within_the_size() {
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
        assert_eq!(histories.position(&channel(), KEPT, now), positions[3]);
    }

    #[test]
    fn what_is_older_than_the_age_is_gone_and_a_history_that_is_over_begins_another_epoch() {
        let (mut histories, now) = (Histories::default(), Instant::now());
        let first = append(&mut histories, "a", now);
        append(&mut histories, "b", now + KEPT.age / 2);
        let page = histories.page(&channel(), Page::Newest, 9, now + KEPT.age);
        assert_eq!(payloads(&page), [b"b"]);
        let later = append(&mut histories, "c", now + KEPT.age * 2);
        assert!(later.epoch > first.epoch);
        histories.sweep(now + KEPT.age * 4);
        assert!(histories.streams.is_empty());
    }

    #[test]
    fn the_same_idempotency_key_is_published_once_within_the_window() {
        let (mut histories, now) = (Histories::default(), Instant::now());
        let keyed = Publication { id: Some("k".into()), ..Publication::bare(Bytes::new()) };
        let mut append = |now| histories.append(&channel(), keyed.clone(), KEPT, WINDOW, now);
        let Appended::New(first) = append(now) else { panic!("it is the first") };
        let Appended::Before(again) = append(now + WINDOW / 2) else { panic!("it is not new") };
        assert_eq!(Some(again), first.position);
        assert!(matches!(append(now + WINDOW), Appended::New(_)));
    }

    #[test]
    fn no_publishers_key_swallows_anothers_publication() {
        let (mut histories, now) = (Histories::default(), Instant::now());
        let session = |number| Some(SessionId { node: NodeId::random(), number });
        let of = |user: Option<&str>, session| Publication {
            id: Some("k".into()),
            user: user.map(Into::into),
            session,
            ..Publication::bare(Bytes::new())
        };
        let mut append =
            |it: &Publication| histories.append(&channel(), it.clone(), KEPT, WINDOW, now);
        let all = [
            of(Some("ada"), session(1)),
            of(Some("bo"), session(2)),
            of(None, session(1)),
            of(None, session(2)),
            of(None, None),
        ];
        for publication in &all {
            assert!(matches!(append(publication), Appended::New(_)), "{publication:?}");
        }
        for publication in &all {
            assert!(matches!(append(publication), Appended::Before(_)), "{publication:?}");
        }
        // A user's is the same on whichever connection.
        assert!(matches!(append(&of(Some("ada"), session(9))), Appended::Before(_)));
    }

    #[test]
    fn those_who_only_ask_cannot_begin_any_number_of_histories() {
        let (mut histories, now) = (Histories::default(), Instant::now());
        let channel = |i: usize| Channel::new(&format!("a:{i}")).unwrap();
        let publication = Publication::bare(Bytes::from_static(b"x"));
        let window = Duration::from_secs(1);
        histories.append(&channel(0), publication, KEPT, window, now);
        let before = histories.position(&channel(0), KEPT, now);
        for i in 1..=2 * EMPTY_MAX {
            histories.position(&channel(i), KEPT, now);
        }
        assert!(histories.streams.len() <= EMPTY_MAX + 1, "{}", histories.streams.len());
        assert_eq!(
            histories.position(&channel(0), KEPT, now),
            before,
            "one with something in it stays"
        );
    }
}
