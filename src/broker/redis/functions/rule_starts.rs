//! Since when each rule has kept history without interruption, derived from the rules before it.

use serde::{Deserialize, Serialize};

/// Rules, and since when each has kept history.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct RuleStarts {
    pub rules: Vec<(String, u32, u64)>,
    /// In milliseconds. Versions before 3 did not record it; 0 then means always.
    #[serde(default)]
    pub kept_since: Vec<u64>,
    /// The lease of each rule's runs, in milliseconds; empty if no rule has runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leases: Vec<u64>,
    /// Whether each rule's channels may be streams; empty if those of no rule may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<bool>,
    /// Whether clients may subscribe to patterns of each rule's channels; as [`LibraryFleet::patterns`](super::fleet::LibraryFleet).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patterns: Vec<bool>,
}

impl RuleStarts {
    /// Since when the rule at this index has kept history.
    fn kept_since(&self, at: usize) -> u64 {
        self.kept_since.get(at).copied().unwrap_or(0)
    }
}

/// Since when the channels of each rule have had history, if `before` applied until `now`. A
/// channel uses the first rule that matches, so several old rules may have applied to the channels
/// of one new rule.
pub fn kept_since(before: &RuleStarts, rules: &[(String, u32, u64)], now: u64) -> Vec<u64> {
    let of_rule = |(at, (pattern, size, _)): (usize, &(String, u32, u64))| {
        if *size == 0 {
            return 0;
        }
        // Later rules than this one applied to none of the channels.
        let Some(all) = before.rules.iter().position(|(other, ..)| covers(other, pattern)) else {
            return now;
        };
        let since = |at: usize| if before.rules[at].1 == 0 { now } else { before.kept_since(at) };
        let is_about = |other: &str| {
            !are_apart(other, pattern)
                && !rules[..at].iter().any(|(earlier, ..)| covers(earlier, other))
        };
        let later = (0..all).filter(|&before_it| since(before_it) > since(all));
        let later = later.filter(|&before_it| is_about(&before.rules[before_it].0));
        later.map(since).fold(since(all), u64::max)
    };
    rules.iter().enumerate().map(of_rule).collect()
}

/// The end of a Lua pattern that matches any rest.
const REST: &str = "[^ ]*$";

/// Whether `pattern` certainly matches everything that `other` matches. Both are Lua patterns.
fn covers(pattern: &str, other: &str) -> bool {
    let start = pattern.strip_suffix(REST).filter(|start| *start == literal(pattern));
    pattern == other || start.is_some_and(|start| literal(other).starts_with(start))
}

/// Whether certainly no text matches both.
fn are_apart(one: &str, other: &str) -> bool {
    let (one, other) = (literal(one), literal(other));
    !one.starts_with(other) && !other.starts_with(one)
}

/// The beginning of a Lua pattern, up to its first wildcard.
fn literal(pattern: &str) -> &str {
    let mut escaped = false;
    let end = pattern.find(|character| {
        let is_wildcard = character == '[' && !escaped;
        escaped = character == '%' && !escaped;
        is_wildcard
    });
    &pattern[..end.unwrap_or(pattern.len())]
}
