//! Which publications are appended to a history: those of channels whose history is kept by this
//! node's rules, or by rules in Redis that apply or are about to.
//!
//! Appending is always right, because the function decides by the rules that apply when it runs. A
//! plain `PUBLISH` is not, so plain publications are recorded in case they turn out to have
//! bypassed a history.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use super::bypassed_history::PlainPublishes;
use super::rule_changes::PendingRules;
use super::rule_list::RuleList;
use crate::broker::redis::functions::fleet::LibraryFleet;
use crate::broker::redis::functions::library::Found;
use crate::live::Live;

/// The rules found in Redis, and the publications that bypassed them.
#[derive(Default)]
pub struct Routing {
    /// Rules by which histories are kept, or are about to be.
    lists: Live<Vec<RuleList>>,
    masters: Mutex<HashMap<u32, MasterRules>>,
    /// Publications that none of the rules keep.
    pub plain_publishes: PlainPublishes,
}

/// What is known about one master, by the number of its lane.
struct MasterRules {
    fleet: Option<LibraryFleet>,
    /// Since its rules were found to be changed, the histories that this node bypassed have been
    /// reported.
    is_settled: bool,
}

impl Routing {
    /// Whether rules in Redis keep the channel's history, or are about to.
    pub fn appends(&self, channel: &str) -> bool {
        self.lists.get().iter().any(|list| list.kept_since(channel).is_some())
    }

    /// Whether any master's rules have been read.
    pub fn is_known(&self) -> bool {
        !self.masters().is_empty()
    }

    /// Records a master's rules. From here on publications follow them, and `own` rules that are
    /// about to apply. `Some`: they have changed.
    pub fn learn(&self, lane: u32, found: &Found, own: &RuleList) -> Option<PendingRules> {
        let mut masters = self.masters();
        let known = masters.get(&lane).and_then(|master| master.fleet.clone());
        let is_new = !masters.contains_key(&lane);
        let change = pending_change(known.as_ref(), found);
        let is_settled = match masters.get(&lane) {
            Some(master) => master.is_settled && change.is_none(),
            None => found.fleet.is_none(),
        };
        masters.insert(lane, MasterRules { fleet: found.fleet.clone(), is_settled });
        let mut lists: Vec<RuleList> = Vec::new();
        let fleets = masters.values().filter_map(|master| master.fleet.as_ref());
        let all = fleets.flat_map(|fleet| {
            let before = fleet.rules_before(found.now).map(|(rules, _)| rules);
            before.into_iter().chain([fleet.rules()])
        });
        for list in all {
            if !list.has_same_history(own) && !lists.iter().any(|it| it.has_same_history(&list)) {
                lists.push(list);
            }
        }
        self.lists.replace(lists);
        change.filter(|_| !is_new)
    }

    /// Forgets masters other than these.
    pub fn forget_others(&self, lanes: &[u32]) {
        self.masters().retain(|lane, _| lanes.contains(lane));
    }

    pub fn is_settled(&self, lane: u32) -> bool {
        self.masters().get(&lane).is_none_or(|master| master.is_settled)
    }

    /// The histories that this node bypassed have been reported to this master.
    pub fn settle(&self, lane: u32) {
        if let Some(master) = self.masters().get_mut(&lane) {
            master.is_settled = true;
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

/// The change between known and found rules. `None`: nothing changed, or nothing that affects
/// histories.
fn pending_change(known: Option<&LibraryFleet>, found: &Found) -> Option<PendingRules> {
    let fleet = found.fleet.as_ref()?;
    if known == Some(fleet) {
        return None;
    }
    let after = fleet.rules();
    match (known, fleet.rules_before(found.now)) {
        (_, Some((before, left))) => Some(PendingRules { before, after, delay_millis: left }),
        (Some(known), None) => Some(PendingRules { before: known.rules(), after, delay_millis: 0 }),
        (None, None) => Some(PendingRules { before: after.clone(), after, delay_millis: 0 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_master_without_rules_is_known_and_settled_once_read() {
        let routing = Routing::default();
        assert!(!routing.is_known() && !routing.appends("h:1"));
        assert!(routing.learn(1, &Found::default(), &RuleList::default()).is_none());
        assert!(routing.is_known() && routing.is_settled(1) && !routing.appends("h:1"));
    }
}
