//! Why a token is not accepted.

/// The text is sent to the client, also in a close frame: at most 123 bytes, and nothing of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TokenRefused(pub &'static str);

impl TokenRefused {
    pub const NO_TOKENS: Self = Self("this node takes no tokens: auth.mode is none");
    pub const TOO_LONG: Self = Self("the token is longer than 8 KiB");
    pub const MALFORMED: Self =
        Self("the token is malformed: it must be three base64url parts joined by dots");
    pub const HEADER: Self =
        Self("the token's header is not a JSON object with alg, and kid as text");
    pub const CRITICAL: Self =
        Self("the token's header has crit, and this node knows no extensions");
    pub const ALGORITHM: Self = Self("the token's alg is none of HS256, RS256, ES256, EdDSA");
    pub const KEY: Self = Self("no key fits the token's kid and alg");
    /// Temporary: the node does not have the keys of an issuer.
    pub const KEYS_UNAVAILABLE: Self = Self("the issuer's keys are unavailable; try again later");
    pub const SIGNATURE: Self = Self("the token's signature is wrong");
    pub const CLAIMS: Self =
        Self("the token's claims are not a JSON object that has each claim once");
    pub const SUB: Self =
        Self("the claim sub is not a text of 1 to 255 bytes without control characters");
    pub const EXP: Self = Self("the claim exp is not a number of seconds");
    pub const NBF: Self = Self("the claim nbf is not a number of seconds");
    pub const IAT: Self = Self("the claim iat is not a number of seconds");
    pub const ISS: Self = Self("the claim iss is not the issuer this node takes tokens of");
    pub const AUD: Self = Self("the claim aud does not name this node's audience");
    pub const SUBSCRIBE: Self = Self("the claim subscribe is not a list of at most 100 patterns");
    pub const PUBLISH: Self = Self("the claim publish is not a list of at most 100 patterns");
    pub const CHANNELS: Self =
        Self("the claim channels is not a list of at most 128 channel names");
    pub const TOPICS: Self = Self(
        "mercure or authorization_details is not a list of at most 200 topics this node understands",
    );
    pub const INFO: Self = Self("the claim info is not a JSON object of at most 1024 bytes");
    pub const NO_EXPIRY: Self = Self("the token has no exp, which this node requires");
    pub const EXPIRED: Self = Self("the token has expired");
    pub const NOT_YET: Self = Self("the token is not valid yet: its nbf is in the future");

    /// All of them.
    pub const EACH: [Self; 24] = [
        Self::NO_TOKENS,
        Self::TOO_LONG,
        Self::MALFORMED,
        Self::HEADER,
        Self::CRITICAL,
        Self::ALGORITHM,
        Self::KEY,
        Self::KEYS_UNAVAILABLE,
        Self::SIGNATURE,
        Self::CLAIMS,
        Self::SUB,
        Self::EXP,
        Self::NBF,
        Self::IAT,
        Self::ISS,
        Self::AUD,
        Self::SUBSCRIBE,
        Self::PUBLISH,
        Self::CHANNELS,
        Self::TOPICS,
        Self::INFO,
        Self::NO_EXPIRY,
        Self::EXPIRED,
        Self::NOT_YET,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_error_fits_a_close_frame() {
        for refused in TokenRefused::EACH {
            assert!(refused.0.len() <= 123, "{refused}");
        }
    }
}
