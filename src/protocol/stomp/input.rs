//! Divides what a client sends into frames: a message of the WebSocket may hold several, or a part of one.

use std::ops::Range;

use bytes::Bytes;

use super::fault::{FrameFault, HEAD_BYTES_MAX};

/// What of an incomplete frame has arrived. Empty between frames.
#[derive(Debug, Default)]
pub struct FrameInput {
    partial: Vec<u8>,
    scan: FrameScan,
}

/// How far an incomplete frame is read, so that each byte is looked at once however it is cut.
#[derive(Clone, Copy, Debug, Default)]
struct FrameScan {
    scanned: usize,
    body: Option<BodyStart>,
}

#[derive(Clone, Copy, Debug)]
struct BodyStart {
    head_end: usize,
    at: usize,
    /// None: up to the first NUL.
    length: Option<usize>,
}

/// Where the parts of the first frame are, in bytes that begin with it.
#[derive(Debug, PartialEq, Eq)]
pub struct FrameParts {
    pub head: Range<usize>,
    pub body: Range<usize>,
}

/// The bytes that have arrived and are not read yet.
#[derive(Debug)]
pub struct UnreadFrames {
    bytes: Bytes,
    scan: FrameScan,
}

impl FrameInput {
    /// Adds a message. What is returned must be read up to its last frame, and given back.
    pub fn add(&mut self, message: Bytes) -> UnreadFrames {
        let scan = std::mem::take(&mut self.scan);
        if self.partial.is_empty() {
            return UnreadFrames { bytes: message, scan };
        }
        self.partial.extend_from_slice(&message);
        UnreadFrames { bytes: std::mem::take(&mut self.partial).into(), scan }
    }

    /// Keeps what is left: less than a frame.
    pub fn keep(&mut self, rest: UnreadFrames) {
        self.scan = rest.scan;
        self.partial = match rest.bytes.is_empty() {
            true => Vec::new(),
            // A vector that is the only owner of the bytes is taken back without a copy.
            false => rest.bytes.into(),
        };
    }
}

impl UnreadFrames {
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The next complete frame: its bytes and parts. `bytes_max`: of a frame.
    pub fn next(&mut self, bytes_max: usize) -> Result<Option<(Bytes, FrameParts)>, FrameFault> {
        if self.scan.scanned == 0 {
            // Line ends between frames are heart-beats.
            let begin = self.bytes.iter().position(|byte| !matches!(byte, b'\n' | b'\r'));
            self.bytes = self.bytes.slice(begin.unwrap_or(self.bytes.len())..);
        }
        let Some(parts) = self.scan.advance(&self.bytes, bytes_max)? else { return Ok(None) };
        let frame = self.bytes.split_to(parts.body.end + 1);
        self.scan = FrameScan::default();
        Ok(Some((frame, parts)))
    }
}

impl FrameScan {
    /// None: the frame is incomplete.
    fn advance(
        &mut self,
        bytes: &[u8],
        bytes_max: usize,
    ) -> Result<Option<FrameParts>, FrameFault> {
        let body = match self.body {
            Some(body) => body,
            None => match self.head(bytes)? {
                Some(body) => *self.body.insert(body),
                None => return Ok(None),
            },
        };
        let too_large = FrameFault::TooLarge(bytes_max);
        let end = match body.length {
            Some(length) => {
                let end = body.at.checked_add(length).filter(|end| *end < bytes_max);
                let end = end.ok_or(too_large)?;
                match bytes.get(end) {
                    None => return Ok(None),
                    Some(0) => end,
                    Some(_) => return Err(FrameFault::NoEnd),
                }
            }
            None => {
                let from = self.scanned.max(body.at);
                match bytes.get(from..).and_then(|rest| rest.iter().position(|byte| *byte == 0)) {
                    Some(offset) if from + offset < bytes_max => from + offset,
                    Some(_) => return Err(too_large),
                    None => {
                        self.scanned = bytes.len();
                        return if bytes.len() < bytes_max { Ok(None) } else { Err(too_large) };
                    }
                }
            }
        };
        Ok(Some(FrameParts { head: 0..body.head_end, body: body.at..end }))
    }

    /// Looks for the empty line.
    fn head(&mut self, bytes: &[u8]) -> Result<Option<BodyStart>, FrameFault> {
        let mut at = self.scanned;
        while let Some(byte) = bytes.get(at) {
            match byte {
                0 => return Err(FrameFault::HeaderLine),
                b'\n' => {
                    let line = &bytes[..at];
                    let line = line.strip_suffix(b"\r").unwrap_or(line);
                    if line.last() == Some(&b'\n') {
                        let head_end = line.len();
                        let length = content_length(&bytes[..head_end])?;
                        return Ok(Some(BodyStart { head_end, at: at + 1, length }));
                    }
                }
                _ => {}
            }
            at += 1;
            if at > HEAD_BYTES_MAX {
                return Err(FrameFault::HeadTooLong);
            }
        }
        self.scanned = at;
        Ok(None)
    }
}

/// The first header of that name.
fn content_length(head: &[u8]) -> Result<Option<usize>, FrameFault> {
    const NAME: &[u8] = b"content-length:";
    let line = head.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(NAME));
    let Some(digits) = line.map(<[u8]>::trim_ascii) else { return Ok(None) };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(FrameFault::ContentLength);
    }
    // A number that does not fit is larger than any bound.
    let length = str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    Ok(Some(length.unwrap_or(usize::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1000;

    /// The heads and bodies of what arrives in these messages.
    fn frames(messages: &[&[u8]]) -> Result<Vec<(String, Vec<u8>)>, FrameFault> {
        let (mut input, mut frames) = (FrameInput::default(), Vec::new());
        for message in messages {
            let mut unread = input.add(Bytes::copy_from_slice(message));
            while let Some((frame, parts)) = unread.next(MAX)? {
                let head = String::from_utf8_lossy(&frame[parts.head]).into_owned();
                frames.push((head, frame[parts.body].to_vec()));
            }
            input.keep(unread);
        }
        Ok(frames)
    }

    #[test]
    fn frames_are_found_however_they_are_cut_into_messages() {
        let all = b"\n\r\nSEND\ndestination:a\n\nhi\0\n\nSEND\r\ncontent-length:3\r\n\r\na\0b\0ACK\n\n\0\n";
        let expected = vec![
            ("SEND\ndestination:a\n".to_owned(), b"hi".to_vec()),
            ("SEND\r\ncontent-length:3\r\n".to_owned(), b"a\0b".to_vec()),
            ("ACK\n".to_owned(), Vec::new()),
        ];
        assert_eq!(frames(&[all]), Ok(expected.clone()));
        for size in 1..all.len() {
            let messages: Vec<&[u8]> = all.chunks(size).collect();
            assert_eq!(frames(&messages), Ok(expected.clone()), "in messages of {size} bytes");
        }
    }

    #[test]
    fn an_input_between_frames_holds_no_memory() {
        let mut input = FrameInput::default();
        let mut unread = input.add(Bytes::from_static(b"SEND\n\nx\0\n"));
        assert!(unread.next(MAX).unwrap().is_some() && unread.next(MAX).unwrap().is_none());
        input.keep(unread);
        assert_eq!(input.partial.capacity(), 0);
    }

    #[test]
    fn bytes_that_cannot_become_a_frame_are_refused_before_they_are_collected() {
        let long = [b"SEND\nx:".to_vec(), vec![b'x'; HEAD_BYTES_MAX]].concat();
        for (bytes, fault) in [
            (&long[..], FrameFault::HeadTooLong),
            (b"SEND\ncontent-length:99999999999999999999999\n\n", FrameFault::TooLarge(MAX)),
            (b"SEND\ncontent-length:1000\n\n", FrameFault::TooLarge(MAX)),
            (b"SEND\ncontent-length:-1\n\n", FrameFault::ContentLength),
            (b"SEND\ncontent-length:\n\n", FrameFault::ContentLength),
            (b"SEND\ncontent-length:1\n\nab\0", FrameFault::NoEnd),
            (b"SEND\ndestination:a\0", FrameFault::HeaderLine),
        ] {
            assert_eq!(frames(&[bytes]), Err(fault));
        }
        let body = [b"SEND\n\n".to_vec(), vec![b'x'; MAX]].concat();
        assert_eq!(frames(&[&body]), Err(FrameFault::TooLarge(MAX)));
    }
}
