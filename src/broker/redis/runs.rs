//! The leases of runs in Redis.

use std::time::Duration;

use ::redis::Value;

use super::history::calls;
use super::queries::{Queries, UNEXPECTED_REPLY};
use crate::broker::run::RunState;
use crate::broker::unavailable::Unavailable;
use crate::publication::Channel;

/// Renews and checks leases.
pub struct RedisRuns {
    pub queries: Queries,
}

impl RedisRuns {
    /// Renews the lease of a run. Returns how long it lasts.
    pub async fn renew(&self, channel: Channel) -> Result<Duration, Unavailable> {
        let mut command = ::redis::cmd("FCALL");
        command.arg("tidegate_renew").arg(1).arg(self.queries.context.name(&channel));
        match self.queries.call(channel, command).await? {
            Value::Int(millis) => {
                Ok(Duration::from_millis(u64::try_from(millis).unwrap_or_default()))
            }
            _ => Err(UNEXPECTED_REPLY),
        }
    }

    /// The state of the run on each channel, in their order.
    pub async fn check(&self, channels: &[Channel]) -> Vec<Result<RunState, Unavailable>> {
        let call = |channel: &Channel| {
            let mut command = ::redis::cmd("FCALL");
            command.arg("tidegate_run_check").arg(1).arg(self.queries.context.name(channel));
            (channel.clone(), command)
        };
        let answers = self.queries.call_each(channels.iter().map(call).collect()).await;
        answers.into_iter().map(|answer| state(&answer?).ok_or(UNEXPECTED_REPLY)).collect()
    }
}

/// The reply of `tidegate_run_check`. `None`: another reply.
fn state(answer: &Value) -> Option<RunState> {
    Some(match answer {
        Value::Nil => RunState::None,
        Value::Int(millis) => RunState::Open(Duration::from_millis(u64::try_from(*millis).ok()?)),
        other => RunState::Ended(calls::end(other)??.position),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reply_to_a_check_is_the_rest_of_the_lease_or_the_end() {
        let of = |reply: &str| state(&::redis::parse_redis_value(reply.as_bytes()).unwrap());
        assert_eq!(of("$-1\r\n"), Some(RunState::None));
        assert_eq!(of(":1500\r\n"), Some(RunState::Open(Duration::from_millis(1500))));
        let ended = Some(RunState::Ended("7-5".parse().unwrap()));
        assert_eq!(of("*2\r\n$3\r\n7-5\r\n$4\r\ndone\r\n"), ended);
        for other in ["*1\r\n:1\r\n", ":-1\r\n", "+soon\r\n"] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
