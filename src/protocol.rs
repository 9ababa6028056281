//! The protocols of sessions: messages become commands; replies, pushes and publications become bytes.
//!
//! A protocol is one file or folder, and one line in each of the two lists below. [`Speak`] is what a
//! protocol decides, [`Encode`] is how its bytes are made.

pub mod ai;
mod close_code;
mod command;
pub mod durable;
mod encode;
mod encoded;
mod format;
pub mod http;
mod id;
pub mod json;
pub mod mercure;
pub mod mqtt;
mod packets;
pub mod plain;
mod poll_reply;
mod push;
pub mod pusher;
mod reply;
mod service;
mod session_control;
mod shared_members;
mod speak;
pub mod sse;
mod stamp;
pub mod stomp;
pub mod streams;

use bytes::Bytes;

pub use self::command::{
    Command, Grant, HISTORY_LIMIT, HISTORY_LIMIT_MAX, IDEMPOTENCY_KEY_BYTES_MAX, Message, Token,
};
pub use self::encode::Encode;
use self::encode::formats;
pub use self::encoded::Encoded;
pub use self::format::Format;
pub use self::id::Id;
pub use self::packets::Packets;
pub use self::poll_reply::PollReply;
pub use self::push::Push;
pub use self::reply::{Code, Excerpt, Reply, ReplyError};
pub use self::service::{
    ChannelCounts, CountsWanted, ServiceCall, ServiceCommand, ServicePublication, ServiceRefused,
    ServiceReply,
};
pub use self::session_control::{SessionBeat, SessionControl};
pub use self::shared_members::SharedMembers;
use self::speak::protocols;
pub use self::speak::{DecodeError, Decoded, Speak, Will};
pub use self::stamp::Stamp;
use crate::close::Close;
use crate::publication::{Channel, Publication, ReplayStart, SessionId};

formats! {
    Plain => plain::PlainFrames,
    Json => json::JsonFrames,
    Sse => sse::SseEvents,
    SseChannels => sse::SseChannelEvents,
    Http => http::HttpBodies,
    AiStream => ai::AiStreamEvents,
    AiChat => ai::AiChatFrames,
    Pusher => pusher::PusherFrames,
    Streams => streams::StreamFrames,
    Mercure => mercure::MercureEvents,
    Mqtt => mqtt::MqttFrames::<false, true>,
    Mqtt5 => mqtt::MqttFrames::<true, true>,
    MqttStream => mqtt::MqttFrames::<false, false>,
    Mqtt5Stream => mqtt::MqttFrames::<true, false>,
    Stomp => stomp::StompFrames,
    MqttMarked => mqtt::MqttMarkedFrames,
}

protocols! {
    /// One channel; frames are publications, unchanged.
    Plain(plain::Plain),
    /// JSON objects in text frames.
    Json(json::Json),
    /// One channel, read only.
    Sse(sse::Sse),
    /// Several channels, read only.
    SseChannels(sse::SseChannels),
    /// One command, or the next publications of one channel.
    Http(http::Http),
    /// One run in the AI SDK's dialect, read only.
    AiStream(ai::AiStream),
    /// Requests of a chat of the AI SDK.
    AiChat(ai::AiChat),
    /// Pusher's protocol, version 7.
    Pusher(pusher::Pusher),
    /// Requests about durable streams, or one durable stream, read only.
    Streams(streams::Streams),
    /// An update, or the updates of several topics.
    Mercure(mercure::Mercure),
    /// MQTT 3.1.1 and 5.
    Mqtt(mqtt::Mqtt),
    /// STOMP 1.0 to 1.2.
    Stomp(stomp::Stomp),
}
