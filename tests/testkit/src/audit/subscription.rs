//! One subscription of one connection, as its journal tells it.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use crate::audit::journal::PublicationId;
use crate::log::{Position, PublisherNumber};

pub struct Subscription {
    /// Publications of the connection itself come too.
    pub echo: bool,
    /// It says nothing of gaps and positions.
    pub plain: bool,
    /// Nothing may be missing without a gap.
    pub complete: bool,
    pub recovered: bool,
    /// Nothing at or before it may come.
    pub floor: Option<Position>,
    /// What comes next follows it. None: where the stretch begins in the history is not known.
    pub last: Option<Position>,
    /// What is published from here on must come. Begins anew with each gap.
    pub started: Instant,
    /// The last position that came.
    pub latest: Option<Position>,
    /// All that came, over all stretches.
    pub received: HashSet<PublicationId>,
    /// The highest number that came of each publisher since the last gap.
    pub newest: HashMap<PublisherNumber, u64>,
    /// Something came since `subscribed` or the last gap.
    pub has_received: bool,
    pub has_gap: bool,
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
            missing: HashSet::new(),
        }
    }

    /// The client was told that something may be missing up to here.
    pub fn on_gap(&mut self, when: Instant) {
        self.started = when;
        self.last = None;
        self.newest.clear();
        self.has_gap = true;
        self.recovered = false;
    }
}
