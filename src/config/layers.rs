//! Merges file, environment and flags, with the `config` crate, into one flat map from key to value and
//! origin.

use std::collections::BTreeMap;

use ::config::{ConfigError, Environment, Map, Source, Value};

use super::file;
use super::sources::Sources;
use crate::settings::{KeySpec, RawValue, SettingsFault};

pub(super) const PREFIX: &str = "TIDEGATE";
pub(super) const SEPARATOR: &str = "__";

/// Maps `section.key` to value and origin. Layers with faults are left out, and their faults returned.
///
/// `known`: all keys; a fault in the file names the one at its position.
pub fn merge(
    sources: &Sources,
    known: fn() -> Vec<KeySpec>,
) -> (BTreeMap<String, (RawValue, String)>, Vec<SettingsFault>) {
    let mut faults = Vec::new();
    let mut builder = ::config::Config::builder();
    if let Some(path) = &sources.file {
        match file::read(path, known) {
            Ok(file) => builder = builder.add_source(file),
            Err(what) => faults.push(SettingsFault::of_layer(path.display().to_string(), what)),
        }
    }
    let environment = Environment::with_prefix(PREFIX)
        .prefix_separator(SEPARATOR)
        .separator(SEPARATOR)
        .source(Some(sources.environment.iter().cloned().collect()));
    let flags = Flags::parse(&sources.flags, &mut faults);
    let merged = builder.add_source(environment).add_source(flags).build();
    let mut flat = BTreeMap::new();
    match merged.and_then(|merged| merged.collect()) {
        Ok(merged) => {
            for (key, value) in merged {
                RawValue::each(key, &value, &mut |key, given, layer| {
                    let origin = origin(&key, layer, sources);
                    flat.insert(key, (given, origin));
                });
            }
        }
        Err(ConfigError::PathParse { .. }) => {
            let what = format!(
                "the name of a variable that begins with {PREFIX}{SEPARATOR} is not a valid key"
            );
            faults.push(SettingsFault::of_layer("environment", what));
        }
        // The crate's message may quote a value.
        Err(_) => {
            faults.push(SettingsFault::of_layer("configuration", "the layers cannot be merged"));
        }
    }
    (flat, faults)
}

/// The file, variable or flag that set the key.
fn origin(key: &str, layer: Option<&str>, sources: &Sources) -> String {
    match (layer, &sources.file) {
        (Some(Flags::ORIGIN), _) => format!("--set {key}"),
        (None, Some(path)) => path.display().to_string(),
        _ => format!("{PREFIX}{SEPARATOR}{}", key.replace('.', SEPARATOR).to_uppercase()),
    }
}

/// The `--set section.key=value` flags as a layer.
#[derive(Clone, Debug)]
struct Flags(Map<String, Value>);

impl Flags {
    const ORIGIN: &str = "--set";

    fn parse(flags: &[String], faults: &mut Vec<SettingsFault>) -> Self {
        let mut values = Map::new();
        for (i, flag) in flags.iter().enumerate() {
            let Some((key, value)) = flag.split_once('=').filter(|(key, _)| is_key(key)) else {
                let what = "must be section.key=value, such as broker.url=redis://127.0.0.1:6379";
                faults.push(SettingsFault::of_layer(format!("--set, number {}", i + 1), what));
                continue;
            };
            let origin = Self::ORIGIN.to_owned();
            values.insert(key.to_owned(), Value::new(Some(&origin), value.to_owned()));
        }
        Self(values)
    }
}

/// Accepts only what the crate's path syntax reads as a plain path, not as an index.
fn is_key(key: &str) -> bool {
    let is_segment = |word: &str| {
        !word.is_empty()
            && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    };
    key.split('.').all(is_segment)
}

impl Source for Flags {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}
