//! The `[auth]` section.

use std::time::Duration;

use super::required_claims::RequiredClaims;
use super::source::KeySource;
use super::{Signer, VerificationKey, key_table};
use crate::settings::{ListenAddress, Settings};

/// Most keys of a configuration. A rotation needs two.
pub const KEYS_MAX: usize = 32;

/// How clients prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They do not: everyone may do everything.
    None,
    /// By a signed token.
    Token,
}

/// The `[auth]` section.
#[derive(Clone, Debug)]
pub struct Config {
    pub mode: Mode,
    /// What a token must say.
    pub terms: RequiredClaims,
    /// How long a stranger may stay to show a token, where no rule has anything for strangers.
    pub timeout: Duration,
    /// How long a revocation is remembered.
    pub revocation_age: Duration,
    /// What tokens are checked with.
    pub keys: Vec<KeySource>,
}

impl Config {
    /// `listen`: the public listener. Beyond loopback an open node has to be asked for in so many
    /// words: nobody should find out from a stranger.
    pub fn read(settings: &mut Settings, listen: ListenAddress) -> Self {
        // Whoever gives keys means them to be asked for, also where a template left the list empty.
        let default = if settings.is_given("auth.keys") { "token" } else { "none" };
        let mode = settings.section("auth").choice(
            "mode",
            default,
            &[("none", Mode::None), ("token", Mode::Token)],
            "How clients prove who they are: `token`, by a signed token; `none`, not at all: \
             everyone may do everything. Left open, it is `token` where `auth.keys` are given, else \
             `none`, which must be written out where `server.listen` is not loopback.",
        );
        let (terms, timeout, revocation_age) = terms(settings);
        // Last: in TOML, a list of tables follows everything else.
        let keys = key_table::read(settings, KEYS_MAX);
        check(settings, mode, listen, &keys);
        Self { mode, terms, timeout, revocation_age, keys: keys.into_iter().flatten().collect() }
    }

    /// The key to sign with: the first that can, or the one of that kid.
    pub fn signer(&self, kid: Option<&str>) -> Option<&Signer> {
        let mut signers = self.keys.iter().filter_map(KeySource::signer);
        match kid {
            Some(_) => signers.find(|signer| signer.kid.as_deref() == kid),
            None => signers.next(),
        }
    }

    /// Issuers whose keys come in the clear from another host: whoever can exchange them there makes tokens.
    pub fn exposed_jwks(&self) -> impl Iterator<Item = String> {
        self.keys.iter().filter_map(|source| match source {
            KeySource::Jwks(jwks) if jwks.address.is_exposed() => Some(jwks.address.to_string()),
            _ => None,
        })
    }

    /// The key that checks what the signer signs.
    pub fn key_of(&self, signer: &Signer) -> Option<&VerificationKey> {
        match self.source_of(signer)? {
            KeySource::Key { key, .. } => Some(key),
            KeySource::Jwks(_) => None,
        }
    }

    /// Could whoever has a token that the signer signed guess its secret?
    pub fn is_short(&self, signer: &Signer) -> bool {
        self.source_of(signer).is_some_and(KeySource::is_short)
    }

    fn source_of(&self, signer: &Signer) -> Option<&KeySource> {
        self.keys.iter().find(|source| source.signer().is_some_and(|it| std::ptr::eq(it, signer)))
    }
}

/// Faults of the mode and the keys together. Beyond loopback a node must not be open, nor have secrets that can be guessed, by
/// mistake.
fn check(settings: &mut Settings, mode: Mode, listen: ListenAddress, keys: &[Option<KeySource>]) {
    match mode {
        Mode::None if !listen.ip().is_loopback() && !settings.is_given("auth.mode") => {
            settings.fault(
                "auth.mode",
                format!(
                    "server.listen = {listen} is reachable from elsewhere and nobody has to \
                     prove who they are; configure auth.keys, or write auth.mode = \"none\" if \
                     that is meant"
                ),
            );
        }
        Mode::Token
            if !listen.ip().is_loopback() && keys.iter().flatten().any(KeySource::is_short) =>
        {
            settings.fault(
                "auth.keys",
                "has an HS256 secret of fewer than 32 bytes, which whoever has a token can guess; \
                 make one with openssl rand -base64 32",
            );
        }
        // Keys with faults have been told of.
        Mode::Token if keys.is_empty() => settings
            .fault("auth.mode", "is \"token\", and there are no auth.keys to check tokens with"),
        _ => {}
    }
}

fn terms(settings: &mut Settings) -> (RequiredClaims, Duration, Duration) {
    const SECOND: Duration = Duration::from_secs(1);
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let mut section = settings.section("auth");
    let name = |text: &str| (!text.is_empty() && text.len() <= 1024).then(|| text.to_owned());
    let terms = RequiredClaims {
        issuer: section.text(
            "issuer",
            None,
            "1 to 1024 bytes",
            name,
            Clone::clone,
            "The claim `iss` of a token must be this. Not set: it may be anything.",
        ),
        audience: section.list(
            "audience",
            "a list of texts of 1 to 1024 bytes",
            |text| name(text).is_some(),
            "The claim `aud` of a token, a text or a list, must name one of these. Empty: it may be \
             anything.",
        ),
        leeway: section.duration(
            "leeway",
            "5s",
            Duration::ZERO..=300 * SECOND,
            "How far the clocks of this node and of whoever signs tokens may be apart: `exp` and \
             `nbf` are taken that much more kindly.",
        ),
        require_expiry: section
            .flag("require_expiry", Some(true), "Is a token without `exp` refused?")
            .unwrap_or(true),
    };
    let timeout = section.duration(
        "timeout",
        "10s",
        Duration::from_millis(100)..=600 * SECOND,
        "Who has shown no token by then is closed with 4001, where no rule lets strangers do anything.",
    );
    let revocation_age = section.duration(
        "revocation_age",
        "30d",
        60 * SECOND..=366 * DAY,
        "How long a revocation is remembered: at least as long as the longest-lived token.",
    );
    (terms, timeout, revocation_age)
}
