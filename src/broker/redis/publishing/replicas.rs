//! The replicas of a master. An appended publication is acknowledged once one replica has it, so
//! that it survives a failover. This also protects against a master that was replaced while it was
//! alive: its replicas have left it.

use std::time::Duration;

use ::redis::Value;
use tokio::time::Instant;

use crate::telemetry;

/// How long a batch waits for a replica.
pub const REPLICA_TIMEOUT: Duration = Duration::from_millis(500);

/// How long appends that no replica confirms are not acknowledged. A master that lost all its
/// replicas at once has most likely been replaced and learns it within this time; what it takes
/// meanwhile is lost. After this time the replicas count as slow or gone, and publishing continues
/// without them.
const FENCE: Duration = Duration::from_secs(3);

/// What is known about a master's replicas.
#[derive(Debug, Default)]
pub struct Replicas {
    /// How many are connected.
    count: usize,
    /// Since when no replica has confirmed anything.
    unconfirmed_since: Option<Instant>,
    /// Publishing does not wait for the replicas until one of them has reached `target`.
    is_late: bool,
    target: Option<u64>,
}

impl Replicas {
    /// From the master's reply to `ROLE`.
    pub fn of(role: Option<&Value>) -> Self {
        let mut replicas = Self::default();
        replicas.update(role);
        replicas
    }

    /// Whether a batch should wait for a replica.
    pub fn should_wait(&self) -> bool {
        !self.is_late && (self.count > 0 || self.unconfirmed_since.is_some())
    }

    /// Records whether a replica confirmed a batch. False: the batch must not be acknowledged.
    pub fn record_wait(&mut self, confirmed: bool) -> bool {
        if confirmed {
            self.unconfirmed_since = None;
            return true;
        }
        let since = *self.unconfirmed_since.get_or_insert_with(Instant::now);
        if since.elapsed() < FENCE {
            return false;
        }
        telemetry::replicas_are_late(FENCE);
        self.is_late = true;
        self.target = None;
        self.unconfirmed_since = None;
        true
    }

    /// `ROLE`: `["master", offset, [[host, port, offset], …]]`.
    pub fn update(&mut self, role: Option<&Value>) {
        let Some(Value::Array(parts)) = role else { return };
        let (Some(Value::Int(offset)), Some(Value::Array(replicas))) = (parts.get(1), parts.get(2))
        else {
            return;
        };
        let had_some = std::mem::replace(&mut self.count, replicas.len()) > 0;
        if had_some && self.count == 0 && !self.is_late {
            self.unconfirmed_since.get_or_insert_with(Instant::now);
        }
        if !self.is_late {
            return;
        }
        let offset = u64::try_from(*offset).unwrap_or_default();
        let target = *self.target.get_or_insert(offset);
        if replicas.iter().filter_map(offset_of).any(|reached| reached >= target) {
            self.is_late = false;
        }
    }
}

fn offset_of(replica: &Value) -> Option<u64> {
    let Value::Array(parts) = replica else { return None };
    match parts.get(2)? {
        Value::BulkString(digits) => std::str::from_utf8(digits).ok()?.parse().ok(),
        _ => None,
    }
}

/// Whether the reply to `ROLE` is a replica's. A server that refuses `ROLE`, for lack of
/// permission, counts as a master.
pub fn is_replica(role: &Value) -> bool {
    let Value::Array(parts) = role else { return false };
    match parts.first() {
        Some(Value::BulkString(role)) => role == b"slave",
        Some(Value::SimpleString(role)) => role == "slave",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(offset: i64, replicas: &[u64]) -> Value {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let replica = |offset: &u64| {
            Value::Array(vec![text("127.0.0.1"), text("6379"), text(&offset.to_string())])
        };
        let replicas = replicas.iter().map(replica).collect();
        Value::Array(vec![text("master"), Value::Int(offset), Value::Array(replicas)])
    }

    #[tokio::test(start_paused = true)]
    async fn unconfirmed_appends_are_not_acknowledged_until_the_replicas_count_as_late() {
        assert!(!Replicas::of(Some(&role(10, &[]))).should_wait());
        let mut replicas = Replicas::of(Some(&role(10, &[10, 9])));
        assert!(replicas.should_wait() && replicas.record_wait(true));
        assert!(!replicas.record_wait(false));
        tokio::time::advance(FENCE / 2).await;
        assert!(replicas.should_wait() && !replicas.record_wait(false));
        tokio::time::advance(FENCE).await;
        assert!(replicas.record_wait(false));
        assert!(!replicas.should_wait());
        replicas.update(Some(&role(20, &[10, 12])));
        assert!(!replicas.should_wait(), "they have yet to reach 20");
        replicas.update(Some(&role(30, &[20, 12])));
        assert!(replicas.should_wait());
    }

    #[tokio::test(start_paused = true)]
    async fn appends_at_a_master_that_lost_all_replicas_are_not_acknowledged_at_first() {
        let mut replicas = Replicas::of(Some(&role(10, &[10])));
        replicas.update(Some(&role(20, &[])));
        assert!(replicas.should_wait() && !replicas.record_wait(false));
        replicas.update(Some(&role(30, &[30])));
        assert!(replicas.should_wait() && replicas.record_wait(true));
    }
}
