//! The meaning of Redis errors, by their code.

use ::redis::RedisError;

use crate::broker::unavailable::{ENDED, NO_RUN, NO_STREAMS, Unavailable};

/// Why Redis could not do a command now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Another server is the master, or may be.
    Moved,
    /// The slot moves to another master, and the key is there or does not exist.
    Ask,
    /// The slot moves to another master, and the keys are split over both.
    TryAgain,
    /// The server cannot do it yet.
    Busy,
    /// The functions, or this fleet's rules in them, are missing.
    NoFunction,
}

impl Cause {
    /// `None`: retrying would not help.
    pub fn of(code: &str, details: &str) -> Option<Self> {
        match code {
            "ASK" => Some(Self::Ask),
            "TRYAGAIN" => Some(Self::TryAgain),
            // Reported for a key that a function found missing.
            "ERR" if details.contains("non local key") => Some(Self::TryAgain),
            "MOVED" | "READONLY" | "CLUSTERDOWN" | "MASTERDOWN" => Some(Self::Moved),
            // TURNING: from our own function, shortly before changed rules take effect.
            "LOADING" | "NOREPLICAS" | "TURNING" => Some(Self::Busy),
            // Another fleet installed its rules at the same time, and later.
            "TIDEGATE" => Some(Self::NoFunction),
            "ERR" if details.contains("Function not found") => Some(Self::NoFunction),
            _ => None,
        }
    }

    /// The cause of an error from the crate.
    pub fn of_error(error: &RedisError) -> Option<Self> {
        Self::of(error.code().unwrap_or_default(), error.detail().unwrap_or_default())
    }

    /// The cause of an error line from the server.
    pub fn of_line(error: &[u8]) -> Option<Self> {
        let error = std::str::from_utf8(error).ok()?;
        let (code, details) = error.split_once(' ').unwrap_or((error, ""));
        Self::of(code, details)
    }
}

/// What a refusal of the functions for runs means for the caller. None: it is another error.
pub fn run_refusal(code: &str) -> Option<Unavailable> {
    match code {
        "ENDED" => Some(ENDED),
        "NORUN" => Some(NO_RUN),
        "NOSTREAM" => Some(NO_STREAMS),
        _ => None,
    }
}

/// Whether the server takes no writes now but still serves reads.
pub fn refuses_writes(error: &RedisError) -> bool {
    error.code().is_some_and(|code| matches!(code, "OOM" | "MISCONF" | "NOREPLICAS" | "READONLY"))
}
