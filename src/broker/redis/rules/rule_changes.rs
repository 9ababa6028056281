//! How a master's rules turn to others, and when the hub is told so.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::rule_list::RuleList;

/// How long before other rules hold the channels that they are about begin to wait for them.
const EARLY: Duration = Duration::from_millis(200);

/// Most turns of a lane that wait for their time. More are told at once.
const TURNS_MAX: usize = 16;

/// What a master's rules turned from and to, for whoever goes by them.
#[derive(Clone, Debug)]
pub struct PendingRules {
    pub before: RuleList,
    pub after: RuleList,
    /// Until the new ones hold, in milliseconds.
    pub left: u64,
}

impl PendingRules {
    /// Does the channel's history begin, end, or begin anew?
    pub fn is_about(&self, channel: &str) -> bool {
        self.before.kept_since(channel) != self.after.kept_since(channel)
    }
}

/// Turns of one master's rules, each until it is to be told to the hub.
#[derive(Default)]
pub struct RuleChanges(Mutex<Vec<(Instant, PendingRules)>>);

impl RuleChanges {
    pub fn add(&self, turn: PendingRules, now: Instant) {
        let mut turns = self.0.lock().expect("no code panics while it holds the lock");
        if turns.len() >= TURNS_MAX {
            turns.iter_mut().for_each(|(due, _)| *due = now);
        }
        let due = now + Duration::from_millis(turn.left).saturating_sub(EARLY);
        turns.push((due, turn));
    }

    /// Takes those whose time has come.
    pub fn due(&self, now: Instant) -> Vec<PendingRules> {
        let mut turns = self.0.lock().expect("no code panics while it holds the lock");
        turns.extract_if(.., |(due, _)| *due <= now).map(|(_, turn)| turn).collect()
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
    fn a_turn_is_told_before_its_rules_hold_and_too_many_at_once() {
        let (turns, now) = (RuleChanges::default(), Instant::now());
        let turn =
            PendingRules { before: RuleList::default(), after: RuleList::default(), left: 1000 };
        turns.add(turn.clone(), now);
        assert_eq!(turns.due(now).len(), 0);
        assert_eq!(turns.due(now + Duration::from_millis(800)).len(), 1);
        for _ in 0..=TURNS_MAX {
            turns.add(turn.clone(), now);
        }
        assert_eq!(turns.due(now).len(), TURNS_MAX);
    }

    #[test]
    fn a_turn_is_about_channels_whose_history_begins_ends_or_begins_anew() {
        let turn = |before, after| PendingRules { before, after, left: 0 };
        assert!(turn(list("h:*", 0, 0), list("h:*", 5, 9)).is_about("h:1"));
        assert!(turn(list("h:*", 5, 9), list("h:*", 0, 0)).is_about("h:1"));
        assert!(turn(list("h:*", 5, 9), list("h:*", 5, 10)).is_about("h:1"));
        assert!(!turn(list("h:*", 5, 9), list("h:*", 50, 9)).is_about("h:1"));
        assert!(!turn(list("h:*", 5, 9), list("h:*", 0, 0)).is_about("k"));
    }
}
