use super::*;
use fastwebsockets::{OpCode, Role, WebSocket as Reference};

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A client's frame. `first`: final bit, reserved bits and opcode.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | short as u8),
        medium @ 126..=0xFFFF => {
            bytes.push(0x80 | 126);
            bytes.extend((medium as u16).to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    let at = bytes.len();
    bytes.extend(payload);
    unmask(&mut bytes[at..], MASK);
    bytes
}

/// Feeds the bytes in pieces of `step`, as a socket would, up to and including the first end.
fn events(bytes: &[u8], step: usize) -> Vec<Incoming> {
    let mut decoder = Decoder::new(1000);
    let (mut events, mut carry) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(step) {
        carry.extend(piece);
        loop {
            let (taken, event) = decoder.decode(&mut carry);
            carry.drain(..taken);
            match event {
                Some(event @ (Incoming::Violation(_) | Incoming::Close(_))) => {
                    events.push(event);
                    return events;
                }
                Some(event) => events.push(event),
                None => break,
            }
        }
        assert!(carry.len() <= 131, "{} bytes are carried", carry.len());
    }
    events
}

/// Decodes in one piece, byte by byte and in between: the result must be the same.
fn decode(bytes: &[u8]) -> Vec<Incoming> {
    let whole = events(bytes, usize::MAX);
    for step in [1, 2, 3, 7, 64] {
        assert_eq!(events(bytes, step), whole, "in pieces of {step}");
    }
    whole
}

fn message(kind: PayloadKind, payload: &[u8]) -> Incoming {
    Incoming::Message(Message { kind, payload: Bytes::copy_from_slice(payload) })
}

fn ends(bytes: &[u8]) -> Close {
    match decode(bytes).pop() {
        Some(Incoming::Violation(close)) => close,
        other => panic!("{bytes:02x?} gave {other:?}"),
    }
}

#[test]
fn messages_arrive_whole_or_in_fragments_with_control_frames_between() {
    let bytes = [
        frame(0x81, "héllo".as_bytes()),
        frame(0x82, &[0xff; 300]),
        frame(0x01, b"\xe2\x82"),
        frame(0x89, b"ping"),
        frame(0x00, b""),
        frame(0x80, b"\xac"),
        frame(0x81, b""),
        frame(0x88, &1000u16.to_be_bytes()),
    ]
    .concat();
    assert_eq!(
        decode(&bytes),
        [
            message(PayloadKind::Text, "héllo".as_bytes()),
            message(PayloadKind::Binary, &[0xff; 300]),
            Incoming::Ping(Bytes::from_static(b"ping")),
            message(PayloadKind::Text, "€".as_bytes()),
            message(PayloadKind::Text, b""),
            Incoming::Close(Some(1000)),
        ]
    );
}

#[test]
fn every_protocol_violation_is_detected() {
    for (what, bytes) in [
        ("reserved bits", frame(0xC1, b"x")),
        ("a reserved opcode", frame(0x83, b"x")),
        ("a reserved opcode", frame(0x8B, b"x")),
        ("without a mask", vec![0x81, 0x01, b'x']),
        ("fragmented control", frame(0x09, b"x")),
        ("more than 125 bytes", frame(0x89, &[0; 126])),
        ("more than 125 bytes", frame(0x88, &[0; 126])),
        ("continuation frame without a message", frame(0x80, b"x")),
        ("before the end of a fragmented one", [frame(0x01, b"a"), frame(0x81, b"b")].concat()),
        ("more bytes than needed", vec![0x81, 0xFE, 0, 1, 0, 0, 0, 0, b'x']),
        ("more bytes than needed", vec![0x81, 0xFF, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, b'x']),
        ("more than 63 bits", [&[0x82, 0xFF][..], &[0xFF; 8], &[0; 4]].concat()),
        ("an incomplete code", frame(0x88, b"x")),
        ("must not be sent", frame(0x88, &1005u16.to_be_bytes())),
        ("must not be sent", frame(0x88, &999u16.to_be_bytes())),
        ("must not be sent", frame(0x88, &5000u16.to_be_bytes())),
    ] {
        match ends(&bytes) {
            Close::Protocol(text) => assert!(text.contains(what), "{what}: {text}"),
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[test]
fn invalid_utf8_is_refused_across_fragments_and_as_soon_as_possible() {
    for bytes in [
        frame(0x81, b"\xff"),
        frame(0x81, b"abc\xe2"),
        [frame(0x01, b"abc\xe2"), frame(0x80, b"\x28")].concat(),
        [frame(0x01, b"abc\xe2"), frame(0x80, b"")].concat(),
        frame(0x88, b"\x03\xe8\xff"),
    ] {
        assert_eq!(ends(&bytes), Close::Utf8, "{bytes:02x?}");
    }
    // The frame is incomplete, and can never become valid.
    let mut partial = frame(0x81, b"abc\xff and many more bytes to come");
    partial.truncate(6 + 4);
    assert_eq!(ends(&partial), Close::Utf8);
}

#[test]
fn a_too_large_message_is_refused_by_its_head_alone() {
    assert_eq!(decode(&frame(0x82, &[0; 1000])).len(), 1);
    assert_eq!(ends(&frame(0x82, &[0; 1001])[..8]), Close::TooLarge);
    let fragments = [frame(0x02, &[0; 600]), frame(0x80, &[0; 401])[..8].to_vec()].concat();
    assert_eq!(ends(&fragments), Close::TooLarge);
    let huge = [&[0x82, 0xFF, 0x7F][..], &[0xFF; 7], &[0; 4]].concat();
    assert_eq!(ends(&huge), Close::TooLarge);
}

#[test]
fn the_decoder_holds_nothing_between_messages() {
    let mut decoder = Decoder::new(1000);
    let mut bytes = [frame(0x01, b"a"), frame(0x80, b"b")].concat();
    decoder.decode(&mut bytes);
    assert!(decoder.partial.is_none());
}

/// Both readers must agree on random streams of valid frames.
#[tokio::test]
async fn the_decoder_agrees_with_fastwebsockets() {
    use rand::{Rng, SeedableRng};
    for seed in 0..200 {
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        let mut bytes = Vec::new();
        for _ in 0..random.random_range(1..20) {
            let payload = vec![random.random_range(b'a'..=b'z'); random.random_range(0..500)];
            match random.random_range(0..4) {
                0 => bytes.extend(frame(0x81, &payload)),
                1 => bytes.extend(frame(0x82, &payload)),
                2 => bytes.extend(frame(0x89, &payload[..payload.len().min(125)])),
                _ => bytes.extend(frame(0x8A, &payload[..payload.len().min(125)])),
            }
        }
        bytes.extend(frame(0x88, &1000u16.to_be_bytes()));
        let stream = tokio::io::join(&bytes[..], tokio::io::sink());
        let mut reference = Reference::after_handshake(stream, Role::Server);
        reference.set_auto_close(false);
        reference.set_auto_pong(false);
        for event in events(&bytes, random.random_range(1..200)) {
            let frame = reference.read_frame().await.expect("the stream is valid");
            let payload = Bytes::copy_from_slice(&frame.payload);
            let expected = match frame.opcode {
                OpCode::Text => Incoming::Message(Message { kind: PayloadKind::Text, payload }),
                OpCode::Binary => Incoming::Message(Message { kind: PayloadKind::Binary, payload }),
                OpCode::Ping => Incoming::Ping(payload),
                OpCode::Pong => Incoming::Pong(payload),
                OpCode::Close => Incoming::Close(Some(1000)),
                OpCode::Continuation => panic!("none was sent"),
            };
            assert_eq!(event, expected, "seed {seed}");
        }
    }
}
