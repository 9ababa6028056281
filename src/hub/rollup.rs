//! The publications of one channel that are delivered joined: at most one delivery in an interval.
//!
//! Plain data; the caller holds the channel's lock. What is complete waits with the subscribers of that moment, so that a
//! subscriber that comes later, whose backlog contains it, does not get it again. Only one task at a time delivers, so that
//! the order holds.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::channel_event::ChannelEvent;
use super::subscribers::{Snapshot, Subscribers};
use crate::publication::{Piece, Position, TextPieces};

/// Most complete pieces that are ready before they are delivered. While another task delivers, one delivery's time
/// may add to them.
const READY_MAX: usize = 32;

/// What to deliver.
pub enum RollupItem {
    Piece(Box<Piece>),
    Gap(&'static str),
}

/// What the caller must do.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum RollupStep {
    Nothing,
    /// Take and deliver with [`Rollup::take`] until it returns None.
    Deliver,
    /// Call [`Rollup::due`] at this time.
    Arm(Instant),
}

#[derive(Default)]
pub struct Rollup {
    interval: Duration,
    pieces: TextPieces,
    ready: VecDeque<(RollupItem, Snapshot)>,
    is_delivering: bool,
    /// More is ready than may be: the task that delivers leaves it to the one that adds, which is then as slow as the
    /// deliveries.
    is_behind: bool,
    is_armed: bool,
    delivered_at: Option<Instant>,
}

impl Rollup {
    pub fn new(interval: Duration) -> Self {
        Self { interval, ..Self::default() }
    }

    /// Zero: delivers everything at once.
    pub fn set_interval(&mut self, interval: Duration) {
        self.interval = interval;
    }

    /// Adds what subscribers are to get, in its order.
    pub fn add(
        &mut self,
        event: ChannelEvent,
        subscribers: &Subscribers,
        now: Instant,
    ) -> RollupStep {
        let mut is_urgent = false;
        match event {
            ChannelEvent::Publication(publication) => {
                is_urgent = publication.end.is_some();
                for piece in self.pieces.add(publication).into_iter().flatten() {
                    self.ready
                        .push_back((RollupItem::Piece(Box::new(piece)), subscribers.snapshot()));
                }
            }
            ChannelEvent::Gap(reason) => {
                self.cut(subscribers);
                self.ready.push_back((RollupItem::Gap(reason), subscribers.snapshot()));
            }
        }
        if self.is_delivering {
            self.is_behind |= self.ready.len() >= READY_MAX;
            return RollupStep::Nothing;
        }
        let due_at = self.delivered_at.map_or(now, |at| at + self.interval);
        if due_at <= now || is_urgent || self.ready.len() >= READY_MAX {
            self.cut(subscribers);
            self.is_delivering = true;
            return RollupStep::Deliver;
        }
        self.arm(due_at)
    }

    /// Completes the piece that could still grow, for the subscribers of this moment.
    pub fn cut(&mut self, subscribers: &Subscribers) {
        let piece = self.pieces.take().map(|piece| RollupItem::Piece(Box::new(piece)));
        self.ready.extend(piece.map(|piece| (piece, subscribers.snapshot())));
    }

    /// An interval has ended.
    pub fn due(&mut self, subscribers: &Subscribers) -> RollupStep {
        self.is_armed = false;
        if self.is_delivering {
            return RollupStep::Nothing;
        }
        self.cut(subscribers);
        if self.ready.is_empty() {
            return RollupStep::Nothing;
        }
        self.is_delivering = true;
        RollupStep::Deliver
    }

    /// The next to deliver, and whether more follows at once. None: the delivery has ended, and the caller takes
    /// the step.
    pub fn take(&mut self, now: Instant) -> Result<(RollupItem, Snapshot, bool), RollupStep> {
        if std::mem::take(&mut self.is_behind) && !self.ready.is_empty() {
            self.is_delivering = false;
            // Nothing may be added any more.
            return Err(self.arm(now));
        }
        if let Some((next, subscribers)) = self.ready.pop_front() {
            return Ok((next, subscribers, !self.ready.is_empty()));
        }
        self.is_delivering = false;
        self.delivered_at = Some(now);
        self.ready = VecDeque::new();
        Err(match self.pieces.is_empty() {
            true => RollupStep::Nothing,
            false => self.arm(now + self.interval),
        })
    }

    /// Whether the channel's rule no longer joins publications, and all of them are delivered.
    pub fn is_over(&self) -> bool {
        self.interval.is_zero() && self.is_idle()
    }

    /// Whether nothing waits and nothing is being delivered. A time at which it is still due is harmless.
    pub fn is_idle(&self) -> bool {
        self.pieces.is_empty() && self.ready.is_empty() && !self.is_delivering
    }

    /// The position before the piece that could still grow. None: there is none.
    pub fn open_after(&self) -> Option<Position> {
        self.pieces.open_after()
    }

    fn arm(&mut self, at: Instant) -> RollupStep {
        match std::mem::replace(&mut self.is_armed, true) {
            true => RollupStep::Nothing,
            false => RollupStep::Arm(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publication::{PayloadKind, Publication};
    use bytes::Bytes;

    const INTERVAL: Duration = Duration::from_millis(40);

    fn token(seq: u64) -> ChannelEvent {
        let payload = Bytes::from(format!("{seq},"));
        let position = Some(Position { epoch: 7, seq });
        let text = Publication::new(payload, PayloadKind::Text);
        ChannelEvent::Publication(Publication { position, ..text })
    }

    /// Takes everything; returns the texts, and the step after them.
    fn drain(rollup: &mut Rollup, now: Instant) -> (Vec<String>, RollupStep) {
        let mut texts = Vec::new();
        loop {
            match rollup.take(now) {
                Ok((RollupItem::Piece(piece), ..)) => {
                    texts.push(String::from_utf8(piece.publication.payload.to_vec()).unwrap());
                }
                Ok((RollupItem::Gap(reason), ..)) => texts.push(reason.to_owned()),
                Err(step) => return (texts, step),
            }
        }
    }

    #[test]
    fn the_first_text_leaves_at_once_and_the_others_together_after_the_interval() {
        let (mut rollup, empty) = (Rollup::new(INTERVAL), Subscribers::default());
        let begin = Instant::now();
        assert_eq!(rollup.add(token(1), &empty, begin), RollupStep::Deliver);
        assert_eq!(drain(&mut rollup, begin), (vec!["1,".to_owned()], RollupStep::Nothing));
        assert_eq!(rollup.add(token(2), &empty, begin), RollupStep::Arm(begin + INTERVAL));
        assert_eq!(rollup.add(token(3), &empty, begin), RollupStep::Nothing);
        assert_eq!(rollup.open_after(), Some(Position { epoch: 7, seq: 1 }));
        assert_eq!(rollup.due(&empty), RollupStep::Deliver);
        assert_eq!(drain(&mut rollup, begin).0, ["2,3,"]);
        assert!(rollup.is_idle());
    }

    #[test]
    fn a_text_that_arrives_during_a_delivery_is_left_to_the_task_that_delivers() {
        let (mut rollup, empty) = (Rollup::new(INTERVAL), Subscribers::default());
        let begin = Instant::now();
        assert_eq!(rollup.add(token(1), &empty, begin), RollupStep::Deliver);
        assert!(rollup.take(begin).is_ok());
        let later = begin + INTERVAL * 2;
        assert_eq!(rollup.add(token(2), &empty, later), RollupStep::Nothing);
        assert_eq!(rollup.due(&empty), RollupStep::Nothing);
        assert_eq!(rollup.take(later).err(), Some(RollupStep::Arm(later + INTERVAL)));
        assert_eq!(rollup.due(&empty), RollupStep::Deliver);
        assert_eq!(drain(&mut rollup, later).0, ["2,"]);
    }

    #[test]
    fn a_gap_stays_between_the_texts_before_and_after_it() {
        let (mut rollup, empty) = (Rollup::new(INTERVAL), Subscribers::default());
        let begin = Instant::now();
        assert_eq!(rollup.add(token(1), &empty, begin), RollupStep::Deliver);
        for event in [token(2), ChannelEvent::Gap("lost"), token(3)] {
            assert_eq!(rollup.add(event, &empty, begin), RollupStep::Nothing);
        }
        assert_eq!(drain(&mut rollup, begin).0, ["1,", "2,", "lost"]);
        assert_eq!(rollup.due(&empty), RollupStep::Deliver);
        assert_eq!(drain(&mut rollup, begin).0, ["3,"]);
    }

    #[test]
    fn a_task_that_delivers_leaves_too_many_pieces_to_the_one_that_adds() {
        let (mut rollup, empty) = (Rollup::new(INTERVAL), Subscribers::default());
        let begin = Instant::now();
        assert_eq!(rollup.add(token(1), &empty, begin), RollupStep::Deliver);
        for _ in 0..READY_MAX {
            let gap = ChannelEvent::Gap("lost");
            assert_eq!(rollup.add(gap, &empty, begin), RollupStep::Nothing);
        }
        assert_eq!(rollup.take(begin).err(), Some(RollupStep::Arm(begin)));
        assert_eq!(rollup.add(token(2), &empty, begin), RollupStep::Deliver);
        assert_eq!(rollup.due(&empty), RollupStep::Nothing);
        let (texts, step) = drain(&mut rollup, begin);
        assert_eq!((texts.len(), step), (READY_MAX + 2, RollupStep::Nothing));
    }

    #[test]
    fn a_rollup_is_over_once_its_interval_is_zero_and_all_texts_are_delivered() {
        let (mut rollup, empty) = (Rollup::new(INTERVAL), Subscribers::default());
        let begin = Instant::now();
        assert_eq!(rollup.add(token(1), &empty, begin), RollupStep::Deliver);
        rollup.set_interval(Duration::ZERO);
        assert!(!rollup.is_over());
        assert_eq!(drain(&mut rollup, begin).0, ["1,"]);
        assert!(rollup.is_over());
    }

    #[test]
    fn many_complete_pieces_do_not_wait_for_the_interval() {
        let (mut rollup, empty) = (Rollup::new(INTERVAL), Subscribers::default());
        let begin = Instant::now();
        assert_eq!(rollup.add(token(1), &empty, begin), RollupStep::Deliver);
        assert_eq!(drain(&mut rollup, begin).1, RollupStep::Nothing);
        let mut steps =
            (1..=READY_MAX).map(|_| rollup.add(ChannelEvent::Gap("lost"), &empty, begin));
        assert_eq!(steps.next(), Some(RollupStep::Arm(begin + INTERVAL)));
        assert_eq!(steps.last(), Some(RollupStep::Deliver));
    }
}
