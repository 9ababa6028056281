//! Rules as Redis has them.

use crate::rules::Pattern;

/// The rules in the order in which they are tried.
#[derive(Clone, Debug, Default)]
pub struct RuleList(Vec<ListedRule>);

#[derive(Clone, Debug)]
struct ListedRule {
    lua: String,
    /// `None`: no node wrote the pattern, so it may match every channel.
    pattern: Option<Pattern>,
    /// Since when it has kept history, in milliseconds. `None`: it keeps none.
    kept_since: Option<u64>,
}

impl RuleList {
    /// `rules`: Lua patterns, with the number of entries to keep and their age.
    pub fn new(rules: &[(String, u32, u64)], kept_since: &[u64]) -> Self {
        let rule = |(at, (lua, size, _)): (usize, &(String, u32, u64))| ListedRule {
            lua: lua.clone(),
            pattern: Pattern::from_lua(lua),
            kept_since: (*size > 0).then(|| kept_since.get(at).copied().unwrap_or(0)),
        };
        Self(rules.iter().enumerate().map(rule).collect())
    }

    /// The index of the first rule that matches.
    pub fn find(&self, channel: &str) -> Option<usize> {
        let matches = |rule: &ListedRule| {
            rule.pattern.as_ref().is_none_or(|pattern| pattern.matches(channel))
        };
        self.0.iter().position(matches)
    }

    /// Since when the channel's history has been kept without interruption. `None`: it is not kept.
    pub fn kept_since(&self, channel: &str) -> Option<u64> {
        self.find(channel).and_then(|at| self.0[at].kept_since)
    }

    /// Whether both keep history for the same patterns, regardless of since when.
    pub fn has_same_history(&self, other: &Self) -> bool {
        let of = |rule: &ListedRule| (rule.lua.clone(), rule.kept_since.is_some());
        self.0.iter().map(of).eq(other.0.iter().map(of))
    }

    /// Whether the rule at this index keeps history.
    pub fn keeps_history(&self, at: usize) -> bool {
        self.0.get(at).is_some_and(|rule| rule.kept_since.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_that_no_node_wrote_may_match_every_channel() {
        let strange = RuleList::new(&[("^[a-z]+$".to_owned(), 5, 1000)], &[7]);
        assert_eq!(strange.kept_since("anything"), Some(7));
        let rule = (Pattern::parse("h:*").unwrap().lua(), 5, 1000);
        assert_eq!(RuleList::new(&[rule], &[7]).kept_since("k"), None);
    }
}
