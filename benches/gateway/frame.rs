//! WebSocket frames for the load generator: encodes what it sends, and finds the length and payload of what it receives.

/// Operation codes of RFC 6455, section 5.2.
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// One mask for all frames: it costs the server the same as a random one, and the generator less.
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// Appends a complete masked frame, as a client sends it.
pub fn push_masked(to: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    push_head(to, opcode, payload.len(), MASKED);
    to.extend_from_slice(&MASK);
    let start = to.len();
    to.extend_from_slice(payload);
    for four in to[start..].chunks_mut(4) {
        four.iter_mut().zip(MASK).for_each(|(byte, mask)| *byte ^= mask);
    }
}

/// Appends a complete frame without a mask, as a server sends it.
pub fn push_plain(to: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    push_head(to, opcode, payload.len(), 0);
    to.extend_from_slice(payload);
}

fn push_head(to: &mut Vec<u8>, opcode: u8, length: usize, masked: u8) {
    to.push(FIN | opcode);
    match length {
        0..=125 => to.push(masked | length as u8),
        126..=0xFFFF => {
            to.push(masked | 126);
            to.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            to.push(masked | 127);
            to.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// A frame that a server sent.
pub struct Frame<'a> {
    pub opcode: u8,
    pub payload: &'a [u8],
    /// Of head and payload together, in bytes.
    pub length: usize,
}

/// The first frame of `bytes`, or `None` if it is incomplete.
///
/// Fails for frames that a node has no reason to send: fragments, reserved bits and masks would falsify the count of
/// messages.
#[inline]
pub fn first(bytes: &[u8]) -> Result<Option<Frame<'_>>, &'static str> {
    let &[first, second, ref rest @ ..] = bytes else {
        return Ok(None);
    };
    if first & 0xF0 != FIN || second & MASKED != 0 {
        return Err("a frame that is fragmented, masked or has reserved bits");
    }
    let (head, payload_length) = match (second, rest) {
        (126, &[a, b, ..]) => (4, usize::from(u16::from_be_bytes([a, b]))),
        (127, &[0, 0, 0, 0, a, b, c, d, ..]) => (10, u32::from_be_bytes([a, b, c, d]) as usize),
        (127, &[_, _, _, _, _, _, _, _, ..]) => return Err("a frame of 4 GiB or more"),
        (126 | 127, _) => return Ok(None),
        (short, _) => (2, usize::from(short)),
    };
    let length = head + payload_length;
    Ok(bytes.get(head..length).map(|payload| Frame { opcode: first & 0xF, payload, length }))
}
