//! WebSocket frames as a server writes them (RFC 6455 section 5.2): unmasked, never fragmented, encoded once
//! and shared as bytes by all sockets.

use bytes::{BufMut, Bytes, BytesMut};
use fastwebsockets::{Frame, OpCode, Payload};

use crate::publication::PayloadKind;

/// Buffer size for the longest head of a server's frame, which fastwebsockets' `fmt_head` requires.
pub const HEAD_BYTES_MAX: usize = 16;

/// A data frame.
pub fn message(kind: PayloadKind, payload: &[u8]) -> Bytes {
    match kind {
        PayloadKind::Text | PayloadKind::TextPart => encode(OpCode::Text, payload),
        PayloadKind::Binary => encode(OpCode::Binary, payload),
    }
}

/// Puts the head of a data frame in front of a payload of this length.
pub fn put_head(out: &mut impl BufMut, kind: PayloadKind, length: usize) {
    out.put_u8(if kind == PayloadKind::Binary { 0x82 } else { 0x81 });
    match length {
        0..=125 => out.put_u8(length as u8),
        126..=0xffff => {
            out.put_u8(126);
            out.put_u16(length as u16);
        }
        _ => {
            out.put_u8(127);
            out.put_u64(length as u64);
        }
    }
}

/// A ping. `payload` is at most 125 bytes; the pong contains it.
pub fn ping(payload: &[u8]) -> Bytes {
    encode(OpCode::Ping, payload)
}

/// The answer to a ping: its payload, unchanged.
pub fn pong(payload: &[u8]) -> Bytes {
    encode(OpCode::Pong, payload)
}

/// A close frame (section 5.5.1). `text`: at most 123 bytes. Without a code its body is empty.
pub fn close(code: Option<u16>, text: &str) -> Bytes {
    let mut body = BytesMut::with_capacity(2 + text.len());
    if let Some(code) = code {
        body.put_u16(code);
        body.put_slice(text.as_bytes());
    }
    encode(OpCode::Close, &body)
}

fn encode(opcode: OpCode, payload: &[u8]) -> Bytes {
    let mut head = [0; HEAD_BYTES_MAX];
    let head_bytes = Frame::new(true, opcode, None, Payload::Borrowed(payload)).fmt_head(&mut head);
    let mut bytes = BytesMut::with_capacity(head_bytes + payload.len());
    bytes.put_slice(&head[..head_bytes]);
    bytes.put_slice(payload);
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_heads_use_the_shortest_length_encoding() {
        assert_eq!(&message(PayloadKind::Text, b"hi")[..], b"\x81\x02hi");
        assert_eq!(&message(PayloadKind::Binary, b"")[..], b"\x82\x00");
        assert_eq!(&message(PayloadKind::Text, &[b'x'; 126])[..4], b"\x81\x7e\x00\x7e");
        assert_eq!(
            &message(PayloadKind::Text, &[b'x'; 65536])[..10],
            b"\x81\x7f\0\0\0\0\0\x01\0\0"
        );
    }

    #[test]
    fn a_head_that_is_put_in_front_is_that_of_a_whole_message() {
        for kind in [PayloadKind::Text, PayloadKind::Binary] {
            for length in [0, 125, 126, 0xffff, 0x1_0000] {
                let mut head = BytesMut::new();
                put_head(&mut head, kind, length);
                assert_eq!(head, message(kind, &vec![b'x'; length])[..head.len()]);
            }
        }
    }

    #[test]
    fn close_frames_contain_code_and_text_or_nothing() {
        assert_eq!(&close(None, "")[..], b"\x88\x00");
        assert_eq!(&close(Some(3000), "")[..], b"\x88\x02\x0b\xb8");
        assert_eq!(&close(Some(4008), "slow")[..], b"\x88\x06\x0f\xa8slow");
    }
}
