//! Replies and pushes as JSON objects.

use serde::Serialize;
use serde_json::value::RawValue;

use super::publication::object;
use crate::protocol::{Id, Push, Reply, ReplyError};
use crate::publication::{Change, Channel, EndReason, Member, Members, Position, UserInfo};

/// A reply or push as it is serialized.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum JsonMessage<'a> {
    Welcome {
        session: &'a str,
        node: &'a str,
        ping_interval_ms: u64,
    },
    Subscribed {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a Id>,
        channel: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        position: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        recovered: Option<bool>,
    },
    Unsubscribed {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a Id>,
        channel: &'a str,
    },
    #[serde(rename = "subscribed")]
    SubscribedPattern {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a Id>,
        pattern: &'a str,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        partial: bool,
    },
    #[serde(rename = "unsubscribed")]
    UnsubscribedPattern {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a Id>,
        pattern: &'a str,
    },
    Published {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a Id>,
        #[serde(skip_serializing_if = "Option::is_none")]
        position: Option<String>,
    },
    History {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a Id>,
        channel: &'a str,
        publications: Vec<Box<RawValue>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        position: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        recovered: Option<bool>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        more: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        ended: Option<&'a str>,
    },
    Presence {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a Id>,
        channel: &'a str,
        members: Vec<JsonMember<'a>>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        truncated: bool,
    },
    Authenticated {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a Id>,
        user: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_in_ms: Option<u64>,
    },
    Join {
        channel: &'a str,
        user: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        info: Option<&'a RawValue>,
    },
    Leave {
        channel: &'a str,
        user: Option<&'a str>,
    },
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a Id>,
    },
    Gap {
        channel: &'a str,
        reason: &'a str,
    },
    #[serde(rename = "gap")]
    PatternGap {
        pattern: &'a str,
        reason: &'a str,
    },
    Ended {
        channel: &'a str,
        reason: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        position: Option<String>,
    },
    Reconnect {
        after_ms: u64,
        reason: &'a str,
    },
    Error {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a Id>,
        #[serde(skip_serializing_if = "Option::is_none")]
        channel: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pattern: Option<&'a str>,
        code: &'a str,
        message: &'a str,
        temporary: bool,
    },
}

#[derive(Serialize)]
struct JsonMember<'a> {
    user: Option<&'a str>,
    sessions: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<&'a RawValue>,
}

/// A reply as a JSON object.
pub fn reply(reply: &Reply) -> Vec<u8> {
    write(&match reply {
        Reply::Subscribed { id, channel, position, recovered } => JsonMessage::Subscribed {
            id: id.as_ref(),
            channel: channel.as_str(),
            position: text(position),
            recovered: *recovered,
        },
        Reply::Unsubscribed { id, channel } => {
            JsonMessage::Unsubscribed { id: id.as_ref(), channel: channel.as_str() }
        }
        Reply::SubscribedPattern { id, pattern, partial } => JsonMessage::SubscribedPattern {
            id: id.as_ref(),
            pattern: pattern.as_str(),
            partial: *partial,
        },
        Reply::UnsubscribedPattern { id, pattern } => {
            JsonMessage::UnsubscribedPattern { id: id.as_ref(), pattern }
        }
        Reply::PatternEnded { pattern, code, message } => JsonMessage::Error {
            id: None,
            channel: None,
            pattern: Some(pattern.as_str()),
            code: code.as_str(),
            message,
            temporary: code.is_temporary(),
        },
        Reply::Published { id, position } => {
            JsonMessage::Published { id: id.as_ref(), position: text(position) }
        }
        Reply::Presence { id, channel, members } => presence(id, channel, members),
        Reply::Joined { id, channel, members } => presence(id, channel, &members.members),
        Reply::History { id, channel, excerpt } => JsonMessage::History {
            id: id.as_ref(),
            channel: channel.as_str(),
            publications: excerpt.publications.iter().map(object).collect(),
            position: text(&excerpt.position),
            recovered: excerpt.recovered,
            more: excerpt.more,
            ended: excerpt.ended.as_ref().map(EndReason::as_str),
        },
        Reply::Authenticated { id, user, expires_in } => JsonMessage::Authenticated {
            id: id.as_ref(),
            user: user.as_deref(),
            expires_in_ms: expires_in.map(|left| left.as_millis() as u64),
        },
        Reply::Connected { id } | Reply::Pong { id } => JsonMessage::Pong { id: id.as_ref() },
        // No command of the protocol leads to it.
        Reply::Acknowledged => JsonMessage::Pong { id: None },
        Reply::Error(ReplyError { id, channel, code, message }) => JsonMessage::Error {
            id: id.as_ref(),
            channel: channel.as_deref(),
            pattern: None,
            code: code.as_str(),
            message,
            temporary: code.is_temporary(),
        },
    })
}

/// A push as a JSON object.
pub fn push(push: &Push<'_>) -> Vec<u8> {
    write(&match push {
        Push::Welcome { session, node, ping_interval_ms } => {
            JsonMessage::Welcome { session, node, ping_interval_ms: *ping_interval_ms }
        }
        Push::Gap { channel, reason } => JsonMessage::Gap { channel, reason },
        Push::PatternGap { pattern, reason } => JsonMessage::PatternGap { pattern, reason },
        Push::Ended { channel, reason, position } => {
            JsonMessage::Ended { channel, reason: reason.as_str(), position: text(position) }
        }
        Push::Reconnect { after, reason } => {
            JsonMessage::Reconnect { after_ms: after.as_millis() as u64, reason }
        }
        Push::Presence { channel, user, change: Change::Join, info } => {
            JsonMessage::Join { channel, user: user.as_deref(), info: raw(info) }
        }
        Push::Presence { channel, user, change: Change::Leave, .. } => {
            JsonMessage::Leave { channel, user: user.as_deref() }
        }
    })
}

fn presence<'a>(id: &'a Option<Id>, channel: &'a Channel, members: &'a Members) -> JsonMessage<'a> {
    JsonMessage::Presence {
        id: id.as_ref(),
        channel: channel.as_str(),
        members: members.list.iter().map(member).collect(),
        truncated: members.truncated,
    }
}

fn member(member: &Member) -> JsonMember<'_> {
    let info = raw(&member.info);
    JsonMember { user: member.user.as_deref(), sessions: member.sessions, info }
}

fn raw(info: &Option<UserInfo>) -> Option<&RawValue> {
    serde_json::from_str(info.as_ref()?.json()).ok()
}

fn text(position: &Option<Position>) -> Option<String> {
    position.map(|position| position.to_string())
}

fn write(written: &JsonMessage<'_>) -> Vec<u8> {
    serde_json::to_vec(written).expect("texts and numbers are always JSON")
}
