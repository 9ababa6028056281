//! Which publications are appended to a history: those of channels whose history is kept by this
//! node's rules, or by rules in Redis that apply or are about to.
//!
//! Appending is always right, because the function decides by the rules that apply when it runs. A
//! plain `PUBLISH` is not, so plain publications are recorded in case they turn out to have
//! bypassed a history.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::bypassed_history::{BypassedHistory, PlainPublishes};
use super::rule_changes::PendingRules;
use super::rule_list::RuleList;
use crate::broker::redis::functions::fleet::{LibraryFleet, rule_list};
use crate::broker::redis::functions::library::Found;
use crate::live::Live;
use crate::rules::RuleTable;

/// The rules found in Redis, and the publications that bypassed them.
#[derive(Default)]
pub struct Routing {
    lists: Live<RoutingLists>,
    masters: Mutex<HashMap<u32, MasterRules>>,
    /// Publications that none of the rules keep.
    pub plain_publishes: PlainPublishes,
}

/// Rules in Redis by which histories are kept, or are about to be.
#[derive(Default)]
struct RoutingLists {
    all: Vec<RuleList>,
    /// Those that keep other histories than `own`.
    others: Vec<RuleList>,
    /// The node's rules when they were compared. The node may have replaced them since.
    own: Option<Arc<RuleTable>>,
}

/// A read of a master's rules, by the numbers of [`PlainPublishes`].
#[derive(Clone, Copy, Debug)]
pub struct RulesRead {
    pub number: u64,
    /// The lowest number of a publication that had no reply when the read began.
    pub unanswered_since: u64,
}

/// What is known about one master, by the number of its lane.
#[derive(Default)]
struct MasterRules {
    fleet: Option<LibraryFleet>,
    /// The server's clock when it was read, in milliseconds.
    now: u64,
    /// The newest number when the rules were learned. The answer to a read that had begun by then may
    /// be older.
    learned_at: u64,
    /// Publications with lower numbers have bypassed no history, or it has been reported.
    checked_before: u64,
    /// By the server's clock, in milliseconds: publications that it ran later may have bypassed
    /// histories. `None`: none has, or it has been reported.
    unsettled_from: Option<u64>,
}

/// A report of bypassed histories to one master.
pub struct BypassedReport {
    pub bypassed: BypassedHistory,
    /// The lowest number of the publications in it.
    since: u64,
}

impl MasterRules {
    /// Records that publications may have bypassed histories.
    fn unsettle(&mut self, from: u64) {
        self.unsettled_from = Some(self.unsettled_from.map_or(from, |other| other.min(from)));
    }

    /// Takes over the fleet's rules. `Some`: they have changed.
    fn learn(&mut self, read: RulesRead, found: &Found) -> Option<PendingRules> {
        let change = pending_change(self.fleet.as_ref(), found);
        match (&self.fleet, &found.fleet) {
            (Some(known), Some(fleet)) if known.takes_effect_as(fleet) => {}
            (Some(known), Some(fleet)) if fleet.continues(known) => self.unsettle(fleet.from),
            (_, Some(_)) => self.unsettle(0),
            (_, None) => {}
        }
        // The server ran everything that was answered before this read while rules were in force that
        // the node knew.
        if self.unsettled_from.is_none_or(|from| found.started_at < from) {
            self.checked_before = self.checked_before.max(read.unanswered_since);
        }
        self.fleet.clone_from(&found.fleet);
        self.now = found.now;
        change
    }

    /// The rules in force when they were read, and those that replace them.
    fn lists(&self) -> impl Iterator<Item = RuleList> {
        let fleet = self.fleet.as_ref();
        let before = fleet.and_then(|fleet| fleet.rules_before(self.now)).map(|(rules, _)| rules);
        before.into_iter().chain(fleet.map(LibraryFleet::rules))
    }
}

impl Routing {
    /// Whether rules in Redis keep the channel's history, or are about to, and `own` rules do not.
    pub fn appends_besides(&self, own: &Arc<RuleTable>, channel: &str) -> bool {
        let lists = self.lists.get();
        let is_compared = lists.own.as_ref().is_some_and(|it| Arc::ptr_eq(it, own));
        any_keeps(if is_compared { &lists.others } else { &lists.all }, channel)
    }

    /// Whether rules in Redis keep the channel's history, or are about to.
    pub fn appends(&self, channel: &str) -> bool {
        any_keeps(&self.lists.get().all, channel)
    }

    /// Whether any master's rules have been read.
    pub fn is_known(&self) -> bool {
        !self.masters().is_empty()
    }

    /// Records a master's rules. From here on publications follow them, and those of `own` that they
    /// replace or are replaced by. `Some`: they have changed.
    pub fn learn(
        &self,
        lane: u32,
        read: RulesRead,
        found: &Found,
        own: Option<Arc<RuleTable>>,
    ) -> Option<PendingRules> {
        let mut masters = self.masters();
        let is_new = !masters.contains_key(&lane);
        let master = masters.entry(lane).or_default();
        if read.number <= master.learned_at && master.fleet != found.fleet {
            // It is not known which of the two reads is newer, so they are read again.
            master.unsettle(u64::MAX);
            return None;
        }
        let change = master.learn(read, found);
        master.learned_at = self.plain_publishes.newest();
        self.lists.replace(RoutingLists::new(&masters, own));
        change.filter(|_| !is_new)
    }

    /// Forgets masters other than these.
    pub fn forget_others(&self, lanes: &[u32]) {
        self.masters().retain(|lane, _| lanes.contains(lane));
    }

    pub fn is_settled(&self, lane: u32) -> bool {
        self.masters().get(&lane).is_none_or(|master| master.unsettled_from.is_none())
    }

    /// Takes the histories that this node may have bypassed on this master, to report them there.
    pub fn begin_report(&self, lane: u32) -> BypassedReport {
        let mut masters = self.masters();
        let (from, since) = match masters.get_mut(&lane) {
            Some(master) => (master.unsettled_from.take(), master.checked_before),
            None => (None, 0),
        };
        let bypassed = self.plain_publishes.bypassed_since(since, from.unwrap_or(u64::MAX));
        BypassedReport { bypassed, since }
    }

    /// Records whether the report arrived at the master. `before`: publications with lower numbers
    /// were in it.
    pub fn end_report(&self, lane: u32, report: &BypassedReport, has_arrived: bool, before: u64) {
        let mut masters = self.masters();
        let Some(master) = masters.get_mut(&lane) else { return };
        if has_arrived {
            master.checked_before = master.checked_before.max(before);
        } else {
            master.unsettle(report.bypassed.from);
            master.checked_before = report.since;
        }
    }

    /// The fleet of each master, where it is known.
    pub fn fleets(&self) -> Vec<LibraryFleet> {
        self.masters().values().filter_map(|master| master.fleet.clone()).collect()
    }

    fn masters(&self) -> MutexGuard<'_, HashMap<u32, MasterRules>> {
        self.masters.lock().expect("no code panics while it holds the lock")
    }
}

impl RoutingLists {
    fn new(masters: &HashMap<u32, MasterRules>, own: Option<Arc<RuleTable>>) -> Self {
        let mut all: Vec<RuleList> = Vec::new();
        for list in masters.values().flat_map(MasterRules::lists) {
            if !all.iter().any(|it| it.has_same_history(&list)) {
                all.push(list);
            }
        }
        let own_list = own.as_ref().map(|own| rule_list(own));
        let is_other =
            |list: &&RuleList| !own_list.as_ref().is_some_and(|own| list.has_same_history(own));
        let others = all.iter().filter(is_other).cloned().collect();
        Self { all, others, own }
    }
}

fn any_keeps(lists: &[RuleList], channel: &str) -> bool {
    lists.iter().any(|list| list.kept_since(channel).is_some())
}

/// The change between known and found rules. `None`: nothing changed, or nothing that affects
/// histories.
fn pending_change(known: Option<&LibraryFleet>, found: &Found) -> Option<PendingRules> {
    let fleet = found.fleet.as_ref()?;
    if known == Some(fleet) {
        return None;
    }
    let after = fleet.rules();
    let (before, delay_millis) = match (known, fleet.rules_before(found.now)) {
        (_, Some((before, left))) => (before, left),
        (Some(known), None) => (known.rules(), 0),
        (None, None) => (after.clone(), 0),
    };
    Some(PendingRules { before, after, own: RuleList::default(), delay_millis })
}

#[cfg(test)]
mod tests;
