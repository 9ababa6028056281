//! The source of a key: the configuration itself, a file, or an issuer.

use std::sync::Arc;

use super::jwks::Jwks;
use super::key::InvalidKey;
use super::{Algorithm, Signer, VerificationKey, pem};

/// A shorter secret causes a warning on loopback, and a fault elsewhere: HS256 needs at least the length of its
/// hash (RFC 7518, section 3.2), or the secret can be guessed from a token.
pub const SECRET_BYTES_GOOD: usize = 32;

/// A table of `[[auth.keys]]`.
#[derive(Clone, Debug)]
pub enum KeySource {
    Key {
        key: Arc<VerificationKey>,
        /// None: it is a public key.
        signer: Option<Arc<Signer>>,
        /// Its secret has fewer than [`SECRET_BYTES_GOOD`] bytes.
        is_short: bool,
    },
    /// Keys that an issuer publishes.
    Jwks(Jwks),
}

impl KeySource {
    /// Whether the secret can be guessed from a token.
    pub fn is_short(&self) -> bool {
        matches!(self, Self::Key { is_short: true, .. })
    }

    pub fn signer(&self) -> Option<&Signer> {
        match self {
            Self::Key { signer, .. } => signer.as_deref(),
            Self::Jwks(_) => None,
        }
    }

    pub fn of_secret(kid: Option<&str>, secret: &[u8]) -> Self {
        Self::Key {
            key: Arc::new(VerificationKey::secret(kid, secret)),
            signer: Some(Arc::new(Signer::secret(kid, secret))),
            is_short: secret.len() < SECRET_BYTES_GOOD,
        }
    }

    pub fn of_file(
        kid: Option<&str>,
        algorithm: Algorithm,
        bytes: &[u8],
    ) -> Result<Self, InvalidKey> {
        if algorithm != Algorithm::HS256 {
            let (key, signer) = pem::read(kid, algorithm, bytes)?;
            return Ok(Self::Key {
                key: Arc::new(key),
                signer: signer.map(Arc::new),
                is_short: false,
            });
        }
        // Editors end a file with a line feed, which is not part of the secret.
        let secret = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
        match secret {
            b"" => Err(InvalidKey("is empty")),
            // A public key as a secret would let everyone sign.
            _ if pem::is_pem(secret) => Err(InvalidKey("is in PEM, but HS256 requires a secret")),
            _ => Ok(Self::of_secret(kid, secret)),
        }
    }
}
