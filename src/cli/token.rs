//! `tidegate token`: signs a token as an application's login service would, for trying things out.

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::Args;
use serde_json::value::RawValue;

use super::argument::{channel, wrong};
use super::examples;
use super::failure::Failure;
use super::print::{print, warn};
use crate::auth::{self, NewClaims, RequiredClaims, SECRET_BYTES_GOOD};
use crate::config::Config;
use crate::rules::Pattern;
use crate::settings::read_duration;

/// The longest lifetime of a token: ten years.
const TTL_MAX: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

#[derive(Args, Clone)]
#[command(after_help = examples::TOKEN)]
pub struct Arguments {
    /// The user's name.
    #[arg(long)]
    user: String,
    /// A pattern of channels that the user may subscribe to, where a rule allows `token`. May be given several
    /// times, as may the next two.
    #[arg(long, value_name = "PATTERN")]
    subscribe: Vec<String>,
    /// A pattern of channels that the user may publish to, where a rule allows `token`.
    #[arg(long, value_name = "PATTERN")]
    publish: Vec<String>,
    /// A channel that the user's sessions are subscribed to at connect.
    #[arg(long, value_name = "CHANNEL")]
    channel: Vec<String>,
    /// What the members of a channel see of the user: a JSON object of at most 1 KiB, such as '{"name":"Ada"}'.
    #[arg(long, value_name = "JSON")]
    info: Option<String>,
    /// How long the token is valid, with its unit (ms, s, m, h, d).
    #[arg(long, default_value = "1h")]
    ttl: String,
    /// Signs with the key that has this `kid`, instead of the first that can sign.
    #[arg(long)]
    kid: Option<String>,
}

pub fn run(config: &Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let ttl = read_duration(&arguments.ttl)
        .filter(|ttl| (Duration::from_secs(1)..=TTL_MAX).contains(ttl))
        .ok_or_else(|| wrong("--ttl is a duration with its unit, such as 1h, 1s to 3650d"))?;
    let kid = arguments.kid.as_deref();
    let signer = config.auth.signer(kid).ok_or_else(|| match kid {
        Some(kid) => wrong(format!("no key of auth.keys with the kid {kid:?} can sign")),
        None => wrong(
            "no key of auth.keys can sign: signing needs a secret, or a private key in a file; give the nodes' \
             configuration with --config FILE",
        ),
    })?;
    let now = SystemTime::now();
    let claims = claims(arguments, &config.auth.required_claims, ttl, now)?;
    let token = signer.token(&claims).context("cannot sign")?;
    // A node would refuse the token for the same reason.
    let key = config.auth.key_of(signer);
    let checked = auth::check(&token, key.into_iter(), &config.auth.required_claims, now);
    checked.map_err(|refused| wrong(refused.0))?;
    if config.auth.is_short(signer) {
        warn(&format!(
            "the secret has fewer than {SECRET_BYTES_GOOD} bytes, so it can be guessed from any token, and a node \
             beyond loopback refuses it; make one with openssl rand -base64 32"
        ));
    }
    print(format!("{token}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// The token's claims, with the issuer and audience that the nodes require.
fn claims(
    arguments: &Arguments,
    terms: &RequiredClaims,
    ttl: Duration,
    now: SystemTime,
) -> Result<NewClaims, Failure> {
    let Arguments { user, subscribe, publish, channel: channels, info, .. } = arguments.clone();
    let info = match info.map(RawValue::from_string).transpose() {
        Ok(info) => info,
        Err(error) => return Err(wrong(format!("--info is not JSON: {error}"))),
    };
    for text in subscribe.iter().chain(&publish) {
        Pattern::parse(text).map_err(|invalid| wrong(format!("{text:?}: {invalid}")))?;
    }
    for name in &channels {
        channel(name)?;
    }
    let seconds = now.duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_secs();
    Ok(NewClaims {
        sub: user,
        iat: seconds,
        exp: seconds + ttl.as_secs(),
        iss: terms.issuer.clone(),
        aud: terms.audience.first().cloned(),
        subscribe,
        publish,
        channels,
        info,
    })
}
