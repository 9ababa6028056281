//! The principal of a session: its user and rights, and when they end.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::users::Entered;
use crate::auth::Identity;
use crate::auth::access::{self, Denied, PatternShown, Right};
use crate::close::Close;
use crate::publication::{Channel, User, UserInfo};
use crate::rules::{Rules, SubscriptionPattern};

/// An expiry further away than this counts as none: no connection lasts that long.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The user that a session's token was issued to, or an anonymous client.
#[derive(Default)]
pub struct Principal {
    identity: Option<Arc<Identity>>,
    /// Its entry among the user's sessions. Boxed, because anonymous sessions have none.
    _entered: Option<Box<Entered>>,
    /// Whether the node accepts tokens, so that one could give more rights.
    tokens: bool,
    /// When the token expires, or when the anonymous session must have sent one.
    ends_at: Option<Instant>,
}

impl Principal {
    /// `tokens`: whether the node accepts tokens. `timeout`: how long the session may stay without one;
    /// None: without limit.
    pub fn anonymous(tokens: bool, timeout: Option<Duration>, now: Instant) -> Self {
        let ends_at = timeout.map(|timeout| now + timeout);
        Self { tokens, ends_at, ..Self::default() }
    }

    pub fn of(identity: Arc<Identity>, entered: Option<Entered>, now: Instant) -> Self {
        let ends_at = expiry(&identity, now, SystemTime::now());
        Self { identity: Some(identity), _entered: entered.map(Box::new), tokens: true, ends_at }
    }

    /// Recomputes the token's expiry after a step of the wall clock.
    pub fn follow_clock(&mut self, now: Instant, wall: SystemTime) {
        if let Some(identity) = &self.identity {
            self.ends_at = expiry(identity, now, wall);
        }
    }

    /// Whether an anonymous session with these settings would differ from this one.
    pub fn differs_from(&self, tokens: bool, timeout: Option<Duration>) -> bool {
        self.tokens != tokens || self.ends_at.is_some() != timeout.is_some()
    }

    /// Whether the node accepts tokens.
    pub fn takes_tokens(&self) -> bool {
        self.tokens
    }

    pub fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.as_ref()
    }

    pub fn user(&self) -> User {
        self.identity.as_ref()?.user.clone()
    }

    /// What its token says of the user.
    pub fn info(&self) -> Option<&UserInfo> {
        self.identity.as_ref()?.info.as_ref()
    }

    pub fn ends_at(&self) -> Option<Instant> {
        self.ends_at
    }

    /// The close reason if the token or the time without one has expired.
    pub fn expired(&self, now: Instant) -> Option<Close> {
        let is_over = self.ends_at.is_some_and(|end| now >= end);
        is_over.then_some(match self.identity {
            Some(_) => Close::Expired,
            None => Close::Unauthorized("no token within auth.timeout"),
        })
    }

    /// Checks whether the principal has the right on the channel.
    pub fn check(&self, rules: &Rules, right: Right, channel: &Channel) -> Result<(), Denied> {
        let rules = rules.get();
        match access::check(&rules, self.identity.as_deref(), right, channel.as_str()) {
            Err(Denied::Unauthorized) if !self.tokens => Err(Denied::Forbidden),
            checked => checked,
        }
    }

    /// Checks whether the principal may subscribe to the pattern.
    pub fn check_pattern(
        &self,
        rules: &Rules,
        pattern: &SubscriptionPattern,
    ) -> Result<PatternShown, Denied> {
        match access::check_pattern(&rules.current(), self.identity.as_deref(), pattern) {
            Err(Denied::Unauthorized) if !self.tokens => Err(Denied::Forbidden),
            checked => checked,
        }
    }
}

/// The token's expiry on the monotonic clock.
fn expiry(identity: &Identity, now: Instant, wall: SystemTime) -> Option<Instant> {
    let left = time_left(identity, wall).filter(|left| *left < NEVER);
    left.map(|left| now + left)
}

/// How long the token remains valid at the given wall-clock time.
pub fn time_left(identity: &Identity, wall: SystemTime) -> Option<Duration> {
    Some(identity.ends_at?.duration_since(wall).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_expires_with_its_token_or_with_the_anonymous_timeout() {
        let now = Instant::now();
        let ends_at = Some(SystemTime::now() + Duration::from_secs(60));
        let identity = Arc::new(Identity { ends_at, ..Identity::default() });
        let principal = Principal::of(identity, None, now);
        assert_eq!(principal.expired(now + Duration::from_secs(59)), None);
        assert_eq!(principal.expired(now + Duration::from_secs(61)), Some(Close::Expired));
        let anonymous = Principal::anonymous(true, Some(Duration::from_secs(1)), now);
        let over = anonymous.expired(now + Duration::from_secs(1));
        assert!(matches!(over, Some(Close::Unauthorized(_))));
        assert_eq!(Principal::anonymous(true, None, now).ends_at(), None);
    }

    #[test]
    fn a_step_of_the_wall_clock_moves_the_tokens_expiry() {
        let (now, hour) = (Instant::now(), Duration::from_secs(3600));
        let true_time = SystemTime::now();
        let ends_at = Some(true_time + Duration::from_secs(60));
        let identity = Arc::new(Identity { ends_at, ..Identity::default() });
        for wrong in [true_time - hour, true_time + hour] {
            let mut principal = Principal::of(identity.clone(), None, now);
            principal.follow_clock(now, wrong);
            assert_eq!(principal.expired(now).is_some(), wrong > true_time);
            assert_eq!(
                principal.expired(now + 2 * Duration::from_secs(60)).is_some(),
                wrong > true_time
            );
            principal.follow_clock(now, true_time);
            assert_eq!(principal.expired(now + Duration::from_secs(59)), None);
            assert_eq!(principal.expired(now + Duration::from_secs(61)), Some(Close::Expired));
        }
        let mut anonymous = Principal::anonymous(true, Some(hour), now);
        anonymous.follow_clock(now, true_time + 2 * hour);
        assert_eq!(
            anonymous.expired(now),
            None,
            "the anonymous timeout does not follow the wall clock"
        );
    }

    #[test]
    fn a_token_without_expiry_or_with_a_very_late_one_never_expires() {
        for ends_at in [None, SystemTime::now().checked_add(Duration::from_secs(1 << 40))] {
            let identity = Arc::new(Identity { ends_at, ..Identity::default() });
            assert_eq!(Principal::of(identity, None, Instant::now()).ends_at(), None);
        }
    }
}
