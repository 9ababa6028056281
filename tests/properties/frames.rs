//! WebSocket frames: whatever the sizes, the fragments, the control frames between them and the
//! pieces they come in, the messages are what was sent.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use tidegate::framing::websocket;
use tidegate::protocol::Message;
use tidegate::publication::PayloadKind;
use tidegate::transport::Incoming;

use super::anything::frames::events;
use super::holds;

const MESSAGE_BYTES_MAX: usize = 70_000;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;
const FIN: u8 = 0x80;

/// A message and how it is cut; before each fragment a control frame may come.
#[derive(Clone, Debug)]
struct Sent {
    kind: PayloadKind,
    payload: Vec<u8>,
    cuts: Vec<(Index, Option<Control>)>,
    mask: [u8; 4],
}

fn sent() -> impl Strategy<Value = Sent> {
    let size = prop_oneof![
        20 => 0..300usize,
        4 => 124..128usize,
        1 => 65_534..65_538usize,
        1 => Just(MESSAGE_BYTES_MAX),
    ];
    let payload =
        (any::<bool>(), size, any::<u8>()).prop_map(|(is_text, size, byte)| match is_text {
            // Three bytes a character, so that cuts fall within one.
            true => (PayloadKind::Text, "€".repeat(size / 3).into_bytes()),
            false => {
                (PayloadKind::Binary, (0..size).map(|at| (at as u8).wrapping_mul(byte)).collect())
            }
        });
    let control = proptest::option::of((any::<bool>(), vec(any::<u8>(), 0..=125)));
    (payload, vec((any::<Index>(), control), 0..5), any::<[u8; 4]>())
        .prop_map(|((kind, payload), cuts, mask)| Sent { kind, payload, cuts, mask })
}

/// Is it a ping, and its payload.
type Control = (bool, Vec<u8>);

impl Sent {
    fn write(&self, bytes: &mut Vec<u8>, expected: &mut Vec<Incoming>) {
        let mut cuts: Vec<usize> =
            self.cuts.iter().map(|cut| cut.0.index(self.payload.len() + 1)).collect();
        cuts.sort_unstable();
        let mut opcode = if self.kind == PayloadKind::Text { TEXT } else { BINARY };
        let mut from = 0;
        for (to, (_, control)) in cuts.into_iter().zip(&self.cuts) {
            masked(bytes, opcode, &self.payload[from..to], self.mask);
            if let Some((is_ping, payload)) = control {
                masked(bytes, FIN | if *is_ping { PING } else { PONG }, payload, self.mask);
                let payload = Bytes::copy_from_slice(payload);
                expected.push(if *is_ping {
                    Incoming::Ping(payload)
                } else {
                    Incoming::Pong(payload)
                });
            }
            (from, opcode) = (to, CONTINUATION);
        }
        masked(bytes, FIN | opcode, &self.payload[from..], self.mask);
        expected.push(message(self.kind, &self.payload));
    }
}

/// A client's frame.
fn masked(bytes: &mut Vec<u8>, first: u8, payload: &[u8], mask: [u8; 4]) {
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
fn what_was_sent_is_what_is_heard() {
    let pieces = prop_oneof![1..200usize, Just(1 << 16), Just(usize::MAX)];
    holds(200, (vec(sent(), 1..8), pieces), |(messages, piece)| {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        messages.iter().for_each(|it| it.write(&mut bytes, &mut expected));
        prop_assert!(events(&bytes, piece, MESSAGE_BYTES_MAX) == expected, "in pieces of {piece}");
        Ok(())
    });
}

/// The node's own frames, made a client's by a mask of zeros.
#[test]
fn what_a_node_writes_is_a_frame_of_every_size() {
    for size in (0..300).chain(65_530..65_540).chain([MESSAGE_BYTES_MAX]) {
        let payload = vec![b'x'; size];
        for kind in [PayloadKind::Text, PayloadKind::Binary] {
            let mut bytes = websocket::message(kind, &payload).to_vec();
            let head = bytes.len() - size;
            bytes[1] |= 0x80;
            bytes.splice(head..head, [0; 4]);
            let heard = events(&bytes, usize::MAX, MESSAGE_BYTES_MAX);
            assert!(heard == [message(kind, &payload)], "{size} bytes");
        }
    }
}
