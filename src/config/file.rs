//! The configuration file, in TOML or YAML.

use std::collections::BTreeSet;
use std::path::Path;

use ::config::{ConfigError, File, FileFormat, FileSourceString, Source, Value, ValueKind};

use crate::settings::{KeySpec, SyntaxError};

/// Reads the file here, because the `config` crate would resolve a relative path against other directories.
///
/// `known`: all keys; a fault names the one at its position.
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

/// The file's empty tables, and keys without a value. Empty if the file cannot be read, because reading the
/// configuration reports that.
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

/// Names the position and the key there, and quotes nothing else of the text.
fn unreadable(error: &ConfigError, text: &str, known: &[KeySpec]) -> String {
    let error = SyntaxError::new(error, text);
    let words = known.iter().flat_map(|known| known.key.split(['.', '[', ']']));
    let words: BTreeSet<&str> = words.filter(|word| !word.is_empty()).collect();
    match error.key(text, |word| words.contains(word)) {
        Some(key) => format!("{error} (at the key {key})"),
        None => error.to_string(),
    }
}
