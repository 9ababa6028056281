//! Messages of a client in Pusher's protocol: each is decoded to commands or a close, and what other clients get of its
//! events is valid JSON. The bytes are also a payload of a service.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use tidegate::apps::App;
use tidegate::protocol::pusher::Pusher;
use tidegate::protocol::{Command, DecodeError, Format, Message, Reply, Speak};
use tidegate::publication::{Channel, NodeId, PayloadKind, Publication, SessionId};

/// The socket id of the session, for seeds with valid signatures.
pub const SESSION: (u64, u64) = (1, 2);

/// The bytes are one message: text if they are UTF-8, otherwise binary.
pub fn check(bytes: &[u8]) {
    let app = App::new("1".into(), "key".into(), "secret", "app:".into());
    let mut session = Pusher::new(Some(Arc::new(app)));
    let (node, number) = SESSION;
    let node = NodeId::of_number(node).expect("a small number");
    session.begin(SessionId { node, number });
    let kind = match std::str::from_utf8(bytes) {
        Ok(_) => PayloadKind::Text,
        Err(_) => PayloadKind::Binary,
    };
    let message = Message { kind, payload: Bytes::copy_from_slice(bytes) };
    check_publication(&Publication::new(message.payload.clone(), message.kind));
    // Twice: the first message may subscribe or sign in.
    for _ in 0..2 {
        check_message(&session, message.clone());
    }
}

fn check_message(session: &Pusher, message: Message) {
    match session.decode(message, 128) {
        Ok(outcomes) => {
            for outcome in outcomes {
                match outcome {
                    Ok(command) => check_command(session, command),
                    Err(error) => check_reply(session, &Reply::Error(error)),
                }
            }
        }
        Err(DecodeError::Answer(error) | DecodeError::TooDeep(error)) => {
            assert!(!error.message.is_empty());
            check_reply(session, &Reply::Error(error));
        }
        Err(DecodeError::Close(close)) => {
            assert!(Format::Pusher.close(close).is_some());
        }
    }
}

fn check_command(session: &Pusher, command: Command) {
    match command {
        Command::Publish { channel, publication, .. } => {
            let frame = Format::Pusher.publication(channel.as_str(), &publication);
            assert!(
                texts(&frame)[0]["event"].as_str().is_some_and(|name| name.starts_with("client-"))
            );
            check_publication(&publication);
        }
        Command::Subscribe { id, channel, .. } => {
            assert!(channel.as_str().starts_with("app:"), "{channel}");
            check_reply(
                session,
                &Reply::Subscribed { id, channel, position: None, recovered: None },
            );
        }
        Command::SignIn { id, user, .. } => {
            check_reply(session, &Reply::Authenticated { id, user: Some(user), expires_in: None });
        }
        _ => {}
    }
}

/// Asserts that subscribers of every protocol with JSON frames get JSON.
fn check_publication(publication: &Publication) {
    for channel in ["app:news", "presence-a", "app:#server-to-user-%41"] {
        let channel = Channel::new(channel).expect("a channel");
        let event = texts(&Format::Pusher.publication(channel.as_str(), publication)).remove(0);
        assert!(event["data"].is_string() && event["channel"].is_string(), "{event}");
        let name = event["event"].as_str().expect("a name");
        assert!(!name.starts_with("pusher:") && !name.starts_with("pusher_internal:"), "{name}");
        texts(&Format::Json.publication(channel.as_str(), publication));
    }
}

fn check_reply(session: &Pusher, reply: &Reply) {
    if let Some(frames) = session.reply(reply) {
        texts(&frames);
    }
}

/// The objects in text frames.
fn texts(mut frames: &[u8]) -> Vec<Value> {
    let mut texts = Vec::new();
    while !frames.is_empty() {
        assert_eq!(frames[0], 0x81, "a text frame");
        let (at, length) = match frames[1] {
            126 => (4, usize::from(u16::from_be_bytes([frames[2], frames[3]]))),
            127 => {
                (10, u64::from_be_bytes(frames[2..10].try_into().expect("eight bytes")) as usize)
            }
            length => (2, usize::from(length)),
        };
        let text = std::str::from_utf8(&frames[at..at + length]).expect("text is UTF-8");
        texts.push(serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}")));
        frames = &frames[at + length..];
    }
    texts
}
