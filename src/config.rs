//! Merges defaults, file, environment and flags into one checked [`Config`], made of each module's own.

mod checked;
mod file;
mod fixed_settings;
mod ignored;
mod layers;
mod sources;

use std::path::PathBuf;

pub use self::checked::Config;
pub use self::fixed_settings::FixedSettings;
pub use self::ignored::ignored;
pub use self::sources::Sources;
use crate::rules::{BuiltInRules, Rules};
use crate::settings::{KeySpec, Settings, SettingsFaults};
use crate::{
    apps, auth, broker, drain, events, internal, limits, presence, session, telemetry, topics,
    transport,
};

/// The address and TLS files of a node's health endpoints. Reads no other settings, so that the probe of a
/// running node does not fail because of, for example, a badly renewed certificate.
pub fn health_endpoint(sources: &Sources) -> Result<internal::ApiEndpoint, SettingsFaults> {
    let (given, faults) = layers::merge(sources, known);
    let mut settings = Settings::new(given, faults);
    let endpoint = internal::ApiEndpoint::read(&mut settings);
    settings.faultless()?;
    Ok(endpoint)
}

/// The address, TLS files and key of a node's internal API.
pub fn api_endpoint(sources: &Sources) -> Result<internal::ApiEndpoint, SettingsFaults> {
    let (given, faults) = layers::merge(sources, known);
    let mut settings = Settings::new(given, faults);
    let endpoint = internal::ApiEndpoint::read(&mut settings).with_api_key(&mut settings);
    settings.faultless()?;
    Ok(endpoint)
}

impl Config {
    /// Reads and checks all settings. Fails with all faults at once.
    pub fn load(sources: &Sources) -> Result<Self, SettingsFaults> {
        Self::read(sources, None)
    }

    /// The same for a running node: settings that would weaken its access control are faults too, because a
    /// truncated file must not open the node.
    pub fn load_again(sources: &Sources, fixed: &FixedSettings) -> Result<Self, SettingsFaults> {
        Self::read(sources, Some(fixed))
    }

    fn read(sources: &Sources, fixed: Option<&FixedSettings>) -> Result<Self, SettingsFaults> {
        let (given, faults) = layers::merge(sources, known);
        let is_empty = sources.file.is_some() && given.is_empty();
        let mut settings = Settings::new(given, faults);
        let demo = settings.section("").flag(
            "demo",
            None,
            "Serves the demo pages at `/`. If not set, it is on where `server.listen` is loopback.",
        );
        let server = transport::Config::read(&mut settings);
        let limits = limits::Config::read(&mut settings);
        let internal = internal::Config::read(&mut settings);
        let broker = broker::Config::read(&mut settings);
        let session = session::Config::read(&mut settings);
        let mqtt = transport::DirectConfig::read(&mut settings);
        let most_exposed = checked::most_exposed(&server, &mqtt);
        let listen = fixed.map_or(most_exposed, |fixed| fixed.listen);
        let auth = auth::Config::read(&mut settings, listen);
        if let Some(fixed) = fixed {
            fixed.guard(&mut settings, &auth, &internal, is_empty);
        }
        if server.listen.is_also(internal.listen) {
            settings.fault("internal.listen", "must be another address than server.listen");
        }
        for (other, address) in
            [("server.listen", server.listen), ("internal.listen", internal.listen)]
        {
            if mqtt.listen.is_some_and(|listen| listen.is_also(address)) {
                settings.fault("mqtt.listen", format!("must be another address than {other}"));
            }
        }
        let presence = presence::Config::read(&mut settings);
        let events = events::Config::read(&mut settings, &broker.prefix, broker.url.is_memory());
        let drain = drain::Config::read(&mut settings);
        let telemetry = telemetry::Config::read(&mut settings);
        let mercure = topics::Config::read(&mut settings);
        // Last: in TOML, a list of tables follows everything else.
        let pusher = apps::Config::read(&mut settings, listen.address);
        let tokens = auth.mode != auth::Mode::None;
        let is_loopback = server.listen.ip().is_loopback();
        let has_rules = settings.is_set("rules");
        let mut rules = Rules::read(&mut settings, tokens);
        let has_demo = demo.unwrap_or(is_loopback) && broker.url.is_memory();
        if !has_rules && !pusher.apps.is_empty() {
            let built_in = BuiltInRules::of_apps(pusher.apps.rules(), has_demo);
            rules = Rules::built_in(built_in, tokens);
        } else if !has_rules && has_demo {
            rules = Rules::built_in(BuiltInRules::demo(), tokens);
        }
        events.check_rules(&mut settings, &broker.prefix, &rules);
        if let Some(fixed) = fixed {
            fixed.guard_rules(&mut settings, &rules);
        }
        let mut specs = settings.finish()?;
        for left_open in specs.iter_mut().filter(|known| known.key == "demo" && demo.is_none()) {
            left_open.effective = is_loopback.to_string();
            left_open.origin = "default, by server.listen".to_owned();
        }
        Ok(Self {
            demo: demo.unwrap_or(is_loopback),
            server,
            limits,
            internal,
            broker: broker.with_rules(rules.clone()),
            session,
            auth,
            presence,
            events,
            drain,
            mqtt,
            telemetry,
            mercure,
            pusher,
            rules,
            files: files(sources, &specs),
            key_specs: specs,
        })
    }
}

/// All keys that exist.
fn known() -> Vec<KeySpec> {
    Config::load(&Sources::default()).map(|config| config.key_specs).unwrap_or_default()
}

/// The last part of the keys that name a file whose content is a setting.
const FILE_KEYS: [&str; 5] = ["file", "ca_file", "cert", "key", "client_ca"];

/// The configuration file, and the files that its settings name.
fn files(sources: &Sources, known: &[KeySpec]) -> Vec<PathBuf> {
    let named = known.iter().filter(|known| {
        let last = known.key.rsplit('.').next();
        !known.is_schema() && last.is_some_and(|last| FILE_KEYS.contains(&last))
    });
    let named = named.map(|known| known.effective.trim_matches('"')).filter(|it| !it.is_empty());
    sources.file.iter().cloned().chain(named.map(PathBuf::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(flags: &[&str]) -> Sources {
        Sources {
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            ..Sources::default()
        }
    }

    #[test]
    fn the_built_in_rules_of_the_most_applications_are_within_the_bound_of_rules() {
        let app = |i| format!(r#"{{ id = "{i}", key = "{i}", secret = "s", prefix = "{i}:" }}"#);
        let apps: Vec<String> = (0..apps::APPS_MAX).map(app).collect();
        let config = Config::load(&flags(&[&format!("pusher.apps=[{}]", apps.join(", "))]));
        let rules = config.unwrap().rules;
        assert_eq!(rules.of("7:private-a").publish, crate::rules::Access::Token);
        assert!(rules.get().iter().count() > 9 * apps::APPS_MAX);
    }

    #[test]
    fn the_default_configuration_is_valid_and_on_loopback() {
        let config = Config::load(&Sources::default()).unwrap();
        assert!(config.demo);
        assert_eq!(config.server.listen, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(config.internal.listen, "127.0.0.1:9090".parse().unwrap());
    }

    #[test]
    fn a_node_beyond_loopback_without_authentication_must_be_configured_explicitly() {
        let open = "server.listen=0.0.0.0:8080";
        let faults = Config::load(&flags(&[open])).unwrap_err().to_string();
        assert!(faults.contains("auth.mode = \"none\""), "{faults}");
        let config = Config::load(&flags(&[open, "auth.mode=none"])).unwrap();
        assert!(!config.demo, "the demo pages are for loopback unless asked for");
    }

    #[test]
    fn flags_override_the_environment_and_the_environment_overrides_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tidegate.yaml");
        std::fs::write(
            &file,
            "session:\n  ping_interval: 1s\n  pong_timeout: 1s\ndrain:\n  period: 1s\n",
        )
        .unwrap();
        let variable = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let config = Config::load(&Sources {
            file: Some(file),
            environment: vec![
                variable("TIDEGATE__SESSION__PONG_TIMEOUT", "2s"),
                variable("TIDEGATE__DRAIN__PERIOD", "2s"),
                variable("TIDEGATE_HOME", "somewhere else's business"),
            ],
            flags: vec!["drain.period=3s".to_owned()],
        })
        .unwrap();
        assert_eq!(config.session.ping_interval.as_secs(), 1);
        assert_eq!(config.session.pong_timeout.as_secs(), 2);
        assert_eq!(config.drain.period.as_secs(), 3);
    }

    #[test]
    fn secrets_are_masked_in_the_effective_configuration_and_in_faults() {
        let config = Config::load(&flags(&[
            "broker.url=redis://user:hush@127.0.0.1:6379",
            "internal.api_key=hush-hush-hush-hush",
        ]))
        .unwrap();
        assert!(!config.effective().contains("hush"), "{}", config.effective());
        let faults =
            Config::load(&flags(&["broker.url=reddis://user:hush@127.0.0.1"])).unwrap_err();
        assert!(!faults.to_string().contains("hush"), "{faults}");
    }

    #[test]
    fn a_stream_of_events_needs_redis_and_a_key_of_its_own_under_the_prefix() {
        let load = |more: &[&str]| {
            let redis = ["broker.url=redis://127.0.0.1:6379"];
            Config::load(&flags(&[&redis[..], more].concat())).map(|config| config.events.stream)
        };
        let stream = "events.stream=tidegate:events";
        let fault = |more: &[&str]| load(more).unwrap_err().to_string();
        assert_eq!(load(&[stream]).unwrap().as_deref(), Some("tidegate:events"));
        let memory = Config::load(&flags(&[stream])).unwrap_err().to_string();
        assert!(memory.contains("events.stream") && memory.contains("needs Redis"), "{memory}");
        let other = fault(&["events.stream=other:events"]);
        assert!(other.contains("begins with broker.prefix"), "{other}");
        let history = r#"rules=[{pattern="**",history={size=5,age="1m"}}]"#;
        let shared = fault(&[stream, history]);
        assert!(shared.contains("history of the channel events"), "{shared}");
        let kinds = fault(&[r#"rules=[{pattern="**",events=["left"]}]"#]);
        assert!(kinds.contains("rules[0].events") && kinds.contains("vacated"), "{kinds}");
    }

    /// Values of the wrong type for most keys.
    const WRONG: [&str; 4] =
        ["\"hush\"", "[\"hush\", 1]", "{ hush = \"hush-hush\" }", "4815162342.5"];

    #[test]
    fn no_fault_of_any_key_quotes_its_value() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("wrong.toml");
        for known in Config::load(&Sources::default()).unwrap().key_specs {
            for wrong in WRONG {
                let text = match known.key.split_once("[].") {
                    Some((list, key)) => format!("{list} = [{{ {key} = {wrong} }}]"),
                    None => format!("{} = {wrong}", known.key.trim_end_matches("[]")),
                };
                std::fs::write(&file, &text).unwrap();
                let sources = Sources { file: Some(file.clone()), ..Sources::default() };
                let Err(faults) = Config::load(&sources) else { continue };
                // A key's name may be quoted; it is not a value.
                let faults = faults.to_string().replace(".hush (", " (");
                assert!(!faults.contains("hush") && !faults.contains("4815"), "{text}: {faults}");
            }
        }
    }
}
