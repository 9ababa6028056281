//! What a session may be, as its token and the rules say: what changes when it shows a token, and when
//! the rules do.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use super::bearer::{Bearer, time_left};
use super::in_flight::Checked;
use super::state::code_of;
use super::users::{Entered, Refusal};
use super::{Context, Joined, Session};
use crate::auth::access::{Denied, Right};
use crate::auth::{Identity, Refused};
use crate::close::Close;
use crate::outbound::Outbound;
use crate::protocol::{Code, Id, Protocol, Reply, ReplyError, Token};
use crate::publication::{Channel, User};
use crate::telemetry::{self, Rejected};

/// Tokens in a row that cannot be accepted: to check one costs more than anything else a client may ask.
const BAD_TOKENS_MAX: u8 = 10;

/// Why a session cannot be what a token says.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    #[error(transparent)]
    Token(Refused),
    #[error("the token was revoked: get a new one")]
    Revoked,
    #[error(transparent)]
    TooMany(#[from] TooMany),
}

/// The user has as many sessions on this node as one may have.
#[derive(Debug, thiserror::Error)]
#[error("this user has as many connections to this node as limits.connections_per_user lets it")]
pub struct TooMany;

impl Unfit {
    fn code(&self) -> Code {
        match self {
            Self::Token(Refused::KEYS_UNAVAILABLE) => Code::Unavailable,
            Self::Token(_) | Self::Revoked => Code::Unauthorized,
            Self::TooMany(_) => Code::LimitReached,
        }
    }

    fn reason(&self) -> Rejected {
        match self {
            Self::Token(_) | Self::Revoked => Rejected::Token,
            Self::TooMany(_) => Rejected::ConnectionsPerUser,
        }
    }

    /// How a session ends that begins with such a token.
    pub fn close(&self) -> Close {
        match self {
            // The token may be good: the node cannot tell.
            Self::Token(Refused::KEYS_UNAVAILABLE) => Close::KeysUnavailable,
            Self::Token(refused) => Close::Unauthorized(refused.0),
            Self::Revoked => Close::Revoked,
            Self::TooMany(_) => Close::RateLimited,
        }
    }
}

/// Counts a session among those of the token's user. `before`: whose it was until now.
pub fn admit(
    context: &Context,
    identity: &Identity,
    outbound: &Arc<Outbound>,
    before: User,
) -> Result<Option<Entered>, Unfit> {
    let limits = context.limits.get();
    let max = match limits.connections_per_user {
        // It has a place already, and is given another before it leaves that one.
        _ if before.is_some() && before == identity.user => usize::MAX,
        0 => usize::MAX,
        max => max,
    };
    let admitted = match context.users.admit(identity, outbound, max) {
        Err(Refusal::Full) if limits.dry_run => {
            telemetry::rejected(Rejected::ConnectionsPerUser, &TooMany);
            context.users.admit(identity, outbound, usize::MAX)
        }
        admitted => admitted,
    };
    admitted.map_err(|refusal| match refusal {
        Refusal::Revoked => Unfit::Revoked,
        Refusal::Full => Unfit::TooMany(TooMany),
    })
}

/// The answer to whoever may not do something on a channel.
pub fn denial(id: Option<Id>, channel: &Channel, denied: Denied) -> Reply {
    let (channel, code) = (Some(channel.to_string()), code_of(denied));
    Reply::Error(ReplyError { id, channel, code, message: denied.to_string() })
}

impl Session {
    /// Begins to check a token. What the client sends next waits for it.
    pub(super) fn authenticate(&mut self, id: Option<Id>, token: Token) {
        let auth = self.context.auth.clone();
        if !auth.is_on() {
            let message = "this node takes no tokens: auth.mode is none".to_owned();
            let error = ReplyError { id, channel: None, code: Code::BadRequest, message };
            return self.reply(&Reply::Error(error));
        }
        self.in_flight.authenticate(id, Box::pin(async move { auth.identify(&token.0).await }));
    }

    /// A token was checked. One that is not accepted changes nothing.
    pub(super) fn authenticated(&mut self, id: Option<Id>, answer: Checked) {
        let admitted = answer.map_err(Unfit::Token).and_then(|identity| {
            let before = self.state.bearer().user();
            let entered = admit(&self.context, &identity, &self.outbound, before)?;
            Ok((Arc::new(identity), entered))
        });
        let (identity, entered) = match admitted {
            Ok(admitted) => admitted,
            Err(unfit) => {
                telemetry::rejected(unfit.reason(), &unfit);
                let (code, message) = (unfit.code(), unfit.to_string());
                let error = ReplyError { id, channel: None, code, message };
                self.reply(&Reply::Error(error));
                // An issuer that is away, or a full node, is not the client's doing.
                self.bad_tokens += u8::from(code == Code::Unauthorized);
                if self.bad_tokens > BAD_TOKENS_MAX {
                    self.leaving = Some(Close::Unauthorized("too many tokens in a row"));
                }
                return;
            }
        };
        self.bad_tokens = 0;
        let (before, user) = (self.state.bearer().user(), identity.user.clone());
        let expires_in = time_left(&identity, SystemTime::now());
        self.state.belong_to(Bearer::of(identity, entered, Instant::now()));
        self.reply(&Reply::Authenticated { id, user: user.clone(), expires_in });
        self.leave_forbidden();
        if before != user {
            self.be_present_as(&user);
        }
        self.subscribe_listed();
    }

    /// Subscribes to the channels that the token says, as far as it is not and there is room.
    pub(super) fn subscribe_listed(&mut self) {
        let Some(identity) = self.state.bearer().identity().cloned() else { return };
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

    /// Ends the subscriptions that are no longer allowed, with a word each.
    pub(super) fn leave_forbidden(&mut self) {
        let mut errors = Vec::new();
        let state = &self.state;
        self.subscriptions.retain(|joined| {
            let channel = joined.subscription.channel();
            let Err(denied) = state.check(Right::Subscribe, channel) else { return true };
            let (channel, code) = (Some(channel.to_string()), code_of(denied));
            let message = format!("no longer subscribed: {denied}");
            errors.push(Reply::Error(ReplyError { id: None, channel, code, message }));
            false
        });
        if !errors.is_empty() {
            // What it published there may no longer come back: none is waited for.
            self.echoes_due = self.outbound.echoes();
        }
        errors.iter().for_each(|error| self.reply(error));
    }

    /// The rules may be others now: what they no longer allow ends, and presence is as they say. The wall clock
    /// may be another too: the token ends when it says.
    pub(super) fn follow_settings(&mut self) {
        self.state.follow_clock(Instant::now(), SystemTime::now());
        let bearer = self.state.bearer();
        let tokens = self.context.auth.is_on();
        let patience = self.context.patience();
        if bearer.identity().is_none() && bearer.is_otherwise(tokens, patience) {
            self.state.belong_to(Bearer::stranger(tokens, patience, Instant::now()));
        }
        if let Protocol::Plain { channel, .. } = self.state.protocol() {
            let [listens, publishes] =
                [Right::Subscribe, Right::Publish].map(|right| self.state.check(right, channel));
            if let (Err(denied), Err(_)) = (listens, publishes) {
                self.outbound.close(self.state.close_of(denied));
                return;
            }
        }
        self.leave_forbidden();
        for joined in &mut self.subscriptions {
            let channel = joined.subscription.channel();
            let keeps = self.context.hub.rules().of(channel.as_str()).presence;
            if keeps != joined.present.is_some() {
                let user = self.state.bearer().user();
                let enter = || Box::new(self.context.presence.enter(channel.clone(), user));
                joined.present = keeps.then(enter);
            }
        }
    }

    /// It is somebody else's now: the others see one come and another leave.
    fn be_present_as(&mut self, user: &User) {
        for joined in &mut self.subscriptions {
            if let Some(present) = &mut joined.present {
                let channel = joined.subscription.channel().clone();
                **present = self.context.presence.enter(channel, user.clone());
            }
        }
    }
}
