//! Which publications are appended to a history: those of channels whose history is kept by the rules
//! of this node, or by rules that hold in Redis or are about to.
//!
//! Appending is right whatever the rules are by the time Redis does it, since the function decides by
//! those that hold then. A plain `PUBLISH` is not: so what goes out that way is noted, in case it turns
//! out to have gone past a history.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::broker::redis::functions::library::{Fleet, Found};
use crate::live::Live;
use crate::publication::Channel;
use crate::rules::Pattern;

/// Most channels that are remembered to have been published on plainly. With more, all count.
const PLAIN_CHANNELS_MAX: usize = 10_000;

/// How long they are remembered at least: longer than a publication is under way.
const PLAIN_AGE_MIN: Duration = Duration::from_secs(10);

/// Rules as Redis has them.
#[derive(Clone, Debug, Default)]
pub struct RuleList(Vec<ListedRule>);

#[derive(Clone, Debug)]
struct ListedRule {
    lua: String,
    /// None: it was written by something else than a node; every channel may match it.
    pattern: Option<Pattern>,
    /// Since when it has kept history, in milliseconds. None: it keeps none.
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

    /// The place of the first rule that matches.
    fn find(&self, channel: &str) -> Option<usize> {
        let matches = |rule: &ListedRule| {
            rule.pattern.as_ref().is_none_or(|pattern| pattern.matches(channel))
        };
        self.0.iter().position(matches)
    }

    /// Since when the channel's history has been kept without interruption. None: it is not.
    pub fn kept_since(&self, channel: &str) -> Option<u64> {
        self.find(channel).and_then(|at| self.0[at].kept_since)
    }

    /// Do both keep history of the same channels, since whenever?
    fn keeps_the_same(&self, other: &Self) -> bool {
        let of = |rule: &ListedRule| (rule.lua.clone(), rule.kept_since.is_some());
        self.0.iter().map(of).eq(other.0.iter().map(of))
    }
}

/// Channels that this node has published on past a history that others kept already.
#[derive(Clone, Debug, Default)]
pub struct PastHistory {
    channels: HashSet<Channel>,
    /// There were more.
    all: bool,
}

impl PastHistory {
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty() && !self.all
    }

    /// Is any of the channels one whose history is kept by the rule at this place?
    pub fn concerns(&self, rules: &RuleList, at: usize) -> bool {
        let keeps = rules.0.get(at).is_some_and(|rule| rule.kept_since.is_some());
        keeps && (self.all || self.channels.iter().any(|it| rules.find(it.as_str()) == Some(at)))
    }

    #[cfg(test)]
    pub fn on(channels: &[&str]) -> Self {
        let channels = channels.iter().map(|name| Channel::new(name).unwrap()).collect();
        Self { channels, all: false }
    }
}

/// What a master's rules turned from and to, for whoever goes by them.
#[derive(Clone, Debug)]
pub struct Turn {
    pub before: RuleList,
    pub after: RuleList,
    /// Until the new ones hold, in milliseconds.
    pub left: u64,
}

impl Turn {
    /// Does the channel's history begin, end, or begin anew?
    pub fn is_about(&self, channel: &str) -> bool {
        self.before.kept_since(channel) != self.after.kept_since(channel)
    }
}

/// The rules that are found in Redis, and what went past them.
#[derive(Default)]
pub struct Routing {
    /// Those by which histories are kept, or are about to be.
    lists: Live<Vec<RuleList>>,
    masters: Mutex<HashMap<u32, Master>>,
    plain: Mutex<Plain>,
}

/// What is known of one master, by the number of its lane.
struct Master {
    fleet: Option<Fleet>,
    /// What went past its histories has been looked for since it was found to have other rules.
    is_settled: bool,
}

#[derive(Default)]
struct Plain {
    recent: PastHistory,
    older: PastHistory,
    turned_at: Option<Instant>,
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
    pub fn learn(&self, lane: u32, found: &Found, own: &RuleList) -> Option<Turn> {
        let mut masters = self.masters();
        let known = masters.get(&lane).and_then(|master| master.fleet.clone());
        let is_new = !masters.contains_key(&lane);
        let turn = turn(known.as_ref(), found);
        let is_settled = match masters.get(&lane) {
            Some(master) => master.is_settled && turn.is_none(),
            None => found.fleet.is_none(),
        };
        masters.insert(lane, Master { fleet: found.fleet.clone(), is_settled });
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
    pub fn fleets(&self) -> Vec<Fleet> {
        self.masters().values().filter_map(|master| master.fleet.clone()).collect()
    }

    /// Notes that a publication of the channel goes out plainly.
    pub fn published_plainly(&self, channel: &Channel) {
        let recent = &mut self.plain().recent;
        if !recent.channels.contains(channel) {
            match recent.channels.len() < PLAIN_CHANNELS_MAX {
                true => _ = recent.channels.insert(channel.clone()),
                false => recent.all = true,
            }
        }
    }

    /// Every master was looked at, and none had other rules: what went out a while ago went past none.
    pub fn nothing_has_changed(&self) {
        let mut plain = self.plain();
        let now = Instant::now();
        if plain.turned_at.is_none_or(|at| at + PLAIN_AGE_MIN <= now) {
            plain.older = std::mem::take(&mut plain.recent);
            plain.turned_at = Some(now);
        }
    }

    /// What went out plainly of late.
    pub fn past(&self) -> PastHistory {
        let plain = self.plain();
        let mut past = plain.older.clone();
        past.channels.extend(plain.recent.channels.iter().cloned());
        past.all |= plain.recent.all;
        past
    }

    fn masters(&self) -> MutexGuard<'_, HashMap<u32, Master>> {
        self.masters.lock().expect("no code panics while it holds the lock")
    }

    fn plain(&self) -> MutexGuard<'_, Plain> {
        self.plain.lock().expect("no code panics while it holds the lock")
    }
}

/// What is new of what was found. None: nothing, or nothing that histories go by.
fn turn(known: Option<&Fleet>, found: &Found) -> Option<Turn> {
    let fleet = found.fleet.as_ref()?;
    if known == Some(fleet) {
        return None;
    }
    let after = fleet.rules();
    match (known, fleet.rules_before(found.now)) {
        (_, Some((before, left))) => Some(Turn { before, after, left }),
        (Some(known), None) => Some(Turn { before: known.rules(), after, left: 0 }),
        (None, None) => Some(Turn { before: after.clone(), after, left: 0 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(pattern: &str, size: u32, since: u64) -> RuleList {
        RuleList::new(&[(Pattern::parse(pattern).unwrap().lua(), size, 1000)], &[since])
    }

    fn channel(name: &str) -> Channel {
        Channel::new(name).unwrap()
    }

    #[test]
    fn a_rule_that_no_node_wrote_may_be_about_every_channel() {
        let strange = RuleList::new(&[("^[a-z]+$".to_owned(), 5, 1000)], &[7]);
        assert_eq!(strange.kept_since("anything"), Some(7));
        assert_eq!(list("h:*", 5, 7).kept_since("k"), None);
    }

    #[test]
    fn what_is_about_to_be_kept_is_appended_and_what_went_past_it_is_known() {
        let routing = Routing::default();
        assert!(!routing.is_known() && !routing.appends("h:1"));
        let none = RuleList::default();
        let own = Found::default();
        assert!(routing.learn(1, &own, &none).is_none());
        assert!(routing.is_known() && routing.is_settled(1));
        routing.published_plainly(&channel("h:1"));
        let past = routing.past();
        assert!(past.concerns(&list("h:*", 5, 7), 0));
        assert!(!past.concerns(&list("h:*", 0, 7), 0), "which keeps none");
        assert!(!past.concerns(&list("k", 5, 7), 0));
        for _ in 0..2 {
            routing.nothing_has_changed();
        }
        assert!(!routing.past().is_empty(), "it may still be under way");
    }

    #[test]
    fn with_more_channels_than_are_remembered_all_count() {
        let routing = Routing::default();
        for number in 0..=PLAIN_CHANNELS_MAX {
            routing.published_plainly(&channel(&format!("c:{number}")));
        }
        assert!(routing.past().concerns(&list("h:*", 5, 7), 0));
    }

    #[test]
    fn a_turn_is_about_channels_whose_history_begins_ends_or_begins_anew() {
        let turn = |before, after| Turn { before, after, left: 0 };
        assert!(turn(list("h:*", 0, 0), list("h:*", 5, 9)).is_about("h:1"));
        assert!(turn(list("h:*", 5, 9), list("h:*", 0, 0)).is_about("h:1"));
        assert!(turn(list("h:*", 5, 9), list("h:*", 5, 10)).is_about("h:1"));
        assert!(!turn(list("h:*", 5, 9), list("h:*", 50, 9)).is_about("h:1"));
        assert!(!turn(list("h:*", 5, 9), list("h:*", 0, 0)).is_about("k"));
    }
}
