//! Tokens made by another implementation, and all kinds of invalid tokens.

mod arbitrary;
mod configured;
mod cost;
mod holds;
mod keys;
mod refusals;
mod vectors;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, EncodingKey, crypto};
use serde_json::{Value, json};

use super::*;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// The time of all tests, in seconds since 1970.
const NOW: u64 = 1_800_000_000;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn terms() -> RequiredClaims {
    RequiredClaims {
        leeway: Duration::from_secs(5),
        require_expiry: true,
        ..RequiredClaims::default()
    }
}

/// A verification key, and the matching signing key of another implementation.
struct SigningPair {
    key: VerificationKey,
    /// The private key, or the secret.
    private: String,
    /// The public key; empty for a secret.
    public: String,
    theirs: jsonwebtoken::Algorithm,
    their_key: DecodingKey,
    signing: EncodingKey,
}

impl SigningPair {
    fn new(algorithm: Algorithm) -> Self {
        use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256};
        let (theirs, kind) = match algorithm {
            Algorithm::HS256 => {
                return Self {
                    key: VerificationKey::secret(Some("a"), SECRET),
                    private: String::from_utf8(SECRET.to_vec()).unwrap(),
                    public: String::new(),
                    theirs: jsonwebtoken::Algorithm::HS256,
                    their_key: DecodingKey::from_secret(SECRET),
                    signing: EncodingKey::from_secret(SECRET),
                };
            }
            Algorithm::RS256 => (jsonwebtoken::Algorithm::RS256, &PKCS_RSA_SHA256),
            Algorithm::ES256 => (jsonwebtoken::Algorithm::ES256, &PKCS_ECDSA_P256_SHA256),
            Algorithm::EdDSA => (jsonwebtoken::Algorithm::EdDSA, &PKCS_ED25519),
        };
        let pair = rcgen::KeyPair::generate_for(kind).unwrap();
        let (private, public) = (pair.serialize_pem(), pair.public_key_pem());
        let (key, none) = pem::read(Some("a"), algorithm, public.as_bytes()).unwrap();
        assert!(none.is_none(), "a public key cannot sign");
        let (their_key, signing) = match algorithm {
            Algorithm::ES256 => (
                DecodingKey::from_ec_pem(public.as_bytes()),
                EncodingKey::from_ec_pem(private.as_bytes()),
            ),
            Algorithm::EdDSA => (
                DecodingKey::from_ed_pem(public.as_bytes()),
                EncodingKey::from_ed_pem(private.as_bytes()),
            ),
            _ => (
                DecodingKey::from_rsa_pem(public.as_bytes()),
                EncodingKey::from_rsa_pem(private.as_bytes()),
            ),
        };
        let (their_key, signing) = (their_key.unwrap(), signing.unwrap());
        Self { key, private, public, theirs, their_key, signing }
    }

    fn header(&self) -> String {
        json!({ "typ": "JWT", "alg": self.key.algorithm.name(), "kid": "a" }).to_string()
    }

    fn token(&self, claims: &str) -> String {
        self.signed(&self.header(), claims)
    }

    /// Signs header and claims unchanged, even if they are not JSON.
    fn signed(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = crypto::sign(message.as_bytes(), &self.signing, self.theirs).unwrap();
        format!("{message}.{signature}")
    }

    fn checked(&self, token: &str) -> Result<Identity, TokenRefused> {
        check(token, [&self.key].into_iter(), &terms(), now())
    }
}

fn encode(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// Valid claims, overridden by these.
fn claims(over: Value) -> String {
    let mut all = json!({ "sub": "ada", "exp": NOW + 60 });
    all.as_object_mut().unwrap().extend(over.as_object().unwrap().clone());
    all.to_string()
}

fn refused(result: Result<Identity, TokenRefused>) -> Option<TokenRefused> {
    result.err()
}
