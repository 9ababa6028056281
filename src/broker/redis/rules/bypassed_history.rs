//! The channels that this node published to with a plain `PUBLISH`, in case other nodes already
//! kept their history.

use std::collections::{HashMap, HashSet};
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
    /// By the server's clock, in milliseconds: only if it is as late, any history was bypassed.
    pub from: u64,
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
        Self { channels, ..Self::default() }
    }
}

/// The channels of recent plain publications. Reads of the rules and batches of publications are
/// counted together; a channel has the number of the newest one when it was last published to.
#[derive(Default)]
pub struct PlainPublishes(Mutex<PlainGenerations>);

#[derive(Default)]
struct PlainGenerations {
    /// How many reads of the rules and batches have begun.
    begun: u64,
    recent: PlainGeneration,
    older: PlainGeneration,
    rotated_at: Option<Instant>,
}

#[derive(Default)]
struct PlainGeneration {
    channels: HashMap<Channel, u64>,
    /// The number for channels beyond the maximum.
    others: Option<u64>,
}

impl PlainGeneration {
    fn since(&self, number: u64) -> impl Iterator<Item = &Channel> {
        self.channels.iter().filter(move |(_, at)| **at >= number).map(|(channel, _)| channel)
    }
}

impl PlainPublishes {
    /// Records a plain publication of the channel.
    pub fn published(&self, channel: &Channel) {
        let mut generations = self.generations();
        let begun = generations.begun;
        let recent = &mut generations.recent;
        if let Some(at) = recent.channels.get_mut(channel) {
            *at = begun;
        } else if recent.channels.len() < PLAIN_CHANNELS_MAX {
            recent.channels.insert(channel.clone(), begun);
        } else {
            recent.others = Some(begun);
        }
    }

    /// A read of the rules begins, or a batch. Later publications have at least its number, which is
    /// returned.
    pub fn begin(&self) -> u64 {
        let mut generations = self.generations();
        generations.begun += 1;
        generations.begun
    }

    /// The number of the newest one that has begun.
    pub fn newest(&self) -> u64 {
        self.generations().begun
    }

    /// All masters were checked and none had changed rules, so older publications bypassed no
    /// history.
    pub fn rules_unchanged(&self) {
        let mut generations = self.generations();
        let now = Instant::now();
        if generations.rotated_at.is_none_or(|at| at + PLAIN_AGE_MIN <= now) {
            generations.older = std::mem::take(&mut generations.recent);
            generations.rotated_at = Some(now);
        }
    }

    /// The channels of recent plain publications that have at least this number. `from`: as
    /// [`BypassedHistory::from`].
    pub fn bypassed_since(&self, number: u64, from: u64) -> BypassedHistory {
        let generations = self.generations();
        let both = [&generations.older, &generations.recent];
        BypassedHistory {
            channels: both.iter().flat_map(|it| it.since(number)).cloned().collect(),
            all: both.iter().any(|it| it.others.is_some_and(|others| others >= number)),
            from,
        }
    }

    fn generations(&self) -> MutexGuard<'_, PlainGenerations> {
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
        let bypassed = publishes.bypassed_since(0, 0);
        assert!(bypassed.affects(&list("h:*", 5), 0));
        assert!(!bypassed.affects(&list("h:*", 0), 0), "a rule that keeps no history");
        assert!(!bypassed.affects(&list("k", 5), 0));
        for _ in 0..2 {
            publishes.rules_unchanged();
        }
        assert!(
            !publishes.bypassed_since(0, 0).is_empty(),
            "its publication may still be on its way"
        );
    }

    #[test]
    fn beyond_the_maximum_of_remembered_channels_all_channels_count() {
        let publishes = PlainPublishes::default();
        for number in 0..=PLAIN_CHANNELS_MAX {
            publishes.published(&Channel::new(&format!("c:{number}")).unwrap());
        }
        assert!(publishes.bypassed_since(0, 0).affects(&list("h:*", 5), 0));
        let read = publishes.begin();
        assert!(publishes.bypassed_since(read, 0).is_empty());
    }

    #[test]
    fn publications_before_a_read_of_the_rules_are_distinguished_from_later_ones() {
        let publishes = PlainPublishes::default();
        let [before, after] = ["h:1", "k"].map(|name| Channel::new(name).unwrap());
        publishes.published(&before);
        publishes.published(&after);
        let read = publishes.begin();
        publishes.published(&after);
        let since = publishes.bypassed_since(read, 0);
        assert!(!since.affects(&list("h:*", 5), 0) && since.affects(&list("k", 5), 0));
    }
}
