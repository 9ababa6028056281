//! Whether a token holds: no I/O, no clock of its own, and no panic whatever the token.

use std::time::SystemTime;

use super::claims::Claims;
use super::required_claims::RequiredClaims;
use super::token::ParsedToken;
use super::{Identity, TokenRefused, VerificationKey};

/// Most keys a token is tried with: whoever sends it decides how often we compute.
pub const KEYS_TRIED_MAX: usize = 16;

/// Whose token it is at the time `now`, and what it lets its bearer do.
pub fn check<'k>(
    token: &str,
    keys: impl Iterator<Item = &'k VerificationKey> + Clone,
    terms: &RequiredClaims,
    now: SystemTime,
) -> Result<Identity, TokenRefused> {
    verified(token, keys, terms)?.identity(terms.leeway, now)
}

/// The claims of a token that one of the keys signed and that meets the terms, whatever the time is.
pub fn verified<'k>(
    token: &str,
    keys: impl Iterator<Item = &'k VerificationKey> + Clone,
    terms: &RequiredClaims,
) -> Result<Claims, TokenRefused> {
    let token = ParsedToken::parse(token)?;
    // The key says what the algorithm is; a token that says another is not tried with it.
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
