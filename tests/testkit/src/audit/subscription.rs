//! The state of one subscription of one connection, from its journal.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use crate::audit::journal::PublicationId;
use crate::log::{Position, PublisherNumber};

pub struct Subscription {
    /// The connection receives its own publications.
    pub echo: bool,
    /// The plain protocol: no gaps and positions.
    pub plain: bool,
    /// Nothing may be missing without a gap.
    pub complete: bool,
    pub recovered: bool,
    /// Nothing at or before it may arrive.
    pub floor: Option<Position>,
    /// The next publication follows it. None: the segment's start in the history is unknown.
    pub last: Option<Position>,
    /// Publications from here on must arrive. Reset by each gap.
    pub started: Instant,
    /// The last position received.
    pub latest: Option<Position>,
    /// All publications received, over all segments.
    pub received: HashSet<PublicationId>,
    /// The highest number received of each publisher since the last gap.
    pub newest: HashMap<PublisherNumber, u64>,
    /// A publication arrived since `subscribed` or the last gap.
    pub has_received: bool,
    pub has_gap: bool,
    /// The end of the run has arrived.
    pub has_ended: bool,
    /// A repeated `subscribe` may bring the end once more.
    pub end_may_repeat: bool,
    /// Reported as missing.
    pub missing: HashSet<PublicationId>,
}

impl Subscription {
    pub fn new(begun: Instant, echo: bool) -> Self {
        Self {
            echo,
            plain: false,
            complete: true,
            recovered: false,
            floor: None,
            last: None,
            started: begun,
            latest: None,
            received: HashSet::new(),
            newest: HashMap::new(),
            has_received: false,
            has_gap: false,
            has_ended: false,
            end_may_repeat: false,
            missing: HashSet::new(),
        }
    }

    /// The client received a gap: anything up to here may be missing.
    pub fn on_gap(&mut self, when: Instant) {
        self.started = when;
        self.last = None;
        self.newest.clear();
        self.has_gap = true;
        // A run whose data Redis has lost begins again.
        self.has_ended = false;
        self.recovered = false;
    }
}
