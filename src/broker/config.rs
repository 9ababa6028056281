//! The `[broker]` section of the configuration.

use std::path::PathBuf;
use std::time::Duration;

use crate::broker::redis::secret::Secret;
use crate::broker::redis::url::Url;
use crate::rules::Rules;
use crate::settings::{Section, Settings};
use crate::tls::Trust;

/// The `[broker]` section, with the rules of `[history]` and `[[rules]]` that the broker needs.
#[derive(Clone, Debug)]
pub struct Config {
    pub url: Url,
    pub prefix: String,
    pub publish_timeout: Duration,
    /// How long an idempotency key is remembered.
    pub idempotency_window: Duration,
    /// Signs the header lines of this fleet's nodes where they may not read the server's secret
    /// from Redis.
    pub secret: Option<Secret>,
    /// Which channels keep history.
    pub rules: Rules,
    /// The certificate authorities that Redis' certificates are checked against. `None`:
    /// connections without TLS.
    pub trust: Option<Trust>,
}

/// Default of `broker.prefix`.
const PREFIX: &str = "tidegate:";

impl Config {
    pub fn read(settings: &mut Settings) -> Self {
        let idempotency_window = idempotency_window(settings);
        let mut section = settings.section("broker");
        let url = url(&mut section);
        let prefix = prefix(&mut section);
        let secret = secret(&mut section);
        let url = with_sentinel_login(&mut section, url.unwrap_or(Url::Memory));
        if url.database() != 0 && prefix.as_deref() == Some(PREFIX) {
            section.fault(
                "prefix",
                format!(
                    "must differ from {PREFIX:?}, because broker.url names the database {0}: pub/sub and \
                     functions belong to the whole server, so fleets that share a server need a \
                     prefix each, such as \"tidegate{0}:\"",
                    url.database()
                ),
            );
        }
        let trust = trust(&mut section, &url);
        Self {
            url,
            trust,
            prefix: prefix.unwrap_or_default(),
            publish_timeout: section.duration(
                "publish_timeout",
                "2s",
                Duration::from_millis(50)..=Duration::from_secs(60),
                "A publication that the broker has not accepted within this time gets the error \
                 `unavailable`. It may still arrive, because only the broker's reply may have \
                 been lost.",
            ),
            idempotency_window,
            secret,
            rules: Rules::default(),
        }
    }

    /// Sets the rules, which decide which channels keep history.
    pub fn with_rules(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }
}

fn idempotency_window(settings: &mut Settings) -> Duration {
    settings.section("history").duration(
        "idempotency_window",
        "5m",
        Duration::from_secs(1)..=Duration::from_secs(24 * 3600),
        "A publication with the same idempotency key is published once within this time. Applies \
         to channels with history.",
    )
}

fn url(section: &mut Section<'_>) -> Option<Url> {
    section.explained(
        "url",
        Some("memory:"),
        Url::FORMS,
        Url::parse,
        Url::masked,
        "The broker that carries publications between nodes. `memory:` is for a single node.",
    )
}

fn prefix(section: &mut Section<'_>) -> Option<String> {
    section.parsed(
        "prefix",
        Some(PREFIX),
        "at most 64 bytes without white space",
        |text| (text.len() <= 64 && !text.contains(char::is_whitespace)).then(|| text.to_owned()),
        String::clone,
        "Channel `news` is the Redis channel `<prefix>news`. Fleets that share a server need \
         different prefixes, even in different databases. With a database other than 0 in \
         `broker.url`, the prefix must differ from the default.",
    )
}

fn secret(section: &mut Section<'_>) -> Option<Secret> {
    section.parsed(
        "secret",
        None,
        Secret::ALLOWED,
        Secret::parse,
        |_| "***".to_owned(),
        "Signs the header lines of this fleet's nodes, instead of the secret that nodes keep in \
         Redis. Only for a Redis without functions, or a user that may not call and load them; \
         then all nodes need the same secret.",
    )
}

/// Reads the sentinels' own login. A login that would never be used is a fault, because the
/// operator expects it to be.
fn with_sentinel_login(section: &mut Section<'_>, url: Url) -> Url {
    let user = section.parsed(
        "sentinel_user",
        None,
        "the name of a user",
        |text| (!text.is_empty()).then(|| text.to_owned()),
        |_| "***".to_owned(),
        "The user that nodes log in as at the sentinels, with `broker.sentinel_password`. Not set: the \
         sentinels' default user.",
    );
    let password = section.parsed(
        "sentinel_password",
        None,
        "a password",
        |text| (!text.is_empty()).then(|| text.to_owned()),
        |_| "***".to_owned(),
        "The password at the sentinels, where `broker.url` is `redis+sentinel://` or \
         `rediss+sentinel://`. Not set: nodes connect without a login, and where the sentinels \
         require one with that of `broker.url`.",
    );
    let keys = ["sentinel_user", "sentinel_password"];
    if !url.has_sentinels() {
        for key in keys.into_iter().filter(|key| section.is_given(key)).collect::<Vec<_>>() {
            section.fault(key, "has no effect, because broker.url names no sentinels");
        }
    } else if section.is_given(keys[0]) && !section.is_given(keys[1]) {
        section.fault(keys[0], "has no effect without broker.sentinel_password");
    }
    match password {
        Some(password) => url.with_sentinel_login(user, password),
        None => url,
    }
}

/// Reads the certificate authorities for Redis. Setting them without TLS is a fault, because the
/// operator expects encryption.
fn trust(section: &mut Section<'_>, url: &Url) -> Option<Trust> {
    let ca_file = section.text(
        "ca_file",
        None,
        "the path of a file",
        |text| (!text.is_empty()).then(|| PathBuf::from(text)),
        |path| path.display().to_string(),
        "The certificate authorities that Redis' certificates are checked against, in PEM, where \
         `broker.url` uses TLS, such as `rediss://`. Not set: those of the system.",
    );
    match (url, ca_file) {
        (url, ca_file) if url.is_encrypted() => match Trust::read(ca_file.as_deref()) {
            Ok(trust) => return Some(trust),
            Err(error) => section.fault("ca_file", error.to_string()),
        },
        (Url::Redis(_), Some(_)) => section.fault(
            "ca_file",
            "has no effect, because broker.url is without TLS; write rediss:// there, or leave this out",
        ),
        _ => {}
    }
    None
}
