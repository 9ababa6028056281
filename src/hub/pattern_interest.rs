//! A session's interest in the channels of a pattern until it subscribes, and its subscription.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;

use super::patterns::{PatternSession, PatternSubscriber, TooManyPatterns};
use super::state::HubState;
use super::subscribers::Subscriber;
use crate::broker::Unavailable;
use crate::rules::{Pattern, SubscriptionPattern};

/// A requested pattern. Resolves when the broker has confirmed that its channels' publications arrive.
pub struct PatternInterest {
    confirmed: BoxFuture<'static, Result<(), Unavailable>>,
    claim: PatternClaim,
}

impl PatternInterest {
    pub(super) fn new(
        state: Arc<HubState>,
        pattern: Arc<SubscriptionPattern>,
        sources: Vec<Pattern>,
    ) -> Result<Self, TooManyPatterns> {
        state.registry.patterns.admit()?;
        let follow = |wanted| state.broker.follow_patterns(wanted);
        let confirmed = state.registry.patterns.add_sources(&sources, follow);
        Ok(Self { confirmed, claim: PatternClaim { state, pattern, sources } })
    }

    pub fn pattern(&self) -> &Arc<SubscriptionPattern> {
        &self.claim.pattern
    }

    /// Turns the interest into a subscription. Calls `on_locked` before any publication is delivered to it.
    pub fn subscribe(
        self,
        subscriber: Subscriber,
        session: Arc<PatternSession>,
        on_locked: impl FnOnce(),
    ) -> PatternSubscription {
        let PatternClaim { state, pattern, .. } = &self.claim;
        let subscriber = PatternSubscriber { subscriber, session };
        let number = state.registry.patterns.add(pattern, subscriber, on_locked);
        PatternSubscription { number, claim: self.claim }
    }
}

impl Future for PatternInterest {
    type Output = Result<(), Unavailable>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.confirmed.as_mut().poll(cx)
    }
}

/// A session's subscription to a pattern. The drop ends it.
pub struct PatternSubscription {
    number: u64,
    claim: PatternClaim,
}

impl PatternSubscription {
    pub fn pattern(&self) -> &Arc<SubscriptionPattern> {
        &self.claim.pattern
    }

    /// Its channels are now those of the rules with these patterns.
    pub fn set_sources(&mut self, sources: Vec<Pattern>) {
        let same =
            sources.iter().map(Pattern::as_str).eq(self.claim.sources.iter().map(Pattern::as_str));
        if same {
            return;
        }
        let HubState { registry, broker } = &*self.claim.state;
        let follow = |wanted| drop(broker.follow_patterns(wanted));
        registry.patterns.add_sources(&sources, follow);
        registry.patterns.remove_sources(&self.claim.sources, follow);
        self.claim.sources = sources;
    }
}

impl Drop for PatternSubscription {
    fn drop(&mut self) {
        self.claim.state.registry.patterns.remove(self.number);
    }
}

/// A claim on the channels of a pattern: the broker delivers them while one exists. The drop releases it.
struct PatternClaim {
    state: Arc<HubState>,
    pattern: Arc<SubscriptionPattern>,
    sources: Vec<Pattern>,
}

impl Drop for PatternClaim {
    fn drop(&mut self) {
        let HubState { registry, broker } = &*self.state;
        let follow = |wanted| drop(broker.follow_patterns(wanted));
        registry.patterns.remove_sources(&self.sources, follow);
        registry.patterns.release();
    }
}
