//! The messages of the node, in text frames.

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::framing::websocket;
use crate::publication::{Members, PayloadKind};

/// An event whose data is a text, as that of most events is: JSON in a string.
pub fn event(name: &str, channel: Option<&str>, data: &str) -> Bytes {
    object(name, channel, &data)
}

/// An event whose data is not in a string.
pub fn object(name: &str, channel: Option<&str>, data: &impl serde::Serialize) -> Bytes {
    #[derive(serde::Serialize)]
    struct Event<'a, T> {
        event: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        channel: Option<&'a str>,
        data: &'a T,
    }
    let text = serde_json::to_vec(&Event { event: name, channel, data });
    frame(&text.expect("texts and numbers are always JSON"))
}

/// `data`: about the subscription.
pub fn subscribed(channel: &str, data: &str) -> Bytes {
    event("pusher_internal:subscription_succeeded", Some(channel), data)
}

/// The data of a member's subscription. Sessions without a user are no members to this protocol.
pub fn member_list(members: &Members) -> String {
    let named =
        || members.list.iter().filter_map(|member| Some((member.user.as_deref()?, &member.info)));
    let ids: Vec<&str> = named().map(|(user, _)| user).collect();
    let mut hash = String::from("{");
    for (user, info) in named() {
        if hash.len() > 1 {
            hash.push(',');
        }
        hash.push_str(&json!(user).to_string());
        hash.push(':');
        hash.push_str(info.as_ref().map_or("null", |info| info.json()));
    }
    hash.push('}');
    format!(r#"{{"presence":{{"count":{},"ids":{},"hash":{hash}}}}}"#, ids.len(), json!(ids))
}

/// `user`: what the application has signed, as the client has sent it. A client that has named users to watch is told that
/// it will not hear of them.
pub fn signed_in(user: &str, has_watchlist: bool) -> Bytes {
    const NO_WATCHLIST: &str = "signed in; but this server sends no watchlist events";
    let done = event("pusher:signin_success", None, &json!({ "user_data": user }).to_string());
    match has_watchlist {
        true => [done, error(None, NO_WATCHLIST)].concat().into(),
        false => done,
    }
}

pub fn pong() -> Bytes {
    object("pusher:pong", None, &json!({}))
}

/// An error that is not about a subscription. `code`: null in errors that have none.
pub fn error(code: Option<u16>, message: &str) -> Bytes {
    let data: Value = json!({ "code": code, "message": message });
    object("pusher:error", None, &data)
}

pub fn frame(text: &[u8]) -> Bytes {
    websocket::message(PayloadKind::Text, text)
}

/// A JSON text as it is.
pub fn raw(json: &str) -> Option<&RawValue> {
    serde_json::from_str(json).ok()
}
