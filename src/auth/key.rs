//! A key that verifies tokens. It is bound to one algorithm, whatever a token's header claims.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rsa::{PublicEncryptingKey, PublicKey as RsaPublicKey};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    VerificationAlgorithm,
};

/// A signature algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    HS256,
    RS256,
    ES256,
    EdDSA,
}

/// Verifies signatures.
pub struct VerificationKey {
    /// Its name in tokens' headers. None: it is tried for every token of its algorithm.
    pub kid: Option<Box<str>>,
    pub algorithm: Algorithm,
    kind: KeyKind,
}

enum KeyKind {
    Secret(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

/// Why bytes are not a valid key; the text follows "the key" and quotes nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidKey(pub &'static str);

impl VerificationKey {
    /// For HS256. The caller checks the length.
    pub fn secret(kid: Option<&str>, secret: &[u8]) -> Self {
        let kind = KeyKind::Secret(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret)));
        Self { kid: kid.map(Into::into), algorithm: Algorithm::HS256, kind }
    }

    /// For the other algorithms. `der`: a SubjectPublicKeyInfo; for RSA also PKCS#1, for Ed25519 and P-256 also
    /// the bare point.
    pub fn public(kid: Option<&str>, algorithm: Algorithm, der: &[u8]) -> Result<Self, InvalidKey> {
        let (verification, not_one): (&'static dyn VerificationAlgorithm, _) = match algorithm {
            Algorithm::HS256 => {
                return Err(InvalidKey("is a public key, but HS256 requires a secret"));
            }
            Algorithm::RS256 => {
                return Self::rsa(der).map(|key| Self::of(kid, algorithm, key));
            }
            Algorithm::ES256 => {
                (&ECDSA_P256_SHA256_FIXED, "is not a P-256 key, which ES256 requires")
            }
            Algorithm::EdDSA => (&ED25519, "is not an Ed25519 key, which EdDSA requires"),
        };
        let key = ParsedPublicKey::new(verification, der).map_err(|_| InvalidKey(not_one))?;
        Ok(Self::of(kid, algorithm, key))
    }

    fn of(kid: Option<&str>, algorithm: Algorithm, key: ParsedPublicKey) -> Self {
        Self { kid: kid.map(Into::into), algorithm, kind: KeyKind::Public(key) }
    }

    fn rsa(der: &[u8]) -> Result<ParsedPublicKey, InvalidKey> {
        let no_rsa = InvalidKey("is not an RSA key, which RS256 requires");
        let key = RsaPublicKey::from_der(der).map_err(|_| no_rsa)?;
        let der: PublicKeyX509Der<'_> = key.as_der().map_err(|_| no_rsa)?;
        // Only this type checks the size before a token is verified.
        PublicEncryptingKey::from_der(der.as_ref())
            .map_err(|_| InvalidKey("is an RSA key of less than 2048 bits, or more than 8192"))?;
        ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der.as_ref()).map_err(|_| no_rsa)
    }

    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.kind {
            // Compares in constant time.
            KeyKind::Secret(key) => hmac::verify(key, message, signature).is_ok(),
            KeyKind::Public(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl Algorithm {
    pub const EACH: [Self; 4] = [Self::HS256, Self::RS256, Self::ES256, Self::EdDSA];

    pub const ALLOWED: &str = "one of HS256, RS256, ES256, EdDSA";

    pub fn parse(name: &str) -> Option<Self> {
        Self::EACH.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// The name in tokens' headers.
    pub fn name(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::RS256 => "RS256",
            Self::ES256 => "ES256",
            Self::EdDSA => "EdDSA",
        }
    }
}
