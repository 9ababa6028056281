//! A token as it came: three parts, of which the first says how the last was made.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::{Algorithm, TokenRefused};

/// Longest token: with its other headers, it has to fit into a request.
pub const TOKEN_BYTES_MAX: usize = 8 << 10;

/// A token taken apart, nothing of it checked.
pub struct ParsedToken<'a> {
    pub algorithm: Algorithm,
    pub kid: Option<Box<str>>,
    /// What was signed.
    pub message: &'a [u8],
    /// Of JSON, in base64url.
    claims: &'a str,
    pub signature: Vec<u8>,
}

/// What is heeded of a header (RFC 7515, section 4.1). Keys that a token brings along (`jwk`, `jku`,
/// `x5c`, `x5u`) are ignored as the rest is: only configured ones count.
#[derive(Deserialize)]
struct TokenHeader<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow, default)]
    kid: Option<Cow<'a, str>>,
    /// Present also where it is `null`, which no critical header is.
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

/// What is in a JSON object; None where it is something else.
pub fn object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    // serde would take a list for a struct, too.
    let is_object = json.trim_ascii_start().first() == Some(&b'{');
    is_object.then(|| serde_json::from_slice(json).ok())?
}

fn decode(part: &str) -> Result<Vec<u8>, TokenRefused> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenRefused::MALFORMED)
}
