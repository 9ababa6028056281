//! Where a key comes from: the `[[auth.keys]]` of the configuration.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::key::InvalidKey;
use super::{Algorithm, Key, Signer, pem};
use crate::settings::{Section, Settings};

/// Shortest secret that is taken, in bytes: anything less is a typing error.
pub const SECRET_BYTES_MIN: usize = 8;

/// A secret of fewer bytes is warned of: HS256 must have as many as its hash (RFC 7518, section 3.2).
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
}

impl Source {
    pub fn signer(&self) -> Option<&Signer> {
        match self {
            Self::Key { signer, .. } => signer.as_deref(),
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
            _ if secret.len() < SECRET_BYTES_MIN => Err(InvalidKey("has fewer than 8 bytes")),
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
        "The key's name, as it is in tokens' headers.",
    );
    let algorithm = section.text(
        "alg",
        None,
        Algorithm::ALLOWED,
        Algorithm::parse,
        |algorithm| algorithm.name().to_owned(),
        "How its tokens are signed. Must be given, but for `jwks`, where it leaves out keys of \
         other algorithms. Tokens that say another are not checked with it.",
    );
    let secret = section.parsed(
        "secret",
        None,
        "at least 8 bytes, and no PEM",
        |text| {
            let fits = text.len() >= SECRET_BYTES_MIN && !pem::is_pem(text.as_bytes());
            fits.then(|| text.to_owned())
        },
        |_| "***".to_owned(),
        "For HS256: the bytes of this text, 32 or more of them.",
    );
    let file = section.text(
        "file",
        None,
        "a file's path",
        |path| (!path.is_empty()).then(|| path.to_owned()),
        Clone::clone,
        "A file with the key. For HS256 the secret, without the end of its line; else PEM: a public \
         key, a certificate, or a private key, with which `tidegate token` can sign.",
    );
    let given = ["secret", "file"].into_iter().filter(|key| section.is_given(key)).count();
    if given != 1 {
        section.fault("secret", "give one of secret and file");
        return None;
    }
    if !section.is_given("alg") {
        section.fault("alg", format!("must be given: {}", Algorithm::ALLOWED));
    }
    let (algorithm, kid) = (algorithm?, kid.as_deref());
    if section.is_given("secret") {
        if algorithm != Algorithm::HS256 {
            let what = format!("is for HS256; {} takes a key from a file", algorithm.name());
            section.fault("secret", what);
            return None;
        }
        return Some(Source::of_secret(kid, secret?.as_bytes()));
    }
    let file = file?;
    let bytes = match contents(Path::new(&file)) {
        Ok(bytes) => bytes,
        Err(error) => {
            section.fault("file", format!("{file} cannot be read: {error}"));
            return None;
        }
    };
    match Source::of_file(kid, algorithm, &bytes) {
        Ok(source) => Some(source),
        Err(error) => {
            section.fault("file", format!("the key in {file} {error}"));
            None
        }
    }
}

fn contents(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > FILE_BYTES_MAX {
        true => Err(std::io::Error::other("it has more than 64 KiB")),
        false => Ok(bytes),
    }
}
