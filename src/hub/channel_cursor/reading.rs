//! What waits while a channel catches up.

use std::collections::VecDeque;

use crate::publication::{Position, Publication};

/// Publications that wait while a channel catches up; beyond them they are read again.
pub const HELD_MAX: usize = 10_000;

/// The same in payload bytes.
const HELD_BYTES_MAX: usize = 4 << 20;

/// One reading of a history, and what came meanwhile.
#[derive(Default)]
pub struct HistoryRead {
    /// Has somebody been asked to read?
    pub begun: bool,
    pub held: VecDeque<Publication>,
    pub held_bytes: usize,
    /// What was held was dropped, so that it must be read once more.
    pub overflown: bool,
    /// What was dropped held publications that stand in no history.
    pub plain_lost: bool,
    /// Where the history ended when it was asked.
    pub target: Option<Position>,
    /// The broker was away: publications may have been missed.
    pub interrupted: bool,
    /// Held publications went on from what was read.
    pub advanced: bool,
    /// The channel had subscribers before it had a position, as its rule has just begun to keep history. Up to
    /// then they got everything directly, and nothing may go missing on the way from the one to the other.
    pub late: bool,
}

impl HistoryRead {
    /// Is all that came since the channel flows at hand, and does some of it stand in the history?
    pub fn holds_unbroken(&self) -> bool {
        let held = || self.held.iter().any(|held| held.position.is_some());
        !self.interrupted && !self.overflown && held()
    }

    /// Has the history just begun, and did subscribers get everything before it directly?
    pub fn may_start_fresh(&self, end: Option<Position>) -> bool {
        self.late && !self.interrupted && !self.overflown && end.is_some_and(|end| end.seq == 0)
    }

    pub fn hold(&mut self, publication: Publication) {
        self.held_bytes += publication.payload.len();
        self.held.push_back(publication);
        if self.held.len() > HELD_MAX || self.held_bytes > HELD_BYTES_MAX {
            self.plain_lost |= self.held.iter().any(|held| held.position.is_none());
            self.overflown = true;
            self.held = VecDeque::new();
            self.held_bytes = 0;
        }
    }
}
