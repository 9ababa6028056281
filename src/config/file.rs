//! The configuration file, in TOML or YAML.

use std::collections::BTreeSet;
use std::path::Path;

use ::config::{ConfigError, File, FileFormat, FileSourceString, Source, Value, ValueKind};

use crate::settings::{KeySpec, SyntaxError};

/// Read here rather than by the crate, which would name it relative to wherever we run.
///
/// `known`: all keys there are, of which a fault names the one that it is at.
pub fn read(
    path: &Path,
    known: fn() -> Vec<KeySpec>,
) -> Result<File<FileSourceString, FileFormat>, String> {
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
    file.collect().map_err(|error| unreadable(&error, &text, &known()))?;
    Ok(file)
}

/// The tables of the file with nothing in them, and what has no value at all, which are no keys.
/// None where it cannot be read: reading the configuration tells that.
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
    for (key, value) in
        read(path, Vec::new).ok().and_then(|file| file.collect().ok()).unwrap_or_default()
    {
        walk(key, &value, &mut empty);
    }
    empty.sort();
    empty
}

/// Names the place and the key there, and quotes nothing else of the text.
fn unreadable(error: &ConfigError, text: &str, known: &[KeySpec]) -> String {
    let error = SyntaxError::new(error, text);
    let words = known.iter().flat_map(|known| known.key.split(['.', '[', ']']));
    let words: BTreeSet<&str> = words.filter(|word| !word.is_empty()).collect();
    match error.key(text, |word| words.contains(word)) {
        Some(key) => format!("{error} (at the key {key})"),
        None => error.to_string(),
    }
}
