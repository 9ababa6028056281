//! How much of the suite runs, as the environment says: `SEED`, `FAULT`, `CHAOS`.

use std::env;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// Only this one.
    pub fault: Option<String>,
    pub length: Length,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// The most telling faults, once each: about a minute.
    Short,
    /// Every fault, several times.
    Long,
}

impl Plan {
    /// Fails, saying what is allowed, where a variable makes no sense.
    pub fn from_environment() -> Result<Self, String> {
        let seed = match env::var("SEED") {
            Ok(text) => text.parse().map_err(|_| format!("SEED={text} is no whole number"))?,
            Err(_) => u64::from(rand::random::<u32>()),
        };
        let length = match env::var("CHAOS").as_deref() {
            Ok("long") => Length::Long,
            Ok("short" | "") | Err(_) => Length::Short,
            Ok(other) => return Err(format!("CHAOS={other} is neither short nor long")),
        };
        let fault = env::var("FAULT").ok().filter(|it| !it.is_empty());
        Ok(Self { seed, fault, length })
    }
}

impl Length {
    /// As `CHAOS` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Long => "long",
        }
    }

    /// How often a fault strikes one and the same fleet.
    pub fn rounds(self) -> usize {
        match self {
            Self::Short => 1,
            Self::Long => 2,
        }
    }

    /// How long a fault lasts that is to outlast the timeouts of nodes and clients.
    pub fn outage(self) -> Duration {
        match self {
            Self::Short => Duration::from_secs(7),
            Self::Long => Duration::from_secs(15),
        }
    }

    /// The flow before a fault and after it.
    pub fn calm(self) -> Duration {
        match self {
            Self::Short => Duration::from_secs(1),
            Self::Long => Duration::from_secs(2),
        }
    }
}
