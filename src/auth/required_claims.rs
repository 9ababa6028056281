//! The claims that a token must have.

use std::time::Duration;

/// The claims that a token must have.
#[derive(Clone, Debug, Default)]
pub struct RequiredClaims {
    /// The value of the claim `iss`. None: any.
    pub issuer: Option<String>,
    /// The claim `aud` must contain one of these. Empty: any.
    pub audience: Vec<String>,
    /// The allowed difference between this node's clock and the issuer's.
    pub leeway: Duration,
    /// Whether a token without `exp` is refused.
    pub require_expiry: bool,
}
