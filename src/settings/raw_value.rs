//! A value as a layer has it, before it is checked.

use std::collections::BTreeMap;

use ::config::{File, FileFormat, Map, Source, Value, ValueKind};

use super::SyntaxError;

#[derive(Clone, Debug, PartialEq)]
pub enum RawValue {
    Text(String),
    Number(i64),
    Fraction(f64),
    Flag(bool),
    List(Vec<String>),
    Tables(Vec<RawTable>),
    /// A value no key accepts, such as a list of both texts and tables.
    Other,
}

/// Key to value; the keys of nested tables are joined by dots.
pub type RawTable = BTreeMap<String, RawValue>;

impl RawValue {
    /// Calls `take` with key, value and layer name for `value` or, if it is a table, for each value in it.
    pub fn each(key: String, value: &Value, take: &mut impl FnMut(String, Self, Option<&str>)) {
        let raw = match &value.kind {
            ValueKind::Table(table) => {
                for (name, value) in table {
                    Self::each(format!("{key}.{name}"), value, take);
                }
                return;
            }
            ValueKind::Nil => return,
            ValueKind::Boolean(flag) => Self::Flag(*flag),
            ValueKind::I64(number) => Self::Number(*number),
            ValueKind::Float(number) => Self::Fraction(*number),
            ValueKind::String(text) => Self::Text(text.clone()),
            ValueKind::Array(items) => Self::list(items),
            _ => Self::Other,
        };
        take(key, raw, value.origin());
    }

    fn list(items: &[Value]) -> Self {
        let texts = items.iter().map(|item| match &item.kind {
            ValueKind::String(text) => Some(text.clone()),
            _ => None,
        });
        let tables = items.iter().map(|item| match &item.kind {
            ValueKind::Table(values) => Some(table(values)),
            _ => None,
        });
        let list = texts.collect::<Option<_>>().map(Self::List);
        let list = list.or_else(|| tables.collect::<Option<_>>().map(Self::Tables));
        list.unwrap_or(Self::Other)
    }

    /// The texts of a list: as a file has them, or in a variable or a flag, where commas separate them or they are
    /// TOML. None: it is no such list.
    pub fn texts(&self) -> Option<Vec<String>> {
        let by_commas = |text: &str| text.split(',').map(|item| item.trim().to_owned()).collect();
        match self {
            Self::List(items) => Some(items.clone()),
            // `[::1]` is an address.
            Self::Text(text) if text.trim_start().starts_with('[') => match of_toml(text) {
                Ok(Self::List(items)) => Some(items),
                _ => Some(by_commas(text)),
            },
            Self::Text(text) => Some(by_commas(text)),
            _ => None,
        }
    }

    /// The tables of a list: as a file has them, or as TOML in a variable or a flag.
    ///
    /// Fails with a description that quotes no value, because it may be a secret.
    pub fn into_tables(self) -> Result<Vec<RawTable>, String> {
        let list = match self {
            Self::Text(text) => of_toml(&text)?,
            list => list,
        };
        match list {
            Self::Tables(tables) => Ok(tables),
            Self::List(items) if items.is_empty() => Ok(Vec::new()),
            _ => Err("it is not a list of tables".to_owned()),
        }
    }
}

fn table(values: &Map<String, Value>) -> RawTable {
    let mut table = RawTable::new();
    for (name, value) in values {
        match &value.kind {
            // Flattening would drop an empty table; keep it so that it becomes a fault.
            ValueKind::Table(inner) if inner.is_empty() => {
                table.insert(name.clone(), RawValue::Other);
            }
            _ => RawValue::each(name.clone(), value, &mut |key, given, _| {
                table.insert(key, given);
            }),
        }
    }
    table
}

fn of_toml(text: &str) -> Result<RawValue, String> {
    // `it = ` would shift the columns of line 1 only.
    let text = format!("it = {text}");
    let read = File::from_str(&text, FileFormat::Toml).collect();
    let values = read.map_err(|error| SyntaxError::new(&error, &text).to_string())?;
    match values.get("it").map(|value| &value.kind) {
        Some(ValueKind::Array(items)) if values.len() == 1 => Ok(RawValue::list(items)),
        _ => Err("it is not a list of tables".to_owned()),
    }
}

impl RawValue {
    /// A description of the value's type that does not quote it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(text) if text.is_empty() => "an empty text",
            Self::Text(_) => "a text that does not fit",
            Self::Number(_) => "a number",
            Self::Fraction(_) => "a fraction",
            Self::Flag(_) => "a boolean",
            Self::List(_) => "a list of texts",
            Self::Tables(_) => "a list of tables",
            Self::Other => "a value of another type",
        }
    }
}
