//! What a token must say beside its signature.

use std::time::Duration;

/// What a token must say beside its signature.
#[derive(Clone, Debug, Default)]
pub struct RequiredClaims {
    /// The claim `iss` must be this. None: it may be anything.
    pub issuer: Option<String>,
    /// The claim `aud` must name one of these. Empty: it may be anything.
    pub audience: Vec<String>,
    /// How far this node's clock and the issuer's may be apart.
    pub leeway: Duration,
    /// Is a token without `exp` refused?
    pub require_expiry: bool,
}
