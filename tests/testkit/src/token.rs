//! Tokens, as an application's backend issues them.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

/// The nodes' key, and the setting with it.
pub const SECRET: &str = "a secret of thirty-two bytes or more";
pub const KEYS: &str =
    r#"auth.keys=[{ alg = "HS256", secret = "a secret of thirty-two bytes or more" }]"#;

/// Unix seconds.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs_f64()
}

/// A token with these claims, valid for `seconds`.
pub fn token(seconds: f64, claims: Value) -> String {
    signed(SECRET, seconds, claims)
}

/// The same, signed with another secret.
pub fn signed(secret: &str, seconds: f64, claims: Value) -> String {
    let mut all = json!({"iat": now() as u64, "exp": now() + seconds});
    let claims = claims.as_object().expect("claims are an object").clone();
    all.as_object_mut().expect("it was just made").extend(claims);
    let key = EncodingKey::from_secret(secret.as_bytes());
    encode(&Header::new(Algorithm::HS256), &all, &key).expect("claims can be signed")
}

/// A user's token, valid for an hour, that may subscribe and publish on these channels.
pub fn for_user(user: &str, channels: &[&str]) -> String {
    token(3600.0, json!({"sub": user, "subscribe": channels, "publish": channels}))
}
