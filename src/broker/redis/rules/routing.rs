//! Which publications are appended to a history: those of channels whose history is kept by the rules
//! of this node, or by rules that hold in Redis or are about to.
//!
//! Appending is right whatever the rules are by the time Redis does it, since the function decides by
//! those that hold then. A plain `PUBLISH` is not: so what goes out that way is noted, in case it turns
//! out to have gone past a history.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use super::bypassed_history::PlainPublishes;
use super::rule_changes::PendingRules;
use super::rule_list::RuleList;
use crate::broker::redis::functions::fleet::LibraryFleet;
use crate::broker::redis::functions::library::Found;
use crate::live::Live;

/// The rules that are found in Redis, and what went past them.
#[derive(Default)]
pub struct Routing {
    /// Those by which histories are kept, or are about to be.
    lists: Live<Vec<RuleList>>,
    masters: Mutex<HashMap<u32, MasterRules>>,
    /// What goes out by none of them.
    pub plain: PlainPublishes,
}

/// What is known of one master, by the number of its lane.
struct MasterRules {
    fleet: Option<LibraryFleet>,
    /// What went past its histories has been looked for since it was found to have other rules.
    is_settled: bool,
}

impl Routing {
    /// Do rules in Redis keep the channel's history, or are about to?
    pub fn appends(&self, channel: &str) -> bool {
        self.lists.get().iter().any(|list| list.kept_since(channel).is_some())
    }

    /// Has any master been looked at?
    pub fn is_known(&self) -> bool {
        !self.masters().is_empty()
    }

    /// Takes up what a master has. From here on publications go by it, and by `own` rules that are
    /// about to hold. Some: it has changed.
    pub fn learn(&self, lane: u32, found: &Found, own: &RuleList) -> Option<PendingRules> {
        let mut masters = self.masters();
        let known = masters.get(&lane).and_then(|master| master.fleet.clone());
        let is_new = !masters.contains_key(&lane);
        let turn = turn(known.as_ref(), found);
        let is_settled = match masters.get(&lane) {
            Some(master) => master.is_settled && turn.is_none(),
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
            if !list.keeps_the_same(own) && !lists.iter().any(|it| it.keeps_the_same(&list)) {
                lists.push(list);
            }
        }
        self.lists.replace(lists);
        turn.filter(|_| !is_new)
    }

    /// Forgets masters that are no more.
    pub fn forget_others(&self, lanes: &[u32]) {
        self.masters().retain(|lane, _| lanes.contains(lane));
    }

    pub fn is_settled(&self, lane: u32) -> bool {
        self.masters().get(&lane).is_none_or(|master| master.is_settled)
    }

    /// What went past this master's histories has been told there.
    pub fn settle(&self, lane: u32) {
        if let Some(master) = self.masters().get_mut(&lane) {
            master.is_settled = true;
        }
    }

    /// What each master has, where it is known.
    pub fn fleets(&self) -> Vec<LibraryFleet> {
        self.masters().values().filter_map(|master| master.fleet.clone()).collect()
    }

    fn masters(&self) -> MutexGuard<'_, HashMap<u32, MasterRules>> {
        self.masters.lock().expect("no code panics while it holds the lock")
    }
}

/// What is new of what was found. None: nothing, or nothing that histories go by.
fn turn(known: Option<&LibraryFleet>, found: &Found) -> Option<PendingRules> {
    let fleet = found.fleet.as_ref()?;
    if known == Some(fleet) {
        return None;
    }
    let after = fleet.rules();
    match (known, fleet.rules_before(found.now)) {
        (_, Some((before, left))) => Some(PendingRules { before, after, left }),
        (Some(known), None) => Some(PendingRules { before: known.rules(), after, left: 0 }),
        (None, None) => Some(PendingRules { before: after.clone(), after, left: 0 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_master_that_was_looked_at_is_known_and_settled_where_it_has_no_rules() {
        let routing = Routing::default();
        assert!(!routing.is_known() && !routing.appends("h:1"));
        assert!(routing.learn(1, &Found::default(), &RuleList::default()).is_none());
        assert!(routing.is_known() && routing.is_settled(1) && !routing.appends("h:1"));
    }
}
