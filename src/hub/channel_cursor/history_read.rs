//! A read of a channel's history, and the publications held meanwhile.

use std::collections::VecDeque;

use crate::publication::{Position, Publication};

/// Most publications held while a channel catches up; beyond that they are dropped and read again.
pub const HELD_MAX: usize = 10_000;

/// The same in payload bytes.
const HELD_BYTES_MAX: usize = 4 << 20;

/// How often the end of a history is asked for again while none of its publications has arrived.
pub const FIRST_WAITS_MAX: u8 = 20;

/// A read of the history, and the publications that arrived meanwhile.
#[derive(Default)]
pub struct HistoryRead {
    /// Whether the read was requested.
    pub requested: bool,
    pub held: VecDeque<Publication>,
    pub held_bytes: usize,
    /// Held publications were dropped, so that the history must be read once more.
    pub overflowed: bool,
    /// Publications without a position were among the dropped ones.
    pub unpositioned_lost: bool,
    /// The history's end when the broker was asked for it.
    pub target: Option<Position>,
    /// The broker was interrupted: publications may be missing.
    pub interrupted: bool,
    /// Held publications have continued from what was read.
    pub advanced: bool,
    /// Publications of the history were delivered, which may arrive on the broker's connection after that.
    pub has_delivered: bool,
    /// The channel had subscribers before it had a position, because its rule has just begun to keep history.
    /// They got every publication directly so far, and must miss none in the transition.
    pub had_subscribers: bool,
    /// How often the end was asked for again, because none of the publications before it had arrived.
    pub first_waits: u8,
}

impl HistoryRead {
    /// Whether everything since the broker's confirmation is held, and at least one of it has a position.
    pub fn holds_unbroken(&self) -> bool {
        let held = || self.held.iter().any(|held| held.position.is_some());
        !self.interrupted && !self.overflowed && held()
    }

    /// Whether the history has just begun and subscribers got everything before it directly.
    pub fn may_start_fresh(&self, end: Option<Position>) -> bool {
        self.has_missed_nothing() && end.is_some_and(|end| end.seq == 0)
    }

    /// Whether subscribers got everything directly until the read began, and nothing but that: what has arrived
    /// since is held.
    pub fn has_missed_nothing(&self) -> bool {
        self.had_subscribers && !self.interrupted && !self.overflowed && !self.has_delivered
    }

    /// Whether to ask for the end again, because the publications before it may still be on their way to subscribers
    /// who got everything directly: the answer comes by another connection than they do. Counts how often.
    pub fn waits_for_first(&mut self) -> bool {
        let waits = self.has_missed_nothing() && self.first_waits < FIRST_WAITS_MAX;
        self.first_waits += u8::from(waits);
        waits
    }

    pub fn hold(&mut self, publication: Publication) {
        self.held_bytes += publication.payload.len();
        self.held.push_back(publication);
        if self.held.len() > HELD_MAX || self.held_bytes > HELD_BYTES_MAX {
            self.unpositioned_lost |= self.held.iter().any(|held| held.position.is_none());
            self.overflowed = true;
            self.held = VecDeque::new();
            self.held_bytes = 0;
        }
    }
}
