//! The parts of an HTTP request that both listeners read: query, `Authorization: Bearer`, `Idempotency-Key`, trace context.

mod query;

use std::fmt;

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};

pub use self::query::{Parameter, Query, Repeated};
use crate::publication::Traceparent;

/// The header of the W3C Trace Context.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Longest idempotency key, in bytes.
const KEY_BYTES_MAX: usize = 255;

/// `Idempotency-Key` cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidIdempotencyKey;

impl fmt::Display for InvalidIdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Idempotency-Key is given once, and is 1 to {KEY_BYTES_MAX} bytes of UTF-8")
    }
}

/// The credentials after `Bearer ` in `Authorization`. None: the header is missing or has another scheme.
pub fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"Bearer ";
    let (scheme, credentials) =
        headers.get(AUTHORIZATION)?.as_bytes().split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then_some(credentials)
}

/// The request's trace context. None: it has none, or several.
pub fn traceparent(headers: &HeaderMap) -> Option<Traceparent> {
    Traceparent::of_headers(headers.get_all(TRACEPARENT).iter().map(HeaderValue::as_bytes))
}

/// The header `Idempotency-Key`. Two of them are refused: which one counts is not obvious.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, InvalidIdempotencyKey> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let (key, second) = (keys.next(), keys.next());
    match (key.map(|key| str::from_utf8(key.as_bytes())), second) {
        (None, _) => Ok(None),
        (Some(Ok(key)), None) if (1..=KEY_BYTES_MAX).contains(&key.len()) => Ok(Some(key)),
        _ => Err(InvalidIdempotencyKey),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authorization(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())])
    }

    #[test]
    fn credentials_follow_the_bearer_scheme_in_any_case() {
        for (value, credentials) in [
            ("Bearer a.b.c", Some("a.b.c")),
            ("bearer a b ", Some("a b ")),
            ("BEARER ", Some("")),
            ("Bearer", None),
            ("Basic abc", None),
            ("", None),
        ] {
            assert_eq!(bearer(&authorization(value)), credentials.map(str::as_bytes), "{value}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
