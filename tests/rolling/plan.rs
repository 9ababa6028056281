//! How large the run is, as the environment says: `SEED`, `ROLLING`, `HISTORY`.

use std::env;
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub length: Length,
    /// Without it clients cannot resume, and the run has to fail: the proof that the checker sees a loss.
    pub history: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Half a minute.
    Short,
    /// As many clients as two cores carry beside everything else.
    Long,
}

impl Plan {
    /// Fails, saying what is allowed, where a variable makes no sense.
    pub fn from_environment() -> Result<Self, String> {
        let seed = match env::var("SEED") {
            Ok(text) => text.parse().map_err(|_| format!("SEED={text} is no whole number"))?,
            Err(_) => u64::from(rand::random::<u32>()),
        };
        let length = match env::var("ROLLING").as_deref() {
            Ok("long") => Length::Long,
            Ok("short" | "") | Err(_) => Length::Short,
            Ok(other) => return Err(format!("ROLLING={other} is neither short nor long")),
        };
        let history = match env::var("HISTORY").as_deref() {
            Ok("off") => false,
            Ok("on" | "") | Err(_) => true,
            Ok(other) => return Err(format!("HISTORY={other} is neither on nor off")),
        };
        Ok(Self { seed, length, history })
    }
}

impl Length {
    /// As `ROLLING` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Long => "long",
        }
    }

    pub fn clients(self) -> usize {
        match self {
            Self::Short => 300,
            Self::Long => 3000,
        }
    }

    /// Channels that each client has one of, beside the one that all have.
    pub fn rooms(self) -> usize {
        match self {
            Self::Short => 20,
            Self::Long => 100,
        }
    }

    /// `drain.delay`: longer than balancers take to notice, which is 2 s with the files of `deploy`.
    pub fn delay(self) -> Duration {
        match self {
            Self::Short => Duration::from_secs(3),
            Self::Long => Duration::from_secs(5),
        }
    }

    /// `drain.period`.
    pub fn period(self) -> Duration {
        match self {
            Self::Short => Duration::from_secs(2),
            Self::Long => Duration::from_secs(20),
        }
    }

    /// `drain.reconnects_per_second`: below what the closes alone would bring, so that most clients of a
    /// node with half of them all have to be told to wait.
    pub fn reconnects_per_second(self) -> u32 {
        match self {
            Self::Short => 40,
            Self::Long => 50,
        }
    }

    /// The mean pause of each publisher.
    pub fn pause(self) -> Duration {
        match self {
            Self::Short => Duration::from_millis(500),
            Self::Long => Duration::from_secs(4),
        }
    }
}
