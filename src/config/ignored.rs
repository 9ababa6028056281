//! Names that look like settings and have no effect: a warning and not a fault, because they may be meant for
//! another program, but an operator who mistyped a name must be told.

use std::collections::{BTreeMap, BTreeSet};

use super::layers::{PREFIX, SEPARATOR};
use super::{Config, Sources, file};
use crate::settings::{KeySpec, SettingsFault, nearest};

/// Where the keys are listed, for names that resemble none of them.
const REFERENCE: &str = "docs/CONFIG.md lists them all";

/// Variables that begin with `TIDEGATE_` and are not settings, and empty tables of the file whose names are no
/// section. Never quotes a value.
pub fn ignored(sources: &Sources) -> Vec<SettingsFault> {
    let defaults = Config::load(&Sources::default()).expect("the defaults are valid");
    let keys = Keys::of(&defaults.key_specs);
    let names = sources.environment.iter().map(|(name, _)| name.as_str());
    let is_in_kubernetes = sources.environment.iter().any(|(name, _)| name == IN_KUBERNETES);
    let variables = names
        .filter(|name| is_ours(name) && !(is_in_kubernetes && is_service_link(name)))
        .map(|name| SettingsFault::of_layer(name, keys.suggestion_for_variable(name)));
    let tables = sources.file.iter().flat_map(|path| {
        let tables = file::empty_tables(path).into_iter();
        let unknown = tables.filter(|table| !keys.has(table));
        unknown.map(|table| {
            SettingsFault::of_layer(path.display().to_string(), keys.suggestion_for_table(&table))
        })
    });
    variables.chain(tables).collect()
}

/// Kubernetes sets it in every container.
const IN_KUBERNETES: &str = "KUBERNETES_SERVICE_HOST";

/// Begins with `TIDEGATE_`, but not in the form of a setting.
fn is_ours(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    name.strip_prefix(PREFIX)
        .is_some_and(|rest| rest.starts_with('_') && !rest.starts_with(SEPARATOR))
}

/// One of the variables that Kubernetes derives from a Service called `tidegate`, or `tidegate-…`.
fn is_service_link(name: &str) -> bool {
    let is_port = |rest: &str| {
        rest.is_empty()
            || rest.starts_with('_') && rest[1..].starts_with(|it: char| it.is_ascii_digit())
    };
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.match_indices("_PORT").any(|(at, found)| is_port(&name[at + found.len()..]))
}

/// All keys, without list marks (`rules.pattern`), each with the variable that sets it.
struct Keys(BTreeMap<String, String>);

impl Keys {
    fn of(known: &[KeySpec]) -> Self {
        let key = |known: &KeySpec| (known.key.replace("[]", ""), variable(&known.key));
        Self(known.iter().map(key).collect())
    }

    /// Whether it is a key, or a section that has keys.
    fn has(&self, name: &str) -> bool {
        let section = format!("{name}.");
        self.0.contains_key(name) || self.0.keys().any(|key| key.starts_with(&section))
    }

    /// Compares `TIDEGATE_SERVER_LISTEN` by its words alone, however they are joined.
    fn suggestion_for_variable(&self, name: &str) -> String {
        let words = joined(name[PREFIX.len()..].trim_start_matches('_'));
        let keys: Vec<String> = self.0.keys().map(|key| joined(key)).collect();
        let near = nearest(&words, keys.iter().map(String::as_str));
        // `TIDEGATE_LISTEN` lacks the section, and several sections may have the key.
        let section = format!(".{words}");
        let is_meant = |key: &str| match near {
            Some(near) => joined(key) == near,
            None => key.ends_with(&section),
        };
        let meant = self.0.iter().filter(|(key, _)| is_meant(key));
        let meant: BTreeSet<&str> = meant.map(|(_, variable)| variable.as_str()).collect();
        if meant.is_empty() {
            return format!("is not a setting and has no effect; {REFERENCE}");
        }
        let meant = Vec::from_iter(meant).join(" or ");
        format!("is not a setting and has no effect; did you mean {meant}?")
    }

    fn suggestion_for_table(&self, table: &str) -> String {
        let sections =
            self.0.keys().filter_map(|key| key.split_once('.')).map(|(section, _)| section);
        match nearest(table, sections.chain(self.0.keys().map(String::as_str))) {
            Some(near) => format!("{table} is empty and not a section; did you mean {near}?"),
            None => format!("{table} is empty and not a section; {REFERENCE}"),
        }
    }
}

fn joined(name: &str) -> String {
    name.to_ascii_lowercase().replace(['.', '-'], "_").replace(SEPARATOR, "_")
}

/// The variable that sets a key. A variable sets a whole list, so for `rules[].pattern` it is that of `rules`.
fn variable(key: &str) -> String {
    let (key, _) = key.split_once("[]").unwrap_or((key, ""));
    format!("{PREFIX}{SEPARATOR}{}", key.replace('.', SEPARATOR).to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_variables(names: &[&str]) -> Vec<String> {
        let environment = names.iter().map(|name| ((*name).to_owned(), "hush".to_owned()));
        let sources = Sources { environment: environment.collect(), ..Sources::default() };
        ignored(&sources).iter().map(SettingsFault::to_string).collect()
    }

    #[test]
    fn a_variable_that_is_nearly_a_setting_is_named_with_the_setting() {
        for (name, near) in [
            ("TIDEGATE_SERVER_LISTEN", "TIDEGATE__SERVER__LISTEN"),
            ("TIDEGATE_SERVER__LISTEN", "TIDEGATE__SERVER__LISTEN"),
            ("TIDEGATE_BROKER_URL", "TIDEGATE__BROKER__URL"),
            ("TIDEGATE_API_KEY", "TIDEGATE__INTERNAL__API_KEY"),
            ("TIDEGATE_BROKER_PREFIXX", "TIDEGATE__BROKER__PREFIX"),
            ("tidegate_demo", "TIDEGATE__DEMO"),
            ("TIDEGATE_AUTH_KEYS_SECRET", "TIDEGATE__AUTH__KEYS"),
            (
                "TIDEGATE_SECRET",
                "TIDEGATE__AUTH__KEYS or TIDEGATE__BROKER__SECRET or TIDEGATE__PUSHER__APPS",
            ),
            ("TIDEGATE_PATTERN", "TIDEGATE__RULES"),
        ] {
            let warnings = of_variables(&[name]);
            let expected =
                format!("{name}: is not a setting and has no effect; did you mean {near}?");
            assert_eq!(warnings, [expected]);
        }
        let [warning] = &of_variables(&["TIDEGATE_LISTEN"])[..] else { panic!("one warning") };
        let all = "did you mean TIDEGATE__INTERNAL__LISTEN or TIDEGATE__MQTT__LISTEN or TIDEGATE__SERVER__LISTEN?";
        assert!(warning.ends_with(all), "{warning}");
        let warnings = of_variables(&["TIDEGATE_HOME"]);
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains(REFERENCE) && !warnings[0].contains("hush"), "{warnings:?}");
    }

    #[test]
    fn settings_and_variables_of_other_programs_cause_no_warning() {
        let others =
            ["TIDEGATE", "TIDEGATED_X", "TIDEGATE__DEMO", "TIDEGATE__NO_SUCH__KEY", "PATH"];
        assert_eq!(of_variables(&others), [""; 0]);
        let links = [
            "TIDEGATE_SERVICE_HOST",
            "TIDEGATE_SERVICE_PORT",
            "TIDEGATE_SERVICE_PORT_HTTP",
            "TIDEGATE_PORT",
            "TIDEGATE_PORT_8080_TCP",
            "TIDEGATE_PORT_8080_TCP_ADDR",
            "TIDEGATE_INTERNAL_PORT_9090_TCP_PROTO",
        ];
        assert_eq!(of_variables(&links).len(), links.len());
        assert_eq!(of_variables(&[&links[..], &[IN_KUBERNETES]].concat()), [""; 0]);
        assert_eq!(of_variables(&[IN_KUBERNETES, "TIDEGATE_SERVER_LISTEN"]).len(), 1);
    }

    #[test]
    fn empty_tables_that_are_not_sections_are_named_in_toml_and_yaml() {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("a.toml", "[sesion]\n[drain]\n[auth]\n[server.tsl]\n[server.tls]\n[x-mine]\n"),
            (
                "a.yaml",
                "sesion:\ndrain: {}\nauth:\n  keys:\nserver: { tsl: {}, tls: {} }\nx-mine:\n",
            ),
        ] {
            let file = directory.path().join(name);
            std::fs::write(&file, text).unwrap();
            let sources = Sources { file: Some(file), ..Sources::default() };
            let said: Vec<_> = ignored(&sources).iter().map(SettingsFault::to_string).collect();
            let parts =
                ["server.tsl is empty", "sesion is empty and not a section; did you mean session?"];
            assert_eq!(said.len(), 3, "{said:?}");
            for part in parts.iter().chain(&["x-mine is empty and not a section; docs/CONFIG.md"]) {
                assert!(said.iter().any(|it| it.contains(part) && it.contains(name)), "{said:?}");
            }
        }
    }
}
