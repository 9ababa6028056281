//! Frames of a STOMP client: however small they are cut into messages of the WebSocket they become the same commands, and what the
//! client gets is whole frames.

use std::time::Duration;

use bytes::Bytes;
use tidegate::protocol::stomp::{Stomp, StompSettings};
use tidegate::protocol::{
    Command, Format, Message, Push, Reply, ReplyError, SessionControl, Speak,
};
use tidegate::publication::{EndReason, NodeId, PayloadKind, Position, Publication, SessionId};

/// Most bytes of a frame.
const FRAME_BYTES_MAX: usize = 4 << 10;

/// The first byte selects the version and the size of the parts. The rest is what the client sends after CONNECT.
pub fn check(bytes: &[u8]) {
    let Some((choice, sent)) = bytes.split_first() else { return };
    let version = ["1.0", "1.1", "1.2"][usize::from(choice % 3)];
    let parts = |size| run(version, &sent.chunks(size).collect::<Vec<_>>());
    // Parts that are smaller than any frame: what frames of one message become depends on those before them.
    let size = 2 + usize::from(choice / 3 % 4);
    assert_eq!(parts(size), parts(1), "in parts of {size} bytes");
    run(version, &[sent]);
    // Before a CONNECT too.
    let session = session();
    handle(&session, sent, &mut Vec::new());
}

fn session() -> Stomp {
    let mut session = Stomp::new(StompSettings {
        frame_bytes_max: FRAME_BYTES_MAX,
        subscriptions_max: 32,
        ping_interval: Duration::from_secs(25),
    });
    let node = NodeId::of_number(1).expect("a small number");
    session.begin(SessionId { node, number: 2 });
    session
}

/// The commands of a session, and the error that ends it.
fn run(version: &str, messages: &[&[u8]]) -> Vec<Result<Command, ReplyError>> {
    let session = session();
    let mut outcomes = Vec::new();
    let connect = format!("CONNECT\naccept-version:{version}\n\n\0");
    handle(&session, connect.as_bytes(), &mut outcomes);
    for message in messages {
        handle(&session, message, &mut outcomes);
    }
    for seq in 1..300 {
        publish(&session, Some(seq));
    }
    publish(&session, None);
    outcomes
}

/// Decodes a message, and answers each command.
fn handle(session: &Stomp, message: &[u8], outcomes: &mut Vec<Result<Command, ReplyError>>) {
    let message = Message { kind: PayloadKind::Binary, payload: Bytes::copy_from_slice(message) };
    for outcome in session.decode(message, 128).expect("faults are answers") {
        let reply = match outcome.clone() {
            Err(error) => {
                assert!(!error.message.is_empty());
                Reply::Error(error)
            }
            Ok(Command::Subscribe { id, channel, .. }) => {
                let position = Some(Position { epoch: 7, seq: 0 });
                Reply::Subscribed { id, channel, position, recovered: Some(false) }
            }
            Ok(Command::Unsubscribe { id, channel }) => Reply::Unsubscribed { id, channel },
            Ok(Command::Publish { id, publication, .. }) => {
                if publication.kind == PayloadKind::Text {
                    assert!(std::str::from_utf8(&publication.payload).is_ok());
                }
                Reply::Published { id, position: None }
            }
            Ok(Command::Connect { id, token: None }) => Reply::Connected { id },
            Ok(Command::Connect { id, .. }) => {
                Reply::Authenticated { id, user: Some("ada".into()), expires_in: None }
            }
            Ok(Command::Ping { id }) => Reply::Pong { id },
            Ok(other) => panic!("{other:?} is no command of the protocol"),
        };
        outcomes.push(outcome);
        stamped(session, session.reply(&reply));
        if let Some(close) = session.end_reason() {
            let last = session.last_bytes(close).expect("a close frame");
            let end = last.iter().rposition(|byte| *byte == 0x88).expect("a close frame");
            frames(&last[..end]);
            return;
        }
    }
}

/// Passes a publication, a gap and an end of a channel to the session.
fn publish(session: &Stomp, seq: Option<u64>) {
    for payload in [&b"text"[..], b"\xff\x00"] {
        let position = seq.map(|seq| Position { epoch: 7, seq });
        let publication = Publication { position, ..Publication::bare(payload.to_vec().into()) };
        stamped(session, Some(Format::Stomp.publication("a", &publication)));
    }
    let reason = EndReason::new("done").expect("a reason");
    stamped(session, Format::Stomp.push(&Push::Gap { channel: "a", reason: "lost" }));
    let ended = Push::Ended { channel: "a", reason: &reason, position: None };
    stamped(session, Format::Stomp.push(&ended));
}

fn stamped(session: &Stomp, frame: Option<Bytes>) {
    let stamp = session.stamp().expect("sessions have one");
    if let Some(stamped) = frame.and_then(stamp) {
        assert!(!stamped.is_empty());
        frames(&stamped);
    }
}

/// Asserts that the bytes are whole messages of the WebSocket, and each a whole frame.
fn frames(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let (at, length) = match bytes[1] {
            126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
            127 => (10, u64::from_be_bytes(bytes[2..10].try_into().expect("eight")) as usize),
            length => (2, usize::from(length)),
        };
        let frame = &bytes[at..at + length];
        match bytes[0] {
            0x81 => assert!(std::str::from_utf8(frame).is_ok()),
            opcode => assert_eq!(opcode, 0x82, "a data frame"),
        }
        let commands = [&b"CONNECTED\n"[..], b"MESSAGE\n", b"RECEIPT\n", b"ERROR\n"];
        assert!(commands.iter().any(|command| frame.starts_with(command)));
        let head = frame.windows(2).position(|two| two == b"\n\n").expect("the empty line");
        assert!(
            frame[..head].split(|byte| *byte == b'\n').skip(1).all(|line| line.contains(&b':'))
        );
        assert_eq!(frame.last(), Some(&0));
        bytes = &bytes[at + length..];
    }
}
