//! What the errors of Redis mean, by their code.

use ::redis::RedisError;

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

    /// Of an error as the crate has it.
    pub fn of_error(error: &RedisError) -> Option<Self> {
        Self::of(error.code().unwrap_or_default(), error.detail().unwrap_or_default())
    }

    /// Of an error as the server wrote it.
    pub fn of_line(error: &[u8]) -> Option<Self> {
        let error = std::str::from_utf8(error).ok()?;
        let (code, details) = error.split_once(' ').unwrap_or((error, ""));
        Self::of(code, details)
    }
}

/// Is it the error of a server that takes no writes now, and still answers what is read?
pub fn refuses_writes(error: &RedisError) -> bool {
    error.code().is_some_and(|code| matches!(code, "OOM" | "MISCONF" | "NOREPLICAS" | "READONLY"))
}
