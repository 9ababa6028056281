//! A cache of recently verified tokens. Verifying one costs from a fifth of a handshake (HS256) to several (RS256,
//! EdDSA, ES256), a look-up here a fiftieth; and after an outage all clients reconnect with the tokens they
//! had.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};

use super::claims::Claims;

/// The most tokens of a generation, of which there are two.
const TOKENS_MAX: usize = 8192;

/// The most bytes of a generation's tokens; their claims take at most three times as many.
const TOKEN_BYTES_MAX: usize = 4 << 20;

/// Claims by their token's digest. The tokens themselves are not stored.
#[derive(Debug, Default)]
pub struct VerifiedTokens(Mutex<Generations>);

/// A digest without known collisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

/// When the newer one is full, it replaces the older one. A hit in the older one moves to the newer.
#[derive(Debug, Default)]
struct Generations {
    version: u64,
    newer: Generation,
    older: Generation,
}

#[derive(Debug, Default)]
struct Generation {
    /// With the length of the token.
    claims: HashMap<Digest, (Arc<Claims>, usize)>,
    bytes: usize,
}

impl Digest {
    pub fn of(token: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(bytes)
    }
}

impl VerifiedTokens {
    /// The claims of a token verified with these keys. `version`: of the keys, which only increases.
    pub fn get(&self, digest: Digest, version: u64) -> Option<Arc<Claims>> {
        let mut generations = self.at(version)?;
        if let Some((claims, _)) = generations.newer.claims.get(&digest) {
            return Some(claims.clone());
        }
        let (claims, bytes) = generations.older.claims.remove(&digest)?;
        generations.put(digest, claims.clone(), bytes);
        Some(claims)
    }

    /// Stores a token of this many bytes that was verified with the keys of that version.
    pub fn put(&self, digest: Digest, version: u64, claims: Arc<Claims>, bytes: usize) {
        if let Some(mut generations) = self.at(version) {
            generations.put(digest, claims, bytes);
        }
    }

    /// None: the keys are newer than `version`.
    fn at(&self, version: u64) -> Option<MutexGuard<'_, Generations>> {
        // The data is consistent between any two statements.
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if generations.version < version {
            *generations = Generations { version, ..Generations::default() };
        }
        (generations.version == version).then_some(generations)
    }
}

impl Generations {
    fn put(&mut self, digest: Digest, claims: Arc<Claims>, bytes: usize) {
        let newer = &self.newer;
        if newer.claims.len() >= TOKENS_MAX || newer.bytes + bytes > TOKEN_BYTES_MAX {
            self.older = std::mem::take(&mut self.newer);
        }
        if self.newer.claims.insert(digest, (claims, bytes)).is_none() {
            self.newer.bytes += bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::RequiredClaims;

    fn claims() -> Arc<Claims> {
        Arc::new(Claims::parse(b"{}", &RequiredClaims::default()).unwrap())
    }

    #[test]
    fn changed_keys_empty_the_token_cache() {
        let seen = VerifiedTokens::default();
        let digest = Digest::of("a");
        seen.put(digest, 1, claims(), 1);
        assert!(seen.get(digest, 1).is_some() && seen.get(Digest::of("b"), 1).is_none());
        assert!(seen.get(digest, 2).is_none(), "the keys are others");
        seen.put(digest, 1, claims(), 1);
        assert!(seen.get(digest, 2).is_none(), "it was checked with the keys before");
        assert!(seen.get(digest, 1).is_none());
    }

    #[test]
    fn used_tokens_stay_cached_and_the_cache_is_bounded() {
        let seen = VerifiedTokens::default();
        let often = Digest::of("often");
        seen.put(often, 0, claims(), 1);
        for i in 0..3 * TOKENS_MAX {
            seen.put(Digest::of(&i.to_string()), 0, claims(), 1);
            assert!(seen.get(often, 0).is_some(), "{i}");
        }
        assert!(seen.get(Digest::of("0"), 0).is_none());
        let large = TOKEN_BYTES_MAX / 2;
        for name in ["a", "b", "c", "d", "e"] {
            seen.put(Digest::of(name), 0, claims(), large);
        }
        assert!(seen.get(Digest::of("a"), 0).is_none() && seen.get(Digest::of("e"), 0).is_some());
        let generations = seen.0.lock().unwrap();
        assert!(generations.newer.bytes <= TOKEN_BYTES_MAX);
    }
}
