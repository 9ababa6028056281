//! The settings from the environment: `SEED`, `FAULT`, `CHAOS`.

use std::env;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// The only fault to inject, by name; `None` for all faults of the length.
    pub fault: Option<String>,
    pub length: Length,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// The most important faults, once each: about a minute.
    Short,
    /// Every fault, several times.
    Long,
}

impl Plan {
    /// Fails with the allowed values if a variable is invalid.
    pub fn from_environment() -> Result<Self, String> {
        let seed = match env::var("SEED") {
            Ok(text) => text.parse().map_err(|_| format!("SEED={text} is not a whole number"))?,
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
    /// The value of `CHAOS`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Long => "long",
        }
    }

    /// How often a fault is injected into the same fleet.
    pub fn rounds(self) -> usize {
        match self {
            Self::Short => 1,
            Self::Long => 2,
        }
    }

    /// The duration of faults that must exceed the timeouts of nodes and clients.
    pub fn outage(self) -> Duration {
        match self {
            Self::Short => Duration::from_secs(7),
            Self::Long => Duration::from_secs(15),
        }
    }

    /// The time with traffic before and after a fault.
    pub fn calm(self) -> Duration {
        match self {
            Self::Short => Duration::from_secs(1),
            Self::Long => Duration::from_secs(2),
        }
    }
}
