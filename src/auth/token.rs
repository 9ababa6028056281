//! Parses a token: header, claims and signature.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::{Algorithm, TokenRefused};

/// The longest token, because it must fit into a request with its other headers.
pub const TOKEN_BYTES_MAX: usize = 8 << 10;

/// A parsed token, not yet verified.
pub struct ParsedToken<'a> {
    pub algorithm: Algorithm,
    pub kid: Option<Box<str>>,
    /// The signed bytes.
    pub message: &'a [u8],
    /// JSON, in base64url.
    claims: &'a str,
    pub signature: Vec<u8>,
}

/// The used fields of a header (RFC 7515, section 4.1). Keys in a token (`jwk`, `jku`, `x5c`, `x5u`) are ignored
/// like other fields: only configured keys verify it.
#[derive(Deserialize)]
struct TokenHeader<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow, default)]
    kid: Option<Cow<'a, str>>,
    /// `Some` also if it is `null`, which is not a valid `crit`.
    #[serde(default, deserialize_with = "present")]
    crit: Option<IgnoredAny>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IgnoredAny>, D::Error> {
    IgnoredAny::deserialize(deserializer).map(Some)
}

impl<'a> ParsedToken<'a> {
    pub fn parse(token: &'a str) -> Result<Self, TokenRefused> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenRefused::TOO_LONG);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(TokenRefused::MALFORMED)?;
        let (header, claims) = message.split_once('.').ok_or(TokenRefused::MALFORMED)?;
        if claims.contains('.') {
            return Err(TokenRefused::MALFORMED);
        }
        let header = decode(header)?;
        let header: TokenHeader<'_> = object(&header).ok_or(TokenRefused::HEADER)?;
        if header.crit.is_some() {
            return Err(TokenRefused::CRITICAL);
        }
        Ok(Self {
            algorithm: Algorithm::parse(&header.alg).ok_or(TokenRefused::ALGORITHM)?,
            kid: header.kid.map(Into::into),
            message: message.as_bytes(),
            claims,
            signature: decode(signature)?,
        })
    }

    /// The JSON of its claims.
    pub fn claims(&self) -> Result<Vec<u8>, TokenRefused> {
        decode(self.claims)
    }
}

/// Parses a JSON object; None if it is something else.
pub fn object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    // serde would also accept an array for a struct.
    let is_object = json.trim_ascii_start().first() == Some(&b'{');
    is_object.then(|| serde_json::from_slice(json).ok())?
}

fn decode(part: &str) -> Result<Vec<u8>, TokenRefused> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenRefused::MALFORMED)
}
