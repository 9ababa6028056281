//! Where this node stands in one channel's history. The only owner of that position: every step that
//! could part it from the truth in Redis is a method here.
//!
//! Invariants, which a property test holds against a model; debug assertions guard the single steps:
//! - no position is delivered twice;
//! - a publication that does not follow the one before it is delivered behind a gap only;
//! - a client is resumed from a position only if everything that was delivered behind it is known.

use std::sync::Arc;

use super::channel_event::{ChannelEvent, LOST};
use super::recent_publications::{Recent, RecentPublication, ResumeCheck};
use crate::publication::{Position, Publication};
use crate::rules::History;

/// Ranges of positions that are remembered as delivered. An epoch and a failover leave one each.
const DELIVERED_MAX: usize = 8;

/// A channel's place in its history on this node.
#[derive(Default)]
pub struct DeliveredPositions {
    /// The last position of the history that subscribers have. None: the node has not asked for it,
    /// or the broker keeps none.
    last: Option<Position>,
    /// The first `seq` of the epoch of `last` that subscribers have.
    first: u64,
    /// Delivered in other epochs, and what the history did not have when it was asked. A server may go back
    /// to before them, and a replica that was promoted too early may still receive them.
    delivered: Vec<Range>,
    /// At or before this position no client is resumed: something that was delivered behind it stands in
    /// no history.
    floor: Option<Position>,
    recent: Option<Recent>,
    /// Went to where a history has just begun, while what came before it may still be on its way to those who
    /// subscribe already. It is let through until the first of the new history comes.
    is_fresh: bool,
}

/// Positions of one epoch, both ends included.
struct Range {
    epoch: u64,
    first: u64,
    last: u64,
}

impl Range {
    fn has(&self, position: Position) -> bool {
        self.epoch == position.epoch && (self.first..=self.last).contains(&position.seq)
    }

    /// Is nothing between the two?
    fn touches(&self, other: &Self) -> bool {
        self.epoch == other.epoch
            && self.first <= other.last.saturating_add(1)
            && other.first <= self.last.saturating_add(1)
    }
}

/// How a publication stands to the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PositionOrder {
    /// It stands in no history: a service published past it.
    Nowhere,
    /// Subscribers have it, or have been told of a gap in its place.
    Behind,
    Next,
    /// Something stands between, or nothing leads to it.
    Beyond,
}

impl DeliveredPositions {
    /// For a channel whose subscribers have got everything up to `last`.
    pub fn at(last: Option<Position>) -> Self {
        Self { last, ..Self::default() }
    }

    pub fn last(&self) -> Option<Position> {
        self.last
    }

    pub fn place_of(&self, publication: &Publication) -> PositionOrder {
        match (publication.position, self.last) {
            (None, _) => PositionOrder::Nowhere,
            (Some(position), Some(last)) if self.is_fresh && position.epoch < last.epoch => {
                PositionOrder::Nowhere
            }
            (Some(position), Some(last)) if position <= last => PositionOrder::Behind,
            (Some(_), Some(last)) if publication.follows(last) => PositionOrder::Next,
            (Some(_), None) => PositionOrder::Next,
            (Some(_), Some(_)) => PositionOrder::Beyond,
        }
    }

    /// Goes on to the next publication. False: subscribers have it already.
    pub fn advance(&mut self, publication: &Publication) -> bool {
        debug_assert_eq!(self.place_of(publication), PositionOrder::Next, "{publication:?}");
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
        self.check();
        is_new
    }

    /// Goes on to a publication that nothing leads to. `gap`: what subscribers are told; None where it
    /// begins a history and the connection that brought it held.
    pub fn jump(
        &mut self,
        publication: &Publication,
        gap: Option<&'static str>,
        items: &mut Vec<ChannelEvent>,
    ) -> bool {
        debug_assert!(gap.is_some() || publication.position.is_some_and(|it| it.seq <= 1));
        items.extend(gap.map(ChannelEvent::Gap));
        let is_new = self.is_new(publication);
        self.restart(publication.position);
        self.first = publication.position.map_or(0, |it| it.seq);
        is_new
    }

    /// Goes to where a history has just begun, for subscribers that have got everything directly so far.
    pub fn start_fresh(&mut self, last: Option<Position>) {
        debug_assert!(last.is_none_or(|last| last.seq == 0));
        self.restart(last);
        self.is_fresh = true;
    }

    /// What was on its way when the history had just begun may not come any more. True: subscribers are to be told.
    pub fn end_fresh(&mut self) -> bool {
        std::mem::take(&mut self.is_fresh)
    }

    /// A publication stands in no history. Where a node or its functions say so, Redis keeps none at the moment: a
    /// client that resumes from before it would miss it.
    pub fn pass_by(&mut self, publication: Publication) -> Publication {
        if publication.signed {
            self.floor = self.floor.max(self.last);
        }
        Publication { position: None, ..publication }
    }

    /// Takes a publication with a position that the history does not have: the stream may be gone, or it was
    /// never there. It is delivered behind a gap and without its position. None: it was before.
    pub fn pass_aside(&mut self, publication: Publication) -> Option<Publication> {
        let Position { epoch, seq } = publication.position.filter(|_| self.is_new(&publication))?;
        self.remember(Range { epoch, first: seq, last: seq });
        self.floor = self.floor.max(self.last);
        self.recent = None;
        Some(Publication { position: None, ..publication })
    }

    /// Goes to a position that nothing leads to, behind a gap that the caller has said, or because there were
    /// no subscribers before. The server may have lost what it had up to here, so that its history leads on
    /// from an earlier position: a client that resumes from there would miss something.
    pub fn restart(&mut self, last: Option<Position>) {
        self.floor = self.floor.max(self.last);
        self.remember_epoch();
        self.last = last;
        self.first = last.map_or(0, |last| last.seq.saturating_add(1));
        self.is_fresh = false;
        self.recent = None;
    }

    /// The history ends before what subscribers have: the server has lost some of it. Or its clock was put back
    /// before it began another; then no client is resumed until it has caught up.
    pub fn fall_back(&mut self, end: Option<Position>, items: &mut Vec<ChannelEvent>) {
        debug_assert!(end < self.last);
        items.push(ChannelEvent::Gap(LOST));
        self.restart(end);
    }

    /// May a client go on from `since`? What follows is kept from here on, so that it is there when
    /// the client is added.
    pub fn since(&mut self, since: Position, history: History) -> ResumeCheck {
        let Some(last) = self.last.filter(|_| self.may_resume(since)) else {
            return ResumeCheck::No;
        };
        if since > last {
            return ResumeCheck::Ahead;
        }
        let recent = self.recent.get_or_insert_with(|| Recent::new(last, history));
        match recent.after(since) {
            Some(backlog) => ResumeCheck::Yes(backlog),
            None => recent.load(since),
        }
    }

    /// What follows `since`, up to [`DeliveredPositions::last`]. None: that is not at hand.
    pub fn after(&mut self, since: Position) -> Option<Vec<Arc<RecentPublication>>> {
        match self.last.filter(|_| self.may_resume(since)) {
            Some(last) if last == since => Some(Vec::new()),
            Some(_) => self.recent.as_mut()?.after(since),
            None => None,
        }
    }

    pub fn recent(&mut self) -> Option<&mut Recent> {
        self.recent.as_mut()
    }

    pub fn forget_recent(&mut self) {
        self.recent = None;
    }

    fn may_resume(&self, since: Position) -> bool {
        self.floor.is_none_or(|floor| since > floor)
    }

    fn is_new(&self, publication: &Publication) -> bool {
        let has = |at: Position| self.delivered.iter().any(|range| range.has(at));
        !publication.position.is_some_and(has)
    }

    /// What subscribers have of the epoch of `last` is not forgotten when the history goes elsewhere.
    fn remember_epoch(&mut self) {
        if let Some(Position { epoch, seq: last }) = self.last
            && self.first <= last
        {
            // None before the first is delivered any more either: it would come out of order.
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
