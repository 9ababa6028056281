//! Calls that read a channel's history in Redis, and the meaning of their replies.

use ::redis::{Cmd, Value};

use crate::broker::contract::Page;
use crate::broker::redis::header;
use crate::broker::run::HistoryEnd;
use crate::publication::{EndReason, Position, Publication};

/// The functions that return where a history ends. The first starts a history where there is none;
/// the second writes nothing, and then returns the position before all others.
pub const POSITION: &str = "tidegate_position";
pub const LAST: &str = "tidegate_last";

pub fn end_command(function: &str, key: &str) -> Cmd {
    let mut command = ::redis::cmd("FCALL");
    // Libraries before version 9 ignore the argument.
    command.arg(function).arg(1).arg(key).arg("ended");
    command
}

/// The reply of these functions, or nil. `None`: neither.
pub fn end(answer: &Value) -> Option<Option<HistoryEnd>> {
    match answer {
        Value::Array(parts) => {
            let [at, reason] = &parts[..] else { return None };
            let (position, reason) = (position(at)??, text(reason)?);
            Some(Some(HistoryEnd { position, ended: EndReason::new(reason).ok() }))
        }
        position_only => {
            let at = position(position_only)?;
            Some(at.map(|position| HistoryEnd { position, ended: None }))
        }
    }
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(text) => std::str::from_utf8(text).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

/// A position, or nil. `None`: neither.
fn position(answer: &Value) -> Option<Option<Position>> {
    match answer {
        Value::Nil => Some(None),
        position => Some(Some(text(position)?.parse().ok()?)),
    }
}

/// One page of the stream: `XRANGE` or `XREVRANGE`.
pub fn page_command(key: &str, page: Page, count: usize) -> Cmd {
    let mut command = match page {
        Page::After(_) => ::redis::cmd("XRANGE"),
        Page::Before(_) | Page::Newest => ::redis::cmd("XREVRANGE"),
    };
    command.arg(key);
    match page {
        Page::After(after) => command.arg(format!("({after}")).arg("+"),
        Page::Before(before) => command.arg(format!("({before}")).arg("-"),
        Page::Newest => command.arg("+").arg("-"),
    };
    command.arg("COUNT").arg(count);
    command
}

/// The entries of a page.
pub fn publications(answer: Value) -> Vec<Publication> {
    let Value::Array(entries) = answer else { return Vec::new() };
    entries.into_iter().filter_map(publication).collect()
}

/// One entry. An entry without the fields that the functions write becomes a publication without a
/// payload, because it has a position in the order.
fn publication(entry: Value) -> Option<Publication> {
    let Value::Array(mut parts) = entry else { return None };
    let (fields, id) = (parts.pop()?, parts.pop()?);
    let position = position(&id)??;
    let (mut object, mut payload) = (Vec::new(), Vec::new());
    if let Value::Array(fields) = fields {
        let mut fields = fields.into_iter();
        while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
            match (name, value) {
                (Value::BulkString(name), Value::BulkString(value)) if name == b"h" => {
                    object = value;
                }
                (Value::BulkString(name), Value::BulkString(value)) if name == b"p" => {
                    payload = value;
                }
                _ => {}
            }
        }
    }
    let mut publication = header::read_entry(&object, &payload);
    publication.position = Some(position);
    Some(publication)
}
