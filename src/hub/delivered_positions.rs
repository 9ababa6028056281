//! Which positions of one channel's history this node has delivered. The only owner of that state: every step
//! that could make it differ from Redis is a method here.
//!
//! Invariants, which a property test checks against a model and debug assertions check at each step:
//! - no position is delivered twice;
//! - a publication that does not follow the previous one is delivered only after a gap;
//! - a client is resumed from a position only if everything that was delivered after it is known.

use super::channel_event::{ChannelEvent, LOST};
use super::recent_publications::{Recent, Replay, ResumeCheck};
use crate::publication::{EndReason, Position, Publication, ReplayStart};
use crate::rules::History;

/// Most delivered ranges that are remembered. An epoch and a failover add one each.
const DELIVERED_MAX: usize = 8;

/// The positions of one channel that were delivered on this node.
#[derive(Default)]
pub struct DeliveredPositions {
    /// The last position that subscribers got. None: the node has not yet asked for the history's end, or the
    /// broker keeps no history.
    last: Option<Position>,
    /// The first `seq` in the epoch of `last` that subscribers got.
    first: u64,
    /// Ranges delivered in other epochs, and positions that the history did not contain when it was read. A
    /// server may fall back to before them, and a replica that was promoted too early may still receive them.
    delivered: Vec<Range>,
    /// No client is resumed at or before this position: a publication that was delivered after it is in no
    /// history.
    floor: Option<Position>,
    recent: Option<Recent>,
    /// The end of a run that is known. It is the channel's state while its position is the last one.
    run_end: Option<Box<RunEnd>>,
    /// The history has just begun, and older publications may still be in transit to existing subscribers.
    /// They are delivered until the first publication of the new history arrives.
    is_fresh: bool,
}

/// The end of a run, which is the last publication of its channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunEnd {
    pub position: Position,
    pub reason: EndReason,
}

/// A range of positions of one epoch, both ends inclusive.
struct Range {
    epoch: u64,
    first: u64,
    last: u64,
}

impl Range {
    fn has(&self, position: Position) -> bool {
        self.epoch == position.epoch && (self.first..=self.last).contains(&position.seq)
    }

    /// Whether the ranges overlap or are adjacent.
    fn touches(&self, other: &Self) -> bool {
        self.epoch == other.epoch
            && self.first <= other.last.saturating_add(1)
            && other.first <= self.last.saturating_add(1)
    }
}

/// Where a publication is relative to the last delivered position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PositionOrder {
    /// It has no position: a service published it with plain `PUBLISH`, past the history.
    Unpositioned,
    /// Subscribers have it, or got a gap in its place.
    Behind,
    Next,
    /// Others are missing before it, or it follows no known position.
    Ahead,
}

impl DeliveredPositions {
    /// For a channel whose subscribers have everything up to `last`.
    pub fn at(last: Option<Position>) -> Self {
        Self { last, ..Self::default() }
    }

    pub fn last(&self) -> Option<Position> {
        self.last
    }

    /// Records that a run ends at this position.
    pub fn record_end(&mut self, position: Position, reason: EndReason) {
        self.run_end = Some(Box::new(RunEnd { position, reason }));
    }

    /// The end of the channel's run, if everything up to it was delivered.
    pub fn run_end(&self) -> Option<&RunEnd> {
        self.run_end.as_deref().filter(|end| Some(end.position) == self.last)
    }

    fn record_end_of(&mut self, publication: &Publication) {
        if let (Some(position), Some(reason)) = (publication.position, &publication.end) {
            self.record_end(position, reason.clone());
        }
    }

    pub fn order_of(&self, publication: &Publication) -> PositionOrder {
        match (publication.position, self.last) {
            (None, _) => PositionOrder::Unpositioned,
            (Some(position), Some(last)) if self.is_fresh && position.epoch < last.epoch => {
                PositionOrder::Unpositioned
            }
            (Some(position), Some(last)) if position <= last => PositionOrder::Behind,
            (Some(_), Some(last)) if publication.follows(last) => PositionOrder::Next,
            (Some(_), None) => PositionOrder::Next,
            (Some(_), Some(_)) => PositionOrder::Ahead,
        }
    }

    /// Advances to the next publication. Returns false if subscribers have it already.
    pub fn advance(&mut self, publication: &Publication) -> bool {
        debug_assert_eq!(self.order_of(publication), PositionOrder::Next, "{publication:?}");
        if let (Some(_), Some(recent)) = (self.last, &mut self.recent) {
            recent.push(publication);
        }
        let is_new = self.is_new(publication);
        if self.last.map(|it| it.epoch) != publication.position.map(|it| it.epoch) {
            self.remember_epoch();
            self.first = publication.position.map_or(0, |it| it.seq);
        }
        self.last = publication.position;
        self.is_fresh = false;
        self.record_end_of(publication);
        self.check();
        is_new
    }

    /// Advances to a publication that does not follow the last one. `gap`: the reason that subscribers get;
    /// None if the publication begins a history and the broker's connection was not interrupted.
    pub fn jump(
        &mut self,
        publication: &Publication,
        gap: Option<&'static str>,
        events: &mut Vec<ChannelEvent>,
    ) -> bool {
        debug_assert!(gap.is_some() || publication.position.is_some_and(|it| it.seq <= 1));
        events.extend(gap.map(ChannelEvent::Gap));
        let is_new = self.is_new(publication);
        self.restart(publication.position);
        self.first = publication.position.map_or(0, |it| it.seq);
        self.record_end_of(publication);
        is_new
    }

    /// Moves to the start of a new history, for subscribers that have got every publication directly so far.
    pub fn start_fresh(&mut self, last: Option<Position>) {
        debug_assert!(last.is_none_or(|last| last.seq == 0));
        self.restart(last);
        self.is_fresh = true;
    }

    /// Ends the fresh state: older publications in transit may not arrive any more. Returns whether
    /// subscribers must get a gap.
    pub fn end_fresh(&mut self) -> bool {
        std::mem::take(&mut self.is_fresh)
    }

    /// Takes a publication without a position. If a node or a function published it, Redis keeps no history
    /// at the moment, and a client that resumes from before it would miss it.
    pub fn pass_unpositioned(&mut self, publication: Publication) -> Publication {
        if publication.signed {
            self.floor = self.floor.max(self.last);
        }
        Publication { position: None, ..publication }
    }

    /// Takes a publication whose position the history does not contain: its stream was deleted, or the
    /// position never existed. It is delivered after a gap and without its position. Returns None if it was
    /// delivered before.
    pub fn pass_unknown(&mut self, publication: Publication) -> Option<Publication> {
        let Position { epoch, seq } = publication.position.filter(|_| self.is_new(&publication))?;
        self.remember(Range { epoch, first: seq, last: seq });
        self.floor = self.floor.max(self.last);
        self.recent = None;
        Some(Publication { position: None, ..publication })
    }

    /// Moves to a position that does not follow the last one: the caller has emitted a gap, or there were no
    /// subscribers. The server may have lost everything up to `last` and continue its history from an earlier
    /// position, so a client that resumes from there would miss something.
    pub fn restart(&mut self, last: Option<Position>) {
        self.floor = self.floor.max(self.last);
        self.remember_epoch();
        self.last = last;
        self.first = last.map_or(0, |last| last.seq.saturating_add(1));
        self.is_fresh = false;
        self.recent = None;
    }

    /// Handles a history that ends before `last`: the server has lost a part of it. Or its clock was set back
    /// before it began another history; then no client is resumed until the new one has passed the old
    /// position.
    pub fn fall_back(&mut self, end: Option<Position>, events: &mut Vec<ChannelEvent>) {
        debug_assert!(end < self.last);
        events.push(ChannelEvent::Gap(LOST));
        self.restart(end);
    }

    /// Checks whether a new subscriber can get the past from this start on. Publications from now on are kept, so
    /// that they are available when it is added.
    pub fn check_resume(&mut self, start: ReplayStart, history: History) -> ResumeCheck {
        let Some(last) = self.last else { return ResumeCheck::No };
        if let ReplayStart::After(since) = start {
            if !self.may_resume(since) {
                return ResumeCheck::No;
            }
            if since > last {
                return ResumeCheck::Ahead;
            }
        }
        let recent = self.recent.get_or_insert_with(|| Recent::new(last, history));
        let is_known = matches!(start, ReplayStart::After(_)) || recent.is_trimmed();
        match recent.find(start) {
            Some(_) if is_known => ResumeCheck::Yes,
            _ => recent.request_load(start),
        }
    }

    /// The publications from this start up to [`DeliveredPositions::last`]. None: they are not in memory.
    pub fn replay(&mut self, start: ReplayStart) -> Option<Replay> {
        let last = self.last?;
        match start {
            ReplayStart::After(since) if !self.may_resume(since) => None,
            ReplayStart::After(since) if since == last => {
                Some(Replay { publications: Vec::new(), recovered: Some(true) })
            }
            ReplayStart::After(_) | ReplayStart::Newest(_) => self.recent.as_mut()?.replay(start),
            ReplayStart::First => {
                let recent = self.recent.as_mut()?;
                let Replay { publications, recovered } = recent.replay(start)?;
                let is_unbroken = self.floor.is_none_or(|floor| recent.start() > Some(floor));
                Some(Replay { publications, recovered: recovered.map(|it| it && is_unbroken) })
            }
        }
    }

    pub fn recent(&mut self) -> Option<&mut Recent> {
        self.recent.as_mut()
    }

    pub fn drop_recent(&mut self) {
        self.recent = None;
    }

    fn may_resume(&self, since: Position) -> bool {
        self.floor.is_none_or(|floor| since > floor)
    }

    fn is_new(&self, publication: &Publication) -> bool {
        let has = |at: Position| self.delivered.iter().any(|range| range.has(at));
        !publication.position.is_some_and(has)
    }

    /// Remembers the delivered range of the epoch of `last` before the history moves elsewhere.
    fn remember_epoch(&mut self) {
        if let Some(Position { epoch, seq: last }) = self.last
            && self.first <= last
        {
            // Positions before the first one are not delivered any more either: they would be out of order.
            self.remember(Range { epoch, first: 0, last });
        }
    }

    fn remember(&mut self, range: Range) {
        if let Some(before) = self.delivered.iter_mut().find(|before| before.touches(&range)) {
            before.first = before.first.min(range.first);
            before.last = before.last.max(range.last);
            return;
        }
        if self.delivered.len() == DELIVERED_MAX {
            self.delivered.remove(0);
        }
        self.delivered.push(range);
    }

    fn check(&self) {
        let end = self.recent.as_ref().map(Recent::end);
        debug_assert!(end.is_none_or(|end| end == self.last), "{end:?} is not {:?}", self.last);
    }
}
