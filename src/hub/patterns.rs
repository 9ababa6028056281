//! Subscriptions to patterns: which sessions of this node get the publications of channels whose names match.
//!
//! What arrives from the broker is matched as it arrives, before any channel's cursor: on one connection Redis delivers
//! each publication once and in order, and after an interruption every pattern gets a gap. So a pattern costs nothing for
//! each channel that it matches. A session that is subscribed to a channel itself gets that channel's publications by that
//! subscription alone.

mod direct_delivery;
mod pattern_session;
mod trie;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use self::direct_delivery::DirectDelivery;
pub use self::pattern_session::PatternSession;
use self::trie::PatternTrie;
use super::subscribers::{Snapshot, Subscriber, Subscribers};
use crate::auth::access::{self, Right};
use crate::publication::{Channel, Position, Publication, SessionId};
use crate::rules::{Pattern, Rules, SubscriptionPattern};

/// The most subscriptions to patterns on one node.
pub const PATTERNS_MAX: usize = 1_000_000;

/// The node has [`PATTERNS_MAX`] subscriptions to patterns.
#[derive(Debug, thiserror::Error)]
#[error("this node already has {PATTERNS_MAX} subscriptions to patterns")]
pub struct TooManyPatterns;

/// The patterns of this node's sessions.
pub struct Patterns {
    rules: Rules,
    /// The subscriptions, also those that the broker has not confirmed yet: 0 lets a delivery skip all of this.
    count: AtomicUsize,
    table: RwLock<PatternTable>,
    /// The patterns of rules whose channels are wanted from the broker, each with its number of subscriptions.
    sources: Mutex<BTreeMap<Box<str>, (Pattern, usize)>>,
    numbers: AtomicU64,
}

#[derive(Default)]
struct PatternTable {
    trie: PatternTrie<Subscribers<PatternSubscriber>>,
    /// By the number of the subscription.
    subscriptions: BTreeMap<u64, (Arc<SubscriptionPattern>, PatternSubscriber)>,
    /// By the number of the session.
    sessions: HashMap<u64, Arc<PatternSession>>,
}

/// A session's subscription to a pattern.
#[derive(Clone)]
pub struct PatternSubscriber {
    pub subscriber: Subscriber,
    pub session: Arc<PatternSession>,
}

/// The subscriptions that match a channel at one moment.
pub struct PatternMatches(Vec<Snapshot<PatternSubscriber>>);

impl Patterns {
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            count: AtomicUsize::new(0),
            table: RwLock::default(),
            sources: Mutex::default(),
            // Beyond those of channels, which count from 1: one queue knows both kinds.
            numbers: AtomicU64::new(1 << 63),
        }
    }

    /// Whether no session has a pattern.
    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// The number of subscriptions.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The subscriptions that match the channel. None: there are none, or its rule has no `patterns`.
    pub fn matching(&self, channel: &str) -> Option<PatternMatches> {
        if self.is_empty() || !self.rules.of(channel).patterns || Channel::is_internal(channel) {
            return None;
        }
        let mut matches = Vec::new();
        let table = self.read();
        table.trie.for_each_match(channel, |subscribers| matches.push(subscribers.snapshot()));
        (!matches.is_empty()).then_some(PatternMatches(matches))
    }

    /// Every subscription with its pattern.
    pub fn all(&self) -> Vec<(u64, Arc<SubscriptionPattern>, Subscriber)> {
        let table = self.read();
        let all = table.subscriptions.iter();
        all.map(|(number, (pattern, it))| (*number, pattern.clone(), it.subscriber.clone()))
            .collect()
    }

    /// Admits one more subscription, which [`Patterns::release`] gives back.
    pub fn admit(&self) -> Result<(), TooManyPatterns> {
        let admit = |count: usize| (count < PATTERNS_MAX).then_some(count + 1);
        let admitted = self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, admit);
        admitted.map(|_| ()).map_err(|_| TooManyPatterns)
    }

    pub fn release(&self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts the sources of one more subscription. Calls `follow` with all that are wanted.
    pub fn add_sources<R>(&self, sources: &[Pattern], follow: impl FnOnce(Vec<Pattern>) -> R) -> R {
        let mut wanted = self.lock_sources();
        for source in sources {
            wanted.entry(source.as_str().into()).or_insert_with(|| (source.clone(), 0)).1 += 1;
        }
        // Under the lock, so that the broker learns of changes in their order.
        follow(wanted.values().map(|(source, _)| source.clone()).collect())
    }

    /// The same for a subscription that has ended. Does not call `follow` if nothing changes.
    pub fn remove_sources(&self, sources: &[Pattern], follow: impl FnOnce(Vec<Pattern>)) {
        let mut wanted = self.lock_sources();
        let before = wanted.len();
        for source in sources {
            if let Some((_, count)) = wanted.get_mut(source.as_str()) {
                *count -= 1;
                if *count == 0 {
                    wanted.remove(source.as_str());
                }
            }
        }
        if wanted.len() < before {
            follow(wanted.values().map(|(source, _)| source.clone()).collect());
        }
    }

    /// Registers a session that is about to have its first pattern.
    pub fn add_session(&self, session: Arc<PatternSession>) {
        self.write().sessions.insert(session.id().number, session);
    }

    pub fn remove_session(&self, id: SessionId) {
        self.write().sessions.remove(&id.number);
    }

    /// Adds a subscription and returns its number. Calls `on_locked` before any publication can be delivered to it.
    pub fn add(
        &self,
        pattern: &Arc<SubscriptionPattern>,
        subscriber: PatternSubscriber,
        on_locked: impl FnOnce(),
    ) -> u64 {
        let mut table = self.write();
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        subscriber.subscriber.outbound.begin_subscription(number);
        on_locked();
        for steps in pattern.alternatives() {
            let subscribers = table.trie.get_or_insert_with(steps, Subscribers::default);
            if subscribers.get(number).is_none() {
                subscribers.add(number, subscriber.clone());
            }
        }
        table.subscriptions.insert(number, (pattern.clone(), subscriber));
        number
    }

    pub fn remove(&self, number: u64) {
        let mut table = self.write();
        let Some((pattern, it)) = table.subscriptions.remove(&number) else { return };
        for steps in pattern.alternatives() {
            let Some(subscribers) = table.trie.get_mut(steps) else { continue };
            subscribers.remove(number);
            if subscribers.len() == 0 {
                table.trie.remove(steps);
            }
        }
        it.subscriber.outbound.end_subscription(number);
    }

    /// A session with patterns may have subscribed to a channel. `starts_after`: it gets what follows this position. None: also
    /// earlier publications. The caller holds the channel's lock.
    pub fn subscribed(
        &self,
        session: SessionId,
        channel: &Channel,
        number: u64,
        starts_after: Option<Position>,
    ) {
        if !self.is_empty()
            && let Some(session) = self.read().sessions.get(&session.number)
        {
            session.subscribed(channel, number, starts_after);
        }
    }

    /// The subscription to the channel has ended. Returns whether a pattern of the session shows the channel from now
    /// on.
    pub fn unsubscribed(&self, session: SessionId, channel: &Channel, number: u64) -> bool {
        if self.is_empty() {
            return false;
        }
        let Some(session) = self.read().sessions.get(&session.number).cloned() else {
            return false;
        };
        session.unsubscribed(channel, number);
        let is_of = |it: &PatternSubscriber| it.session.id() == session.id();
        let matches = self.matching(channel.as_str());
        matches.is_some_and(|matches| {
            matches.0.iter().flat_map(Snapshot::numbered).any(|(_, it)| is_of(it))
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, PatternTable> {
        self.table.read().expect("no code panics while it holds the patterns' lock")
    }

    fn write(&self) -> RwLockWriteGuard<'_, PatternTable> {
        self.table.write().expect("no code panics while it holds the patterns' lock")
    }

    fn lock_sources(&self) -> MutexGuard<'_, BTreeMap<Box<str>, (Pattern, usize)>> {
        self.sources.lock().expect("no code panics while it holds the sources' lock")
    }
}

impl PatternMatches {
    /// Calls `push` with each subscription that gets the publication, once for each session: not for sessions that get it
    /// directly, and only for those that may subscribe to the channel. `push` returns false if the subscription has ended.
    pub fn for_each(
        &self,
        rules: &Rules,
        channel: &str,
        publication: Option<&Publication>,
        direct: &DirectDelivery,
        mut push: impl FnMut(u64, &Subscriber) -> bool,
    ) {
        let table = rules.current();
        let rule = table.find(channel);
        if !table.policy(rule.map(|(_, rule)| rule)).patterns {
            return;
        }
        let mut sessions = HashSet::new();
        let has_several = self.0.len() > 1;
        let position = publication.and_then(|it| it.position);
        let is_private = publication.is_some_and(Publication::is_private);
        for (number, it) in self.0.iter().flat_map(Snapshot::numbered) {
            let session = &it.session;
            let own = publication.is_some_and(|it| it.session == Some(session.id()));
            if own && !it.subscriber.echo
                || has_several && sessions.contains(&session.id().number)
                || session.gets_directly(channel, position, direct)
            {
                continue;
            }
            let identity = session.identity();
            let decision =
                access::decide_by(&table, rule, identity.as_deref(), Right::Subscribe, channel);
            // Where the field is set, the session checks private publications itself, or the node has no tokens.
            let is_hidden = is_private
                && !it.subscriber.reads_private
                && !access::reads_private(&table, identity.as_deref(), channel);
            if decision.reason.allows() && !is_hidden && push(number, &it.subscriber) && has_several
            {
                sessions.insert(session.id().number);
            }
        }
    }
}

#[cfg(test)]
mod tests;
