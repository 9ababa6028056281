//! WebSocket bytes of a client: the decoder returns the same events whether it reads them in pieces or at once.

use tidegate::close::Close;
use tidegate::publication::PayloadKind;
use tidegate::transport::{Decoder, Incoming};

/// The most bytes that may be kept while the rest of a frame head or control frame is missing.
const CARRIED_BYTES_MAX: usize = 131;

/// The first byte sets the largest message, the second the size of the pieces; the rest is the stream.
pub fn check(bytes: &[u8]) {
    let [size, cut, stream @ ..] = bytes else { return };
    let message_bytes_max = usize::from(*size) * 8;
    let whole = events(stream, usize::MAX, message_bytes_max);
    let piece = 1 + usize::from(*cut);
    assert_eq!(events(stream, piece, message_bytes_max), whole, "in pieces of {piece}");
    assert_eq!(events(stream, 1, message_bytes_max), whole, "byte by byte");
}

/// The events of the stream, up to and including the first close or violation.
pub fn events(stream: &[u8], piece: usize, message_bytes_max: usize) -> Vec<Incoming> {
    let mut decoder = Decoder::new(message_bytes_max);
    let (mut events, mut carry) = (Vec::new(), Vec::new());
    for piece in stream.chunks(piece) {
        carry.extend(piece);
        loop {
            let (taken, event) = decoder.decode(&mut carry);
            carry.drain(..taken);
            let Some(event) = event else { break };
            check_event(&event, message_bytes_max);
            let is_end = matches!(event, Incoming::Close(_) | Incoming::Violation(_));
            events.push(event);
            if is_end {
                return events;
            }
        }
        assert!(carry.len() <= CARRIED_BYTES_MAX, "{} bytes are carried", carry.len());
    }
    events
}

/// Asserts what holds for every event, whatever was sent.
fn check_event(event: &Incoming, message_bytes_max: usize) {
    match event {
        Incoming::Message(message) => {
            assert!(message.payload.len() <= message_bytes_max);
            let is_text = std::str::from_utf8(&message.payload).is_ok();
            assert!(message.kind == PayloadKind::Binary || is_text, "a text that is not UTF-8");
        }
        Incoming::Ping(payload) | Incoming::Pong(payload) => assert!(payload.len() <= 125),
        Incoming::Close(code) => assert!(code.is_none_or(|code| (1000..5000).contains(&code))),
        Incoming::Violation(close) => {
            assert!(matches!(close, Close::Protocol(_) | Close::Utf8 | Close::TooLarge));
        }
        Incoming::Lost => panic!("the decoder never returns this event"),
    }
}
