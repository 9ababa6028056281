//! The claims of a token whose signature is valid.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::required_claims::RequiredClaims;
use super::token::object;
use super::{Identity, TokenRefused};
use crate::publication::{Channel, User, UserInfo};
use crate::rules::Pattern;
use crate::topics::TopicRights;

/// The most patterns of the claim `subscribe`, and of `publish`, because each is tried for every channel.
pub const PATTERNS_MAX: usize = 100;

/// The most channels of the claim `channels`.
pub const CHANNELS_MAX: usize = 128;

/// The longest user name, in bytes.
const USER_BYTES_MAX: usize = 255;

/// The last second of the year 9999. Later times are reduced to it.
const DATE_MAX: f64 = 253_402_300_799.;

/// Claims checked except for the time.
#[derive(Debug)]
pub struct Claims {
    user: User,
    subscribe: Box<[Pattern]>,
    publish: Box<[Pattern]>,
    channels: Box<[Channel]>,
    topics: Option<Arc<TopicRights>>,
    /// The claim `info`, which is valid.
    info: Option<Box<str>>,
    /// In seconds since 1970, as are the others.
    expires: Option<f64>,
    not_before: Option<f64>,
    issued: Option<f64>,
}

/// The claims as raw JSON: each is parsed separately, so that each fault is named. A repeated claim
/// is a fault. Other claims are ignored.
#[derive(Deserialize)]
struct RawClaims<'a> {
    #[serde(borrow, default)]
    sub: Option<&'a RawValue>,
    #[serde(borrow, default)]
    exp: Option<&'a RawValue>,
    #[serde(borrow, default)]
    nbf: Option<&'a RawValue>,
    #[serde(borrow, default)]
    iat: Option<&'a RawValue>,
    #[serde(borrow, default)]
    iss: Option<&'a RawValue>,
    #[serde(borrow, default)]
    aud: Option<&'a RawValue>,
    #[serde(borrow, default)]
    subscribe: Option<&'a RawValue>,
    #[serde(borrow, default)]
    publish: Option<&'a RawValue>,
    #[serde(borrow, default)]
    channels: Option<&'a RawValue>,
    #[serde(borrow, default)]
    info: Option<&'a RawValue>,
    #[serde(borrow, default)]
    mercure: Option<&'a RawValue>,
    #[serde(borrow, default)]
    authorization_details: Option<&'a RawValue>,
}

/// The claim `aud` (RFC 7519, section 4.1.3).
#[derive(Deserialize)]
#[serde(untagged)]
enum AudienceClaim {
    One(String),
    Many(Vec<String>),
}

impl Claims {
    pub fn parse(json: &[u8], terms: &RequiredClaims) -> Result<Self, TokenRefused> {
        let written: RawClaims<'_> = object(json).ok_or(TokenRefused::CLAIMS)?;
        written.check(terms)?;
        let claims = Self {
            user: user(written.sub)?,
            subscribe: patterns(written.subscribe, TokenRefused::SUBSCRIBE)?,
            publish: patterns(written.publish, TokenRefused::PUBLISH)?,
            channels: channels(written.channels)?,
            topics: topics(written.mercure, written.authorization_details)?,
            info: info(written.info)?,
            expires: read(written.exp, TokenRefused::EXP)?,
            not_before: read(written.nbf, TokenRefused::NBF)?,
            issued: read(written.iat, TokenRefused::IAT)?,
        };
        match claims.expires {
            None if terms.require_expiry => Err(TokenRefused::NO_EXPIRY),
            _ => Ok(claims),
        }
    }

    /// What the token allows now. `iat` may be in the future, if the issuer's clock is ahead or uses another unit;
    /// it then counts as now, so that the session can be revoked.
    pub fn identity(&self, leeway: Duration, now: SystemTime) -> Result<Identity, TokenRefused> {
        let leeway = leeway.as_secs_f64();
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        if self.not_before.is_some_and(|date| date > now + leeway) {
            return Err(TokenRefused::NOT_YET);
        }
        let ends_at = match self.expires {
            None => None,
            Some(date) if date > now => Some(date),
            Some(date) if date + leeway > now => Some(date + leeway),
            Some(_) => return Err(TokenRefused::EXPIRED),
        };
        let issued_at = self.issued.map(|date| time(date.min(now)));
        Ok(Identity {
            user: self.user.clone(),
            info: self.info(issued_at.unwrap_or_else(|| time(now))),
            subscribe: self.subscribe.clone(),
            publish: self.publish.clone(),
            channels: self.channels.clone(),
            topics: self.topics.clone(),
            signed: None,
            ends_at: ends_at.map(time),
            issued_at,
        })
    }

    /// What the token says of the user. Sessions without a user are one member together, which has no info.
    fn info(&self, issued_at: SystemTime) -> Option<UserInfo> {
        let since_1970 = issued_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
        self.user.as_ref().and(self.info.as_deref()).and_then(|json| UserInfo::new(json, millis))
    }
}

impl RawClaims<'_> {
    /// Whether issuer and audience are the required ones.
    fn check(&self, required: &RequiredClaims) -> Result<(), TokenRefused> {
        if required.issuer.is_some() {
            let issuer: Option<String> = read(self.iss, TokenRefused::ISS)?;
            if issuer != required.issuer {
                return Err(TokenRefused::ISS);
            }
        }
        if !required.audience.is_empty() {
            let audience = match read(self.aud, TokenRefused::AUD)?.ok_or(TokenRefused::AUD)? {
                AudienceClaim::One(one) => vec![one],
                AudienceClaim::Many(many) => many,
            };
            if !audience.iter().any(|name| required.audience.contains(name)) {
                return Err(TokenRefused::AUD);
            }
        }
        Ok(())
    }
}

/// A claim's value; None if it is absent or null.
fn read<'a, T: Deserialize<'a>>(
    claim: Option<&'a RawValue>,
    refused: TokenRefused,
) -> Result<Option<T>, TokenRefused> {
    claim.map(|raw| serde_json::from_str(raw.get()).map_err(|_| refused)).transpose()
}

fn user(claim: Option<&RawValue>) -> Result<User, TokenRefused> {
    let name: Option<String> = read(claim, TokenRefused::SUB)?;
    let fits = |name: &str| {
        (1..=USER_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
    };
    match name {
        Some(name) if !fits(&name) => Err(TokenRefused::SUB),
        name => Ok(name.map(Into::into)),
    }
}

fn patterns(
    claim: Option<&RawValue>,
    refused: TokenRefused,
) -> Result<Box<[Pattern]>, TokenRefused> {
    let texts: Vec<String> = read(claim, refused)?.unwrap_or_default();
    if texts.len() > PATTERNS_MAX {
        return Err(refused);
    }
    texts.iter().map(|text| Pattern::parse(text).map_err(|_| refused)).collect()
}

/// Each channel once, in order.
fn channels(claim: Option<&RawValue>) -> Result<Box<[Channel]>, TokenRefused> {
    let names: Vec<String> = read(claim, TokenRefused::CHANNELS)?.unwrap_or_default();
    if names.len() > CHANNELS_MAX {
        return Err(TokenRefused::CHANNELS);
    }
    let mut seen = HashSet::new();
    let names = names.iter().filter(|name| seen.insert(*name));
    names.map(|name| Channel::new(name).map_err(|_| TokenRefused::CHANNELS)).collect()
}

fn topics(
    mercure: Option<&RawValue>,
    details: Option<&RawValue>,
) -> Result<Option<Arc<TopicRights>>, TokenRefused> {
    let read = TopicRights::read(mercure, details).map_err(|_| TokenRefused::TOPICS)?;
    Ok(read.map(Arc::new))
}

fn info(claim: Option<&RawValue>) -> Result<Option<Box<str>>, TokenRefused> {
    let Some(json) = claim.map(RawValue::get) else { return Ok(None) };
    UserInfo::new(json, 0).map(|info| Some((&**info.json()).into())).ok_or(TokenRefused::INFO)
}

fn time(date: f64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs_f64(date.clamp(0., DATE_MAX))
}
