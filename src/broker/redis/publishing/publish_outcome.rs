//! What Redis' answer to a publication means for it.

use ::redis::{ServerError, Value};

use crate::broker::redis::connection::cause::Cause;
use crate::broker::unavailable::Unavailable;
use crate::publication::Position;

pub const UNANSWERED: Unavailable =
    Unavailable("redis did not answer: the publication may or may not have gone out");

pub const SPLIT: Unavailable =
    Unavailable("redis is half way through moving the channel to another master");

/// What is to become of a publication that Redis has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishOutcome {
    /// It is published; at this position where the channel keeps history.
    Taken(Option<Position>),
    /// It was surely not published, and its publisher is told.
    Refused(Unavailable),
    /// It was surely not published, and may be again.
    Later(Cause),
}

impl PublishOutcome {
    pub fn of(answer: &Value) -> Self {
        match answer {
            Value::ServerError(error) => Self::of_error(error),
            Value::BulkString(bytes) => Self::Taken(position(bytes)),
            Value::SimpleString(text) => Self::Taken(text.parse().ok()),
            _ => Self::Taken(None),
        }
    }

    /// Why it is to go out again. None: it is not.
    pub fn cause(self) -> Option<Cause> {
        match self {
            Self::Later(cause) => Some(cause),
            Self::Taken(_) | Self::Refused(_) => None,
        }
    }

    fn of_error(error: &ServerError) -> Self {
        let cause = Cause::of(error.code(), error.details().unwrap_or_default());
        match (cause, error.code()) {
            (Some(cause), _) => Self::Later(cause),
            (None, "OOM") => refused("redis is out of memory"),
            (None, "NOPERM") => refused("redis does not permit it"),
            (None, "MISCONF") => refused("redis cannot save to its disk and takes nothing"),
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
    fn answers_are_told_apart_by_whether_the_publication_may_go_out_again() {
        let position = Position { epoch: 1763, seq: 41 };
        assert_eq!(of(":3\r\n"), PublishOutcome::Taken(None));
        assert_eq!(of("$7\r\n1763-41\r\n"), PublishOutcome::Taken(Some(position)));
        assert_eq!(of("$-1\r\n"), PublishOutcome::Taken(None));
        for (reply, cause) in [
            ("-MOVED 3999 127.0.0.1:6381\r\n", Cause::Moved),
            ("-ASK 3999 127.0.0.1:6381\r\n", Cause::Asked),
            ("-READONLY You can't write against a read only replica.\r\n", Cause::Moved),
            ("-CLUSTERDOWN The cluster is down\r\n", Cause::Moved),
            ("-MASTERDOWN Link with MASTER is down\r\n", Cause::Moved),
            ("-LOADING Redis is loading the dataset in memory\r\n", Cause::Busy),
            ("-TRYAGAIN Multiple keys request during rehashing of slot\r\n", Cause::Split),
            ("-ERR Script attempted to access a non local key in a cluster node\r\n", Cause::Split),
            ("-TURNING other rules for the history are about to hold\r\n", Cause::Busy),
            ("-NOREPLICAS Not enough good replicas to write.\r\n", Cause::Busy),
            ("-ERR Function not found\r\n", Cause::NoFunction),
            (
                "-TIDEGATE no node has installed the rules for the prefix of a:h\r\n",
                Cause::NoFunction,
            ),
        ] {
            assert_eq!(of(reply), PublishOutcome::Later(cause), "{reply}");
        }
        for (reply, why) in [
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
