//! Every kind of invalid token.

use super::*;

#[test]
fn each_wrong_claim_is_named() {
    let pair = SigningPair::new(Algorithm::HS256);
    for (over, expected) in [
        (json!({ "sub": 7 }), TokenRefused::SUB),
        (json!({ "sub": "" }), TokenRefused::SUB),
        (json!({ "sub": "a\nb" }), TokenRefused::SUB),
        (json!({ "sub": "x".repeat(256) }), TokenRefused::SUB),
        (json!({ "exp": "soon" }), TokenRefused::EXP),
        (json!({ "exp": null }), TokenRefused::NO_EXPIRY),
        (json!({ "exp": -1 }), TokenRefused::EXPIRED),
        (json!({ "exp": -1e300 }), TokenRefused::EXPIRED),
        (json!({ "nbf": NOW + 6 }), TokenRefused::NOT_YET),
        (json!({ "nbf": 1e300 }), TokenRefused::NOT_YET),
        (json!({ "nbf": [] }), TokenRefused::NBF),
        (json!({ "iat": "2026" }), TokenRefused::IAT),
        (json!({ "subscribe": "chat" }), TokenRefused::SUBSCRIBE),
        (json!({ "subscribe": ["a b"] }), TokenRefused::SUBSCRIBE),
        (json!({ "subscribe": ["{other}"] }), TokenRefused::SUBSCRIBE),
        (json!({ "subscribe": vec!["a"; PATTERNS_MAX + 1] }), TokenRefused::SUBSCRIBE),
        (json!({ "publish": [1] }), TokenRefused::PUBLISH),
        (json!({ "publish": vec!["a"; PATTERNS_MAX + 1] }), TokenRefused::PUBLISH),
        (json!({ "channels": [""] }), TokenRefused::CHANNELS),
        (json!({ "channels": vec!["a"; CHANNELS_MAX + 1] }), TokenRefused::CHANNELS),
    ] {
        let token = pair.token(&claims(over.clone()));
        assert_eq!(refused(pair.checked(&token)), Some(expected), "{over}");
    }
    let most = claims(json!({ "sub": "x".repeat(255), "publish": vec!["a"; PATTERNS_MAX] }));
    assert!(pair.checked(&pair.token(&most)).is_ok());
}

#[test]
fn claims_must_be_one_object_with_each_claim_once() {
    let pair = SigningPair::new(Algorithm::HS256);
    for claims in [
        r#"{"sub":"ada","exp":9999999999,"sub":"eve"}"#,
        r#"{"exp":9999999999,"exp":1}"#,
        r#"["ada",9999999999]"#,
        r#"{"exp":9999999999} {}"#,
        r#"{"exp":9999999999"#,
        "7",
        "",
    ] {
        let checked = pair.checked(&pair.token(claims));
        assert_eq!(refused(checked), Some(TokenRefused::CLAIMS), "{claims}");
    }
    for (claims, expected) in [
        (r#"{"exp":1e400}"#, TokenRefused::EXP),
        (r#"{"exp":9999999999,"sub":"\ud800"}"#, TokenRefused::SUB),
        (r#"{"exp":9999999999,"sub":"\u0000"}"#, TokenRefused::SUB),
    ] {
        assert_eq!(refused(pair.checked(&pair.token(claims))), Some(expected), "{claims}");
    }
}

#[test]
fn only_alg_kid_and_crit_of_a_token_header_are_used() {
    let pair = SigningPair::new(Algorithm::HS256);
    for (header, expected) in [
        (r#"{"alg":"HS256"}"#, None),
        (r#"{"alg":"HS256","kid":null}"#, None),
        // Keys in a token's header are ignored.
        (r#"{"alg":"HS256","jku":"http://evil","jwk":{"kty":"oct","k":"AA"},"x5u":"x"}"#, None),
        (r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, Some(TokenRefused::CRITICAL)),
        (r#"{"alg":"HS256","crit":[]}"#, Some(TokenRefused::CRITICAL)),
        (r#"{"alg":"HS256","crit":null}"#, Some(TokenRefused::CRITICAL)),
        (r#"{"alg":"none"}"#, Some(TokenRefused::ALGORITHM)),
        (r#"{"alg":"None"}"#, Some(TokenRefused::ALGORITHM)),
        (r#"{"alg":"hs256"}"#, Some(TokenRefused::ALGORITHM)),
        (r#"{"alg":"HS512"}"#, Some(TokenRefused::ALGORITHM)),
        (r#"{"alg":"PS256"}"#, Some(TokenRefused::ALGORITHM)),
        (r#"{"alg":""}"#, Some(TokenRefused::ALGORITHM)),
        (r#"{"alg":7}"#, Some(TokenRefused::HEADER)),
        (r#"{"alg":"HS256","alg":"none"}"#, Some(TokenRefused::HEADER)),
        (r#"{"alg":"HS256","kid":7}"#, Some(TokenRefused::HEADER)),
        (r#"["HS256"]"#, Some(TokenRefused::HEADER)),
        (r#"{"kid":"a"}"#, Some(TokenRefused::HEADER)),
        ("", Some(TokenRefused::HEADER)),
        (r#"{"alg":"HS256","kid":"b"}"#, Some(TokenRefused::KEY)),
        (r#"{"alg":"RS256","kid":"a"}"#, Some(TokenRefused::KEY)),
    ] {
        let checked = pair.checked(&pair.signed(header, &claims(json!({}))));
        assert_eq!(refused(checked), expected, "{header}");
    }
}

#[test]
fn a_token_with_alg_none_is_refused_with_any_signature() {
    let pair = SigningPair::new(Algorithm::HS256);
    for signature in ["", "AA"] {
        let message = format!("{}.{}", encode(r#"{"alg":"none"}"#), encode(claims(json!({}))));
        let checked = pair.checked(&format!("{message}.{signature}"));
        assert_eq!(refused(checked), Some(TokenRefused::ALGORITHM));
    }
    let message = format!("{}.{}", encode(pair.header()), encode(claims(json!({}))));
    assert_eq!(refused(pair.checked(&format!("{message}."))), Some(TokenRefused::SIGNATURE));
}

/// An attacker signs with the bytes of the public key, which everyone has, as if they were a secret.
#[test]
fn a_public_key_is_never_a_secret() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        let pair = SigningPair::new(algorithm);
        let header = r#"{"alg":"HS256","kid":"a"}"#;
        let message = format!("{}.{}", encode(header), encode(claims(json!({}))));
        let secret = EncodingKey::from_secret(pair.public.as_bytes());
        let hs256 = jsonwebtoken::Algorithm::HS256;
        let signature = crypto::sign(message.as_bytes(), &secret, hs256).unwrap();
        let forged = format!("{message}.{signature}");
        assert_eq!(refused(pair.checked(&forged)), Some(TokenRefused::KEY));
        let secret = VerificationKey::secret(Some("a"), SECRET);
        let keys = [&pair.key, &secret];
        let checked = check(&forged, keys.into_iter(), &terms(), now());
        assert_eq!(refused(checked), Some(TokenRefused::SIGNATURE));
    }
}

#[test]
fn a_changed_token_is_refused() {
    for algorithm in Algorithm::EACH {
        let pair = SigningPair::new(algorithm);
        let token = pair.token(&claims(json!({})));
        let parts: Vec<&str> = token.split('.').collect();
        let other = encode(claims(json!({ "sub": "eve" })));
        let eve = format!("{}.{other}.{}", parts[0], parts[2]);
        assert_eq!(refused(pair.checked(&eve)), Some(TokenRefused::SIGNATURE));
        let foreign = SigningPair::new(algorithm).token(&claims(json!({})));
        if algorithm != Algorithm::HS256 {
            assert_eq!(refused(pair.checked(&foreign)), Some(TokenRefused::SIGNATURE));
        }
        // Half of the signature, in whole groups of base64.
        let short = format!("{}.{}.{}", parts[0], parts[1], &parts[2][..parts[2].len() / 8 * 4]);
        assert_eq!(refused(pair.checked(&short)), Some(TokenRefused::SIGNATURE));
    }
}

#[test]
fn a_token_must_have_three_base64url_parts_and_a_limited_length() {
    let pair = SigningPair::new(Algorithm::HS256);
    let token = pair.token(&claims(json!({})));
    let (message, signature) = token.rsplit_once('.').unwrap();
    for bad in [
        "",
        ".",
        "..",
        "a.b",
        message,
        &format!("{token}.{signature}"),
        &format!("{token}="),
        &format!("{token}\n"),
        &format!(" {token}"),
        &token.replacen('.', "+.", 1),
    ] {
        let why = refused(pair.checked(bad)).unwrap();
        assert!([TokenRefused::MALFORMED, TokenRefused::HEADER].contains(&why), "{bad:?}: {why}");
    }
    let long = pair.token(&claims(json!({ "padding": "x".repeat(TOKEN_BYTES_MAX) })));
    assert_eq!(refused(pair.checked(&long)), Some(TokenRefused::TOO_LONG));
}

/// base64 whose last character has unused bits could be written in several ways.
#[test]
fn a_token_with_another_base64_spelling_is_refused() {
    let pair = SigningPair::new(Algorithm::HS256);
    let token = pair.token(&claims(json!({})));
    let last = token.chars().last().unwrap();
    let others = ('a'..='z').chain('A'..='Z').chain('0'..='9').filter(|other| *other != last);
    for other in others {
        let changed = format!("{}{other}", &token[..token.len() - 1]);
        assert!(pair.checked(&changed).is_err(), "{other}");
    }
}
