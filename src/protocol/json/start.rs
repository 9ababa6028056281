//! From where a `subscribe` command asks for a channel's past.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::publication::ReplayStart;

/// The value of a channel in `channels`.
#[derive(Deserialize)]
#[serde(untagged)]
enum ListedStart<'a> {
    Since(#[serde(borrow)] Cow<'a, str>),
    Fields {
        #[serde(borrow)]
        since: Option<Cow<'a, str>>,
        last: Option<i64>,
    },
}

/// The fields `since` and `last` of a command.
pub fn of_fields(since: Option<&str>, last: Option<i64>) -> Result<Option<ReplayStart>, String> {
    match (since, last) {
        (None, None) => Ok(None),
        (Some(since), None) => since.parse().map(Some).map_err(|error| format!("since {error}")),
        (None, Some(last)) => {
            ReplayStart::newest(last).map(Some).map_err(|error| format!("last {error}"))
        }
        (Some(_), Some(_)) => Err("give either since or last".to_owned()),
    }
}

/// The value of a channel in `channels`: null, what `since` may be, or an object with `since` or `last`.
pub fn of_listed(value: &RawValue) -> Result<Option<ReplayStart>, String> {
    match serde_json::from_str(value.get()) {
        Ok(None) => Ok(None),
        Ok(Some(ListedStart::Since(since))) => of_fields(Some(&since), None),
        Ok(Some(ListedStart::Fields { since, last })) => of_fields(since.as_deref(), last),
        Err(_) => {
            Err("the value of a channel is a position, `first`, {\"last\":20} or null".to_owned())
        }
    }
}
