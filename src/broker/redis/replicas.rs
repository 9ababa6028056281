//! The replicas of a master: what is appended to a history is acknowledged once one of them has it, so
//! that it outlives a failover.

use std::time::Duration;

use ::redis::Value;

use crate::telemetry;

/// How long a batch waits for a replica. Beyond it replicas are too slow to be waited for, or gone
/// without a word.
pub const REPLICA_TIMEOUT: Duration = Duration::from_millis(500);

/// What is known of a master's replicas.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Replicas {
    /// How many are connected.
    count: usize,
    /// None of them confirmed the last batch in time. They are not waited for again before they have
    /// what the master had then.
    behind: Option<u64>,
    late: bool,
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
        self.count > 0 && !self.late
    }

    /// A batch was waited for; did one of them confirm it?
    pub fn waited(&mut self, confirmed: bool) {
        if !confirmed && !self.late {
            telemetry::replicas_are_late(REPLICA_TIMEOUT);
            self.late = true;
            self.behind = None;
        }
    }

    /// `ROLE`: `["master", offset, [[host, port, offset], …]]`.
    pub fn counted(&mut self, role: Option<&Value>) {
        let Some(Value::Array(parts)) = role else { return };
        let (Some(Value::Int(offset)), Some(Value::Array(replicas))) = (parts.get(1), parts.get(2))
        else {
            return;
        };
        self.count = replicas.len();
        if !self.late {
            return;
        }
        let offset = u64::try_from(*offset).unwrap_or_default();
        let target = *self.behind.get_or_insert(offset);
        if replicas.iter().filter_map(offset_of).any(|reached| reached >= target) {
            self.late = false;
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

    #[test]
    fn replicas_are_waited_for_where_there_are_any_and_they_keep_up() {
        assert!(!Replicas::of(Some(&role(10, &[]))).are_waited_for());
        let mut replicas = Replicas::of(Some(&role(10, &[10, 9])));
        replicas.waited(true);
        assert!(replicas.are_waited_for());
        replicas.waited(false);
        assert!(!replicas.are_waited_for());
        replicas.counted(Some(&role(20, &[10, 12])));
        assert!(!replicas.are_waited_for(), "they have yet to reach 20");
        replicas.counted(Some(&role(30, &[20, 12])));
        assert!(replicas.are_waited_for());
    }
}
