//! Who a session belongs to, and until when.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::users::Entered;
use crate::auth::Identity;
use crate::auth::access::{self, Denied, Right};
use crate::close::Close;
use crate::publication::{Channel, User};
use crate::rules::Rules;

/// An end further away than this is none: no connection lives so long.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The bearer of a token, or a stranger.
#[derive(Default)]
pub struct Bearer {
    identity: Option<Arc<Identity>>,
    /// Its place among its user's sessions. In a box: strangers have none.
    _entered: Option<Box<Entered>>,
    /// Could a token help?
    tokens: bool,
    /// When the token's time, or the stranger's, is over.
    ends_at: Option<Instant>,
}

impl Bearer {
    /// `tokens`: does the node take them? `patience`: how long it may be without one. None: for ever.
    pub fn stranger(tokens: bool, patience: Option<Duration>, now: Instant) -> Self {
        let ends_at = patience.map(|patience| now + patience);
        Self { tokens, ends_at, ..Self::default() }
    }

    pub fn of(identity: Arc<Identity>, entered: Option<Entered>, now: Instant) -> Self {
        let left = time_left(&identity).filter(|left| *left < NEVER);
        let ends_at = left.map(|left| now + left);
        Self { identity: Some(identity), _entered: entered.map(Box::new), tokens: true, ends_at }
    }

    /// Is a stranger one for another time than this, or in another way?
    pub fn is_otherwise(&self, tokens: bool, patience: Option<Duration>) -> bool {
        self.tokens != tokens || self.ends_at.is_some() != patience.is_some()
    }

    pub fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.as_ref()
    }

    pub fn user(&self) -> User {
        self.identity.as_ref()?.user.clone()
    }

    pub fn ends_at(&self) -> Option<Instant> {
        self.ends_at
    }

    /// Why the session ends now, if it does.
    pub fn over(&self, now: Instant) -> Option<Close> {
        let is_over = self.ends_at.is_some_and(|end| now >= end);
        is_over.then_some(match self.identity {
            Some(_) => Close::Expired,
            None => Close::Unauthorized("no token within auth.timeout"),
        })
    }

    /// May it do this on the channel?
    pub fn check(&self, rules: &Rules, right: Right, channel: &Channel) -> Result<(), Denied> {
        let rules = rules.get();
        match access::check(&rules, self.identity.as_deref(), right, channel.as_str()) {
            Err(Denied::Unauthorized) if !self.tokens => Err(Denied::Forbidden),
            checked => checked,
        }
    }
}

/// How long the token is still good for.
pub fn time_left(identity: &Identity) -> Option<Duration> {
    Some(identity.ends_at?.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_the_token_s_or_the_end_of_patience() {
        let now = Instant::now();
        let ends_at = Some(SystemTime::now() + Duration::from_secs(60));
        let identity = Arc::new(Identity { ends_at, ..Identity::default() });
        let bearer = Bearer::of(identity, None, now);
        assert_eq!(bearer.over(now + Duration::from_secs(59)), None);
        assert_eq!(bearer.over(now + Duration::from_secs(61)), Some(Close::Expired));
        let stranger = Bearer::stranger(true, Some(Duration::from_secs(1)), now);
        let over = stranger.over(now + Duration::from_secs(1));
        assert!(matches!(over, Some(Close::Unauthorized(_))));
        assert_eq!(Bearer::stranger(true, None, now).ends_at(), None);
    }

    #[test]
    fn a_token_without_end_or_with_one_in_another_age_is_no_trouble() {
        for ends_at in [None, SystemTime::now().checked_add(Duration::from_secs(1 << 40))] {
            let identity = Arc::new(Identity { ends_at, ..Identity::default() });
            assert_eq!(Bearer::of(identity, None, Instant::now()).ends_at(), None);
        }
    }
}
