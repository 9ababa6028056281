//! A fleet's entry in the function library.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rule_starts::{RuleStarts, kept_since};
use crate::broker::redis::pubsub::PubSub;
use crate::broker::redis::rules::bypassed_history::BypassedHistory;
use crate::broker::redis::rules::rule_list::RuleList;
use crate::rules::RuleTable;

/// Maximum lifetime of an idempotency key or an entry that Redis accepts, in milliseconds.
const MILLIS_MAX: u128 = 1 << 48;

/// How long after their installation changed rules take effect: long enough for all nodes to notice
/// them and to append where required. The functions ignore a time that is further away.
pub const SETTLE_MILLIS: u64 = 1000;
pub const SETTLE_MILLIS_MAX: u64 = 2 * SETTLE_MILLIS;

/// One fleet, as serialized in the text of the library.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct LibraryFleet {
    /// The command that publishes: `PUBLISH`, or `SPUBLISH` on a cluster.
    pub publish: String,
    /// How long an idempotency key is remembered, in milliseconds.
    pub window: u64,
    /// Lua pattern of the channel's name, entries to keep (0: none), and their age in milliseconds.
    pub rules: Vec<(String, u32, u64)>,
    /// Since when each rule has kept history without interruption, in milliseconds. Versions before
    /// 3 did not record it; 0 then means always.
    #[serde(default)]
    pub kept_since: Vec<u64>,
    /// The lease of each rule's runs (0: it has none), in milliseconds. Empty if no rule has runs. Beside the
    /// rules, because versions before 9 read no more than three parts of a rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leases: Vec<u64>,
    /// Whether each rule's channels may be durable streams. Empty if those of no rule may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<bool>,
    /// Whether clients may subscribe to patterns of each rule's channels. Empty if they may for no rule, and where Redis
    /// has patterns itself: without a cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patterns: Vec<bool>,
    /// When the node that installed the rules started, in milliseconds. If two nodes have different
    /// rules, as during a rollout, the rules of the node that started last apply.
    pub since: u64,
    /// The database of the node that installed the rules: pub/sub and functions belong to the whole
    /// server.
    #[serde(default)]
    pub database: i64,
    /// The node that installed the rules, and its host.
    #[serde(default)]
    pub installed_by: String,
    /// When the rules take effect, in milliseconds of the server's clock; until then the rules of
    /// `before` apply.
    #[serde(default)]
    pub from: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<RuleStarts>,
}

impl LibraryFleet {
    pub fn has_same_rules(&self, other: &Self) -> bool {
        let of = |it: &Self| {
            let runs = (it.leases.clone(), it.streams.clone(), it.patterns.clone());
            (it.publish.clone(), it.window, it.rules.clone(), it.database, runs)
        };
        of(self) == of(other)
    }

    /// The rules, whether they apply already or not.
    pub fn rules(&self) -> RuleList {
        RuleList::new(&self.rules, &self.kept_since)
    }

    /// The rules that apply until those of [`LibraryFleet::rules`] do, and for how long, in
    /// milliseconds. `None`: those of [`LibraryFleet::rules`] apply.
    pub fn rules_before(&self, now: u64) -> Option<(RuleList, u64)> {
        let before = self.before.as_ref()?;
        let left = self.from.saturating_sub(now);
        let rules = || RuleList::new(&before.rules, &before.kept_since);
        // The time may come from a server with another clock.
        (1..=SETTLE_MILLIS_MAX).contains(&left).then(|| (rules(), left))
    }

    /// The node that installed the rules, and its host.
    pub fn installed_by(&self) -> &str {
        &self.installed_by
    }

    /// Distinguishes rules: equal rules have equal hashes on every host and in every version.
    pub fn hash(&self) -> u64 {
        let Self { publish, window, rules, database, leases, streams, patterns, .. } = self;
        let text = match (leases.is_empty(), streams.is_empty()) {
            _ if !patterns.is_empty() => serde_json::to_vec(&(
                (publish, window, rules, database),
                (leases, streams, patterns),
            )),
            (true, true) => serde_json::to_vec(&(publish, window, rules, database)),
            (_, true) => serde_json::to_vec(&(publish, window, rules, database, leases)),
            _ => serde_json::to_vec(&(publish, window, rules, database, leases, streams)),
        };
        // FNV-1a.
        text.expect("texts and numbers are always JSON")
            .into_iter()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
            })
    }

    /// The entry that replaces the installed one, `theirs`.
    pub fn replacing(&self, theirs: &Self, now: u64) -> Self {
        if theirs.since >= self.since || theirs.has_same_rules(self) {
            return theirs.clone();
        }
        let before = match theirs.before.as_ref().filter(|_| theirs.rules_before(now).is_some()) {
            Some(before) => before.clone(),
            None => RuleStarts {
                rules: theirs.rules.clone(),
                kept_since: theirs.kept_since.clone(),
                leases: theirs.leases.clone(),
                streams: theirs.streams.clone(),
                patterns: theirs.patterns.clone(),
            },
        };
        let from = now.saturating_add(SETTLE_MILLIS);
        let kept_since = kept_since(&before, &self.rules, from);
        Self { kept_since, from, before: Some(before), ..self.clone() }
    }

    /// Records that the history of some channels was interrupted until then, for all rules that
    /// keep it. Those that replace the rules in force may continue the same history.
    pub fn interrupt(&mut self, bypassed: &BypassedHistory, until: u64) {
        if bypassed.is_empty() || until < bypassed.from {
            return;
        }
        let is_pending = self.rules_before(until).is_some();
        raise(&self.rules, &mut self.kept_since, bypassed, until);
        if let Some(before) = self.before.as_mut().filter(|_| is_pending) {
            raise(&before.rules, &mut before.kept_since, bypassed, until);
        }
    }

    /// Whether the rules, and when they take effect, are those of the other, regardless of the node that installed them
    /// and regardless of which histories have begun again since.
    pub fn takes_effect_as(&self, other: &Self) -> bool {
        let before = |it: &Self| it.before.as_ref().map(|before| before.rules.clone());
        self.rules == other.rules && self.from == other.from && before(self) == before(other)
    }

    /// Whether the rules that apply until those of [`LibraryFleet::rules`] do are known to a node
    /// that last read `known`.
    pub fn continues(&self, known: &Self) -> bool {
        let starts = |before: &RuleStarts| (before.rules.clone(), before.kept_since.clone());
        let in_force = (known.rules.clone(), known.kept_since.clone());
        let is_known = |before: &RuleStarts| {
            starts(before) == in_force || known.before.as_ref().map(starts) == Some(starts(before))
        };
        self.before.as_ref().is_some_and(is_known)
    }
}

/// Raises the time since when the rules have kept the history of bypassed channels.
fn raise(
    rules: &[(String, u32, u64)],
    kept_since: &mut Vec<u64>,
    bypassed: &BypassedHistory,
    until: u64,
) {
    let list = RuleList::new(rules, kept_since);
    kept_since.resize(rules.len(), 0);
    for (at, since) in kept_since.iter_mut().enumerate() {
        if *since < until && bypassed.affects(&list, at) {
            *since = until;
        }
    }
}

/// Rules in the form that Redis has.
pub fn rule_list(rules: &RuleTable) -> RuleList {
    RuleList::new(&lua_rules(rules), &[])
}

/// Rules in the form of [`LibraryFleet::rules`].
pub fn lua_rules(rules: &RuleTable) -> Vec<(String, u32, u64)> {
    let rules = rules.iter().map(|rule| match rule.policy.history {
        Some(kept) => (rule.pattern.lua(), kept.size, millis(kept.age)),
        None => (rule.pattern.lua(), 0, 0),
    });
    rules.collect()
}

/// The leases in the form of [`LibraryFleet::leases`].
pub fn lua_leases(rules: &RuleTable) -> Vec<u64> {
    let leases = rules.iter().map(|rule| rule.policy.run.map_or(0, |run| millis(run.lease)));
    let leases: Vec<u64> = leases.collect();
    if leases.iter().all(|lease| *lease == 0) { Vec::new() } else { leases }
}

/// Whether the rules' channels may be streams, in the form of [`LibraryFleet::streams`].
pub fn lua_streams(rules: &RuleTable) -> Vec<bool> {
    let streams: Vec<bool> = rules.iter().map(|rule| rule.policy.streams).collect();
    if streams.contains(&true) { streams } else { Vec::new() }
}

/// Whether the rules have patterns, in the form of [`LibraryFleet::patterns`]. `publish`: the command that publishes.
pub fn lua_patterns(rules: &RuleTable, publish: &str) -> Vec<bool> {
    let patterns: Vec<bool> = rules.iter().map(|rule| rule.policy.patterns).collect();
    let is_needed = publish == PubSub::Sharded.publish() && patterns.contains(&true);
    if is_needed { patterns } else { Vec::new() }
}

pub fn millis(duration: Duration) -> u64 {
    duration.as_millis().min(MILLIS_MAX) as u64
}
