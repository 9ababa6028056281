//! A JWK Set (RFC 7517), and its keys that can verify tokens.

use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::RsaPublicKeyComponents;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::auth::token::object;
use crate::auth::{Algorithm, VerificationKey};

/// The most keys of a document, including unusable ones.
pub const KEYS_MAX: usize = 100;

/// Why a document is unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableKey {
    #[error("the answer is not a JWK Set")]
    NoJwks,
    #[error("the JWK Set has more than {KEYS_MAX} keys")]
    TooMany,
    #[error("the JWK Set has no key for signatures of RS256, ES256 or EdDSA")]
    NoKeys,
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The keys of a document that can verify tokens, of `only` one algorithm if given. Ignores other keys, as
/// section 5 requires.
pub fn keys(
    json: &[u8],
    only: Option<Algorithm>,
) -> Result<Vec<Arc<VerificationKey>>, UnusableKey> {
    let document: Document<'_> = object(json).ok_or(UnusableKey::NoJwks)?;
    if document.keys.len() > KEYS_MAX {
        return Err(UnusableKey::TooMany);
    }
    let read = |raw: &&RawValue| serde_json::from_str(raw.get()).ok().and_then(|jwk| key(&jwk));
    let keys = document.keys.iter().filter_map(read);
    let keys: Vec<_> =
        keys.filter(|key| only.is_none_or(|only| key.algorithm == only)).map(Arc::new).collect();
    match keys.is_empty() {
        true => Err(UnusableKey::NoKeys),
        false => Ok(keys),
    }
}

fn key(jwk: &Jwk) -> Option<VerificationKey> {
    let checks = jwk.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
    if jwk.usage.as_ref().is_some_and(|usage| usage != "sig") || !checks {
        return None;
    }
    let (algorithm, names, der) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => (Algorithm::RS256, ["RS256", ""], rsa(jwk)?),
        ("EC", Some("P-256")) => (Algorithm::ES256, ["ES256", ""], point(jwk)?),
        // The second name is that of RFC 9864.
        ("OKP", Some("Ed25519")) => {
            (Algorithm::EdDSA, ["EdDSA", "Ed25519"], decode(jwk.x.as_deref()?)?)
        }
        // `oct` is ignored: a symmetric key is a secret, and this document is public.
        _ => return None,
    };
    if jwk.alg.as_deref().is_some_and(|alg| !names.contains(&alg)) {
        return None;
    }
    VerificationKey::public(jwk.kid.as_deref(), algorithm, &der).ok()
}

fn rsa(jwk: &Jwk) -> Option<Vec<u8>> {
    let part = |text: &Option<String>| {
        let bytes = decode(text.as_deref()?)?;
        // Some issuers write a leading zero, the number's sign, too.
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        Some(bytes[zeros..].to_vec())
    };
    let components = RsaPublicKeyComponents { n: part(&jwk.n)?, e: part(&jwk.e)? };
    let der: PublicKeyX509Der<'_> = components.as_der().ok()?;
    Some(der.as_ref().to_vec())
}

/// An uncompressed point (SEC 1, section 2.3.3).
fn point(jwk: &Jwk) -> Option<Vec<u8>> {
    let (x, y) = (decode(jwk.x.as_deref()?)?, decode(jwk.y.as_deref()?)?);
    (x.len() == 32 && y.len() == 32).then(|| [&[4], &x[..], &y[..]].concat())
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
