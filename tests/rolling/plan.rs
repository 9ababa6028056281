//! The settings from the environment: `SEED`, `ROLLING`, `HISTORY`.

use std::env;
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub length: Length,
    /// Without history clients cannot resume, and the run must fail, which proves that the checker finds a loss.
    pub history: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Half a minute.
    Short,
    /// Two minutes, with as many clients as two cores can run beside the nodes, Redis and HAProxy.
    Long,
}

impl Plan {
    /// Fails with the allowed values if a variable is invalid.
    pub fn from_environment() -> Result<Self, String> {
        let seed = match env::var("SEED") {
            Ok(text) => text.parse().map_err(|_| format!("SEED={text} is not a whole number"))?,
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
    /// The value of `ROLLING`.
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

    /// The number of channels of which each client has one, in addition to the channel that all clients have.
    pub fn group_channels(self) -> usize {
        match self {
            Self::Short => 20,
            Self::Long => 100,
        }
    }

    /// `drain.delay`: longer than a load balancer takes to detect the drain, 2 s with the files of `deploy`.
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

    /// `drain.reconnects_per_second`: below the rate at which the node closes connections, so that most clients
    /// of a node with half of all clients get an `after_ms`.
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
