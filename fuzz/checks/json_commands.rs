//! Messages of a client in the json protocol: each is decoded to a list of outcomes or a close, and forwarded
//! payloads are valid JSON.

use bytes::Bytes;
use serde_json::Value;
use tidegate::protocol::json::Json;
use tidegate::protocol::{
    Command, DecodeError, Excerpt, Format, Message, Reply, ReplyError, Speak,
};
use tidegate::publication::{PayloadKind, Publication};

/// The bytes are one message: text if they are UTF-8, otherwise binary.
pub fn check(bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).ok();
    let kind = if text.is_some() { PayloadKind::Text } else { PayloadKind::Binary };
    let message = Message { kind, payload: Bytes::copy_from_slice(bytes) };
    let is_object = text.is_some_and(|text| {
        serde_json::from_str::<Value>(text).is_ok_and(|value| value.is_object())
    });
    match Json.decode(message, usize::MAX) {
        Ok(outcomes) => {
            assert!(!outcomes.is_empty(), "a command without an outcome");
            for outcome in outcomes {
                match outcome {
                    Ok(command) => check_command(command),
                    Err(error) => check_error(error),
                }
            }
        }
        Err(DecodeError::Answer(error) | DecodeError::TooDeep(error)) => check_error(error),
        Err(DecodeError::Close(_)) => assert!(!is_object, "an object is answered"),
    }
}

/// Asserts that a publication is valid JSON in a subscriber's frame and in a history reply.
fn check_command(command: Command) {
    let Command::Publish { id, channel, publication } = command else { return };
    let is_text = std::str::from_utf8(&publication.payload).is_ok();
    assert!(publication.kind == PayloadKind::Binary || is_text);
    check_json(&Format::Json.publication(channel.as_str(), &publication));
    let bare = Publication::bare(publication.payload.clone());
    let excerpt = Excerpt { publications: vec![publication, bare], ..Excerpt::default() };
    check_reply(&Reply::History { id, channel, excerpt });
}

fn check_error(error: ReplyError) {
    assert!(!error.message.is_empty());
    check_reply(&Reply::Error(error));
}

fn check_reply(reply: &Reply) {
    check_json(&Json.reply(reply).expect("the json protocol encodes every reply"));
}

/// Asserts that a frame's payload is one JSON object, of any depth and with numbers of any size.
fn check_json(frame: &[u8]) {
    let head = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    let text = std::str::from_utf8(&frame[head..]).expect("a text frame is UTF-8");
    assert!(
        text.starts_with('{') && serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok(),
        "{text}"
    );
}
