//! File, environment and flags, merged by the `config` crate into one flat map of keys that each
//! remember where they came from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ::config::{
    ConfigError, Environment, File, FileFormat, FileSourceString, Map, Source, Value, ValueKind,
};

use super::Sources;
use crate::settings::{Fault, Given, Unreadable};

pub(super) const PREFIX: &str = "TIDEGATE";
pub(super) const SEPARATOR: &str = "__";

/// `section.key` to value and origin, and the faults of whole layers, which are left out.
pub fn merge(sources: &Sources) -> (BTreeMap<String, (Given, String)>, Vec<Fault>) {
    let mut faults = Vec::new();
    let mut builder = ::config::Config::builder();
    if let Some(path) = &sources.file {
        match file(path) {
            Ok(file) => builder = builder.add_source(file),
            Err(what) => faults.push(Fault::of_layer(path.display().to_string(), what)),
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
                Given::each(key, &value, &mut |key, given, layer| {
                    let origin = origin(&key, layer, sources);
                    flat.insert(key, (given, origin));
                });
            }
        }
        Err(ConfigError::PathParse { .. }) => {
            let what =
                format!("a variable that begins with {PREFIX}{SEPARATOR} is named like no key");
            faults.push(Fault::of_layer("environment", what));
        }
        // Its words may quote a value.
        Err(_) => faults.push(Fault::of_layer("configuration", "it cannot be put together")),
    }
    (flat, faults)
}

/// Read here rather than by the crate, which would name it relative to wherever we run.
fn file(path: &Path) -> Result<File<FileSourceString, FileFormat>, String> {
    let format = match path.extension().and_then(|ending| ending.to_str()) {
        Some("toml") => FileFormat::Toml,
        Some("yaml" | "yml") => FileFormat::Yaml,
        _ => {
            return Err(
                "a configuration file is TOML or YAML and ends in .toml, .yaml or .yml".into()
            );
        }
    };
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let file = File::from_str(&text, format);
    file.collect().map_err(|error| unreadable(&error, &text))?;
    Ok(file)
}

/// The tables of the file with nothing in them, and what has no value at all, which are no keys in
/// [`merge`]. None where it cannot be read: [`merge`] tells that.
pub fn empty_tables(path: &Path) -> Vec<String> {
    fn walk(key: String, value: &Value, empty: &mut Vec<String>) {
        match &value.kind {
            ValueKind::Table(table) if !table.is_empty() => {
                for (name, value) in table {
                    walk(format!("{key}.{name}"), value, empty);
                }
            }
            ValueKind::Table(_) | ValueKind::Nil => empty.push(key),
            _ => {}
        }
    }
    let mut empty = Vec::new();
    for (key, value) in file(path).ok().and_then(|file| file.collect().ok()).unwrap_or_default() {
        walk(key, &value, &mut empty);
    }
    empty.sort();
    empty
}

/// Names the place and the key there, and quotes nothing else of the text.
fn unreadable(error: &ConfigError, text: &str) -> String {
    let error = Unreadable::new(error, text);
    let known = super::Config::load(&Sources::default()).map(|it| it.known).unwrap_or_default();
    let words = known.iter().flat_map(|known| known.key.split(['.', '[', ']']));
    let words: BTreeSet<&str> = words.filter(|word| !word.is_empty()).collect();
    match error.key(text, |word| words.contains(word)) {
        Some(key) => format!("{error} (at the key {key})"),
        None => error.to_string(),
    }
}

/// Names the very file, variable or flag.
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

    fn parse(flags: &[String], faults: &mut Vec<Fault>) -> Self {
        let mut values = Map::new();
        for (i, flag) in flags.iter().enumerate() {
            let Some((key, value)) = flag.split_once('=').filter(|(key, _)| is_key(key)) else {
                let what = "must be section.key=value, such as broker.url=redis://127.0.0.1:6379";
                faults.push(Fault::of_layer(format!("--set, number {}", i + 1), what));
                continue;
            };
            let origin = Self::ORIGIN.to_owned();
            values.insert(key.to_owned(), Value::new(Some(&origin), value.to_owned()));
        }
        Self(values)
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
