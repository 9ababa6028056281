//! Tokens that somebody else made, and everything that can be wrong with them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use super::*;
use crate::publication::Channel;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const NOW: u64 = 1_800_000_000;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn terms() -> Terms {
    Terms { leeway: Duration::from_secs(5), require_expiry: true, ..Terms::default() }
}

fn key() -> Key {
    Key::secret(Some("a"), SECRET)
}

/// A token of HS256 with these claims, which are JSON as it is.
fn signed(header: &str, claims: &str) -> String {
    use base64::Engine;
    let part = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let message = format!("{}.{}", part(header.as_bytes()), part(claims.as_bytes()));
    let algorithm = jsonwebtoken::Algorithm::HS256;
    let key = EncodingKey::from_secret(SECRET);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm).unwrap();
    format!("{message}.{signature}")
}

const HEADER: &str = r#"{"typ":"JWT","alg":"HS256","kid":"a"}"#;

/// What becomes of a token with these claims and an `exp` in a minute.
fn with(claims: Value) -> Result<Identity, Refused> {
    let mut all = json!({ "exp": NOW + 60 });
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    check(&signed(HEADER, &all.to_string()), [&key()].into_iter(), &terms(), now())
}

#[test]
fn a_token_of_another_maker_holds() {
    let claims = json!({
        "sub": "ada", "exp": NOW + 60, "iat": NOW - 1, "subscribe": ["chat:*", "user:{user}"],
        "publish": ["chat:1"], "channels": ["news", "chat:1", "news"], "scope": { "any": [1] },
    });
    let header = Header { kid: Some("a".into()), ..Header::default() };
    let token = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(SECRET)).unwrap();
    let identity = check(&token, [&key()].into_iter(), &terms(), now()).unwrap();
    assert_eq!(identity.user.as_deref(), Some("ada"));
    let patterns = |list: &[crate::rules::Pattern]| {
        list.iter().map(|pattern| pattern.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(patterns(&identity.subscribe), ["chat:*", "user:{user}"]);
    assert_eq!(patterns(&identity.publish), ["chat:1"]);
    let channels: Vec<_> = identity.channels.iter().map(Channel::as_str).collect();
    assert_eq!(channels, ["news", "chat:1"]);
    assert_eq!(identity.ends_at, Some(now() + Duration::from_secs(60)));
    assert_eq!(identity.issued_at, Some(now() - Duration::from_secs(1)));
}

#[test]
fn each_wrong_claim_is_named() {
    for (claims, refused) in [
        (json!({ "sub": 7 }), Refused::SUB),
        (json!({ "sub": "" }), Refused::SUB),
        (json!({ "sub": "a\nb" }), Refused::SUB),
        (json!({ "sub": "x".repeat(256) }), Refused::SUB),
        (json!({ "exp": "soon" }), Refused::EXP),
        (json!({ "exp": null }), Refused::NO_EXPIRY),
        (json!({ "exp": NOW - 5 }), Refused::EXPIRED),
        (json!({ "exp": -1 }), Refused::EXPIRED),
        (json!({ "exp": -1e300 }), Refused::EXPIRED),
        (json!({ "nbf": NOW + 6 }), Refused::NOT_YET),
        (json!({ "nbf": 1e300 }), Refused::NOT_YET),
        (json!({ "nbf": [] }), Refused::NBF),
        (json!({ "iat": "2026" }), Refused::IAT),
        (json!({ "subscribe": "chat" }), Refused::SUBSCRIBE),
        (json!({ "subscribe": ["a b"] }), Refused::SUBSCRIBE),
        (json!({ "subscribe": ["{other}"] }), Refused::SUBSCRIBE),
        (json!({ "subscribe": vec!["a"; 101] }), Refused::SUBSCRIBE),
        (json!({ "publish": [1] }), Refused::PUBLISH),
        (json!({ "channels": [""] }), Refused::CHANNELS),
        (json!({ "channels": vec!["a"; 129] }), Refused::CHANNELS),
    ] {
        assert_eq!(with(claims.clone()).map(drop), Err(refused), "{claims}");
    }
}
