//! Valid tokens, and what they allow.

use super::*;
use crate::publication::Channel;
use crate::rules::Pattern;

fn texts(patterns: &[Pattern]) -> Vec<&str> {
    patterns.iter().map(Pattern::as_str).collect()
}

#[test]
fn tokens_of_another_implementation_are_valid_with_every_algorithm() {
    for algorithm in Algorithm::EACH {
        let pair = SigningPair::new(algorithm);
        let token = pair.token(&claims(json!({
            "iat": NOW - 1, "subscribe": ["chat:*", "user:{user}"], "publish": ["chat:1"],
            "channels": ["news", "chat:1", "news"], "scope": { "any": [1] }, "azp": null,
        })));
        let identity = pair.checked(&token).unwrap();
        assert_eq!(identity.user.as_deref(), Some("ada"), "{algorithm:?}");
        assert_eq!(texts(&identity.subscribe), ["chat:*", "user:{user}"]);
        assert_eq!(texts(&identity.publish), ["chat:1"]);
        let channels: Vec<_> = identity.channels.iter().map(Channel::as_str).collect();
        assert_eq!(channels, ["news", "chat:1"]);
        assert_eq!(identity.ends_at, Some(now() + Duration::from_secs(60)));
        assert_eq!(identity.issued_at, Some(now() - Duration::from_secs(1)));
    }
}

#[test]
fn a_session_ends_at_exp_or_a_leeway_later_if_exp_has_passed() {
    let pair = SigningPair::new(Algorithm::HS256);
    let ends = |exp: Value| {
        let identity = pair.checked(&pair.token(&claims(json!({ "exp": exp }))))?;
        Ok(identity.ends_at.unwrap().duration_since(UNIX_EPOCH).unwrap().as_secs_f64())
    };
    let (now, at) = (NOW as f64, |seconds: f64| Ok(NOW as f64 + seconds));
    assert_eq!(ends(json!(NOW + 1)), at(1.));
    assert_eq!(ends(json!(now + 0.25)), at(0.25));
    assert_eq!(ends(json!(NOW)), at(5.));
    assert_eq!(ends(json!(NOW - 4)), at(1.));
    assert_eq!(ends(json!(NOW - 5)), Err(TokenRefused::EXPIRED));
    assert_eq!(ends(json!(0)), Err(TokenRefused::EXPIRED));
    let year_9999 = 253_402_300_799.;
    for far in [json!(1e15), json!(u64::MAX), json!(f64::MAX)] {
        assert_eq!(ends(far), Ok(year_9999));
    }
}

#[test]
fn nbf_is_checked_with_the_leeway_and_any_iat_is_accepted() {
    let pair = SigningPair::new(Algorithm::HS256);
    for over in [
        json!({ "nbf": NOW + 5 }),
        json!({ "nbf": NOW as f64 + 4.9 }),
        json!({ "nbf": -1e300 }),
        json!({ "iat": NOW + 3600 }),
        json!({ "iat": -1 }),
        json!({ "iat": 1e300, "nbf": null }),
    ] {
        assert!(pair.checked(&pair.token(&claims(over.clone()))).is_ok(), "{over}");
    }
}

#[test]
fn a_token_without_user_and_expiry_is_valid_if_configured() {
    let pair = SigningPair::new(Algorithm::HS256);
    let terms = RequiredClaims { require_expiry: false, ..terms() };
    let identity = check(&pair.token("{}"), [&pair.key].into_iter(), &terms, now()).unwrap();
    assert!(identity.user.is_none() && identity.ends_at.is_none());
    assert_eq!(refused(pair.checked(&pair.token("{}"))), Some(TokenRefused::NO_EXPIRY));
}

#[test]
fn issuer_and_audience_must_be_as_configured() {
    let pair = SigningPair::new(Algorithm::HS256);
    let terms = RequiredClaims {
        issuer: Some("https://issuer".into()),
        audience: vec!["gateway".into(), "tidegate".into()],
        ..terms()
    };
    for (iss, aud, expected) in [
        (json!("https://issuer"), json!("tidegate"), None),
        (json!("https://issuer"), json!(["other", "gateway"]), None),
        (json!("https://issuer/"), json!("tidegate"), Some(TokenRefused::ISS)),
        (json!(null), json!("tidegate"), Some(TokenRefused::ISS)),
        (json!(["https://issuer"]), json!("tidegate"), Some(TokenRefused::ISS)),
        (json!("https://issuer"), json!("Tidegate"), Some(TokenRefused::AUD)),
        (json!("https://issuer"), json!([]), Some(TokenRefused::AUD)),
        (json!("https://issuer"), json!([1, "tidegate"]), Some(TokenRefused::AUD)),
        (json!("https://issuer"), json!(null), Some(TokenRefused::AUD)),
        (json!("https://issuer"), json!({ "tidegate": 1 }), Some(TokenRefused::AUD)),
    ] {
        let token = pair.token(&claims(json!({ "iss": iss, "aud": aud })));
        let checked = check(&token, [&pair.key].into_iter(), &terms, now());
        assert_eq!(refused(checked), expected, "{iss} {aud}");
        assert!(pair.checked(&token).is_ok(), "neither is configured");
    }
}
