//! What the functions are told of one fleet.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rule_starts::{RuleStarts, kept_since};
use crate::broker::redis::rules::bypassed_history::BypassedHistory;
use crate::broker::redis::rules::rule_list::RuleList;
use crate::rules::Rules;

/// Longest time an idempotency key or an entry is kept, as Redis takes it, in milliseconds.
const MILLIS_MAX: u128 = 1 << 48;

/// How long after they were installed other rules take effect: as long as it takes all nodes to hear of
/// them and to append where they are to. The functions believe no time that is further away.
pub const SETTLE_MILLIS: u64 = 1000;
pub const SETTLE_MILLIS_MAX: u64 = 2 * SETTLE_MILLIS;

/// One fleet, as it stands in the text of the library.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct LibraryFleet {
    /// The command that publishes: `PUBLISH`, or `SPUBLISH` on a cluster.
    pub publish: String,
    /// How long an idempotency key is remembered, in milliseconds.
    pub window: u64,
    /// Lua pattern of the channel's name, entries to keep (0: none), and their age in milliseconds.
    pub rules: Vec<(String, u32, u64)>,
    /// Since when each of the rules has kept history without interruption, in milliseconds. Before
    /// version 3 nobody noted it: then since ever.
    #[serde(default)]
    pub kept_since: Vec<u64>,
    /// When the node started that brought them, in milliseconds: of two nodes with other rules, as
    /// while a fleet is given new ones, the later one's count.
    pub since: u64,
    /// The database of the node that brought them: pub/sub and functions belong to the whole server.
    #[serde(default)]
    pub database: i64,
    /// The node that brought them, and its host.
    #[serde(default)]
    pub installed_by: String,
    /// From when on the rules hold, in milliseconds of the server's clock; until then, those of `before`.
    #[serde(default)]
    pub from: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<RuleStarts>,
}

impl LibraryFleet {
    pub fn says_the_same(&self, other: &Self) -> bool {
        let of = |it: &Self| (it.publish.clone(), it.window, it.rules.clone(), it.database);
        of(self) == of(other)
    }

    /// The rules, whether they hold already or not.
    pub fn rules(&self) -> RuleList {
        RuleList::new(&self.rules, &self.kept_since)
    }

    /// The rules that hold until those of [`LibraryFleet::rules`] do, and for how long, in milliseconds. None:
    /// those do.
    pub fn rules_before(&self, now: u64) -> Option<(RuleList, u64)> {
        let before = self.before.as_ref()?;
        let left = self.from.saturating_sub(now);
        let rules = || RuleList::new(&before.rules, &before.kept_since);
        // The server of another clock may have said it.
        (1..=SETTLE_MILLIS_MAX).contains(&left).then(|| (rules(), left))
    }

    /// The node that brought them, and its host.
    pub fn installed_by(&self) -> &str {
        &self.installed_by
    }

    /// Tells rules of one node from those of another: the same for the same, on every host and in every
    /// version.
    pub fn hash(&self) -> u64 {
        let Self { publish, window, rules, database, .. } = self;
        let text = serde_json::to_vec(&(publish, window, rules, database));
        // FNV-1a.
        text.expect("texts and numbers are always JSON")
            .into_iter()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
            })
    }

    /// What is to be installed where `theirs` is.
    pub fn after(&self, theirs: &Self, now: u64) -> Self {
        if theirs.since >= self.since || theirs.says_the_same(self) {
            return theirs.clone();
        }
        let before = match theirs.before.as_ref().filter(|_| theirs.rules_before(now).is_some()) {
            Some(before) => before.clone(),
            None => {
                RuleStarts { rules: theirs.rules.clone(), kept_since: theirs.kept_since.clone() }
            }
        };
        let from = now.saturating_add(SETTLE_MILLIS);
        let kept_since = kept_since(&before, &self.rules, from);
        Self { kept_since, from, before: Some(before), ..self.clone() }
    }

    /// History was interrupted until then for some channels, as far as rules that hold keep it.
    pub fn interrupt(&mut self, past: &BypassedHistory, until: u64) {
        if past.is_empty() || self.rules_before(until).is_some() {
            return;
        }
        let rules = self.rules();
        self.kept_since.resize(self.rules.len(), 0);
        for (at, kept_since) in self.kept_since.iter_mut().enumerate() {
            if *kept_since < until && past.concerns(&rules, at) {
                *kept_since = until;
            }
        }
    }
}

/// Rules as Redis would have them.
pub fn list_of(rules: &Rules) -> RuleList {
    RuleList::new(&rules_of(rules), &[])
}

/// Rules as the functions are told them, as in [`LibraryFleet`].
pub fn rules_of(rules: &Rules) -> Vec<(String, u32, u64)> {
    let rules = rules.current();
    let rules = rules.iter().map(|rule| match rule.policy.history {
        Some(kept) => (rule.pattern.lua(), kept.size, millis(kept.age)),
        None => (rule.pattern.lua(), 0, 0),
    });
    rules.collect()
}

pub fn millis(duration: Duration) -> u64 {
    duration.as_millis().min(MILLIS_MAX) as u64
}
