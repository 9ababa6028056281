//! Why a text is not valid TOML or YAML, without quoting it: it may contain secrets.

use std::fmt;
use std::ops::Range;

use ::config::ConfigError;
use toml::de::{DeTable, DeValue, Error as TomlError};
use yaml_rust2::ScanError;

/// The error and its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    position: Option<LineColumn>,
    what: String,
}

/// Both start at 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LineColumn {
    line: usize,
    column: usize,
}

impl SyntaxError {
    /// `text`: the text that failed to parse.
    pub fn new(error: &ConfigError, text: &str) -> Self {
        let cause = match error {
            ConfigError::FileParse { cause, .. } => Some(&**cause),
            _ => None,
        };
        if let Some(error) = cause.and_then(|cause| cause.downcast_ref::<TomlError>()) {
            // The message lists what the grammar expects; only the error's `Display` quotes a line.
            let position = error.span().map(|span| LineColumn::of(span.start, text));
            return Self { position, what: error.message().to_owned() };
        }
        if let Some(error) = cause.and_then(|cause| cause.downcast_ref::<ScanError>()) {
            let marker = error.marker();
            let position = Some(LineColumn { line: marker.line(), column: marker.col() + 1 });
            return Self { position, what: unquoted(error.info()).to_owned() };
        }
        let number = DeTable::parse(text).ok().and_then(|table| too_large(table.get_ref()));
        if let Some(span) = number {
            let position = Some(LineColumn::of(span.start, text));
            return Self { position, what: "the number is too large".to_owned() };
        }
        let what = "it must be one table of settings, with text keys and finite numbers";
        Self { position: None, what: what.to_owned() }
    }

    /// The name of the key at the error's position. None if it is not `known`, because it may then be part of a
    /// value.
    pub fn key<'t>(&self, text: &'t str, known: impl Fn(&str) -> bool) -> Option<&'t str> {
        let lines: Vec<&str> = text.lines().take(self.position?.line).collect();
        lines.into_iter().rev().find_map(|line| {
            let (name, _) = line.split_once(['=', ':'])?;
            let name = name.trim_start_matches([' ', '\t', '-', '{']).trim_end();
            (!name.is_empty() && name.split('.').all(&known)).then_some(name)
        })
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(LineColumn { line, column }) = self.position {
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

/// The YAML reader's message, unless it quotes the text.
fn unquoted(info: &str) -> &str {
    match info {
        _ if info.ends_with("duplicated key in mapping") => "a key is given twice",
        _ if info.contains(['`', '"', '(']) => "this is not valid YAML",
        _ => info,
    }
}

/// Where a number is that does not fit an `i64` or a finite `f64`.
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
