//! What this node publishes plainly, in case it turns out to have gone past a history.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::rule_list::RuleList;
use crate::publication::Channel;

/// Most channels that are remembered to have been published on plainly. With more, all count.
const PLAIN_CHANNELS_MAX: usize = 10_000;

/// How long they are remembered at least: longer than a publication is under way.
const PLAIN_AGE_MIN: Duration = Duration::from_secs(10);

/// Channels that this node has published on past a history that others kept already.
#[derive(Clone, Debug, Default)]
pub struct BypassedHistory {
    channels: HashSet<Channel>,
    /// There were more.
    all: bool,
}

impl BypassedHistory {
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty() && !self.all
    }

    /// Is any of the channels one whose history is kept by the rule at this place?
    pub fn concerns(&self, rules: &RuleList, at: usize) -> bool {
        rules.keeps(at)
            && (self.all || self.channels.iter().any(|it| rules.find(it.as_str()) == Some(at)))
    }

    #[cfg(test)]
    pub fn on(channels: &[&str]) -> Self {
        let channels = channels.iter().map(|name| Channel::new(name).unwrap()).collect();
        Self { channels, all: false }
    }
}

/// The channels that were published on plainly of late.
#[derive(Default)]
pub struct PlainPublishes(Mutex<PlainGenerations>);

#[derive(Default)]
struct PlainGenerations {
    recent: BypassedHistory,
    older: BypassedHistory,
    turned_at: Option<Instant>,
}

impl PlainPublishes {
    /// Notes that a publication of the channel goes out plainly.
    pub fn published(&self, channel: &Channel) {
        let recent = &mut self.channels().recent;
        if !recent.channels.contains(channel) {
            match recent.channels.len() < PLAIN_CHANNELS_MAX {
                true => _ = recent.channels.insert(channel.clone()),
                false => recent.all = true,
            }
        }
    }

    /// Every master was looked at, and none had other rules: what went out a while ago went past none.
    pub fn nothing_has_changed(&self) {
        let mut channels = self.channels();
        let now = Instant::now();
        if channels.turned_at.is_none_or(|at| at + PLAIN_AGE_MIN <= now) {
            channels.older = std::mem::take(&mut channels.recent);
            channels.turned_at = Some(now);
        }
    }

    /// What went out plainly of late.
    pub fn past(&self) -> BypassedHistory {
        let channels = self.channels();
        let mut past = channels.older.clone();
        past.channels.extend(channels.recent.channels.iter().cloned());
        past.all |= channels.recent.all;
        past
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
    fn what_went_past_a_history_is_known_while_it_may_be_under_way() {
        let plain = PlainPublishes::default();
        plain.published(&Channel::new("h:1").unwrap());
        let past = plain.past();
        assert!(past.concerns(&list("h:*", 5), 0));
        assert!(!past.concerns(&list("h:*", 0), 0), "which keeps none");
        assert!(!past.concerns(&list("k", 5), 0));
        for _ in 0..2 {
            plain.nothing_has_changed();
        }
        assert!(!plain.past().is_empty(), "it may still be under way");
    }

    #[test]
    fn with_more_channels_than_are_remembered_all_count() {
        let plain = PlainPublishes::default();
        for number in 0..=PLAIN_CHANNELS_MAX {
            plain.published(&Channel::new(&format!("c:{number}")).unwrap());
        }
        assert!(plain.past().concerns(&list("h:*", 5), 0));
    }
}
