//! One subscription of one connection, as its journal tells it.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use crate::audit::journal::Name;
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
    pub begun: Instant,
    /// The last position that came.
    pub latest: Option<Position>,
    /// All that came, over all stretches.
    pub got: HashSet<Name>,
    /// The highest number that came of each publisher since the last gap.
    pub newest: HashMap<PublisherNumber, u64>,
    /// Something came since `subscribed` or the last gap.
    pub something_came: bool,
    pub told_gap: bool,
    /// Reported as missing.
    pub missing: HashSet<Name>,
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
            begun,
            latest: None,
            got: HashSet::new(),
            newest: HashMap::new(),
            something_came: false,
            told_gap: false,
            missing: HashSet::new(),
        }
    }

    /// The client was told that something may be missing up to here.
    pub fn gap(&mut self, when: Instant) {
        self.begun = when;
        self.last = None;
        self.newest.clear();
        self.told_gap = true;
        self.recovered = false;
    }
}
