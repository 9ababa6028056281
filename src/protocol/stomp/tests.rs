//! A session of the protocol without a node: what its frames become, and what it gets.

use std::time::Duration;

use super::*;
use crate::protocol::{Code, Command};
use crate::publication::{EndReason, NodeId, PayloadKind, Position};

mod messages;

const SETTINGS: StompSettings = StompSettings {
    frame_bytes_max: 64 << 10,
    subscriptions_max: 128,
    ping_interval: Duration::from_secs(25),
};

/// A session that has had no CONNECT.
fn opened() -> Stomp {
    let mut stomp = Stomp::new(SETTINGS);
    stomp.begin(SessionId { node: NodeId::of_number(1).unwrap(), number: 2 });
    stomp
}

fn connected(versions: &str) -> Stomp {
    let stomp = opened();
    let frames = answered(&stomp, &format!("CONNECT\naccept-version:{versions}\n\n\0"));
    assert!(frames.starts_with("CONNECTED\n"), "{frames}");
    stomp
}

fn decode(stomp: &Stomp, text: &str) -> Vec<Result<Command, ReplyError>> {
    let payload = Bytes::copy_from_slice(text.as_bytes());
    stomp.decode(Message { kind: PayloadKind::Text, payload }, 128).unwrap()
}

/// The only command.
fn command(stomp: &Stomp, text: &str) -> Command {
    let mut commands = decode(stomp, text);
    assert_eq!(commands.len(), 1, "{text:?} gave {commands:?}");
    commands.remove(0).unwrap()
}

/// Why the only frame is refused.
fn refused(stomp: &Stomp, text: &str) -> String {
    let mut commands = decode(stomp, text);
    assert_eq!(commands.len(), 1, "{text:?} gave {commands:?}");
    commands.remove(0).expect_err(text).message
}

/// The texts of frames of the WebSocket.
fn texts(mut frames: &[u8]) -> String {
    let mut texts = String::new();
    while let [_, length, ..] = *frames {
        let (at, length) = match length {
            126 => (4, usize::from(u16::from_be_bytes([frames[2], frames[3]]))),
            length => (2, usize::from(length)),
        };
        texts.push_str(&String::from_utf8_lossy(&frames[at..at + length]));
        frames = &frames[at + length..];
    }
    texts
}

/// What the client gets for a command that succeeds at once.
fn answered(stomp: &Stomp, text: &str) -> String {
    let mut out = String::new();
    for command in decode(stomp, text) {
        let reply = match command.unwrap() {
            Command::Subscribe { id, channel, .. } => {
                Reply::Subscribed { id, channel, position: None, recovered: None }
            }
            Command::Unsubscribe { id, channel } => Reply::Unsubscribed { id, channel },
            Command::Publish { id, .. } => Reply::Published { id, position: None },
            Command::Connect { id, token: None } => Reply::Connected { id },
            Command::Connect { id, .. } => {
                Reply::Authenticated { id, user: Some("ada".into()), expires_in: None }
            }
            Command::Ping { id } => Reply::Pong { id },
            other => panic!("{other:?}"),
        };
        let stamped = stomp.reply(&reply).and_then(|frame| stomp.stamp().unwrap()(frame));
        out.push_str(&texts(&stamped.unwrap_or_default()));
    }
    out
}

#[test]
fn connect_is_answered_with_the_highest_common_version() {
    for (accepted, version) in
        [("1.0,1.1,1.2", "1.2"), ("1.1,1.0", "1.1"), ("1.0", "1.0"), ("2.0, 1.1", "1.1")]
    {
        let text = answered(&opened(), &format!("STOMP\naccept-version:{accepted}\nhost:x\n\n\0"));
        assert!(text.contains(&format!("\nversion:{version}\n")), "{text}");
    }
    let text = answered(&opened(), "CONNECT\nlogin: a\npasscode: b.c.d\n\n\0");
    assert!(text.contains("\nversion:1.0\n") && text.contains("\nuser-name:ada\n"), "{text}");
    assert!(!text.contains("heart-beat"), "version 1.0 has none: {text}");
    assert!(refused(&opened(), "CONNECT\naccept-version:2.0\n\n\0").contains("1.0,1.1,1.2"));
    assert!(refused(&opened(), "SEND\ndestination:a\n\n\0").contains("CONNECT"));
    assert!(refused(&connected("1.2"), "CONNECT\n\n\0").contains("has had its CONNECT"));
}

#[test]
fn a_passcode_is_a_token_and_frames_wait_for_its_check() {
    let connect = command(&opened(), "CONNECT\nlogin:x\npasscode:a.b.c\n\n\0");
    assert!(matches!(connect, Command::Connect { token: Some(token), .. } if token.0 == "a.b.c"));
    let early = decode(&opened(), "CONNECT\npasscode:a.b.c\n\n\0SEND\ndestination:a\n\n\0");
    assert!(early[1].as_ref().is_err_and(|error| error.message.contains("CONNECTED")));
}

#[test]
fn headers_are_unescaped_by_version_and_the_first_of_a_name_counts() {
    let id = |versions, frame: &str| match decode(&connected(versions), frame).remove(0) {
        Ok(Command::Publish { publication, .. }) => Ok(publication.id.unwrap().to_string()),
        Err(error) => Err(error.message),
        other => panic!("{other:?}"),
    };
    let frame =
        |key: &str| format!("SEND\ndestination:a\nidempotency-key:{key}\nidempotency-key:2\n\nx\0");
    assert_eq!(id("1.0", &frame("a\\nb\\c")).as_deref(), Ok("a\\nb\\c"));
    assert_eq!(id("1.1", &frame("a\\nb\\c\\\\")).as_deref(), Ok("a\nb:\\"));
    assert_eq!(id("1.2", &frame("a\\rb:c")).as_deref(), Ok("a\rb:c"));
    assert!(id("1.1", &frame("a\\rb")).is_err_and(|error| error.contains("1.1")));
    assert!(id("1.2", &frame("a\\tb")).is_err_and(|error| error.contains("escape")));
    assert_eq!(id("1.2", &frame("7").replace('\n', "\r\n")).as_deref(), Ok("7"));
    let many = format!("SEND\n{}\n\0", "a:b\n".repeat(65));
    assert!(id("1.2", &many).is_err_and(|error| error.contains("64 headers")));
}

#[test]
fn destinations_name_channels_and_queues_are_refused() {
    let channel = |destination: &str| {
        let frame = format!("SEND\ndestination:{destination}\n\nx\0");
        match decode(&connected("1.2"), &frame).remove(0) {
            Ok(Command::Publish { channel, .. }) => Some(channel.to_string()),
            _ => None,
        }
    };
    for (destination, name) in [
        ("/topic/news", Some("news")),
        ("/channel//devices/1", Some("/devices/1")),
        ("chat\\c1", Some("chat:1")),
        ("/queue/news", None),
        ("/topic/", None),
        ("a b", None),
    ] {
        assert_eq!(channel(destination).as_deref(), name, "{destination}");
    }
}

#[test]
fn a_body_is_a_text_by_its_content_type_or_by_the_message_of_the_websocket() {
    let kind = |kind, content_type: &str, body: &[u8]| {
        let head = format!("SEND\ndestination:a\n{content_type}content-length:{}\n\n", body.len());
        let payload = [head.as_bytes(), body, b"\0"].concat().into();
        match connected("1.2").decode(Message { kind, payload }, 128).unwrap().remove(0) {
            Ok(Command::Publish { publication, .. }) => {
                Some((publication.kind, publication.payload))
            }
            _ => None,
        }
    };
    use PayloadKind::{Binary, Text};
    for (message, content_type, expected) in [
        (Text, "", Text),
        (Binary, "", Binary),
        (Binary, "content-type:application/json\n", Text),
        (Binary, "content-type:text/plain;charset=utf-8\n", Text),
        (Text, "content-type:application/octet-stream\n", Binary),
    ] {
        assert_eq!(
            kind(message, content_type, b"a\0b"),
            Some((expected, Bytes::from_static(b"a\0b")))
        );
    }
    assert_eq!(kind(Binary, "content-type:text/plain\n", b"\xff"), None);
}

#[test]
fn a_transaction_holds_what_is_sent_until_its_commit() {
    let stomp = connected("1.2");
    let held = "BEGIN\ntransaction:t\nreceipt:b\n\n\0SEND\ndestination:a\ntransaction:t\nreceipt:s\n\n1\0SEND\ndestination:a\ntransaction:t\n\n2\0";
    assert_eq!(answered(&stomp, held), "RECEIPT\nreceipt-id:b\n\n\0");
    let commands = decode(&stomp, "COMMIT\ntransaction:t\nreceipt:c\n\n\0");
    let receipts: Vec<Vec<&str>> = commands
        .iter()
        .map(|command| receipts::on_success(command.as_ref().unwrap().id()).collect())
        .collect();
    assert_eq!(receipts, [vec!["s"], vec!["c"]], "the COMMIT is answered after its last frame");
    assert!(refused(&stomp, "COMMIT\ntransaction:t\n\n\0").contains("no open transaction"));
    let stomp = connected("1.2");
    answered(&stomp, "BEGIN\ntransaction:t\n\n\0SEND\ndestination:a\ntransaction:t\n\n1\0");
    assert_eq!(
        answered(&stomp, "ABORT\ntransaction:t\nreceipt:x\n\n\0"),
        "RECEIPT\nreceipt-id:x\n\n\0"
    );
    assert!(refused(&stomp, "BEGIN\n\n\0").contains("needs the header transaction"));
}

#[test]
fn a_disconnect_ends_the_session_with_its_receipt_as_the_last_frame() {
    let stomp = connected("1.2");
    let frames = "DISCONNECT\nreceipt:bye\n\n\0SEND\ndestination:a\n\nlost\0";
    assert_eq!(answered(&stomp, frames), "");
    assert_eq!(stomp.end_reason(), Some(Close::Client(Some(1000))));
    let close = stomp.end_reason().unwrap();
    assert!(texts(&stomp.last_bytes(close).unwrap()).starts_with("RECEIPT\nreceipt-id:bye\n\n\0"));
    assert!(decode(&stomp, "SEND\ndestination:a\n\nlost\0").is_empty());
}

#[test]
fn a_refused_frame_ends_the_session_with_an_error_that_names_its_receipt() {
    let stomp = connected("1.2");
    let error =
        decode(&stomp, "SUBSCRIBE\ndestination:a\nreceipt:r\\n1\n\n\0SEND\ndestination:a\n\n\0");
    assert_eq!(error.len(), 1, "nothing after it is read");
    stomp.reply(&Reply::Error(error[0].clone().unwrap_err()));
    assert_eq!(stomp.end_reason(), Some(Close::Protocol("the ERROR says why")));
    let text = texts(&stomp.last_bytes(stomp.end_reason().unwrap()).unwrap());
    assert!(
        text.starts_with(
            "ERROR\nmessage:SUBSCRIBE needs the header id\ncode:bad_request\nreceipt-id:r\\n1\n"
        ),
        "{text}"
    );
    let forbidden = ReplyError {
        id: None,
        channel: Some("a".into()),
        code: Code::Forbidden,
        message: "no".into(),
    };
    let stomp = connected("1.2");
    stomp.reply(&Reply::Error(forbidden));
    let frames = stomp.last_bytes(stomp.end_reason().unwrap()).unwrap();
    assert!(texts(&frames).contains("message:a\\c no\n"));
    assert!(frames.windows(2).any(|two| two == 4003u16.to_be_bytes()));
    let other = stomp.last_bytes(Close::Slow).unwrap();
    assert!(texts(&other).contains("code:slow\n"), "another reason is told too");
}

#[test]
fn bounds_on_subscriptions_are_told() {
    let stomp = connected("1.2");
    let subscribe = |channel: &str, id: usize, more: &str| {
        format!("SUBSCRIBE\nid:{id}\ndestination:{channel}\n{more}\n\0")
    };
    for id in 0..16 {
        answered(&stomp, &subscribe("a", id, ""));
    }
    let stomp_of = |frames: usize| {
        let stomp = connected("1.2");
        (0..frames).for_each(|id| _ = answered(&stomp, &subscribe(&format!("c{id}"), id, "")));
        stomp
    };
    assert!(refused(&stomp, &subscribe("a", 16, "")).contains("16 subscriptions"));
    assert!(
        refused(&stomp_of(128), &subscribe("x", 128, "")).contains("session.channels_max = 128")
    );
    for (more, part) in [
        ("selector:a = 1\n", "selectors"),
        ("ack:maybe\n", "client-individual"),
        ("since:x\n", "since is a position"),
        ("last:0\n", "last is a whole number"),
        ("since:first\nlast:1\n", "either since or last"),
    ] {
        assert!(refused(&stomp_of(1), &subscribe("x", 1, more)).contains(part), "{more}");
    }
    assert!(refused(&stomp_of(1), &subscribe("x", 0, "")).contains("exists"));
    assert!(
        refused(&stomp_of(1), &subscribe("c0", 1, "since:first\n")).contains("first subscription")
    );
    assert!(refused(&stomp_of(1), "UNSUBSCRIBE\nid:7\n\n\0").contains("no such subscription"));
}
