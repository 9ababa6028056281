//! What Redis' answer to a publication means for it.

use ::redis::{ServerError, Value};

use crate::broker::Unavailable;
use crate::publication::Position;

/// What is to become of a publication that Redis has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is published; at this position where the channel keeps history.
    Taken(Option<Position>),
    /// It was surely not published, and its publisher is told.
    Refused(Unavailable),
    /// It was surely not published, and may be again.
    Later(Cause),
}

/// Why Redis did not do it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Another server is the master, or may be.
    Moved,
    /// The slot is on its way to another master, and the key is there, or nowhere.
    Asked,
    /// The slot is on its way to another master, and the keys are not all at one of the two.
    Split,
    /// The server cannot yet; it will.
    Busy,
    /// It does not know the functions, or not this fleet's rules.
    NoFunction,
}

impl Verdict {
    pub fn of(answer: &Value) -> Self {
        match answer {
            Value::ServerError(error) => Self::of_error(error),
            Value::BulkString(bytes) => Self::Taken(position(bytes)),
            Value::SimpleString(text) => Self::Taken(text.parse().ok()),
            _ => Self::Taken(None),
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

/// Is it the code of an error of a server that takes no writes now, and still answers what is read?
pub fn refuses_writes(code: &str) -> bool {
    matches!(code, "OOM" | "MISCONF" | "NOREPLICAS" | "READONLY")
}

impl Cause {
    /// None: asking again would not help.
    pub fn of(code: &str, details: &str) -> Option<Self> {
        match code {
            "ASK" => Some(Self::Asked),
            "TRYAGAIN" => Some(Self::Split),
            // Of a key that a function found missing.
            "ERR" if details.contains("non local key") => Some(Self::Split),
            "MOVED" | "READONLY" | "CLUSTERDOWN" | "MASTERDOWN" => Some(Self::Moved),
            // TURNING: of our own function, shortly before other rules hold.
            "LOADING" | "NOREPLICAS" | "TURNING" => Some(Self::Busy),
            // Another fleet brought its rules at the same time, and was later.
            "TIDEGATE" => Some(Self::NoFunction),
            "ERR" if details.contains("Function not found") => Some(Self::NoFunction),
            _ => None,
        }
    }

    /// Of an error as the server wrote it.
    pub fn of_line(error: &[u8]) -> Option<Self> {
        let error = std::str::from_utf8(error).ok()?;
        let (code, details) = error.split_once(' ').unwrap_or((error, ""));
        Self::of(code, details)
    }
}

fn refused(why: &'static str) -> Verdict {
    Verdict::Refused(Unavailable(why))
}

fn position(bytes: &[u8]) -> Option<Position> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(reply: &str) -> Verdict {
        let value = ::redis::parse_redis_value(reply.as_bytes()).unwrap();
        Verdict::of(&value)
    }

    #[test]
    fn answers_are_told_apart_by_whether_the_publication_may_go_out_again() {
        let position = Position { epoch: 1763, seq: 41 };
        assert_eq!(of(":3\r\n"), Verdict::Taken(None));
        assert_eq!(of("$7\r\n1763-41\r\n"), Verdict::Taken(Some(position)));
        assert_eq!(of("$-1\r\n"), Verdict::Taken(None));
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
            assert_eq!(of(reply), Verdict::Later(cause), "{reply}");
        }
        for (reply, why) in [
            ("-OOM command not allowed when used memory > 'maxmemory'.\r\n", "out of memory"),
            ("-NOPERM No permissions\r\n", "permit"),
            ("-MISCONF Redis is configured to save\r\n", "disk"),
            ("-BUSY Redis is busy\r\n", "script"),
            ("-ERR unknown command\r\n", "refused"),
        ] {
            match of(reply) {
                Verdict::Refused(Unavailable(text)) => assert!(text.contains(why), "{text}"),
                other => panic!("{reply}: {other:?}"),
            }
        }
    }
}
