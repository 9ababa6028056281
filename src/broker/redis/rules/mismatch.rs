//! Whether the rules in Redis are others than this node's.

use std::time::Duration;

use tokio::time::Instant;

use crate::telemetry;

/// How long the rules in Redis may be others than those of the node before that is told.
const MISMATCH_LASTS: Duration = Duration::from_secs(30);

/// Whether the rules in Redis have been others than this node's for so long that somebody must hear.
#[derive(Default)]
pub struct Mismatch {
    since: Option<Instant>,
    told: Option<String>,
}

impl Mismatch {
    /// `other`: who installed rules that are not this node's. None: they are.
    pub fn look(&mut self, other: Option<&str>, now: Instant) {
        let Some(other) = other else {
            self.since = None;
            telemetry::rules_in_redis_differ(false);
            if self.told.take().is_some() {
                telemetry::rules_agree_again("redis");
            }
            return;
        };
        let since = *self.since.get_or_insert(now);
        if now.duration_since(since) < MISMATCH_LASTS {
            return;
        }
        telemetry::rules_in_redis_differ(true);
        if self.told.as_deref() != Some(other) {
            telemetry::rules_replaced_in_redis(other);
            self.told = Some(other.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_rules_in_redis_are_told_once_they_last_and_told_to_be_over() {
        let (mut mismatch, start) = (Mismatch::default(), Instant::now());
        mismatch.look(Some("b"), start);
        mismatch.look(Some("b"), start + MISMATCH_LASTS / 2);
        assert_eq!(mismatch.told, None, "so it is while a fleet is given new rules");
        mismatch.look(Some("b"), start + MISMATCH_LASTS);
        assert_eq!(mismatch.told.as_deref(), Some("b"));
        mismatch.look(None, start + MISMATCH_LASTS);
        assert_eq!(mismatch.told, None);
        mismatch.look(Some("c"), start + MISMATCH_LASTS * 2);
        assert_eq!(mismatch.told, None, "it begins anew");
    }
}
