//! Why a text is no TOML or YAML, in words that quote nothing of it: it may hold secrets.

use std::fmt;
use std::ops::Range;

use ::config::ConfigError;
use toml::de::{DeTable, DeValue, Error as TomlError};
use yaml_rust2::ScanError;

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    place: Option<LineColumn>,
    what: String,
}

/// Both from 1; columns are characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LineColumn {
    line: usize,
    column: usize,
}

impl SyntaxError {
    /// `text`: what the error is about.
    pub fn new(error: &ConfigError, text: &str) -> Self {
        let cause = match error {
            ConfigError::FileParse { cause, .. } => Some(&**cause),
            _ => None,
        };
        if let Some(error) = cause.and_then(|cause| cause.downcast_ref::<TomlError>()) {
            // The message is made of what the grammar expects; only its display quotes a line.
            let place = error.span().map(|span| LineColumn::of(span.start, text));
            return Self { place, what: error.message().to_owned() };
        }
        if let Some(error) = cause.and_then(|cause| cause.downcast_ref::<ScanError>()) {
            let marker = error.marker();
            let place = Some(LineColumn { line: marker.line(), column: marker.col() + 1 });
            return Self { place, what: unquoted(error.info()).to_owned() };
        }
        let number = DeTable::parse(text).ok().and_then(|table| too_large(table.get_ref()));
        if let Some(span) = number {
            let place = Some(LineColumn::of(span.start, text));
            return Self { place, what: "the number is too large".to_owned() };
        }
        let what = "it must be one table of settings, with texts for keys and finite numbers";
        Self { place: None, what: what.to_owned() }
    }

    /// The name of the key at that place. None where it is not one of those that are `known`: it may
    /// then be a part of some value.
    pub fn key<'t>(&self, text: &'t str, known: impl Fn(&str) -> bool) -> Option<&'t str> {
        let lines: Vec<&str> = text.lines().take(self.place?.line).collect();
        lines.into_iter().rev().find_map(|line| {
            let (name, _) = line.split_once(['=', ':'])?;
            let name = name.trim_start_matches([' ', '\t', '-', '{']).trim_end();
            (!name.is_empty() && name.split('.').all(&known)).then_some(name)
        })
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(LineColumn { line, column }) = self.place {
            write!(f, "line {line}, column {column}: ")?;
        }
        f.write_str(&self.what)
    }
}

impl LineColumn {
    fn of(index: usize, text: &str) -> Self {
        let before = text.get(..index).unwrap_or(text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        Self { line: before.matches('\n').count() + 1, column: line.chars().count() + 1 }
    }
}

/// What the YAML reader says, unless it quotes the text.
fn unquoted(info: &str) -> &str {
    match info {
        _ if info.ends_with("duplicated key in mapping") => "a key is given twice",
        _ if info.contains(['`', '"', '(']) => "what is here is no YAML",
        _ => info,
    }
}

/// Where a number is that fits into none of ours.
fn too_large(table: &DeTable<'_>) -> Option<Range<usize>> {
    table.iter().find_map(|(_, value)| too_large_value(value.get_ref(), value.span()))
}

fn too_large_value(value: &DeValue<'_>, span: Range<usize>) -> Option<Range<usize>> {
    match value {
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).err().map(|_| span)
        }
        DeValue::Float(number) => {
            let read: Option<f64> = number.as_str().parse().ok();
            read.is_none_or(f64::is_infinite).then_some(span)
        }
        DeValue::Array(items) => {
            items.iter().find_map(|item| too_large_value(item.get_ref(), item.span()))
        }
        DeValue::Table(table) => too_large(table),
        _ => None,
    }
}
