//! WebSocket frames: the decoder returns the sent messages for all sizes, fragmentations, interleaved control frames and
//! read sizes.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use tidegate::framing::websocket;
use tidegate::protocol::Message;
use tidegate::publication::PayloadKind;
use tidegate::transport::Incoming;

use super::check_property;
use super::mutated_seeds::frames::events;

const MESSAGE_BYTES_MAX: usize = 70_000;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;
const FIN: u8 = 0x80;

/// A message, and the places where it is cut into fragments. A control frame may follow each cut.
#[derive(Clone, Debug)]
struct SentMessage {
    kind: PayloadKind,
    payload: Vec<u8>,
    cuts: Vec<(Index, Option<Control>)>,
    mask: [u8; 4],
}

fn sent_message() -> impl Strategy<Value = SentMessage> {
    let size = prop_oneof![
        20 => 0..300usize,
        4 => 124..128usize,
        1 => 65_534..65_538usize,
        1 => Just(MESSAGE_BYTES_MAX),
    ];
    let payload =
        (any::<bool>(), size, any::<u8>()).prop_map(|(is_text, size, byte)| match is_text {
            // Three bytes a character, so that some cuts are inside a character.
            true => (PayloadKind::Text, "€".repeat(size / 3).into_bytes()),
            false => {
                (PayloadKind::Binary, (0..size).map(|at| (at as u8).wrapping_mul(byte)).collect())
            }
        });
    let control = proptest::option::of((any::<bool>(), vec(any::<u8>(), 0..=125)));
    (payload, vec((any::<Index>(), control), 0..5), any::<[u8; 4]>())
        .prop_map(|((kind, payload), cuts, mask)| SentMessage { kind, payload, cuts, mask })
}

/// Whether it is a ping or a pong, and its payload.
type Control = (bool, Vec<u8>);

impl SentMessage {
    /// Appends the frames of the message to `bytes` and the events to expect from them to `expected`.
    fn write(&self, bytes: &mut Vec<u8>, expected: &mut Vec<Incoming>) {
        let mut cuts: Vec<usize> =
            self.cuts.iter().map(|cut| cut.0.index(self.payload.len() + 1)).collect();
        cuts.sort_unstable();
        let mut opcode = if self.kind == PayloadKind::Text { TEXT } else { BINARY };
        let mut from = 0;
        for (to, (_, control)) in cuts.into_iter().zip(&self.cuts) {
            push_masked(bytes, opcode, &self.payload[from..to], self.mask);
            if let Some((is_ping, payload)) = control {
                push_masked(bytes, FIN | if *is_ping { PING } else { PONG }, payload, self.mask);
                let payload = Bytes::copy_from_slice(payload);
                expected.push(if *is_ping {
                    Incoming::Ping(payload)
                } else {
                    Incoming::Pong(payload)
                });
            }
            (from, opcode) = (to, CONTINUATION);
        }
        push_masked(bytes, FIN | opcode, &self.payload[from..], self.mask);
        expected.push(message(self.kind, &self.payload));
    }
}

/// Appends a frame as a client sends it.
fn push_masked(bytes: &mut Vec<u8>, first: u8, payload: &[u8], mask: [u8; 4]) {
    bytes.push(first);
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
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

fn message(kind: PayloadKind, payload: &[u8]) -> Incoming {
    Incoming::Message(Message { kind, payload: Bytes::copy_from_slice(payload) })
}

#[test]
fn the_decoder_returns_the_sent_messages_for_any_fragmentation() {
    let pieces = prop_oneof![1..200usize, Just(1 << 16), Just(usize::MAX)];
    check_property(200, (vec(sent_message(), 1..8), pieces), |(messages, piece)| {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        messages.iter().for_each(|it| it.write(&mut bytes, &mut expected));
        prop_assert!(events(&bytes, piece, MESSAGE_BYTES_MAX) == expected, "in pieces of {piece}");
        Ok(())
    });
}

/// The decoder accepts only masked frames, so the test adds a mask of zeros to the node's frames.
#[test]
fn the_decoder_reads_the_frames_that_a_node_writes_at_every_size() {
    for size in (0..300).chain(65_530..65_540).chain([MESSAGE_BYTES_MAX]) {
        let payload = vec![b'x'; size];
        for kind in [PayloadKind::Text, PayloadKind::Binary] {
            let mut bytes = websocket::message(kind, &payload).to_vec();
            let head = bytes.len() - size;
            bytes[1] |= 0x80;
            bytes.splice(head..head, [0; 4]);
            let received = events(&bytes, usize::MAX, MESSAGE_BYTES_MAX);
            assert!(received == [message(kind, &payload)], "{size} bytes");
        }
    }
}
