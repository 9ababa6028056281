//! Who may connect: tokens, the keys they are checked with, and what they let their bearer do.

pub mod access;
mod check;
mod claims;
mod config;
mod identity;
mod key;
mod pem;
mod refused;
mod sign;
mod source;
mod token;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use check::{KEYS_TRIED_MAX, Terms, check};
pub use claims::{CHANNELS_MAX, PATTERNS_MAX};
pub use config::{Config, KEYS_MAX, Mode};
pub use identity::Identity;
pub use key::{Algorithm, InvalidKey, Key};
pub use refused::Refused;
pub use sign::{NewClaims, Signer, Unsigned};
pub use source::Source;
pub use token::TOKEN_BYTES_MAX;

use crate::live::Live;
use crate::telemetry;

/// Checks tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Auth(Live<Checker>);

/// What tokens are checked by, until the configuration changes.
#[derive(Debug)]
struct Checker {
    mode: Mode,
    timeout: Duration,
    terms: Terms,
    keys: Vec<Arc<Key>>,
}

impl Auth {
    /// Its tasks run on the current runtime.
    pub fn start(config: &Config) -> Self {
        Self(Live::new(Checker::new(config)))
    }

    /// Must clients prove who they are? With `auth.mode = "none"` there are no tokens.
    pub fn is_on(&self) -> bool {
        self.0.get().mode == Mode::Token
    }

    /// How long a stranger has to show a token where nothing is for strangers.
    pub fn timeout(&self) -> Duration {
        self.0.get().timeout
    }

    /// Whose token it is, and what it lets its bearer do. Waits a bounded time for keys that have
    /// not been fetched.
    pub async fn identify(&self, token: &str) -> Result<Identity, Refused> {
        self.0.current().check(token)
    }

    /// From here on tokens are checked by this configuration.
    pub fn replace(&self, config: &Config) {
        self.0.replace(Checker::new(config));
    }
}

impl Checker {
    fn new(config: &Config) -> Self {
        let Config { mode, timeout, terms, keys, .. } = config;
        let keys = keys.iter().map(|source| match source {
            Source::Key { key, is_short, .. } => {
                if *is_short && *mode == Mode::Token {
                    telemetry::secret_is_short(key.kid.as_deref());
                }
                key.clone()
            }
        });
        Self { mode: *mode, timeout: *timeout, terms: terms.clone(), keys: keys.collect() }
    }

    fn check(&self, token: &str) -> Result<Identity, Refused> {
        match self.mode {
            Mode::None => Err(Refused::NO_TOKENS),
            Mode::Token => {
                check(token, self.keys.iter().map(|key| &**key), &self.terms, SystemTime::now())
            }
        }
    }
}

#[cfg(test)]
mod tests;
