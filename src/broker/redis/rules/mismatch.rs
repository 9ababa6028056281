//! Whether the rules in Redis differ from this node's.

use std::time::Duration;

use tokio::time::Instant;

use crate::telemetry;

/// How long the rules may differ before this is reported.
const MISMATCH_LASTS: Duration = Duration::from_secs(30);

/// Reports rules in Redis that have differed from this node's for a while.
#[derive(Default)]
pub struct Mismatch {
    since: Option<Instant>,
    reported: Option<String>,
}

impl Mismatch {
    /// `other`: the node that installed differing rules. `None`: the rules are equal.
    pub fn update(&mut self, other: Option<&str>, now: Instant) {
        let Some(other) = other else {
            self.since = None;
            telemetry::rules_in_redis_differ(false);
            if self.reported.take().is_some() {
                telemetry::rules_agree_again("redis");
            }
            return;
        };
        let since = *self.since.get_or_insert(now);
        if now.duration_since(since) < MISMATCH_LASTS {
            return;
        }
        telemetry::rules_in_redis_differ(true);
        if self.reported.as_deref() != Some(other) {
            telemetry::rules_replaced_in_redis(other);
            self.reported = Some(other.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differing_rules_in_redis_are_reported_once_they_last_and_when_they_end() {
        let (mut mismatch, start) = (Mismatch::default(), Instant::now());
        mismatch.update(Some("b"), start);
        mismatch.update(Some("b"), start + MISMATCH_LASTS / 2);
        assert_eq!(mismatch.reported, None, "rules also differ while a fleet gets new ones");
        mismatch.update(Some("b"), start + MISMATCH_LASTS);
        assert_eq!(mismatch.reported.as_deref(), Some("b"));
        mismatch.update(None, start + MISMATCH_LASTS);
        assert_eq!(mismatch.reported, None);
        mismatch.update(Some("c"), start + MISMATCH_LASTS * 2);
        assert_eq!(mismatch.reported, None, "the time starts again");
    }
}
