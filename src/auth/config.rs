//! The `[auth]` section.

use std::time::Duration;

use super::required_claims::RequiredClaims;
use super::source::KeySource;
use super::{Signer, VerificationKey, key_table};
use crate::settings::{ClientListener, Settings};

/// The most keys a configuration may have. A rotation needs two.
pub const KEYS_MAX: usize = 32;

/// How clients authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They do not: every client may use every channel.
    None,
    /// By a signed token.
    Token,
}

/// The `[auth]` section.
#[derive(Clone, Debug)]
pub struct Config {
    pub mode: Mode,
    /// The claims a token must have.
    pub required_claims: RequiredClaims,
    /// How long an anonymous session may take to authenticate where no rule allows anonymous clients anything.
    pub timeout: Duration,
    /// How long a revocation is kept.
    pub revocation_age: Duration,
    /// The keys that verify tokens.
    pub keys: Vec<KeySource>,
}

impl Config {
    /// `listener`: the most exposed one. Beyond loopback, a node without authentication must be configured
    /// explicitly, so that no node is open by mistake.
    pub fn read(settings: &mut Settings, listener: ClientListener) -> Self {
        // A configuration that sets `auth.keys` means to use tokens, even if a template left the list empty.
        let default = if settings.is_set("auth.keys") { "token" } else { "none" };
        let mode = settings.section("auth").choice(
            "mode",
            default,
            &[("none", Mode::None), ("token", Mode::Token)],
            "How clients authenticate: `token`: with a signed token; `none`: not at all, and every client \
             may use every channel. If not set, `token` where `auth.keys` is set, else `none`. If \
             `server.listen` is not loopback, `none` must be set explicitly.",
        );
        let (terms, timeout, revocation_age) = terms(settings);
        // Last: in TOML, a list of tables follows everything else.
        let keys = key_table::read(settings, KEYS_MAX);
        check(settings, mode, listener, &keys);
        Self {
            mode,
            required_claims: terms,
            timeout,
            revocation_age,
            keys: keys.into_iter().flatten().collect(),
        }
    }

    /// The signing key: the first key that can sign, or the one with that `kid`.
    pub fn signer(&self, kid: Option<&str>) -> Option<&Signer> {
        let mut signers = self.keys.iter().filter_map(KeySource::signer);
        match kid {
            Some(_) => signers.find(|signer| signer.kid.as_deref() == kid),
            None => signers.next(),
        }
    }

    /// JWKS URLs fetched without TLS from another host. An attacker on the way could replace the keys and forge tokens.
    pub fn exposed_jwks(&self) -> impl Iterator<Item = String> {
        self.keys.iter().filter_map(|source| match source {
            KeySource::Jwks(jwks) if jwks.address.is_exposed() => Some(jwks.address.to_string()),
            _ => None,
        })
    }

    /// The key that verifies this signer's tokens.
    pub fn key_of(&self, signer: &Signer) -> Option<&VerificationKey> {
        match self.source_of(signer)? {
            KeySource::Key { key, .. } => Some(key),
            KeySource::Jwks(_) => None,
        }
    }

    /// Whether the secret is short enough to be guessed from a token that it signed.
    pub fn is_short(&self, signer: &Signer) -> bool {
        self.source_of(signer).is_some_and(KeySource::is_short)
    }

    fn source_of(&self, signer: &Signer) -> Option<&KeySource> {
        self.keys.iter().find(|source| source.signer().is_some_and(|it| std::ptr::eq(it, signer)))
    }
}

/// Checks the mode and the keys together. Beyond loopback, a node must not be open or use a guessable secret by
/// mistake.
fn check(
    settings: &mut Settings,
    mode: Mode,
    listener: ClientListener,
    keys: &[Option<KeySource>],
) {
    let ClientListener { key, address } = listener;
    match mode {
        Mode::None if listener.is_exposed() && !settings.is_set("auth.mode") => {
            settings.fault(
                "auth.mode",
                format!(
                    "{key} = {address} is reachable from other hosts, and clients do not have \
                     to authenticate; configure auth.keys, or set auth.mode = \"none\" if that is \
                     intended"
                ),
            );
        }
        Mode::Token if listener.is_exposed() && keys.iter().flatten().any(KeySource::is_short) => {
            settings.fault(
                "auth.keys",
                "has an HS256 secret of fewer than 32 bytes, which can be guessed from any token; \
                 make one with openssl rand -base64 32",
            );
        }
        // `keys` includes the keys with faults, which are reported already.
        Mode::Token if keys.is_empty() => settings
            .fault("auth.mode", "is \"token\", but auth.keys has no key to verify tokens with"),
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
            "The value a token's `iss` claim must have. If not set, any value is accepted.",
        ),
        audience: section.list(
            "audience",
            "a list of texts of 1 to 1024 bytes",
            |text| name(text).is_some(),
            "A token's `aud` claim, a text or a list, must contain one of these. If empty, any value \
             is accepted.",
        ),
        leeway: section.duration(
            "leeway",
            "5s",
            Duration::ZERO..=300 * SECOND,
            "The clock difference allowed between this node and the issuer of tokens, when `exp` and \
             `nbf` are checked.",
        ),
        require_expiry: section
            .flag("require_expiry", Some(true), "Whether the node refuses a token without `exp`.")
            .unwrap_or(true),
    };
    let timeout = section.duration(
        "timeout",
        "10s",
        Duration::from_millis(100)..=600 * SECOND,
        "Where no rule allows anonymous clients anything, a session that has not authenticated within this \
         time is closed with 4001.",
    );
    let revocation_age = section.duration(
        "revocation_age",
        "30d",
        60 * SECOND..=366 * DAY,
        "How long a revocation is kept. Must be at least the lifetime of the longest-lived token.",
    );
    (terms, timeout, revocation_age)
}
