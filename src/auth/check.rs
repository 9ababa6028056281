//! Verifies a token: no I/O, no clock, and no panic for any input.

use std::time::SystemTime;

use super::claims::Claims;
use super::required_claims::RequiredClaims;
use super::token::ParsedToken;
use super::{Identity, TokenRefused, VerificationKey};

/// The most keys tried for a token, because its sender decides how much the node computes.
pub const KEYS_TRIED_MAX: usize = 16;

/// Verifies a token at the time `now`, and returns its identity.
pub fn check<'k>(
    token: &str,
    keys: impl Iterator<Item = &'k VerificationKey> + Clone,
    required: &RequiredClaims,
    now: SystemTime,
) -> Result<Identity, TokenRefused> {
    verified(token, keys, required)?.identity(required.leeway, now)
}

/// The claims of a token that one of the keys signed and that has the required claims, whatever the time.
pub fn verified<'k>(
    token: &str,
    keys: impl Iterator<Item = &'k VerificationKey> + Clone,
    terms: &RequiredClaims,
) -> Result<Claims, TokenRefused> {
    let token = ParsedToken::parse(token)?;
    // The key determines the algorithm; it is not tried for a token with another one.
    let keys = keys.filter(|key| key.algorithm == token.algorithm);
    let named = keys.clone().filter(|key| key.kid.is_some() && key.kid == token.kid);
    let others = keys.filter(|key| match &token.kid {
        Some(_) => key.kid.is_none(),
        None => true,
    });
    let mut tried = named.chain(others).take(KEYS_TRIED_MAX).peekable();
    if tried.peek().is_none() {
        return Err(TokenRefused::KEY);
    }
    if !tried.any(|key| key.verifies(token.message, &token.signature)) {
        return Err(TokenRefused::SIGNATURE);
    }
    Claims::parse(&token.claims()?, terms)
}
