//! Chats: frames of a client become commands, and replies and publications become its frames.

use serde_json::{Value, json};

use super::AiChat;
use crate::protocol::{
    Code, Command, DecodeError, Format, Id, Message, Reply, ReplyError, Speak, Stamp,
};
use crate::publication::{Channel, EndReason, PayloadKind, Publication};

struct Chat {
    protocol: AiChat,
    stamp: Stamp,
}

impl Chat {
    fn new() -> Self {
        let protocol = AiChat::default();
        let stamp = protocol.stamp().unwrap();
        Self { protocol, stamp }
    }

    fn decode(&self, text: &str) -> Result<Vec<Result<Command, ReplyError>>, DecodeError> {
        let payload = text.to_owned().into();
        self.protocol.decode(Message { kind: PayloadKind::Text, payload }, 128)
    }

    fn frames(&mut self, frame: Option<bytes::Bytes>) -> Vec<Value> {
        let stamped = frame.and_then(|frame| (self.stamp)(frame)).unwrap_or_default();
        texts(&stamped)
    }

    fn reply(&mut self, reply: &Reply) -> Vec<Value> {
        let frame = self.protocol.reply(reply);
        self.frames(frame)
    }

    fn start(&mut self, request: &str, name: &str, recovered: Option<bool>) -> Vec<Value> {
        let command = json!({"type": "resume", "requestId": request, "id": name});
        self.decode(&command.to_string()).unwrap();
        let (id, channel) = (id(request), channel(name));
        self.reply(&Reply::Subscribed { id, channel, position: None, recovered })
    }

    fn publish(&mut self, channel: &str, payload: &str) -> Vec<Value> {
        let publication = Publication::bare(payload.to_owned().into());
        self.frames(Some(Format::AiChat.publication(channel, &publication)))
    }

    fn end(&mut self, channel: &str, reason: &str) -> Vec<Value> {
        let end = EndReason::new(reason).ok();
        let publication = Publication { end, ..Publication::bare("".into()) };
        self.frames(Some(Format::AiChat.publication(channel, &publication)))
    }
}

/// The texts of frames of at most 65,535 bytes.
fn texts(mut frames: &[u8]) -> Vec<Value> {
    let mut texts = Vec::new();
    while let [0x81, length, rest @ ..] = frames {
        let (length, rest) = match *length {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            length => (usize::from(length), rest),
        };
        texts.push(serde_json::from_slice(&rest[..length]).unwrap());
        frames = &rest[length..];
    }
    assert!(frames.is_empty(), "not a text frame");
    texts
}

fn id(request: &str) -> Option<Id> {
    Some(Id::Text(request.into()))
}

fn channel(name: &str) -> Channel {
    Channel::new(name).unwrap()
}

fn chunk(request: &str, sequence: u64, chunk: &Value) -> Value {
    json!({"type": "chunk", "requestId": request, "sequence": sequence, "chunk": chunk})
}

#[test]
fn the_frames_of_a_chat_become_commands() {
    let chat = Chat::new();
    let resume = r#"{"type":"resume","requestId":"r","id":"chat","headers":{},"body":{"channel":"run:1","ended":true}}"#;
    let (ended, request) = (true, None);
    let expected =
        Command::FollowRun { id: id("r"), channel: channel("run:1"), with_ended: ended, request };
    assert_eq!(chat.decode(resume).unwrap(), [Ok(expected)]);
    let send = r#"{"type":"send","requestId":"s","id":"chat","messages":[{"parts":[]}],"body":{}}"#;
    let request = Some(Publication::bare(send.into()));
    let expected =
        Command::FollowRun { id: id("s"), channel: channel("chat"), with_ended: false, request };
    assert_eq!(chat.decode(send).unwrap(), [Ok(expected)]);
    let abort = r#"{"type":"abort","requestId":"s"}"#;
    let request = Publication::bare(abort.into());
    let expected = Command::LeaveRun { id: id("s"), channel: channel("chat"), request };
    assert_eq!(chat.decode(abort).unwrap(), [Ok(expected)]);
    let unknown = chat.decode(r#"{"type":"abort","requestId":"x"}"#).unwrap();
    assert_eq!(unknown[0].as_ref().unwrap_err().code, Code::NotFound);
}

#[test]
fn a_fault_in_a_frame_of_a_chat_is_named_with_its_request() {
    let chat = Chat::new();
    chat.decode(r#"{"type":"resume","requestId":"used","id":"a"}"#).unwrap();
    for (text, request, part) in [
        ("{", None, "the frame is not valid"),
        (r#"{"type":"send"}"#, None, "requestId is missing"),
        (r#"{"type":"send","requestId":7}"#, None, "requestId must be a string"),
        (r#"{"type":"send","requestId":""}"#, None, "requestId is 1 to 255 bytes long"),
        (r#"{"requestId":"r"}"#, Some("r"), "type is missing: it is one of send, resume, abort"),
        (r#"{"requestId":"r","type":"dance"}"#, Some("r"), "type must be one of send"),
        (r#"{"requestId":"r","type":7}"#, Some("r"), "type must be a string"),
        (r#"{"requestId":"r","type":"send"}"#, Some("r"), "body.channel is missing, and id too"),
        (r#"{"requestId":"r","type":"send","id":"a b"}"#, Some("r"), "a channel name is"),
        (
            r#"{"requestId":"r","type":"send","id":"a","body":7}"#,
            Some("r"),
            "body must be an object",
        ),
        (
            r#"{"requestId":"r","type":"send","id":"a","body":{"channel":7}}"#,
            Some("r"),
            "body.channel must be a string",
        ),
        (
            r#"{"requestId":"r","type":"resume","id":"a","body":{"ended":1}}"#,
            Some("r"),
            "body.ended must be true or false",
        ),
        (
            r#"{"requestId":"r","type":"resume","id":"a","lastSequence":4}"#,
            Some("r"),
            "lastSequence must be absent",
        ),
        (r#"{"requestId":"used","type":"send","id":"b"}"#, Some("used"), "is being answered"),
    ] {
        let Err(DecodeError::Answer(error)) = chat.decode(text) else { panic!("{text}") };
        assert_eq!((error.id, error.code), (request.and_then(id), Code::BadRequest), "{text}");
        assert!(error.message.contains(part), "{text} gave {}", error.message);
    }
    for text in ["", "[]", "7", "null"] {
        assert!(matches!(chat.decode(text), Err(DecodeError::Close(_))), "{text}");
    }
    let deep = format!(r#"{{"type":"send","requestId":"r","body":{}"#, "[".repeat(200));
    assert!(matches!(chat.decode(&deep), Err(DecodeError::TooDeep(_))));
}

#[test]
fn a_request_is_answered_with_numbered_chunks_until_the_run_ends() {
    let mut chat = Chat::new();
    assert_eq!(chat.start("r", "run:1", Some(true)), [json!({"type": "start", "requestId": "r"})]);
    assert_eq!(chat.publish("run:2", "other"), [Value::Null; 0]);
    let delta = json!({"type": "text-delta", "id": "0", "delta": "Hi\n"});
    let expected = [
        chunk("r", 0, &json!({"type": "start"})),
        chunk("r", 1, &json!({"type": "text-start", "id": "0"})),
        chunk("r", 2, &delta),
    ];
    assert_eq!(chat.publish("run:1", "Hi\n"), expected);
    let expected = [
        chunk("r", 3, &json!({"type": "text-end", "id": "0"})),
        chunk("r", 4, &json!({"type": "finish"})),
        json!({"type": "end", "requestId": "r"}),
    ];
    assert_eq!(chat.end("run:1", "done"), expected);
    assert_eq!(chat.end("run:1", "done"), [Value::Null; 0]);
    // The next frame ends the subscription that no request needs any more.
    let commands = chat.decode(r#"{"type":"resume","requestId":"s","id":"run:2"}"#).unwrap();
    let unsubscribe = Command::Unsubscribe { id: None, channel: channel("run:1") };
    assert_eq!((commands.len(), &commands[0]), (2, &Ok(unsubscribe)));
}

#[test]
fn a_request_without_a_run_is_not_active_and_any_other_failure_is_an_error() {
    let mut chat = Chat::new();
    let error = |request: &str, code, message: &str| {
        let (channel, message) = (Some("run:1".to_owned()), message.to_owned());
        Reply::Error(ReplyError { id: id(request), channel, code, message })
    };
    for (kind, code, expected) in [
        ("resume", Code::NotFound, json!({"type": "no-active", "requestId": "r"})),
        ("send", Code::Ended, json!({"type": "error", "requestId": "r", "errorText": "why"})),
        ("resume", Code::Forbidden, json!({"type": "error", "requestId": "r", "errorText": "why"})),
    ] {
        let frame = json!({"type": kind, "requestId": "r", "id": "run:1"});
        chat.decode(&frame.to_string()).unwrap();
        assert_eq!(chat.reply(&error("r", code, "why")), [expected], "{kind}");
        assert_eq!(chat.publish("run:1", "x"), [Value::Null; 0]);
    }
    let cut = "the beginning of the run is no longer kept";
    let expected = json!({"type": "error", "requestId": "r", "errorText": cut});
    assert_eq!(chat.start("r", "run:1", Some(false)), [expected]);
    let without_id = Reply::Error(ReplyError {
        id: None,
        channel: None,
        code: Code::BadRequest,
        message: "bad".to_owned(),
    });
    let expected = json!({"type": "error", "requestId": "", "errorText": "bad"});
    assert_eq!(chat.reply(&without_id), [expected]);
}

#[test]
fn a_request_ends_when_its_client_leaves_it_loses_its_channel_or_asks_again() {
    let mut chat = Chat::new();
    chat.start("r", "run:1", None);
    let left = Reply::Unsubscribed { id: id("r"), channel: channel("run:1") };
    assert_eq!(chat.reply(&left), [json!({"type": "end", "requestId": "r"})]);
    chat.start("s", "run:1", None);
    let again = chat.start("t", "run:1", None);
    assert_eq!((&again[0]["type"], &again[0]["requestId"]), (&json!("error"), &json!("s")));
    assert_eq!(again[1], json!({"type": "start", "requestId": "t"}));
    let lost = Reply::Error(ReplyError {
        id: None,
        channel: Some("run:1".to_owned()),
        code: Code::Forbidden,
        message: "no longer subscribed".to_owned(),
    });
    let expected = json!({"type": "error", "requestId": "t", "errorText": "no longer subscribed"});
    assert_eq!(chat.reply(&lost), [expected]);
    chat.start("u", "run:1", None);
    let gap = crate::protocol::Push::Gap { channel: "run:1", reason: "x" };
    let gap = chat.frames(Format::AiChat.push(&gap));
    assert_eq!((&gap[0]["type"], &gap[0]["requestId"]), (&json!("error"), &json!("u")));
}

#[test]
fn frames_of_the_connection_itself_are_written_as_they_are() {
    let mut chat = Chat::new();
    let ping = crate::framing::websocket::ping(b"1");
    assert_eq!((chat.stamp)(ping.clone()), Some(ping));
}

proptest::proptest! {
    #[test]
    fn no_frame_of_a_chat_panics(
        text in ".{0,80}",
        kind in "send|resume|abort|x",
        request in "[ab]{0,2}",
        name in "[a ]{0,2}",
    ) {
        let mut chat = Chat::new();
        for text in [text.clone(), json!({"type": kind, "requestId": request, "id": name, "body": text}).to_string()] {
            let _ = chat.decode(&text);
        }
        chat.start("r", "a", None);
        let frames = [chat.publish("a", &text), chat.publish("a", &json!({"type": text}).to_string())];
        proptest::prop_assert!(frames.iter().flatten().all(|frame| frame["requestId"] == "r"));
    }
}
