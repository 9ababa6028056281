//! Arbitrary input never panics.

use proptest::prelude::*;

use super::*;

/// JSON of the types that claims have, and of others.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| prop::collection::vec(inner, 0..4).prop_map(Value::from))
}

/// Any 32 bytes may be a point of Ed25519, and any 33 that begin with 2 or 3 a compressed one of P-256 (SEC 1, section 2.3.3).
fn may_be_a_point(bytes: &[u8]) -> bool {
    bytes.len() == 32 || (bytes.len() == 33 && matches!(bytes[0], 2 | 3))
}

proptest! {
    #[test]
    fn any_text_is_refused_as_a_token(token in ".*") {
        let pair = SigningPair::new(Algorithm::HS256);
        prop_assert!(pair.checked(&token).is_err());
    }

    #[test]
    fn any_three_parts_are_refused_as_a_token(header in ".*", claims in prop::collection::vec(any::<u8>(), 0..99), end in ".*") {
        let pair = SigningPair::new(Algorithm::HS256);
        let token = format!("{}.{}.{}", encode(header), encode(&claims), encode(&end));
        prop_assert!(pair.checked(&token).is_err());
        let known = format!("{}.{}.{}", encode(pair.header()), encode(claims), encode(end));
        prop_assert_eq!(pair.checked(&known).map(drop), Err(TokenRefused::SIGNATURE));
    }

    #[test]
    fn any_signed_claims_are_refused_or_expire_in_the_future(
        sub in value(), exp in value(), nbf in value(), iat in value(), lists in value(),
    ) {
        let pair = SigningPair::new(Algorithm::HS256);
        let claims = json!({
            "sub": sub, "exp": exp, "nbf": nbf, "iat": iat, "subscribe": lists, "channels": lists,
        });
        if let Ok(identity) = pair.checked(&pair.token(&claims.to_string())) {
            prop_assert!(identity.ends_at.is_some_and(|ends_at| ends_at > now()));
        }
    }

    #[test]
    fn any_bytes_are_refused_as_a_jwk_set(json in prop::collection::vec(any::<u8>(), 0..99), jwk in value()) {
        prop_assert!(keys_of_jwks(&json, None).is_err());
        let of_rsa = json!({ "keys": [{ "kty": "RSA", "n": jwk, "e": jwk }] }).to_string();
        prop_assert!(keys_of_jwks(of_rsa.as_bytes(), None).is_err());
    }

    #[test]
    fn any_bytes_are_refused_as_a_key_file(bytes in prop::collection::vec(any::<u8>(), 0..99)) {
        for algorithm in Algorithm::EACH {
            for label in ["PUBLIC KEY", "PRIVATE KEY", "CERTIFICATE"] {
                let body = base64::engine::general_purpose::STANDARD.encode(&bytes);
                let pem = format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----");
                let read = pem::read(None, algorithm, pem.as_bytes());
                prop_assert!(read.is_err() || may_be_a_point(&bytes));
            }
            prop_assert!(pem::read(None, algorithm, &bytes).is_err());
        }
    }
}
