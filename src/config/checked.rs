//! The checked configuration: each module's own, and every key with the source of its value.

use std::path::PathBuf;

use crate::rules::{BuiltInRules, Rules};
use crate::settings::{ClientListener, KeySpec};
use crate::{
    apps, auth, broker, drain, events, internal, limits, presence, session, telemetry, topics,
    transport,
};

/// A checked configuration: its values need no further checks.
#[derive(Clone, Debug)]
pub struct Config {
    pub demo: bool,
    pub server: transport::Config,
    pub limits: limits::Config,
    pub internal: internal::Config,
    pub broker: broker::Config,
    pub session: session::Config,
    pub auth: auth::Config,
    pub presence: presence::Config,
    pub events: events::Config,
    pub drain: drain::Config,
    pub mqtt: transport::DirectConfig,
    pub telemetry: telemetry::Config,
    pub mercure: topics::Config,
    pub pusher: apps::Config,
    pub rules: Rules,
    /// The files it was read from. A change of one may change the configuration.
    pub files: Vec<PathBuf>,
    /// Every key with its effective value, for `tidegate check` and the reference.
    pub key_specs: Vec<KeySpec>,
}

impl Config {
    /// Whether a running node applies a change of this key.
    pub fn is_live(key: &str) -> bool {
        LIVE.iter().any(|live| match live.strip_suffix('*') {
            Some(prefix) => key.starts_with(prefix),
            None => key == *live,
        })
    }

    /// The clients' listener that is reachable from the most hosts.
    pub fn most_exposed(&self) -> ClientListener {
        most_exposed(&self.server, &self.mqtt)
    }

    /// The effective configuration as TOML, each value with its source, secrets masked.
    pub fn effective(&self) -> String {
        let mut toml = String::new();
        let mut section = "";
        for known in self.key_specs.iter().filter(|known| !known.is_schema()) {
            let (name, key) = known.split();
            if name != section {
                toml.push_str(&match name.split_once('[') {
                    Some((list, _)) => format!("\n[[{list}]]\n"),
                    None => format!("\n[{name}]\n"),
                });
                section = name;
            }
            toml.push_str(&match known.effective.as_str() {
                "" => format!("# {key} is not set\n"),
                value => format!("{key} = {value}  # {}\n", known.origin),
            });
        }
        if let Some(BuiltInRules { text, origin }) = self.rules.get().built_in() {
            // A comment, so that a node started with this text is the same node.
            toml.push_str(&format!("\n# rules = {text}  # {origin}\n"));
        }
        toml
    }
}

/// The listener that other hosts reach, if they reach one of the two; else the public one.
pub fn most_exposed(server: &transport::Config, mqtt: &transport::DirectConfig) -> ClientListener {
    let public = ClientListener { key: "server.listen", address: server.listen };
    let direct = mqtt.listen.map(|address| ClientListener { key: "mqtt.listen", address });
    direct.filter(|it| it.is_exposed() && !public.is_exposed()).unwrap_or(public)
}

/// The keys that a running node applies; the others need a restart.
const LIVE: &[&str] = &[
    "rules*",
    "auth.*",
    "limits.*",
    "drain.*",
    "server.handshake_timeout",
    "server.http2*",
    "server.origins",
    "server.proxy_protocol",
    "server.tls.*",
    "server.trusted_proxies",
    "internal.api_key",
    "internal.tls.*",
    "mqtt.proxy_protocol",
    "mqtt.tls.*",
    "telemetry.log_level",
    "telemetry.trace_ratio",
];
