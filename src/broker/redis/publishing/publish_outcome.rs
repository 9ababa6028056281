//! What the reply of Redis means for a publication.

use ::redis::{ServerError, Value};

use crate::broker::redis::connection::cause::{Cause, run_refusal};
use crate::broker::unavailable::Unavailable;
use crate::publication::Position;

pub const UNANSWERED: Unavailable =
    Unavailable("redis did not answer: it may or may not have published the publication");

pub const SPLIT: Unavailable =
    Unavailable("redis is half way through moving the channel to another master");

/// The outcome of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishOutcome {
    /// It was published; at this position where the channel keeps history.
    Published(Option<Position>),
    /// It was certainly not published, and its publisher gets the error.
    Refused(Unavailable),
    /// It was certainly not published, and may be retried.
    Retry(Cause),
}

impl PublishOutcome {
    pub fn of(answer: &Value) -> Self {
        match answer {
            Value::ServerError(error) => Self::of_error(error),
            Value::BulkString(bytes) => Self::Published(position(bytes)),
            Value::SimpleString(text) => Self::Published(text.parse().ok()),
            _ => Self::Published(None),
        }
    }

    /// Why it is retried. `None`: it is not.
    pub fn cause(self) -> Option<Cause> {
        match self {
            Self::Retry(cause) => Some(cause),
            Self::Published(_) | Self::Refused(_) => None,
        }
    }

    fn of_error(error: &ServerError) -> Self {
        let cause = Cause::of(error.code(), error.details().unwrap_or_default());
        match (cause, error.code()) {
            (Some(cause), _) => Self::Retry(cause),
            (None, code) if let Some(why) = run_refusal(code) => Self::Refused(why),
            (None, "OOM") => refused("redis is out of memory"),
            (None, "NOPERM") => refused("redis does not permit it"),
            (None, "MISCONF") => refused("redis cannot save to its disk and accepts no writes"),
            (None, "BUSY") => refused("redis is busy with a script"),
            (None, _) => refused("redis refused the publication"),
        }
    }
}

fn refused(why: &'static str) -> PublishOutcome {
    PublishOutcome::Refused(Unavailable(why))
}

fn position(bytes: &[u8]) -> Option<Position> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(reply: &str) -> PublishOutcome {
        let value = ::redis::parse_redis_value(reply.as_bytes()).unwrap();
        PublishOutcome::of(&value)
    }

    #[test]
    fn replies_are_classified_by_whether_the_publication_may_be_retried() {
        let position = Position { epoch: 1763, seq: 41 };
        assert_eq!(of(":3\r\n"), PublishOutcome::Published(None));
        assert_eq!(of("$7\r\n1763-41\r\n"), PublishOutcome::Published(Some(position)));
        assert_eq!(of("$-1\r\n"), PublishOutcome::Published(None));
        for (reply, cause) in [
            ("-MOVED 3999 127.0.0.1:6381\r\n", Cause::Moved),
            ("-ASK 3999 127.0.0.1:6381\r\n", Cause::Ask),
            ("-READONLY You can't write against a read only replica.\r\n", Cause::Moved),
            ("-CLUSTERDOWN The cluster is down\r\n", Cause::Moved),
            ("-MASTERDOWN Link with MASTER is down\r\n", Cause::Moved),
            ("-LOADING Redis is loading the dataset in memory\r\n", Cause::Busy),
            ("-TRYAGAIN Multiple keys request during rehashing of slot\r\n", Cause::TryAgain),
            (
                "-ERR Script attempted to access a non local key in a cluster node\r\n",
                Cause::TryAgain,
            ),
            ("-TURNING other rules for the history are about to hold\r\n", Cause::Busy),
            ("-NOREPLICAS Not enough good replicas to write.\r\n", Cause::Busy),
            ("-ERR Function not found\r\n", Cause::NoFunction),
            (
                "-TIDEGATE no node has installed the rules for the prefix of a:h\r\n",
                Cause::NoFunction,
            ),
        ] {
            assert_eq!(of(reply), PublishOutcome::Retry(cause), "{reply}");
        }
        for (reply, why) in [
            ("-ENDED the run has ended: done\r\n", "the run has ended"),
            ("-NORUN no run: the rule of this channel has no run\r\n", "no run"),
            ("-OOM command not allowed when used memory > 'maxmemory'.\r\n", "out of memory"),
            ("-NOPERM No permissions\r\n", "permit"),
            ("-MISCONF Redis is configured to save\r\n", "disk"),
            ("-BUSY Redis is busy\r\n", "script"),
            ("-ERR unknown command\r\n", "refused"),
        ] {
            match of(reply) {
                PublishOutcome::Refused(Unavailable(text)) => assert!(text.contains(why), "{text}"),
                other => panic!("{reply}: {other:?}"),
            }
        }
    }
}
