//! Decodes a client's frames (RFC 6455 section 5) into messages. Enforces the rules that fastwebsockets' own
//! reader does not: masked frames, shortest length encoding, short control frames, well-ordered fragments, no
//! text that ends within a character, and sizes before anything is buffered. Tests compare the two readers.

use bytes::Bytes;
use fastwebsockets::unmask;

use crate::close::Close;
use crate::protocol::Message;
use crate::publication::PayloadKind;

/// Longest payload of a control frame (RFC 6455 section 5.5).
const CONTROL_BYTES_MAX: usize = 125;

/// A decoded item.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    Message(Message),
    Ping(Bytes),
    Pong(Bytes),
    /// The client's close frame, with its code if it has one. Nothing follows.
    Close(Option<u16>),
    /// The client violated the protocol; nothing after it can be decoded.
    Violation(Close),
    /// The stream broke or ended. Never returned by the decoder.
    Lost,
}

/// Decodes bytes. Holds the incomplete message, and nothing between messages.
pub struct Decoder {
    message_bytes_max: usize,
    partial: Option<Box<Partial>>,
}

/// An incomplete message.
struct Partial {
    kind: PayloadKind,
    payload: Vec<u8>,
    /// How many bytes of a text's payload are valid UTF-8 so far.
    valid: usize,
    frame: Frame,
}

/// The current data frame.
struct Frame {
    last: bool,
    mask: [u8; 4],
    /// How many payload bytes have arrived; determines the offset into the mask.
    received: usize,
    length: usize,
}

impl Decoder {
    /// `message_bytes_max`: largest message, its fragments together.
    pub fn new(message_bytes_max: usize) -> Self {
        Self { message_bytes_max, partial: None }
    }

    /// Takes bytes from the front of `input`; returns how many, and the first item that they complete.
    ///
    /// Without an item, all of `input` is taken except the beginning of a head or of a control frame: at most
    /// 131 bytes. After [`Incoming::Violation`] the stream cannot be decoded any more.
    pub fn decode(&mut self, input: &mut [u8]) -> (usize, Option<Incoming>) {
        let mut taken = 0;
        loop {
            match self.step(&mut input[taken..]) {
                Ok((0, None)) => return (taken, None),
                Ok((more, None)) => taken += more,
                Ok((more, event)) => return (taken + more, event),
                Err(close) => return (input.len(), Some(Incoming::Violation(close))),
            }
        }
    }

    /// Takes a part of a frame. If it takes nothing, more bytes are needed.
    fn step(&mut self, input: &mut [u8]) -> Result<(usize, Option<Incoming>), Close> {
        if let Some(partial) = &mut self.partial
            && partial.frame.received < partial.frame.length
        {
            let taken = partial.take(input)?;
            return Ok((taken, self.finish()));
        }
        let Some(head) = Head::read(input)? else { return Ok((0, None)) };
        if head.opcode.is_control() {
            return control(&head, input);
        }
        let so_far = self.partial.as_ref().map_or(0, |partial| partial.payload.len());
        if head.length > self.message_bytes_max.saturating_sub(so_far) as u64 {
            return Err(Close::TooLarge);
        }
        let length = head.length as usize;
        let frame = Frame { last: head.last, mask: head.mask, received: 0, length };
        match (head.opcode, &mut self.partial) {
            (Opcode::Continuation, None) => {
                return Err(Close::Protocol("a continuation frame without a message"));
            }
            (Opcode::Continuation, Some(partial)) => partial.frame = frame,
            (_, Some(_)) => {
                return Err(Close::Protocol("a new message before the end of a fragmented one"));
            }
            (opcode, none) => {
                let kind =
                    if opcode == Opcode::Text { PayloadKind::Text } else { PayloadKind::Binary };
                let end = head.bytes + length;
                if head.last && input.len() >= end {
                    let payload = &mut input[head.bytes..end];
                    unmask(payload, head.mask);
                    let message = whole(kind, payload)?;
                    return Ok((end, Some(message)));
                }
                *none = Some(Box::new(Partial { kind, payload: Vec::new(), valid: 0, frame }));
            }
        }
        Ok((head.bytes, self.finish()))
    }

    /// The message, once its last frame is complete.
    fn finish(&mut self) -> Option<Incoming> {
        let partial = self.partial.as_ref()?;
        let frame = &partial.frame;
        if !frame.last || frame.received < frame.length {
            return None;
        }
        let partial = self.partial.take()?;
        if partial.kind == PayloadKind::Text && partial.valid < partial.payload.len() {
            return Some(Incoming::Violation(Close::Utf8));
        }
        Some(Incoming::Message(Message { kind: partial.kind, payload: partial.payload.into() }))
    }
}

impl Partial {
    /// Takes the available bytes of the current frame, and fails at the first byte that is not UTF-8.
    fn take(&mut self, input: &mut [u8]) -> Result<usize, Close> {
        let frame = &mut self.frame;
        let some = input.len().min(frame.length - frame.received);
        let bytes = &mut input[..some];
        let mut mask = frame.mask;
        mask.rotate_left(frame.received % 4);
        unmask(bytes, mask);
        frame.received += some;
        self.payload.extend_from_slice(bytes);
        if self.kind == PayloadKind::Text {
            match std::str::from_utf8(&self.payload[self.valid..]) {
                Ok(_) => self.valid = self.payload.len(),
                // The rest of a character may still arrive.
                Err(error) if error.error_len().is_none() => self.valid += error.valid_up_to(),
                Err(_) => return Err(Close::Utf8),
            }
        }
        Ok(some)
    }
}

fn whole(kind: PayloadKind, payload: &[u8]) -> Result<Incoming, Close> {
    if kind == PayloadKind::Text && std::str::from_utf8(payload).is_err() {
        return Err(Close::Utf8);
    }
    Ok(Incoming::Message(Message { kind, payload: Bytes::copy_from_slice(payload) }))
}

/// A control frame, once it is complete.
fn control(head: &Head, input: &mut [u8]) -> Result<(usize, Option<Incoming>), Close> {
    if !head.last {
        return Err(Close::Protocol("a fragmented control frame"));
    }
    if head.length > CONTROL_BYTES_MAX as u64 {
        return Err(Close::Protocol("a control frame of more than 125 bytes"));
    }
    let end = head.bytes + head.length as usize;
    if input.len() < end {
        return Ok((0, None));
    }
    let payload = &mut input[head.bytes..end];
    unmask(payload, head.mask);
    let event = match head.opcode {
        Opcode::Ping => Incoming::Ping(Bytes::copy_from_slice(payload)),
        Opcode::Pong => Incoming::Pong(Bytes::copy_from_slice(payload)),
        _ => Incoming::Close(close_code(payload)?),
    };
    Ok((end, Some(event)))
}

/// RFC 6455 sections 5.5.1 and 7.4.
fn close_code(payload: &[u8]) -> Result<Option<u16>, Close> {
    let (code, text) = match payload {
        [] => return Ok(None),
        [_] => return Err(Close::Protocol("a close frame with an incomplete code")),
        [high, low, text @ ..] => (u16::from_be_bytes([*high, *low]), text),
    };
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Close::Protocol("a close code that must not be sent"));
    }
    if std::str::from_utf8(text).is_err() {
        return Err(Close::Utf8);
    }
    Ok(Some(code))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// A frame's head, validated.
struct Head {
    last: bool,
    opcode: Opcode,
    mask: [u8; 4],
    /// Length of the payload.
    length: u64,
    /// Length of the head itself.
    bytes: usize,
}

impl Head {
    /// Returns None if the head is incomplete. Faults in its first bytes are found before the rest arrives.
    fn read(input: &[u8]) -> Result<Option<Self>, Close> {
        let [first, second, rest @ ..] = input else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(Close::Protocol("reserved bits are set"));
        }
        let opcode = match first & 0x0F {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xA => Opcode::Pong,
            _ => return Err(Close::Protocol("a reserved opcode")),
        };
        if second & 0x80 == 0 {
            return Err(Close::Protocol("a frame without a mask"));
        }
        let (length, rest) = match second & 0x7F {
            126 => match rest.split_first_chunk() {
                Some((bytes, rest)) => (u64::from(u16::from_be_bytes(*bytes)), rest),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk() {
                Some((bytes, rest)) => (u64::from_be_bytes(*bytes), rest),
                None => return Ok(None),
            },
            short => (u64::from(short), rest),
        };
        let shortest = match length {
            0..=125 => 0,
            126..=0xFFFF => 2,
            _ => 8,
        };
        if input.len() - rest.len() != 2 + shortest {
            return Err(Close::Protocol("a length in more bytes than needed"));
        }
        if length > i64::MAX as u64 {
            return Err(Close::Protocol("a length of more than 63 bits"));
        }
        let Some(mask) = rest.first_chunk() else { return Ok(None) };
        let last = first & 0x80 != 0;
        Ok(Some(Self { last, opcode, mask: *mask, length, bytes: 2 + shortest + 4 }))
    }
}

#[cfg(test)]
mod tests;
