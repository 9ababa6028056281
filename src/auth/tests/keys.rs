//! Which key verifies a token, and the file formats of keys.

use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RsaKeyPair, RsaPublicKeyComponents,
};
use base64::engine::general_purpose::STANDARD;

use super::*;

fn pem_of(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

#[test]
fn a_token_is_checked_with_the_key_of_its_kid_and_with_keys_without_one() {
    let secrets: Vec<String> = (0..40).map(|i| format!("secret number {i:02}")).collect();
    let token = |secret: &str, kid: Option<&str>| {
        let signer = Signer::secret(kid, secret.as_bytes());
        signer.token(&json!({ "exp": NOW + 60 })).unwrap()
    };
    let checked =
        |keys: &[VerificationKey], token: &str| refused(check(token, keys.iter(), &terms(), now()));
    let named = |kid: &str, i: usize| VerificationKey::secret(Some(kid), secrets[i].as_bytes());
    let nameless = |i: usize| VerificationKey::secret(None, secrets[i].as_bytes());
    let keys = [named("old", 0), named("new", 1), nameless(2)];
    assert_eq!(checked(&keys, &token(&secrets[0], Some("old"))), None);
    assert_eq!(checked(&keys, &token(&secrets[1], Some("new"))), None);
    assert_eq!(checked(&keys, &token(&secrets[1], Some("old"))), Some(TokenRefused::SIGNATURE));
    assert_eq!(checked(&keys, &token(&secrets[2], Some("other"))), None);
    assert_eq!(checked(&keys, &token(&secrets[2], None)), None);
    assert_eq!(checked(&keys, &token(&secrets[1], None)), None);
    assert_eq!(checked(&keys[..2], &token(&secrets[1], Some("other"))), Some(TokenRefused::KEY));
    // With many keys, the named one is tried first, and only a limited number is tried.
    let mut many: Vec<VerificationKey> = (0..KEYS_TRIED_MAX).map(nameless).collect();
    many.push(nameless(30));
    many.push(named("last", 31));
    assert_eq!(checked(&many, &token(&secrets[31], Some("last"))), None);
    assert_eq!(checked(&many, &token(&secrets[KEYS_TRIED_MAX - 1], None)), None);
    assert_eq!(checked(&many, &token(&secrets[30], None)), Some(TokenRefused::SIGNATURE));
}

#[test]
fn a_private_key_in_a_file_signs_tokens_that_its_public_key_verifies() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        let pair = SigningPair::new(algorithm);
        let (key, signer) = pem::read(Some("a"), algorithm, pair.private.as_bytes()).unwrap();
        let token = signer.unwrap().token(&json!({ "sub": "ada", "exp": NOW + 60 })).unwrap();
        assert!(pair.checked(&token).is_ok(), "{algorithm:?}");
        assert!(check(&token, [&key].into_iter(), &terms(), now()).is_ok());
        let mut validation = jsonwebtoken::Validation::new(pair.theirs);
        validation.validate_exp = false;
        let theirs = jsonwebtoken::decode::<Value>(&token, &pair.their_key, &validation).unwrap();
        assert_eq!(
            (theirs.claims["sub"].as_str(), theirs.header.kid.as_deref()),
            (Some("ada"), Some("a"))
        );
    }
}

#[test]
fn keys_in_older_formats_and_in_certificates_are_read() {
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let sec1: EcPrivateKeyRfc5915Der<'_> = ec.private_key().as_der().unwrap();
    let parameters = pem_of("EC PARAMETERS", b"\x06\x08*\x86H\xce=\x03\x01\x07");
    let sec1 = parameters + &pem_of("EC PRIVATE KEY", sec1.as_ref());
    let pkcs1 = pem_of("RSA PUBLIC KEY", rsa.public_key().as_ref());
    let issuer = rcgen::generate_simple_self_signed(["issuer".to_owned()]).unwrap();
    let windows = pkcs1.replace('\n', "\r\n");
    for (algorithm, pem, signs) in [
        (Algorithm::RS256, &pkcs1, false),
        (Algorithm::RS256, &windows, false),
        (Algorithm::ES256, &sec1, true),
        (Algorithm::ES256, &issuer.cert.pem(), false),
    ] {
        let (_, signer) = pem::read(None, algorithm, pem.as_bytes()).unwrap();
        assert_eq!(signer.is_some(), signs, "{pem}");
    }
}

#[test]
fn each_unusable_key_file_has_its_own_error() {
    let weak = RsaPublicKeyComponents { n: vec![0xc5; 128], e: vec![1, 0, 1] };
    let weak: PublicKeyX509Der<'_> = weak.as_der().unwrap();
    let weak = pem_of("PUBLIC KEY", weak.as_ref());
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let ed = SigningPair::new(Algorithm::EdDSA);
    for (algorithm, pem, why) in [
        (Algorithm::RS256, weak.as_str(), "less than 2048 bits"),
        (Algorithm::RS256, &ed.public, "not an RSA key"),
        (Algorithm::RS256, &ed.private, "not a private RSA key"),
        (Algorithm::ES256, &p384.public_key_pem(), "not a P-256 key"),
        (Algorithm::ES256, &p384.serialize_pem(), "not a private P-256 key"),
        (Algorithm::EdDSA, &p384.public_key_pem(), "not an Ed25519 key"),
        (Algorithm::EdDSA, &p384.serialize_pem(), "not a private Ed25519 key"),
        (Algorithm::HS256, &ed.public, "requires a secret"),
        (Algorithm::EdDSA, "hush", "has no PUBLIC KEY"),
        (
            Algorithm::EdDSA,
            "-----BEGIN PUBLIC KEY-----\nhush!\n-----END PUBLIC KEY-----",
            "not base64",
        ),
        (Algorithm::EdDSA, "-----BEGIN PUBLIC KEY-----\nhush", "has no PUBLIC KEY"),
        (Algorithm::EdDSA, &pem_of("ENCRYPTED PRIVATE KEY", b"hush"), "passphrase"),
        (Algorithm::EdDSA, &pem_of("CERTIFICATE", b"hush"), "cannot be read"),
    ] {
        let error = pem::read(None, algorithm, pem.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(why) && !error.contains("hush"), "{why:?}: {error}");
    }
}

#[test]
fn only_keys_that_can_verify_tokens_are_read_from_a_jwk_set() {
    let good = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "a",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    let with = |over: Value| {
        let mut jwk = good.clone();
        jwk.as_object_mut().unwrap().extend(over.as_object().unwrap().clone());
        jwk
    };
    let weak = encode([0xc5; 128]);
    let bad = [
        with(json!({ "use": "enc" })),
        with(json!({ "alg": "ES256" })),
        with(json!({ "key_ops": ["sign"] })),
        with(json!({ "crv": "X25519" })),
        with(json!({ "x": "AA" })),
        with(json!({ "kid": 7 })),
        json!({ "kty": "oct", "k": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" }),
        json!({ "kty": "RSA", "n": weak, "e": "AQAB" }),
        json!({ "kty": "RSA", "e": "AQAB" }),
        json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" }),
        json!({ "kty": "EC", "crv": "P-256", "x": encode([7; 32]), "y": encode([7; 32]) }),
        json!({ "kty": "AKP" }),
        json!([]),
    ];
    let set = |keys: &[Value]| json!({ "keys": keys }).to_string();
    for jwk in &bad {
        let keys = keys_of_jwks(set(std::slice::from_ref(jwk)).as_bytes(), None);
        assert_eq!(keys.unwrap_err(), UnusableKey::NoKeys, "{jwk}");
    }
    let more =
        [with(json!({ "use": "sig", "alg": "Ed25519" })), with(json!({ "key_ops": ["verify"] }))];
    let all = [&bad[..], &more[..]].concat();
    assert_eq!(keys_of_jwks(set(&all).as_bytes(), None).unwrap().len(), 2);
    let only = keys_of_jwks(set(&all).as_bytes(), Some(Algorithm::RS256));
    assert_eq!(only.unwrap_err(), UnusableKey::NoKeys);
}
