//! Where a key comes from: the `[[auth.keys]]` of the configuration.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use hyper::Uri;

use super::jwks::{Address, Jwks};
use super::key::InvalidKey;
use super::{Algorithm, Key, Signer, pem};
use crate::settings::{Section, Settings};
use crate::tls;

/// A secret of fewer bytes is warned of on loopback, and refused elsewhere: HS256 must have as many as
/// its hash (RFC 7518, section 3.2), or whoever has a token can guess it.
pub const SECRET_BYTES_GOOD: usize = 32;

/// Largest key file, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// A table of `[[auth.keys]]`.
#[derive(Clone, Debug)]
pub enum Source {
    Key {
        key: Arc<Key>,
        /// None: it is a public key.
        signer: Option<Arc<Signer>>,
        /// Its secret has fewer than [`SECRET_BYTES_GOOD`].
        is_short: bool,
    },
    /// Keys that an issuer publishes.
    Jwks(Jwks),
}

impl Source {
    /// Could whoever has a token guess the secret?
    pub fn is_short(&self) -> bool {
        matches!(self, Self::Key { is_short: true, .. })
    }

    pub fn signer(&self) -> Option<&Signer> {
        match self {
            Self::Key { signer, .. } => signer.as_deref(),
            Self::Jwks(_) => None,
        }
    }

    fn of_secret(kid: Option<&str>, secret: &[u8]) -> Self {
        Self::Key {
            key: Arc::new(Key::secret(kid, secret)),
            signer: Some(Arc::new(Signer::secret(kid, secret))),
            is_short: secret.len() < SECRET_BYTES_GOOD,
        }
    }

    fn of_file(kid: Option<&str>, algorithm: Algorithm, bytes: &[u8]) -> Result<Self, InvalidKey> {
        if algorithm != Algorithm::HS256 {
            let (key, signer) = pem::read(kid, algorithm, bytes)?;
            return Ok(Self::Key {
                key: Arc::new(key),
                signer: signer.map(Arc::new),
                is_short: false,
            });
        }
        // Editors end a file with a line, and nobody means it to be part of a secret.
        let secret = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
        match secret {
            b"" => Err(InvalidKey("is empty")),
            // Whoever has the public half could sign.
            _ if pem::is_pem(secret) => Err(InvalidKey("is in PEM, and HS256 takes a secret")),
            _ => Ok(Self::of_secret(kid, secret)),
        }
    }
}

const DOC: &str = "What tokens are checked with; each table has one of `secret`, `file` and `jwks`. A \
    token whose header has a `kid` is checked with the key of that kid, and with keys that have none; \
    one without is tried with every key of its `alg`. To rotate, have the old and the new one for a \
    while.";

const EXAMPLE: &str =
    r#"[{ kid = "2026-11", alg = "HS256", secret = "32 random bytes or more, as text" }]"#;

/// Each table; None: it has faults.
pub fn read(settings: &mut Settings, max: usize) -> Vec<Option<Source>> {
    settings.tables("auth.keys", max, EXAMPLE, DOC, table)
}

fn table(section: &mut Section<'_>) -> Option<Source> {
    let kid = section.text(
        "kid",
        None,
        "1 to 255 bytes without control characters",
        |kid| {
            let fits = (1..=255).contains(&kid.len()) && !kid.chars().any(char::is_control);
            fits.then(|| kid.to_owned())
        },
        Clone::clone,
        "The key's name, as it is in tokens' headers. Not for `jwks`, where each has its own.",
    );
    let algorithm = section.text(
        "alg",
        None,
        Algorithm::ALLOWED,
        Algorithm::parse,
        |algorithm| algorithm.name().to_owned(),
        "How its tokens are signed; one that says otherwise is not checked with it. Must be given, \
         but for `jwks`, where keys of other algorithms are left out.",
    );
    let secret = section.parsed(
        "secret",
        None,
        "at least one byte, and no PEM",
        |text| {
            let fits = !text.is_empty() && !pem::is_pem(text.as_bytes());
            fits.then(|| text.to_owned())
        },
        |_| "***".to_owned(),
        "For HS256: the bytes of this text, 32 or more of them where `server.listen` is not \
         loopback.",
    );
    let file = path(
        section,
        "file",
        "A file with the key. For HS256 the secret, without the end of its line; else PEM: a public \
         key, a certificate, or a private key, with which `tidegate token` can sign.",
    );
    let address = section.parsed(
        "jwks",
        None,
        Address::ALLOWED,
        Address::parse,
        |(uri, _)| Address::shown(uri),
        "Where an issuer publishes its public keys. They are fetched at the start, before they are \
         too old, and when a token names one that is not there.",
    );
    let ca_file = path(
        section,
        "ca_file",
        "For `jwks`: certificate authorities in PEM, trusted in place of the system's.",
    );
    let ways = ["secret", "file", "jwks"];
    let given: Vec<_> = ways.into_iter().filter(|way| section.is_given(way)).collect();
    let is_jwks = given == ["jwks"];
    match given.as_slice() {
        [_] => {}
        [] => section.fault("secret", "one of secret, file and jwks must be given"),
        [_, second, ..] => section.fault(second, "only one of secret, file and jwks can be given"),
    }
    if !is_jwks && !section.is_given("alg") {
        section.fault("alg", format!("must be given: {}", Algorithm::ALLOWED));
    }
    for (key, is_wanted) in [("kid", !is_jwks), ("ca_file", is_jwks)] {
        if !is_wanted && section.is_given(key) {
            let what = if is_jwks { "is not for jwks" } else { "is for jwks only" };
            section.fault(key, what);
        }
    }
    let kid = kid.as_deref();
    match given.as_slice() {
        ["secret"] => of_secret(section, kid, algorithm?, &secret?),
        ["file"] => of_file(section, kid, algorithm?, &file?),
        ["jwks"] => {
            let is_wrong = algorithm.is_none() && section.is_given("alg");
            of_jwks(section, (!is_wrong).then_some(algorithm)?, address?, ca_file.as_deref())
        }
        _ => None,
    }
}

fn path(section: &mut Section<'_>, key: &str, doc: &'static str) -> Option<String> {
    let read = |path: &str| (!path.is_empty()).then(|| path.to_owned());
    section.text(key, None, "a file's path", read, Clone::clone, doc)
}

fn of_secret(
    section: &mut Section<'_>,
    kid: Option<&str>,
    algorithm: Algorithm,
    secret: &str,
) -> Option<Source> {
    if algorithm != Algorithm::HS256 {
        let what = format!("is for HS256; {} takes a key in a file", algorithm.name());
        section.fault("secret", what);
        return None;
    }
    Some(Source::of_secret(kid, secret.as_bytes()))
}

fn of_file(
    section: &mut Section<'_>,
    kid: Option<&str>,
    algorithm: Algorithm,
    file: &str,
) -> Option<Source> {
    let bytes = match contents(Path::new(file)) {
        Ok(bytes) => bytes,
        Err(error) => {
            // Not the path: it is no path where somebody wrote the secret itself.
            section.fault("file", format!("names a file that cannot be read: {error}"));
            return None;
        }
    };
    let source = Source::of_file(kid, algorithm, &bytes);
    source.map_err(|error| section.fault("file", format!("the key in the file {error}"))).ok()
}

fn of_jwks(
    section: &mut Section<'_>,
    only: Option<Algorithm>,
    (uri, is_https): (Uri, bool),
    ca_file: Option<&str>,
) -> Option<Source> {
    if only == Some(Algorithm::HS256) {
        section.fault("alg", "is not for jwks: a secret that is published is none");
        return None;
    }
    let tls = match is_https {
        false => None,
        true => match tls::client(ca_file.map(Path::new)) {
            Ok(tls) => Some(tls),
            Err(error) => {
                section.fault("ca_file", error.to_string());
                return None;
            }
        },
    };
    Some(Source::Jwks(Jwks { address: Address { uri, tls }, only }))
}

fn contents(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > FILE_BYTES_MAX {
        true => Err(std::io::Error::other("it has more than 64 KiB")),
        false => Ok(bytes),
    }
}
