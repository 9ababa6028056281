//! The text of the function library: its Lua code, this version's number, the rules of all fleets,
//! and the server's secret.

use std::collections::BTreeMap;

use ::redis::Value;

use super::fleet::LibraryFleet;
use crate::broker::redis::secret::Secret;

/// Increases with every change of the code. A library of a later version stays installed: it has
/// everything that an earlier one has.
pub const VERSION: u32 = 12;

pub const NAME: &str = "tidegate";

const NUMBERS: &str = include_str!("numbers.lua");
const IDEMPOTENCY: &str = include_str!("idempotency.lua");
const HISTORY: &str = include_str!("history.lua");
const RUNS: &str = include_str!("runs.lua");
const STREAMS: &str = include_str!("streams.lua");
const PRESENCE: &str = include_str!("presence.lua");
const REVOCATIONS: &str = include_str!("revocations.lua");
const EVENTS: &str = include_str!("events.lua");

/// Each fleet under its prefix.
pub type Fleets = BTreeMap<String, LibraryFleet>;

/// The library's text with the server's secret, if the installed one has to be replaced. `new`: the
/// text to load if its rules change.
pub fn to_load_signing(
    secret: &Secret,
    found: Option<&str>,
    new: Option<String>,
) -> Option<String> {
    let is_current = |text: &&str| parse(text).is_some_and(|(version, _)| version == VERSION);
    let text = new.or_else(|| found.filter(is_current).map(str::to_owned))?;
    let text = signing_with(secret, &text);
    (Some(&*text) != found).then_some(text)
}

/// Beginning and end of the line that holds the fleets.
const FLEETS: &str = "local FLEETS = [=[";
const FLEETS_END: &str = "]=]";

const VERSION_LINE: &str = "-- version ";

/// Beginning and end of the line that holds the server's secret.
const SECRET: &str = "local SECRET = '";
const SECRET_END: &str = "'";

/// The library with these fleets in it, and no secret.
pub fn write(fleets: &Fleets) -> String {
    // JSON may contain the end mark of Lua's string only within JSON strings, where it can be
    // escaped.
    let json = serde_json::to_string(fleets).expect("texts and numbers are always JSON");
    let json = json.replace("]=]", "]\\u003d]");
    format!(
        "#!lua name={NAME}\n{VERSION_LINE}{VERSION}\n\
         -- Installed by Tidegate's nodes, which replace it when they start.\n\
         {SECRET}{SECRET_END}\n{FLEETS}{json}{FLEETS_END}\n\
         {NUMBERS}\n{IDEMPOTENCY}\n{HISTORY}\n{RUNS}\n{STREAMS}\n{PRESENCE}\n{REVOCATIONS}\n{EVENTS}"
    )
}

/// The same library with this secret.
fn signing_with(secret: &Secret, text: &str) -> String {
    let Some((head, rest)) = text.split_once(SECRET) else { return text.to_owned() };
    let end = rest.find(SECRET_END).unwrap_or(0);
    [head, SECRET, secret.as_str(), &rest[end..]].concat()
}

/// Version and fleets of a library that a node wrote.
pub fn parse(text: &str) -> Option<(u32, Fleets)> {
    let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start));
    let version = line(VERSION_LINE)?.parse().ok()?;
    let fleets = serde_json::from_str(line(FLEETS)?.strip_suffix(FLEETS_END)?).ok()?;
    Some((version, fleets))
}

/// The code in the reply to `FUNCTION LIST`, which is a list or a map depending on the protocol's
/// version.
pub fn library_code(answer: &Value) -> Option<String> {
    let text = |value: &Value| match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        Value::VerbatimString { text, .. } => Some(text.clone()),
        _ => None,
    };
    match answer {
        Value::Array(items) => {
            let named =
                items.windows(2).find(|pair| text(&pair[0]).as_deref() == Some("library_code"));
            match named {
                Some(pair) => text(&pair[1]),
                None => items.iter().find_map(library_code),
            }
        }
        Value::Map(pairs) => pairs
            .iter()
            .find(|(name, _)| text(name).as_deref() == Some("library_code"))
            .and_then(|(_, code)| text(code)),
        _ => None,
    }
}
