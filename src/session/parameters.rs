//! Starts a session before its handshake is answered, with the parameters that the client requested.

use std::sync::Arc;

use futures_util::future::try_join_all;
use tokio::time::Instant;

use super::behind::CatchingUp;
use super::in_flight::InFlight;
use super::joined::JoinPosition;
use super::principal::Principal;
use super::rights::{self, PrincipalRefused, TooMany};
use super::run_search::{RunWanted, check_bound_run};
use super::state::{SubscriptionState, close_of};
use super::{Session, SessionContext};
use crate::auth::access::Right;
use crate::auth::{Identity, TokenRefused};
use crate::close::Close;
use crate::hub::{Interest, Subscriber};
use crate::outbound::Outbound;
use crate::protocol::{Protocol, Speak};
use crate::publication::{Channel, ReplayStart};
use crate::telemetry::{self, Rejected};

/// What a client requested in its handshake.
pub struct SessionParameters {
    pub protocol: Protocol,
    /// The result of checking the client's token. None: the client sent none.
    pub token: Option<Result<Identity, TokenRefused>>,
    /// Whether a session that is bound to channels receives its own publications.
    pub echo: bool,
    /// From where it gets the past of its protocol's channels, in their order. Shorter: the rest is new.
    pub since: Vec<Option<ReplayStart>>,
    /// Whether a gap closes the session if its protocol has no message for it.
    pub closes_on_gap: bool,
    /// Some: the session follows the run on its channel, and is closed if there is none.
    pub run: Option<RunWanted>,
    /// Some: the session is closed at its start, for this reason.
    pub refused: Option<Close>,
}

impl Session {
    /// Starts a session before its handshake is answered. A session that is bound to channels is subscribed
    /// by then, so that an open connection misses nothing; if the broker is unavailable, the session does not
    /// wait for it.
    ///
    /// A refused session is started too and closed with the reason, because a browser cannot read the status
    /// of a refused upgrade.
    ///
    /// Fails only if the user already has `limits.connections_per_user` sessions on this node.
    pub async fn start(
        context: Arc<SessionContext>,
        parameters: SessionParameters,
    ) -> Result<(Self, JoinPosition), TooMany> {
        let SessionParameters { mut protocol, token, echo, mut since, closes_on_gap, run, refused } =
            parameters;
        let outbound = Arc::new(Outbound::new(context.next_id(), context.config.queue_bytes_max));
        protocol.begin(outbound.session());
        if let Some(close) = refused {
            telemetry::rejected(Rejected::Token, &close.text());
            outbound.close(close);
        }
        if let Some(stamp) = protocol.stamp() {
            outbound.stamp_with(stamp);
        }
        let (now, rules, limits) =
            (Instant::now(), context.hub.rules().clone(), context.limits.clone());
        let carries_run = |channel: &Channel| rules.of(channel.as_str()).run.is_some();
        if let [start @ None] = &mut since[..]
            && protocol.channels().first().is_some_and(carries_run)
        {
            *start = protocol.start_of_run();
        }
        let admitted = token.map(|token| {
            let identity = token.map_err(PrincipalRefused::Token)?;
            let entered = rights::admit(&context, &identity, &outbound, None)?;
            Ok(Principal::of(Arc::new(identity), entered, now))
        });
        let principal = match admitted {
            None => Principal::anonymous(
                context.auth.is_on(),
                context.anonymous_timeout(protocol.takes_tokens()),
                now,
            ),
            Some(Ok(principal)) => principal,
            Some(Err(PrincipalRefused::TooMany(too_many))) => return Err(too_many),
            Some(Err(refused)) => {
                telemetry::rejected(Rejected::Token, &refused);
                outbound.close(refused.close());
                Principal::default()
            }
        };
        let mut session = Self {
            _membership: context.hub.register(outbound.clone()),
            state: SubscriptionState::new(
                protocol,
                context.config.clone(),
                rules,
                limits,
                principal,
            ),
            subscriptions: Vec::new(),
            in_flight: InFlight::default(),
            catching_up: CatchingUp::default(),
            patterns: None,
            ending: None,
            echoes_due: 0,
            bad_tokens: 0,
            queued_bytes: 0,
            outbound,
            context,
        };
        let mut join_position = JoinPosition::default();
        if session.outbound.closing().is_none() {
            let subscriber = Subscriber { closes_on_gap, ..session.subscriber(echo) };
            join_position = session.subscribe_bound(subscriber, since, run).await;
        }
        Ok((session, join_position))
    }

    /// The channel for which the session was closed at its start, because it is denied.
    pub fn denied_channel(&self) -> Option<&Channel> {
        let (channel, denied) = self.state.check_all_bound().err()?;
        (self.outbound.closing() == Some(close_of(denied))).then_some(channel)
    }

    /// Subscribes a bound session to its channels. Returns its position in the last one. A channel to which it
    /// may only publish is left out; if it may do neither on one of them, it is closed.
    async fn subscribe_bound(
        &mut self,
        subscriber: Subscriber,
        since: Vec<Option<ReplayStart>>,
        run: Option<RunWanted>,
    ) -> JoinPosition {
        if let Err((_, denied)) = self.state.check_all_bound() {
            telemetry::rejected(Rejected::Forbidden, &denied);
            self.outbound.close(close_of(denied));
            return JoinPosition::default();
        }
        if let (Some(wanted), [channel]) = (run, self.state.protocol().channels())
            && let Err(close) =
                check_bound_run(self.context.hub.clone(), channel.clone(), wanted).await
        {
            self.outbound.close(close);
            return JoinPosition::default();
        }
        let since = since.into_iter().chain(std::iter::repeat(None));
        let channels = self.state.protocol().channels().iter().zip(since);
        let subscribed =
            channels.filter(|(channel, _)| self.state.check(Right::Subscribe, channel).is_ok());
        let mut interests: Vec<Interest> = subscribed
            .map(|(channel, start)| self.context.hub.interest(channel.clone(), start))
            .collect();
        let confirmed = match self.context.hub.broker().ready() {
            Ok(()) => try_join_all(&mut interests).await.is_ok(),
            Err(_) => false,
        };
        // An unconfirmed subscription stays wanted and starts when the broker is back. Publications until
        // then are missing.
        if !confirmed && subscriber.closes_on_gap {
            self.outbound.close(Close::Unavailable);
            return JoinPosition::default();
        }
        self.subscriptions.reserve_exact(interests.len());
        let unless_whole = run.map(|_| Close::RunCut);
        let subscribed = interests.into_iter().map(|interest| {
            self.subscribe_or_close(None, interest, subscriber.clone(), unless_whole)
        });
        subscribed.last().unwrap_or_default()
    }
}
