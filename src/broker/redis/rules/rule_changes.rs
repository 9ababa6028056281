//! Pending changes of a master's rules, and when the hub is notified.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::rule_list::RuleList;

/// How long before changed rules take effect publications for the affected channels begin to wait
/// for them.
const LEAD: Duration = Duration::from_millis(200);

/// Maximum number of pending changes of a lane. Beyond it all become due immediately.
const PENDING_MAX: usize = 16;

/// A change of a master's rules.
#[derive(Clone, Debug)]
pub struct PendingRules {
    pub before: RuleList,
    pub after: RuleList,
    /// The node's own rules when it learned of the change. It opens the histories that its own newer
    /// rules start itself.
    pub own: RuleList,
    /// Time until the new rules take effect, in milliseconds.
    pub delay_millis: u64,
}

impl PendingRules {
    /// Whether the channel's history starts, ends, or starts again.
    pub fn affects(&self, channel: &str) -> bool {
        self.before.kept_since(channel) != self.after.kept_since(channel)
    }
}

/// The changes of one master's rules that the hub has not been notified of.
#[derive(Default)]
pub struct RuleChanges(Mutex<Vec<(Instant, PendingRules)>>);

impl RuleChanges {
    pub fn add(&self, change: PendingRules, now: Instant) {
        let mut changes = self.0.lock().expect("no code panics while it holds the lock");
        if changes.len() >= PENDING_MAX {
            changes.iter_mut().for_each(|(due, _)| *due = now);
        }
        let due = now + Duration::from_millis(change.delay_millis).saturating_sub(LEAD);
        changes.push((due, change));
    }

    /// Takes the changes that are due.
    pub fn due(&self, now: Instant) -> Vec<PendingRules> {
        let mut changes = self.0.lock().expect("no code panics while it holds the lock");
        changes.extract_if(.., |(due, _)| *due <= now).map(|(_, change)| change).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Pattern;

    fn list(pattern: &str, size: u32, since: u64) -> RuleList {
        RuleList::new(&[(Pattern::parse(pattern).unwrap().lua(), size, 1000)], &[since])
    }

    #[test]
    fn a_rule_change_is_due_before_its_rules_apply_and_too_many_are_due_immediately() {
        let (changes, now) = (RuleChanges::default(), Instant::now());
        let change = PendingRules {
            before: RuleList::default(),
            after: RuleList::default(),
            own: RuleList::default(),
            delay_millis: 1000,
        };
        changes.add(change.clone(), now);
        assert_eq!(changes.due(now).len(), 0);
        assert_eq!(changes.due(now + Duration::from_millis(800)).len(), 1);
        for _ in 0..=PENDING_MAX {
            changes.add(change.clone(), now);
        }
        assert_eq!(changes.due(now).len(), PENDING_MAX);
    }

    #[test]
    fn a_rule_change_affects_channels_whose_history_starts_ends_or_restarts() {
        let own = RuleList::default();
        let change =
            |before, after| PendingRules { before, after, own: own.clone(), delay_millis: 0 };
        assert!(change(list("h:*", 0, 0), list("h:*", 5, 9)).affects("h:1"));
        assert!(change(list("h:*", 5, 9), list("h:*", 0, 0)).affects("h:1"));
        assert!(change(list("h:*", 5, 9), list("h:*", 5, 10)).affects("h:1"));
        assert!(!change(list("h:*", 5, 9), list("h:*", 50, 9)).affects("h:1"));
        assert!(!change(list("h:*", 5, 9), list("h:*", 0, 0)).affects("k"));
    }
}
