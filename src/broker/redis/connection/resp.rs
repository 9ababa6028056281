//! RESP3 as Redis sends it on a subscribed connection: pushes, and the reply to `HELLO`.
//!
//! The crate's parser builds a tree of owned values for each message, and its connection queues the
//! messages it has read. Here a message is two slices of the read buffer. Relaying takes a
//! quarter less CPU, and while the node is busy TCP slows Redis down and the node's memory does not grow.

/// One message from Redis.
#[derive(Debug, PartialEq, Eq)]
pub enum RespMessage<'a> {
    Message {
        /// Some: it arrives by the subscription to this pattern.
        pattern: Option<&'a [u8]>,
        channel: &'a [u8],
        payload: &'a [u8],
    },
    /// The beginning of a message of more than [`PAYLOAD_BYTES_MAX`]; its `rest`, in bytes, is
    /// still to come and is discarded.
    TooLarge {
        pattern: Option<&'a [u8]>,
        channel: &'a [u8],
        rest: usize,
    },
    Subscribed {
        channel: &'a [u8],
    },
    /// The node unsubscribed, or the channel's slot has moved to another master.
    Unsubscribed {
        channel: &'a [u8],
    },
    PatternSubscribed {
        pattern: &'a [u8],
    },
    PatternUnsubscribed {
        pattern: &'a [u8],
    },
    /// The reply to `HELLO`.
    Hello {
        replica: bool,
    },
    /// A bulk reply, such as that to a `PING` with a text.
    Bulk(&'a [u8]),
    /// A successful reply, or a push that the node does not use.
    Other,
    Error(&'a [u8]),
}

/// Maximum payload that is relayed. Redis itself allows 512 MiB, which the node would have to hold
/// in memory.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;

/// Maximum length of a line.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Maximum nesting of a reply.
const DEPTH_MAX: usize = 8;

/// The input is not RESP3; nothing after it can be parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("redis sent something that is not RESP3")]
pub struct InvalidResp;

/// Parses the first message of `bytes`, and returns how many bytes it takes. `None`: it is
/// incomplete.
pub fn next(bytes: &[u8]) -> Result<Option<(RespMessage<'_>, usize)>, InvalidResp> {
    let mut reader = RespReader { bytes, at: 0 };
    match reader.message() {
        Ok(message) => Ok(Some((message, reader.at))),
        Err(ParseStop::Incomplete) => Ok(None),
        Err(ParseStop::Malformed) => Err(InvalidResp),
    }
}

/// Appends a command.
pub fn write_command<'a>(out: &mut Vec<u8>, words: impl ExactSizeIterator<Item = &'a [u8]>) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

enum ParseStop {
    Incomplete,
    Malformed,
}

struct RespReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> RespReader<'a> {
    fn message(&mut self) -> Result<RespMessage<'a>, ParseStop> {
        let (kind, line) = self.line()?;
        match kind {
            b'>' => self.push(length(line)?),
            b'-' => Ok(RespMessage::Error(line)),
            b'!' => Ok(RespMessage::Error(self.bulk_rest(length(line)?)?)),
            b'$' => Ok(RespMessage::Bulk(self.bulk_rest(length(line)?)?)),
            b'%' => self.greeting(length(line)?),
            _ => self.skip(kind, line, DEPTH_MAX).map(|()| RespMessage::Other),
        }
    }

    fn push(&mut self, words: usize) -> Result<RespMessage<'a>, ParseStop> {
        let kind = self.bulk()?;
        match (kind, words) {
            (b"message" | b"smessage", 3) => self.published(None),
            (b"pmessage", 4) => {
                let pattern = self.bulk()?;
                self.published(Some(pattern))
            }
            (b"psubscribe", 3) => {
                let pattern = self.bulk()?;
                self.value(DEPTH_MAX)?;
                Ok(RespMessage::PatternSubscribed { pattern })
            }
            (b"punsubscribe", 3) => {
                let pattern = self.bulk()?;
                self.value(DEPTH_MAX)?;
                Ok(RespMessage::PatternUnsubscribed { pattern })
            }
            (b"subscribe" | b"ssubscribe", 3) => {
                let channel = self.bulk()?;
                self.value(DEPTH_MAX)?;
                Ok(RespMessage::Subscribed { channel })
            }
            (b"unsubscribe" | b"sunsubscribe", 3) => {
                let channel = self.bulk()?;
                self.value(DEPTH_MAX)?;
                Ok(RespMessage::Unsubscribed { channel })
            }
            _ => {
                for _ in 1..words {
                    self.value(DEPTH_MAX)?;
                }
                Ok(RespMessage::Other)
            }
        }
    }

    /// The channel and the payload of a message.
    fn published(&mut self, pattern: Option<&'a [u8]>) -> Result<RespMessage<'a>, ParseStop> {
        let channel = self.bulk()?;
        let (b'$', line) = self.line()? else { return Err(ParseStop::Malformed) };
        let bytes = length(line)?;
        if bytes > PAYLOAD_BYTES_MAX {
            let rest = bytes.saturating_add(b"\r\n".len());
            return Ok(RespMessage::TooLarge { pattern, channel, rest });
        }
        Ok(RespMessage::Message { pattern, channel, payload: self.bulk_rest(bytes)? })
    }

    /// Names and values; `role` tells whether the server is a replica.
    fn greeting(&mut self, fields: usize) -> Result<RespMessage<'a>, ParseStop> {
        fields.checked_mul(2).ok_or(ParseStop::Malformed)?;
        let mut replica = false;
        for _ in 0..fields {
            let name = self.text()?;
            let value = self.text()?;
            replica |= name == Some(b"role") && value == Some(b"replica");
        }
        Ok(RespMessage::Hello { replica })
    }

    /// A value; `None` if it is not text.
    fn text(&mut self) -> Result<Option<&'a [u8]>, ParseStop> {
        match self.line()? {
            (b'$', line) => Ok(Some(self.bulk_rest(length(line)?)?)),
            (b'+', line) => Ok(Some(line)),
            (kind, line) => self.skip(kind, line, DEPTH_MAX).map(|()| None),
        }
    }

    /// The type byte and the rest of a line.
    fn line(&mut self) -> Result<(u8, &'a [u8]), ParseStop> {
        let rest = &self.bytes[self.at..];
        let Some(end) = rest.iter().take(LINE_BYTES_MAX).position(|byte| *byte == b'\n') else {
            let too_long = rest.len() >= LINE_BYTES_MAX;
            return Err(if too_long { ParseStop::Malformed } else { ParseStop::Incomplete });
        };
        self.at += end + 1;
        match &rest[..end] {
            [kind, line @ .., b'\r'] => Ok((*kind, line)),
            _ => Err(ParseStop::Malformed),
        }
    }

    fn bulk(&mut self) -> Result<&'a [u8], ParseStop> {
        match self.line()? {
            (b'$', line) => self.bulk_rest(length(line)?),
            _ => Err(ParseStop::Malformed),
        }
    }

    fn bulk_rest(&mut self, bytes: usize) -> Result<&'a [u8], ParseStop> {
        let end = self.at.checked_add(bytes).ok_or(ParseStop::Malformed)?;
        let whole = end.checked_add(b"\r\n".len()).ok_or(ParseStop::Malformed)?;
        match self.bytes.get(end..whole) {
            Some(b"\r\n") => {
                let bulk = &self.bytes[self.at..end];
                self.at = whole;
                Ok(bulk)
            }
            Some(_) => Err(ParseStop::Malformed),
            None => Err(ParseStop::Incomplete),
        }
    }

    fn value(&mut self, depth: usize) -> Result<(), ParseStop> {
        let (kind, line) = self.line()?;
        self.skip(kind, line, depth)
    }

    fn skip(&mut self, kind: u8, line: &[u8], depth: usize) -> Result<(), ParseStop> {
        let values = match kind {
            b'$' | b'=' | b'!' => return self.bulk_rest(length(line)?).map(drop),
            b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => 0,
            b'*' | b'~' | b'>' => length(line)?,
            b'%' | b'|' => length(line)?.checked_mul(2).ok_or(ParseStop::Malformed)?,
            _ => return Err(ParseStop::Malformed),
        };
        if values > 0 && depth == 0 {
            return Err(ParseStop::Malformed);
        }
        for _ in 0..values {
            self.value(depth - 1)?;
        }
        Ok(())
    }
}

fn length(digits: &[u8]) -> Result<usize, ParseStop> {
    let text = std::str::from_utf8(digits).map_err(|_| ParseStop::Malformed)?;
    text.parse().map_err(|_| ParseStop::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] =
        b"%2\r\n+server\r\n$5\r\nredis\r\n+modules\r\n*1\r\n%1\r\n$1\r\na\r\n:1\r\n\
        %2\r\n$5\r\nproto\r\n:3\r\n$4\r\nrole\r\n$7\r\nreplica\r\n\
        >3\r\n$10\r\nssubscribe\r\n$4\r\nnews\r\n:1\r\n\
        >3\r\n$8\r\nsmessage\r\n$4\r\nnews\r\n$3\r\na\r\n\r\n\
        >3\r\n$12\r\nsunsubscribe\r\n$4\r\nnews\r\n:0\r\n\
        $2\r\n17\r\n+OK\r\n\
        >3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n\
        >3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$8\r\nlin\r\ne\xff\x00\r\n\
        >3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:0\r\n\
        >3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$0\r\n\r\n\
        >3\r\n$10\r\npsubscribe\r\n$2\r\nn*\r\n:1\r\n\
        >4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$1\r\na\r\n\
        >3\r\n$12\r\npunsubscribe\r\n$2\r\nn*\r\n:0\r\n\
        -NOPERM no\r\n";

    #[test]
    fn every_message_is_parsed_wherever_the_input_is_cut() {
        let mut messages = Vec::new();
        let mut at = 0;
        while at < STREAM.len() {
            let (one, taken) = next(&STREAM[at..]).unwrap().unwrap();
            for cut in 0..taken {
                assert_eq!(next(&STREAM[at..at + cut]), Ok(None), "cut at {cut} of {one:?}");
            }
            at += taken;
            messages.push(one);
        }
        assert_eq!(
            messages,
            [
                RespMessage::Hello { replica: false },
                RespMessage::Hello { replica: true },
                RespMessage::Subscribed { channel: b"news" },
                RespMessage::Message { pattern: None, channel: b"news", payload: b"a\r\n" },
                RespMessage::Unsubscribed { channel: b"news" },
                RespMessage::Bulk(b"17"),
                RespMessage::Other,
                RespMessage::Subscribed { channel: b"news" },
                RespMessage::Message {
                    pattern: None,
                    channel: b"news",
                    payload: b"lin\r\ne\xff\x00"
                },
                RespMessage::Unsubscribed { channel: b"news" },
                RespMessage::Message { pattern: None, channel: b"news", payload: b"" },
                RespMessage::PatternSubscribed { pattern: b"n*" },
                RespMessage::Message { pattern: Some(b"n*"), channel: b"news", payload: b"a" },
                RespMessage::PatternUnsubscribed { pattern: b"n*" },
                RespMessage::Error(b"NOPERM no"),
            ]
        );
    }

    #[test]
    fn input_that_is_not_resp3_is_an_error() {
        for bytes in [
            &b"HTTP/1.1 200 OK\r\n"[..],
            b">3\r\n+message\r\n",
            b">x\r\n",
            b"$3\r\nabcd\r\n",
            b"$-1\r\n",
            b"\n",
            b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
            b"$18446744073709551615\r\n",
            b"%18446744073709551615\r\n",
        ] {
            assert_eq!(next(bytes), Err(InvalidResp), "{:?}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(next(&[b'+'; LINE_BYTES_MAX]), Err(InvalidResp));
    }

    #[test]
    fn a_message_that_is_too_large_is_reported_from_its_header() {
        let head = b">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$20000000\r\nxx";
        let (message, taken) = next(head).unwrap().unwrap();
        assert_eq!(
            message,
            RespMessage::TooLarge { pattern: None, channel: b"news", rest: 20_000_002 }
        );
        assert_eq!(&head[taken..], b"xx");
    }

    #[test]
    fn commands_are_written_as_arrays_of_bulk_strings() {
        let mut out = Vec::new();
        write_command(&mut out, [&b"SUBSCRIBE"[..], b"a b"].into_iter());
        assert_eq!(out, b"*2\r\n$9\r\nSUBSCRIBE\r\n$3\r\na b\r\n");
    }
}
