//! The replicas of a master: what is appended to a history is acknowledged once one of them has it, so
//! that it outlives a failover. Also one that should not have been: a master that was replaced while
//! it lived notices it by its replicas' leaving.

use std::time::Duration;

use ::redis::Value;
use tokio::time::Instant;

use crate::telemetry;

/// How long a batch waits for a replica.
pub const REPLICA_TIMEOUT: Duration = Duration::from_millis(500);

/// How long what no replica confirms is not acknowledged. A master that all its replicas have left at
/// once has most likely been replaced, and is told so within this time; what it takes meanwhile is
/// lost. After it, they are slow or gone, and publishing goes on without them.
const FENCE: Duration = Duration::from_secs(3);

/// What is known of a master's replicas.
#[derive(Debug, Default)]
pub struct Replicas {
    /// How many are connected.
    count: usize,
    /// Since when none has confirmed anything.
    unconfirmed_since: Option<Instant>,
    /// They are not waited for before one of them has what the master had when this was noticed.
    is_late: bool,
    target: Option<u64>,
}

impl Replicas {
    /// As the master's `ROLE` says.
    pub fn of(role: Option<&Value>) -> Self {
        let mut replicas = Self::default();
        replicas.counted(role);
        replicas
    }

    /// Are they waited for?
    pub fn are_waited_for(&self) -> bool {
        !self.is_late && (self.count > 0 || self.unconfirmed_since.is_some())
    }

    /// A batch was waited for; did one of them confirm it? False: it is not to be acknowledged.
    pub fn waited(&mut self, confirmed: bool) -> bool {
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
    pub fn counted(&mut self, role: Option<&Value>) {
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

/// Does `ROLE` say that the server is a replica? A server that does not answer it, for want of permission, is believed to be
/// what its address promises.
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
    async fn what_no_replica_confirms_is_not_acknowledged_until_they_are_given_up() {
        assert!(!Replicas::of(Some(&role(10, &[]))).are_waited_for());
        let mut replicas = Replicas::of(Some(&role(10, &[10, 9])));
        assert!(replicas.are_waited_for() && replicas.waited(true));
        assert!(!replicas.waited(false));
        tokio::time::advance(FENCE / 2).await;
        assert!(replicas.are_waited_for() && !replicas.waited(false));
        tokio::time::advance(FENCE).await;
        assert!(replicas.waited(false));
        assert!(!replicas.are_waited_for());
        replicas.counted(Some(&role(20, &[10, 12])));
        assert!(!replicas.are_waited_for(), "they have yet to reach 20");
        replicas.counted(Some(&role(30, &[20, 12])));
        assert!(replicas.are_waited_for());
    }

    #[tokio::test(start_paused = true)]
    async fn a_master_that_all_have_left_is_not_believed_at_once() {
        let mut replicas = Replicas::of(Some(&role(10, &[10])));
        replicas.counted(Some(&role(20, &[])));
        assert!(replicas.are_waited_for() && !replicas.waited(false));
        replicas.counted(Some(&role(30, &[30])));
        assert!(replicas.are_waited_for() && replicas.waited(true));
    }
}
