//! A session's subscriptions to patterns.

use std::sync::Arc;

use super::Session;
use super::pattern_request::PatternRequest;
use super::session_patterns::SessionPatterns;
use super::state::{close_of, code_of};
use crate::auth::access::PatternShown;
use crate::broker::Unavailable;
use crate::close::Close;
use crate::hub::PatternSession;
use crate::protocol::{Code, Id, Push, Reply, ReplyError, Speak};
use crate::rules::SubscriptionPattern;

/// The `gap` reason for a client that resumes: what was published to a pattern meanwhile is not read again.
const NOT_RECOVERED: &str = "not_recovered";

impl Session {
    /// Subscribes to a pattern that the state has allowed. The session reads no further commands until the broker has
    /// confirmed it.
    pub(super) fn subscribe_pattern(
        &mut self,
        id: Option<Id>,
        pattern: Arc<SubscriptionPattern>,
        echo: bool,
    ) {
        let partial = self.state.check_pattern(&pattern) == Ok(PatternShown::Some);
        let own = self.patterns.as_ref().map(|own| &own.list[..]).unwrap_or_default();
        if own.iter().any(|it| it.pattern().as_str() == pattern.as_str()) {
            return self.reply(&Reply::SubscribedPattern { id, pattern, partial });
        }
        let max = self.context.config.patterns_max;
        if own.len() >= max {
            let message = format!("at most {max} patterns per connection");
            return self.refuse_pattern(id, Code::LimitReached, message);
        }
        let sources = self.context.hub.rules().get().pattern_sources(&pattern);
        match self.context.hub.pattern_interest(pattern, sources) {
            Ok(interest) => {
                let request = PatternRequest { id, interest, echo, partial };
                self.in_flight.subscribe_pattern(request);
            }
            Err(too_many) => self.refuse_pattern(id, Code::LimitReached, too_many.to_string()),
        }
    }

    /// Subscribes to patterns before the client gets anything. `is_resumed`: the client may have missed publications of
    /// them, and is told so. If the broker does not confirm one, the session is closed.
    pub async fn follow_patterns(
        &mut self,
        patterns: Vec<SubscriptionPattern>,
        is_resumed: bool,
    ) -> Result<(), ReplyError> {
        for pattern in patterns.into_iter().map(Arc::new) {
            let refused = |code, message| ReplyError {
                id: None,
                channel: Some(pattern.as_str().to_owned()),
                code,
                message,
            };
            let checked = self.state.check_pattern(&pattern);
            checked.map_err(|denied| refused(code_of(denied), denied.to_string()))?;
            let (own, max) = (self.patterns.as_ref(), self.context.config.patterns_max);
            if own.is_some_and(|own| own.list.len() >= max) {
                let message = format!("at most {max} patterns per connection");
                return Err(refused(Code::LimitReached, message));
            }
            let sources = self.context.hub.rules().get().pattern_sources(&pattern);
            let interest = self.context.hub.pattern_interest(pattern.clone(), sources);
            let mut interest =
                interest.map_err(|many| refused(Code::LimitReached, many.to_string()))?;
            if (&mut interest).await.is_err() {
                self.outbound.close(Close::Unavailable);
                return Ok(());
            }
            let gap = Push::PatternGap { pattern: pattern.as_str(), reason: NOT_RECOVERED };
            let gap = self.format().push(&gap).filter(|_| is_resumed);
            let (session, subscriber) = (self.begin_patterns(), self.subscriber(true));
            let outbound = self.outbound.clone();
            let subscription = interest.subscribe(subscriber, session, || {
                gap.into_iter().for_each(|gap| outbound.push_own_or_close(gap));
            });
            if let Some(own) = &mut self.patterns {
                own.list.push(subscription);
            }
        }
        Ok(())
    }

    /// The broker has confirmed the pattern, or could not.
    pub(super) fn pattern_confirmed(
        &mut self,
        request: PatternRequest,
        answer: Result<(), Unavailable>,
    ) {
        let PatternRequest { id, interest, echo, partial } = request;
        if let Err(why) = answer {
            return self.reply_or_close(self.unavailable(id, None, why));
        }
        let pattern = interest.pattern().clone();
        // The rules may have changed since the command was allowed.
        if let Err(denied) = self.state.check_pattern(&pattern) {
            return self.refuse_pattern(id, code_of(denied), denied.to_string());
        }
        let session = self.begin_patterns();
        let reply = Reply::SubscribedPattern { id, pattern, partial };
        let subscription =
            interest.subscribe(self.subscriber(echo), session, || self.reply(&reply));
        if let Some(own) = &mut self.patterns {
            own.list.push(subscription);
        }
    }

    pub(super) fn unsubscribe_pattern(&mut self, id: Option<Id>, pattern: String) {
        if let Some(own) = &mut self.patterns {
            own.list.retain(|it| it.pattern().as_str() != pattern);
        }
        self.patterns.take_if(|own| own.list.is_empty());
        self.reply(&Reply::UnsubscribedPattern { id, pattern });
    }

    /// Applies the current rules and rights to the patterns: ends those that are no longer allowed. If the protocol has no
    /// message for that, the connection ends.
    pub(super) fn end_forbidden_patterns(&mut self) {
        let Some(own) = &mut self.patterns else { return };
        own.session.set_identity(self.state.principal().identity().cloned());
        let (state, mut ended) = (&self.state, Vec::new());
        let rules = self.context.hub.rules().current();
        own.list.retain_mut(|it| match state.check_pattern(it.pattern()) {
            Ok(_) => {
                it.set_sources(rules.pattern_sources(it.pattern()));
                true
            }
            Err(denied) => {
                let message = format!("no longer subscribed: {denied}");
                let (pattern, code) = (it.pattern().clone(), code_of(denied));
                let channel = Some(pattern.as_str().to_owned());
                let error = ReplyError { id: None, channel, code, message: message.clone() };
                let outcome = state.protocol().refuse(error, close_of(denied));
                ended.push(outcome.map(|_| Reply::PatternEnded { pattern, code, message }));
                false
            }
        });
        self.patterns.take_if(|own| own.list.is_empty());
        ended.into_iter().for_each(|outcome| self.reply_or_close(outcome));
    }

    /// Tells the hub of the session before its first pattern.
    fn begin_patterns(&mut self) -> Arc<PatternSession> {
        if let Some(own) = &self.patterns {
            return own.session.clone();
        }
        let direct = self.subscriptions.iter().map(|joined| {
            let subscription = &joined.subscription;
            (subscription.channel().clone(), subscription.number())
        });
        let identity = self.state.principal().identity().cloned();
        let session = Arc::new(PatternSession::new(self.outbound.session(), identity, direct));
        let hub = self.context.hub.clone();
        hub.begin_patterns(session.clone());
        let own = SessionPatterns { hub, session: session.clone(), list: Vec::new() };
        self.patterns = Some(Box::new(own));
        session
    }

    fn refuse_pattern(&self, id: Option<Id>, code: Code, message: String) {
        let error = ReplyError { id, channel: None, code, message };
        let close = Close::Forbidden;
        self.reply_or_close(self.state.protocol().refuse(error, close));
    }
}
