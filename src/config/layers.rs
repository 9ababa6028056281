//! File, environment and flags, merged by the `config` crate into one flat map of keys that each
//! remember where they came from.

use std::collections::BTreeMap;
use std::path::Path;

use ::config::{
    ConfigError, Environment, File, FileFormat, FileSourceString, Map, Source, Value, ValueKind,
};

use super::Sources;
use crate::settings::{Faults, Given};

const PREFIX: &str = "TIDEGATE";
const SEPARATOR: &str = "__";

/// `section.key` to value and origin.
pub fn merge(sources: &Sources) -> Result<BTreeMap<String, (Given, String)>, Faults> {
    let mut builder = ::config::Config::builder();
    if let Some(path) = &sources.file {
        builder = builder.add_source(file(path)?);
    }
    let environment = Environment::with_prefix(PREFIX)
        .prefix_separator(SEPARATOR)
        .separator(SEPARATOR)
        .source(Some(sources.environment.iter().cloned().collect()));
    let merged = builder
        .add_source(environment)
        .add_source(Flags::parse(&sources.flags)?)
        .build()
        .and_then(|merged| merged.collect())
        .map_err(|error| unreadable(sources, &error))?;
    let mut flat = BTreeMap::new();
    for (key, value) in merged {
        flatten(key, &value, sources, &mut flat);
    }
    Ok(flat)
}

fn unreadable(sources: &Sources, error: &ConfigError) -> Faults {
    let origin = sources.file.as_ref().map(|path| path.display().to_string());
    Faults::of_layer(origin.unwrap_or_else(|| "configuration".to_owned()), error.to_string())
}

fn flatten(
    key: String,
    value: &Value,
    sources: &Sources,
    flat: &mut BTreeMap<String, (Given, String)>,
) {
    let given = match &value.kind {
        ValueKind::Table(table) => {
            for (name, value) in table {
                flatten(format!("{key}.{name}"), value, sources, flat);
            }
            return;
        }
        ValueKind::Nil => return,
        ValueKind::Boolean(flag) => Given::Flag(*flag),
        ValueKind::I64(number) => Given::Number(*number),
        ValueKind::String(text) => Given::Text(text.clone()),
        ValueKind::Array(items)
            if items.iter().all(|it| matches!(it.kind, ValueKind::String(_))) =>
        {
            Given::List(items.iter().map(ToString::to_string).collect())
        }
        other => Given::Other(other.to_string()),
    };
    let origin = origin(&key, value, sources);
    flat.insert(key, (given, origin));
}

/// Read here rather than by the crate, which would name it relative to wherever we run.
fn file(path: &Path) -> Result<File<FileSourceString, FileFormat>, Faults> {
    let format = match path.extension().and_then(|ending| ending.to_str()) {
        Some("toml") => FileFormat::Toml,
        Some("yaml" | "yml") => FileFormat::Yaml,
        _ => {
            let what = "a configuration file is TOML or YAML and ends in .toml, .yaml or .yml";
            return Err(Faults::of_layer(path.display().to_string(), what));
        }
    };
    let text = std::fs::read_to_string(path)
        .map_err(|error| Faults::of_layer(path.display().to_string(), error.to_string()))?;
    Ok(File::from_str(&text, format))
}

/// Names the very file, variable or flag.
fn origin(key: &str, value: &Value, sources: &Sources) -> String {
    match (value.origin(), &sources.file) {
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

    fn parse(flags: &[String]) -> Result<Self, Faults> {
        let mut values = Map::new();
        for flag in flags {
            let Some((key, value)) = flag.split_once('=').filter(|(key, _)| is_key(key)) else {
                let what = "must be section.key=value, such as broker.url=redis://127.0.0.1:6379";
                return Err(Faults::of_layer(format!("--set {flag}"), what));
            };
            let origin = Self::ORIGIN.to_owned();
            values.insert(key.to_owned(), Value::new(Some(&origin), value.to_owned()));
        }
        Ok(Self(values))
    }
}

/// What the crate's path syntax takes as a plain path, so that nothing is read as an index.
fn is_key(key: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty()
            && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    };
    key.split('.').all(word)
}

impl Source for Flags {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}
