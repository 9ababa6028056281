//! What a session does when its client sends a token, and when the settings change.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use super::Session;
use super::in_flight::TokenCheck;
use super::joined::{Joined, ReportedSubscription};
use super::principal::{Principal, time_left};
use super::rights::{PrincipalRefused, admit, denial};
use super::state::{close_of, code_of};
use super::users::Entered;
use crate::auth::Identity;
use crate::auth::access::Right;
use crate::close::Close;
use crate::protocol::{Code, Id, Reply, ReplyError, Speak, Token};
use crate::telemetry;

/// Most consecutive tokens that are not accepted. Checking a token costs more than any other command.
const BAD_TOKENS_MAX: u8 = 10;

impl Session {
    /// Starts to check a token. The session reads no further commands until the check is done.
    pub(super) fn authenticate(&mut self, id: Option<Id>, token: Token) {
        let auth = self.context.auth.clone();
        if !auth.is_on() {
            let message = "this node takes no tokens: auth.mode is none".to_owned();
            let error = ReplyError { id, channel: None, code: Code::BadRequest, message };
            return self.reply(&Reply::Error(error));
        }
        self.in_flight.authenticate(id, Box::pin(async move { auth.identify(&token.0).await }));
    }

    /// Applies the result of a token check. A refused token changes nothing.
    pub(super) fn authenticated(&mut self, id: Option<Id>, answer: TokenCheck) {
        let admitted = answer.map_err(PrincipalRefused::Token).and_then(|identity| {
            let before = self.state.principal().user();
            let entered = admit(&self.context, &identity, &self.outbound, before)?;
            Ok((Arc::new(identity), entered))
        });
        let (identity, entered) = match admitted {
            Ok(admitted) => admitted,
            Err(refused) => {
                telemetry::rejected(refused.reason(), &refused);
                let (code, message) = (refused.code(), refused.to_string());
                let error = ReplyError { id, channel: None, code, message };
                let refused = self.state.protocol().refuse(error, refused.close());
                self.reply_or_close(refused);
                // An unavailable issuer and a full node are not the client's fault.
                self.bad_tokens += u8::from(code == Code::Unauthorized);
                if self.bad_tokens > BAD_TOKENS_MAX {
                    self.end_for(Close::Unauthorized("too many tokens in a row"));
                }
                return;
            }
        };
        self.bad_tokens = 0;
        self.set_identity(id, identity, entered);
    }

    /// The session has this identity from now on.
    pub(super) fn set_identity(
        &mut self,
        id: Option<Id>,
        identity: Arc<Identity>,
        entered: Option<Entered>,
    ) {
        let (before, user) = (self.state.principal().user(), identity.user.clone());
        let is_same = before == user && self.state.principal().info() == identity.info.as_ref();
        let expires_in = time_left(&identity, SystemTime::now());
        self.state.set_principal(Principal::of(identity, entered, Instant::now()));
        self.reply(&Reply::Authenticated { id, user: user.clone(), expires_in });
        self.end_forbidden_subscriptions();
        self.renew_private_reads();
        if !is_same {
            self.context.events.set_user(self.outbound.session(), &self.state.principal().user());
            self.renew_presence();
        }
        if self.state.protocol().subscribes_listed() {
            self.subscribe_token_channels();
        }
    }

    /// Subscribes to the channels that the token lists, if the protocol does that, unless the session is subscribed
    /// already or has `channels_max`.
    pub(super) fn subscribe_token_channels(&mut self) {
        if !self.state.protocol().subscribes_listed() {
            return;
        }
        let Some(identity) = self.state.principal().identity().cloned() else { return };
        for channel in &identity.channels {
            let has = |joined: &Joined| joined.subscription.channel() == channel;
            if self.subscriptions.iter().any(has) {
                continue;
            }
            let subscribed = self.subscriptions.len() + self.in_flight.subscribing();
            if let Err(denied) = self.state.check(Right::Subscribe, channel) {
                self.reply(&denial(None, channel, denied));
            } else if subscribed >= self.context.config.channels_max {
                let (name, message) = (channel.to_string(), self.state.too_many_channels());
                let (channel, code) = (Some(name), Code::LimitReached);
                self.reply(&Reply::Error(ReplyError { id: None, channel, code, message }));
            } else {
                let interest = self.context.hub.interest(channel.clone(), None);
                self.in_flight.subscribe(None, interest, true);
            }
        }
    }

    /// Ends the subscriptions that are no longer allowed, and sends an error for each. If the protocol has none, the
    /// connection ends.
    pub(super) fn end_forbidden_subscriptions(&mut self) {
        let mut errors = Vec::new();
        let state = &mut self.state;
        self.subscriptions.retain(|joined| {
            let channel = joined.subscription.channel();
            let Err(denied) = state.check(Right::Subscribe, channel) else { return true };
            state.withdraw(channel);
            let (channel, code) = (Some(channel.to_string()), code_of(denied));
            let message = format!("no longer subscribed: {denied}");
            let error = ReplyError { id: None, channel, code, message };
            errors.push(state.protocol().refuse(error, close_of(denied)));
            false
        });
        if !errors.is_empty() {
            // Its publications to these channels may not be delivered to it any more, so the session does not
            // wait for them.
            self.echoes_due = self.outbound.echoes();
        }
        errors.into_iter().for_each(|error| self.reply_or_close(error));
        self.end_forbidden_patterns();
    }

    /// Applies changed rules: ends subscriptions that are no longer allowed, enters or leaves presence.
    /// Recomputes the token's expiry, because the wall clock may have changed too.
    pub(super) fn apply_settings(&mut self) {
        self.state.follow_clock(Instant::now(), SystemTime::now());
        let principal = self.state.principal();
        let tokens = self.context.auth.is_on();
        let takes_tokens = self.state.protocol().takes_tokens();
        let timeout = self.context.anonymous_timeout(takes_tokens);
        if principal.identity().is_none() && principal.differs_from(tokens, timeout) {
            self.state.set_principal(Principal::anonymous(tokens, timeout, Instant::now()));
        }
        if let Err((_, denied)) = self.state.check_all_bound() {
            self.outbound.close(close_of(denied));
            return;
        }
        self.end_forbidden_subscriptions();
        self.renew_private_reads();
        for joined in &mut self.subscriptions {
            let channel = joined.subscription.channel();
            let reported = joined.attendance.as_deref();
            if ReportedSubscription::is_outdated(reported, &self.context, channel) {
                let identity = self.state.identity_on(channel);
                joined.attendance = ReportedSubscription::new(&self.context, channel, identity);
            }
        }
    }

    /// Enters its channels again, as another user or with another info. If the user changed, the channels' members
    /// get a join and a leave.
    fn renew_presence(&mut self) {
        for joined in &mut self.subscriptions {
            if joined.attendance.is_some() {
                let channel = joined.subscription.channel();
                let identity = self.state.identity_on(channel);
                joined.attendance = ReportedSubscription::new(&self.context, channel, identity);
            }
        }
    }
}
