//! Signs tokens, for `tidegate token`: nodes only verify them.

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::Algorithm;

/// A key that can sign.
pub struct Signer {
    pub kid: Option<Box<str>>,
    algorithm: Algorithm,
    signing: Signing,
}

pub enum Signing {
    Secret(Box<hmac::Key>),
    Rsa(Box<RsaKeyPair>),
    Ec(Box<EcdsaKeyPair>),
    Ed(Box<Ed25519KeyPair>),
}

/// The cryptography failed, although the key could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key did not sign")]
pub struct Unsigned;

/// The claims of a new token; times in seconds since 1970.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NewClaims {
    pub sub: String,
    pub iat: u64,
    pub exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subscribe: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<Box<RawValue>>,
}

impl Signer {
    pub fn new(kid: Option<&str>, algorithm: Algorithm, signing: Signing) -> Self {
        Self { kid: kid.map(Into::into), algorithm, signing }
    }

    /// For HS256.
    pub fn secret(kid: Option<&str>, secret: &[u8]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        Self::new(kid, Algorithm::HS256, Signing::Secret(Box::new(key)))
    }

    /// A signed token with these claims.
    pub fn token(&self, claims: &impl Serialize) -> Result<String, Unsigned> {
        let mut header = json!({ "typ": "JWT", "alg": self.algorithm.name() });
        if let Some(kid) = &self.kid {
            header["kid"] = json!(kid);
        }
        let part = |json: Vec<u8>| URL_SAFE_NO_PAD.encode(json);
        let claims = serde_json::to_vec(claims).map_err(|_| Unsigned)?;
        let mut token = format!("{}.{}", part(header.to_string().into_bytes()), part(claims));
        let signature = self.signature(token.as_bytes())?;
        token.push('.');
        token.push_str(&part(signature));
        Ok(token)
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, Unsigned> {
        let random = SystemRandom::new();
        Ok(match &self.signing {
            Signing::Secret(key) => hmac::sign(key, message).as_ref().to_vec(),
            Signing::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let signed = pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature);
                signed.map_err(|_| Unsigned)?;
                signature
            }
            Signing::Ec(pair) => {
                pair.sign(&random, message).map_err(|_| Unsigned)?.as_ref().to_vec()
            }
            Signing::Ed(pair) => pair.try_sign(message).map_err(|_| Unsigned)?.as_ref().to_vec(),
        })
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}
