//! Tokens: unsigned bytes are never a valid token, and the claims of a signed token are enforced.

use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::value::RawValue;
use tidegate::auth::{Algorithm, RequiredClaims, Signer, VerificationKey, check as check_token};

const SECRET: &[u8] = b"a secret of the fuzz target, long enough";

/// The node's time, in 2026.
const NOW: Duration = Duration::from_secs(1_780_000_000);

const LEEWAY: Duration = Duration::from_secs(5);

static KEYS: LazyLock<[VerificationKey; 2]> = LazyLock::new(|| {
    [VerificationKey::secret(None, SECRET), VerificationKey::secret(Some("named"), SECRET)]
});

static SIGNER: LazyLock<Signer> = LazyLock::new(|| Signer::secret(Some("named"), SECRET));

/// The first byte sets the required claims, the second the place where a signed token is changed; the rest is used as a
/// token, and as the claims of another.
pub fn check(bytes: &[u8]) {
    let [choice, place, rest @ ..] = bytes else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let required = RequiredClaims {
        issuer: (choice & 1 > 0).then(|| "issuer".to_owned()),
        audience: if choice & 2 > 0 { vec!["audience".to_owned()] } else { Vec::new() },
        leeway: LEEWAY,
        require_expiry: choice & 4 > 0,
    };
    let now = UNIX_EPOCH + NOW;
    assert!(
        check_token(text, KEYS.iter(), &required, now).is_err(),
        "an unsigned token is valid: {text}"
    );
    let Ok(claims) = serde_json::from_str::<&RawValue>(text) else { return };
    let token = SIGNER.token(&claims).expect("it is JSON");
    assert!(KEYS.iter().all(|key| key.algorithm == Algorithm::HS256));
    if let Ok(identity) = check_token(&token, KEYS.iter(), &required, now) {
        let user = identity.user.as_deref();
        assert!(user.is_none_or(|user| (1..=255).contains(&user.len())));
        assert!(user.is_none_or(|user| !user.chars().any(char::is_control)));
        assert!(
            identity.ends_at.is_some() || !required.require_expiry,
            "a valid token without an expiry"
        );
        assert!(identity.ends_at.is_none_or(|end| end > now), "a valid token that has expired");
    }
    let mut changed = token.into_bytes();
    let place = usize::from(*place) % changed.len();
    changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).expect("it is ASCII");
    assert!(
        check_token(&changed, KEYS.iter(), &required, now).is_err(),
        "changed at {place}: {changed}"
    );
}
