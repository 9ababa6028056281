//! Authentication and access: tokens, the keys that verify them, and what a token allows.

pub mod access;
mod check;
mod claims;
mod config;
pub mod explanation;
mod identity;
mod jwks;
mod key;
mod key_table;
mod pem;
mod required_claims;
mod revocations;
mod sign;
mod source;
mod token;
mod token_refused;
mod verified_tokens;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use check::{KEYS_TRIED_MAX, check};
pub use claims::{CHANNELS_MAX, PATTERNS_MAX};
pub use config::{Config, KEYS_MAX, Mode};
pub use identity::Identity;
pub use jwks::{UnusableKey, keys as keys_of_jwks};
pub use key::{Algorithm, InvalidKey, VerificationKey};
pub use required_claims::RequiredClaims;
pub use revocations::{Revocations, is_until, unix_millis};
pub use sign::{NewClaims, Signer, Unsigned};
pub use source::{KeySource, SECRET_BYTES_GOOD};
pub use token::TOKEN_BYTES_MAX;
pub use token_refused::TokenRefused;

use self::token::ParsedToken;
use crate::live::Live;
use crate::telemetry;
use jwks::{Fetched, Fetching};
use verified_tokens::{Digest, VerifiedTokens};

/// Verifies tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Auth(Live<Checker>);

/// The state for one configuration.
#[derive(Debug)]
struct Checker {
    mode: Mode,
    timeout: Duration,
    required_claims: RequiredClaims,
    /// The keys in the configuration itself.
    keys: Vec<Arc<VerificationKey>>,
    issuers: Vec<Fetching>,
    verified: VerifiedTokens,
}

impl Auth {
    /// Starts tasks on the current runtime.
    pub fn start(config: &Config) -> Self {
        Self(Live::new(Checker::new(config, &[])))
    }

    /// Whether clients authenticate with tokens. With `auth.mode = "none"` there are no tokens.
    pub fn is_on(&self) -> bool {
        self.0.get().mode == Mode::Token
    }

    /// How long an anonymous session may take to authenticate where no rule allows anonymous clients anything.
    pub fn timeout(&self) -> Duration {
        self.0.get().timeout
    }

    /// Verifies a token and returns its identity. Waits a bounded time for keys that have not been fetched.
    pub async fn identify(&self, token: &str) -> Result<Identity, TokenRefused> {
        let checker = self.0.current();
        match checker.check(token, SystemTime::now()) {
            Err(refused) if checker.may_need_other_keys(token, refused) => {
                // All fetches start now, so waiting for all takes no longer than for the slowest.
                let fetching: Vec<_> = checker.issuers.iter().map(Fetching::again).collect();
                for ended in fetching {
                    ended.await;
                }
                let checked = checker.check(token, SystemTime::now());
                checked.map_err(|refused| match checker.may_need_other_keys(token, refused) {
                    true if checker.lacks_keys() => TokenRefused::KEYS_UNAVAILABLE,
                    _ => refused,
                })
            }
            checked => checked,
        }
    }

    /// The wall clock stepped. Fetched keys may be older than they seem, as after a machine was suspended, so the
    /// node fetches them again.
    pub fn clock_stepped(&self) {
        for issuer in &self.0.current().issuers {
            // The fetch runs without its future being polled.
            drop(issuer.again());
        }
    }

    /// Verifies tokens by this configuration from now on.
    pub fn replace(&self, config: &Config) {
        let before = self.0.current();
        self.0.replace(Checker::new(config, &before.issuers));
    }
}

impl Checker {
    /// `before`: the issuers of the previous configuration, whose keys are reused.
    fn new(config: &Config, before: &[Fetching]) -> Self {
        let Config { mode, timeout, required_claims: terms, keys: sources, .. } = config;
        let (mut keys, mut issuers) = (Vec::new(), Vec::new());
        let sources = sources.iter().filter(|_| *mode == Mode::Token);
        if *mode == Mode::Token {
            config.exposed_jwks().for_each(|address| telemetry::jwks_is_exposed(&address));
        }
        for source in sources {
            match source {
                KeySource::Key { key, is_short, .. } => {
                    if *is_short {
                        telemetry::secret_is_short(key.kid.as_deref());
                    }
                    keys.push(key.clone());
                }
                KeySource::Jwks(jwks) => issuers.push(Fetching::start(jwks, before)),
            }
        }
        let (mode, timeout, terms, seen) =
            (*mode, *timeout, terms.clone(), VerifiedTokens::default());
        Self { mode, timeout, required_claims: terms, keys, issuers, verified: seen }
    }

    fn check(&self, token: &str, now: SystemTime) -> Result<Identity, TokenRefused> {
        if self.mode == Mode::None {
            return Err(TokenRefused::NO_TOKENS);
        }
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenRefused::TOO_LONG);
        }
        let fetched: Vec<Arc<Fetched>> = self.issuers.iter().map(Fetching::fetched).collect();
        let keys = self.keys.iter().chain(fetched.iter().flat_map(|fetched| &fetched.keys));
        let keys = keys.map(|key| &**key);
        let version = fetched.iter().map(|fetched| fetched.version).sum();
        let digest = Digest::of(token);
        let claims = match self.verified.get(digest, version) {
            Some(claims) => claims,
            None => {
                let claims = Arc::new(check::verified(token, keys, &self.required_claims)?);
                self.verified.put(digest, version, claims.clone(), token.len());
                claims
            }
        };
        claims.identity(self.required_claims.leeway, now)
    }

    /// Whether the token may be valid with keys that have not been fetched.
    fn may_need_other_keys(&self, token: &str, refused: TokenRefused) -> bool {
        match refused {
            TokenRefused::KEY => !self.issuers.is_empty(),
            // A token without a kid was checked with all fetched keys; with a kid, it may name a configured key.
            TokenRefused::SIGNATURE => self.lacks_keys() && !self.has_its_key(token),
            _ => false,
        }
    }

    /// Whether the token names a key in the configuration itself.
    fn has_its_key(&self, token: &str) -> bool {
        let kid = ParsedToken::parse(token).ok().and_then(|token| token.kid);
        kid.is_some() && self.keys.iter().any(|key| key.kid == kid)
    }

    /// Whether the keys of an issuer are missing.
    fn lacks_keys(&self) -> bool {
        self.issuers.iter().any(|issuer| issuer.fetched().keys.is_empty())
    }
}

#[cfg(test)]
mod tests;
