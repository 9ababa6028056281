//! The receipts that follow from a command, as its id: a frame may ask for one, and the COMMIT of its transaction for another.

use crate::protocol::Id;

/// Between the receipts in an id. No header has it, because it ends a frame.
const SEPARATOR: char = '\0';

/// The id of the command that a DISCONNECT becomes.
pub const DISCONNECT: Id = Id::Number(1);

/// The id of a command. `on_error`: the receipt that an ERROR names. `on_success`: those that are sent. None: nothing names one.
pub fn id_of(on_error: Option<&str>, on_success: &[&str]) -> Option<Id> {
    if on_error.is_none() && on_success.is_empty() {
        return None;
    }
    let mut text = on_error.unwrap_or_default().to_owned();
    for receipt in on_success {
        text.push(SEPARATOR);
        text.push_str(receipt);
    }
    Some(Id::Text(text.into()))
}

/// The id of a frame outside of a transaction.
pub fn id_of_one(receipt: Option<&str>) -> Option<Id> {
    id_of(receipt, receipt.as_slice())
}

/// The receipts that are sent when the command has succeeded.
pub fn on_success(id: Option<&Id>) -> impl Iterator<Item = &str> {
    let text = match id {
        Some(Id::Text(text)) => &**text,
        _ => "",
    };
    text.split(SEPARATOR).skip(1)
}

/// The receipt that an ERROR names.
pub fn on_error(id: Option<&Id>) -> Option<&str> {
    match id {
        Some(Id::Text(text)) => text.split(SEPARATOR).next().filter(|receipt| !receipt.is_empty()),
        _ => None,
    }
}
