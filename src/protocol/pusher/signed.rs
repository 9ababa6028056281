//! What an application signs: that a session may use a channel, who it is among the members of a channel, and whose the
//! session is.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::apps::App;
use crate::publication::UserInfo;

/// The longest text about a user that an application signs, in bytes.
pub const DATA_BYTES_MAX: usize = 10 << 10;

/// The longest id of a user, in bytes.
const USER_BYTES_MAX: usize = 255;

/// A user as an application has signed it.
#[derive(Debug)]
pub struct UserData {
    pub id: Arc<str>,
    pub info: Option<UserInfo>,
    pub has_watchlist: bool,
}

/// Checks `key:signature`. Fails with what is wrong with it.
pub fn check(app: &App, auth: Option<&str>, signed: &str) -> Result<(), String> {
    let Some(auth) = auth.filter(|auth| !auth.is_empty()) else {
        return Err("auth is missing: the application has to sign".to_owned());
    };
    let (key, signature) = auth.split_once(':').unwrap_or((auth, ""));
    if key != app.key {
        return Err("invalid key in auth: it is another than that of this connection".to_owned());
    }
    match app.has_signed(signed.as_bytes(), signature) {
        true => Ok(()),
        false => Err("invalid signature: auth is key:signature, with the HMAC-SHA256 of \
            socket_id:channel or socket_id:channel:channel_data in hexadecimal digits, by the secret of this app"
            .to_owned()),
    }
}

/// Reads `channel_data`: `{"user_id":"…","user_info":{…}}`.
pub fn channel_data(text: &str) -> Result<UserData, String> {
    #[derive(Deserialize)]
    struct ChannelData<'a> {
        #[serde(borrow)]
        user_id: &'a RawValue,
        #[serde(borrow)]
        user_info: Option<&'a RawValue>,
    }
    let data: ChannelData<'_> = read("channel_data", "user_id", text)?;
    let (id, info) = (user_id("user_id", data.user_id)?, user_info(data.user_info)?);
    Ok(UserData { id, info, has_watchlist: false })
}

/// Reads `user_data`: `{"id":"…","user_info":{…}}`.
pub fn user_data(text: &str) -> Result<UserData, String> {
    #[derive(Deserialize)]
    struct UserDataText<'a> {
        #[serde(borrow)]
        id: &'a RawValue,
        #[serde(borrow)]
        user_info: Option<&'a RawValue>,
        #[serde(borrow)]
        watchlist: Option<&'a RawValue>,
    }
    let data: UserDataText<'_> = read("user_data", "id", text)?;
    let (id, info) = (user_id("id", data.id)?, user_info(data.user_info)?);
    Ok(UserData { id, info, has_watchlist: data.watchlist.is_some_and(|list| list.get() != "[]") })
}

fn read<'a, T: Deserialize<'a>>(name: &str, id: &str, text: &'a str) -> Result<T, String> {
    if text.len() > DATA_BYTES_MAX {
        return Err(format!("{name} has more than {DATA_BYTES_MAX} bytes"));
    }
    let is_object = text.trim_ascii_start().starts_with('{');
    let read = serde_json::from_str(text).ok().filter(|_| is_object);
    read.ok_or_else(|| format!("{name} is not a JSON object with {id}, in a string"))
}

/// Servers send an id as a text, some as a number.
fn user_id(name: &str, id: &RawValue) -> Result<Arc<str>, String> {
    let text: Option<Cow<'_, str>> = match id.get().parse::<i64>() {
        Ok(_) => Some(id.get().into()),
        Err(_) => serde_json::from_str::<String>(id.get()).ok().map(Cow::from),
    };
    let fits = |id: &Cow<'_, str>| {
        (1..=USER_BYTES_MAX).contains(&id.len()) && !id.chars().any(char::is_control)
    };
    match text.filter(fits) {
        Some(text) => Ok(text.as_ref().into()),
        None => Err(format!("{name} is a text of 1 to {USER_BYTES_MAX} bytes, or a whole number")),
    }
}

/// None for no info: absent, null, or an empty array, which is how PHP writes an empty object.
fn user_info(info: Option<&RawValue>) -> Result<Option<UserInfo>, String> {
    let info = info.map(RawValue::get).filter(|info| !matches!(*info, "null" | "[]"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let invalid =
        || format!("user_info is not a JSON object of at most {} bytes", UserInfo::BYTES_MAX);
    info.map(|info| UserInfo::new(info, now).ok_or_else(invalid)).transpose()
}
