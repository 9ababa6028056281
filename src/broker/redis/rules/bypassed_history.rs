//! The channels that this node published to with a plain `PUBLISH`, in case other nodes already
//! kept their history.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::rule_list::RuleList;
use crate::publication::Channel;

/// Maximum number of remembered channels. With more, all channels count.
const PLAIN_CHANNELS_MAX: usize = 10_000;

/// How long they are remembered at least: longer than a publication takes.
const PLAIN_AGE_MIN: Duration = Duration::from_secs(10);

/// Channels whose history this node's publications bypassed, while other nodes kept it already.
#[derive(Clone, Debug, Default)]
pub struct BypassedHistory {
    channels: HashSet<Channel>,
    /// There were more channels.
    all: bool,
}

impl BypassedHistory {
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty() && !self.all
    }

    /// Whether the rule at this index keeps the history of any of the channels.
    pub fn affects(&self, rules: &RuleList, at: usize) -> bool {
        rules.keeps_history(at)
            && (self.all || self.channels.iter().any(|it| rules.find(it.as_str()) == Some(at)))
    }

    #[cfg(test)]
    pub fn on(channels: &[&str]) -> Self {
        let channels = channels.iter().map(|name| Channel::new(name).unwrap()).collect();
        Self { channels, all: false }
    }
}

/// The channels of recent plain publications.
#[derive(Default)]
pub struct PlainPublishes(Mutex<PlainGenerations>);

#[derive(Default)]
struct PlainGenerations {
    recent: BypassedHistory,
    older: BypassedHistory,
    rotated_at: Option<Instant>,
}

impl PlainPublishes {
    /// Records a plain publication of the channel.
    pub fn published(&self, channel: &Channel) {
        let recent = &mut self.channels().recent;
        if !recent.channels.contains(channel) {
            match recent.channels.len() < PLAIN_CHANNELS_MAX {
                true => _ = recent.channels.insert(channel.clone()),
                false => recent.all = true,
            }
        }
    }

    /// All masters were checked and none had changed rules, so older publications bypassed no
    /// history.
    pub fn rules_unchanged(&self) {
        let mut channels = self.channels();
        let now = Instant::now();
        if channels.rotated_at.is_none_or(|at| at + PLAIN_AGE_MIN <= now) {
            channels.older = std::mem::take(&mut channels.recent);
            channels.rotated_at = Some(now);
        }
    }

    /// The channels of recent plain publications.
    pub fn bypassed(&self) -> BypassedHistory {
        let channels = self.channels();
        let mut bypassed = channels.older.clone();
        bypassed.channels.extend(channels.recent.channels.iter().cloned());
        bypassed.all |= channels.recent.all;
        bypassed
    }

    fn channels(&self) -> MutexGuard<'_, PlainGenerations> {
        self.0.lock().expect("no code panics while it holds the lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Pattern;

    fn list(pattern: &str, size: u32) -> RuleList {
        RuleList::new(&[(Pattern::parse(pattern).unwrap().lua(), size, 1000)], &[7])
    }

    #[test]
    fn a_bypassed_history_is_remembered_while_its_publication_may_be_on_its_way() {
        let publishes = PlainPublishes::default();
        publishes.published(&Channel::new("h:1").unwrap());
        let bypassed = publishes.bypassed();
        assert!(bypassed.affects(&list("h:*", 5), 0));
        assert!(!bypassed.affects(&list("h:*", 0), 0), "a rule that keeps no history");
        assert!(!bypassed.affects(&list("k", 5), 0));
        for _ in 0..2 {
            publishes.rules_unchanged();
        }
        assert!(!publishes.bypassed().is_empty(), "its publication may still be on its way");
    }

    #[test]
    fn beyond_the_maximum_of_remembered_channels_all_channels_count() {
        let publishes = PlainPublishes::default();
        for number in 0..=PLAIN_CHANNELS_MAX {
            publishes.published(&Channel::new(&format!("c:{number}")).unwrap());
        }
        assert!(publishes.bypassed().affects(&list("h:*", 5), 0));
    }
}
