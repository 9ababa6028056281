//! How a module reads its part of the configuration: it asks for each key once, with the default, the
//! allowed values and the description, beside the field it fills.
//!
//! These calls are the schema. From them come the checked values, all faults at once, the effective
//! configuration that `tidegate check` prints, and `docs/CONFIG.md`.

mod fault;
mod key_spec;
mod listen_address;
mod raw_value;
mod section;
mod syntax;
mod tables;
mod unit;

use std::collections::{BTreeMap, BTreeSet};

pub use fault::{SettingsFault, SettingsFaults, nearest};
pub use key_spec::KeySpec;
pub use listen_address::{ClientListener, InvalidListenAddress, ListenAddress};
pub use raw_value::RawValue;
pub use section::Section;
pub use syntax::SyntaxError;
pub use unit::read_duration;

/// The origin of a value that no layer set.
const DEFAULT: &str = "default";

/// The values of the layers (file, environment, flags), and the keys read so far.
#[derive(Debug, Default)]
pub struct Settings {
    /// Key to value and origin.
    raw: BTreeMap<String, (RawValue, String)>,
    specs: Vec<KeySpec>,
    faults: Vec<SettingsFault>,
}

impl Settings {
    /// `faults`: those found before any key was read.
    pub fn new(raw: BTreeMap<String, (RawValue, String)>, faults: Vec<SettingsFault>) -> Self {
        Self { raw, faults, ..Self::default() }
    }

    /// A fault of several keys together.
    pub fn fault(&mut self, key: &str, what: impl Into<String>) {
        self.fault_from(key.to_owned(), DEFAULT, what.into());
    }

    /// `origin`: used where the key is not set.
    fn fault_from(&mut self, key: String, origin: &str, what: String) {
        let of_key = self.raw.get(&key).map(|(_, origin)| origin.as_str());
        let origin = of_key.or_else(|| self.origin_of_list(&key)).unwrap_or(origin).to_owned();
        self.faults.push(SettingsFault { key, origin, what });
    }

    /// The origin of a list, which is no longer in `raw` once its tables have been read.
    fn origin_of_list(&self, list: &str) -> Option<&str> {
        let is_in_it = |spec: &&KeySpec| {
            let rest = spec.key.strip_prefix(list);
            !spec.is_schema() && rest.is_some_and(|rest| rest.starts_with('['))
        };
        let mut origins = self.specs.iter().filter(is_in_it).map(|known| known.origin.as_str());
        origins.find(|origin| *origin != DEFAULT)
    }

    /// Whether a layer set the key.
    pub fn is_set(&self, key: &str) -> bool {
        self.raw.contains_key(key)
    }

    /// Fails with the faults of the keys read so far; does not check for unknown keys.
    pub fn faultless(self) -> Result<(), SettingsFaults> {
        match self.faults.is_empty() {
            true => Ok(()),
            false => Err(SettingsFaults(self.faults)),
        }
    }

    /// All keys that were read, in order; or all faults, including unknown keys.
    pub fn finish(mut self) -> Result<Vec<KeySpec>, SettingsFaults> {
        let names: BTreeSet<&str> = self.specs.iter().map(|known| known.key.as_str()).collect();
        for (key, (_, origin)) in &self.raw {
            if !names.contains(key.as_str()) {
                let what = fault::unknown(key, &names);
                let origin = origin.clone();
                self.faults.push(SettingsFault { key: key.clone(), origin, what });
            }
        }
        match self.faults.is_empty() {
            true => Ok(self.specs),
            false => Err(SettingsFaults(self.faults)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn settings(raw: &[(&str, RawValue)]) -> Settings {
        let raw = raw
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (value.clone(), "test.toml".to_owned())));
        Settings::new(raw.collect(), Vec::new())
    }

    fn read_keys(settings: &mut Settings) -> (Duration, usize) {
        let mut section = settings.section("session");
        let second = Duration::from_secs(1);
        (
            section.duration("ping_interval", "25s", second..=60 * second, "How often."),
            section.bytes("queue_bytes_max", "1MiB", 1..=1 << 30, "How much."),
        )
    }

    #[test]
    fn a_key_that_is_not_set_has_its_default() {
        let mut settings = settings(&[]);
        assert_eq!(read_keys(&mut settings), (Duration::from_secs(25), 1 << 20));
        let specs = settings.finish().unwrap();
        assert_eq!((specs[0].default.as_str(), specs[0].origin.as_str()), ("\"25s\"", "default"));
    }

    #[test]
    fn all_faults_are_shown_at_once_and_name_key_origin_bounds_and_neighbour() {
        let mut settings = settings(&[
            ("session.ping_interval", RawValue::Number(25)),
            ("session.queue_byte_max", RawValue::Text("1MiB".into())),
            ("sesion.ping_interval", RawValue::Text("1s".into())),
        ]);
        read_keys(&mut settings);
        let faults = settings.finish().unwrap_err().to_string();
        for part in [
            "session.ping_interval (test.toml): is a number; must be a duration with its unit",
            "1s to 1m",
            "session.queue_byte_max (test.toml): no such key; did you mean session.queue_bytes_max?",
            "sesion.ping_interval (test.toml): no such key; did you mean session.ping_interval?",
        ] {
            assert!(faults.contains(part), "{part:?} is not in:\n{faults}");
        }
    }
}
