//! What Redis says on a subscribed connection: RESP3 pushes, and a reply to the greeting.
//!
//! The crate's own parser builds a tree of owned values for each message and its connection queues
//! what it has read; here a message is two slices of the read buffer. Relaying costs a quarter less
//! for it, and a node that is busy is held back by TCP rather than by its memory.

/// One thing Redis said.
#[derive(Debug, PartialEq, Eq)]
pub enum RespMessage<'a> {
    Message {
        channel: &'a [u8],
        payload: &'a [u8],
    },
    /// A message of more than [`PAYLOAD_BYTES_MAX`], of which this is only the beginning: its
    /// `rest` is still to come and to be thrown away.
    TooLarge {
        channel: &'a [u8],
        rest: usize,
    },
    Subscribed {
        channel: &'a [u8],
    },
    /// Asked for, or because the channel's slot has gone to another master.
    Unsubscribed {
        channel: &'a [u8],
    },
    /// The answer to `HELLO`.
    Greeted {
        replica: bool,
    },
    /// The answer to a `PING` with a text.
    Echoed(&'a [u8]),
    /// An answer that is fine, or a push that means nothing to us.
    Other,
    Error(&'a [u8]),
}

/// Largest payload that is relayed. Redis itself would send 512 MiB, and a node would have to hold
/// it.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;

/// Longest line of a head or a simple string.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Deepest nesting of an answer.
const DEPTH_MAX: usize = 8;

/// What came is not RESP3; nothing after it can be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("redis said something that is not RESP3")]
pub struct InvalidResp;

/// The first thing in `bytes`, and how many of them it takes. `None`: it has not come whole.
pub fn next(bytes: &[u8]) -> Result<Option<(RespMessage<'_>, usize)>, InvalidResp> {
    let mut reader = RespReader { bytes, at: 0 };
    match reader.said() {
        Ok(said) => Ok(Some((said, reader.at))),
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
    fn said(&mut self) -> Result<RespMessage<'a>, ParseStop> {
        let (kind, line) = self.line()?;
        match kind {
            b'>' => self.push(length(line)?),
            b'-' => Ok(RespMessage::Error(line)),
            b'!' => Ok(RespMessage::Error(self.bulk_rest(length(line)?)?)),
            b'$' => Ok(RespMessage::Echoed(self.bulk_rest(length(line)?)?)),
            b'%' => self.greeting(length(line)?),
            _ => self.skip(kind, line, DEPTH_MAX).map(|()| RespMessage::Other),
        }
    }

    fn push(&mut self, words: usize) -> Result<RespMessage<'a>, ParseStop> {
        let kind = self.bulk()?;
        match (kind, words) {
            (b"message" | b"smessage", 3) => {
                let channel = self.bulk()?;
                let (b'$', line) = self.line()? else { return Err(ParseStop::Malformed) };
                let bytes = length(line)?;
                if bytes > PAYLOAD_BYTES_MAX {
                    return Ok(RespMessage::TooLarge {
                        channel,
                        rest: bytes.saturating_add(b"\r\n".len()),
                    });
                }
                Ok(RespMessage::Message { channel, payload: self.bulk_rest(bytes)? })
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

    /// Names and values; that of `role` says what the server is.
    fn greeting(&mut self, fields: usize) -> Result<RespMessage<'a>, ParseStop> {
        fields.checked_mul(2).ok_or(ParseStop::Malformed)?;
        let mut replica = false;
        for _ in 0..fields {
            let name = self.text()?;
            let value = self.text()?;
            replica |= name == Some(b"role") && value == Some(b"replica");
        }
        Ok(RespMessage::Greeted { replica })
    }

    /// A value; None where it is no text.
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
        -NOPERM no\r\n";

    #[test]
    fn everything_said_is_understood_wherever_it_is_cut() {
        let mut said = Vec::new();
        let mut at = 0;
        while at < STREAM.len() {
            let (one, taken) = next(&STREAM[at..]).unwrap().unwrap();
            for cut in 0..taken {
                assert_eq!(next(&STREAM[at..at + cut]), Ok(None), "cut at {cut} of {one:?}");
            }
            at += taken;
            said.push(one);
        }
        assert_eq!(
            said,
            [
                RespMessage::Greeted { replica: false },
                RespMessage::Greeted { replica: true },
                RespMessage::Subscribed { channel: b"news" },
                RespMessage::Message { channel: b"news", payload: b"a\r\n" },
                RespMessage::Unsubscribed { channel: b"news" },
                RespMessage::Echoed(b"17"),
                RespMessage::Other,
                RespMessage::Subscribed { channel: b"news" },
                RespMessage::Message { channel: b"news", payload: b"lin\r\ne\xff\x00" },
                RespMessage::Unsubscribed { channel: b"news" },
                RespMessage::Message { channel: b"news", payload: b"" },
                RespMessage::Error(b"NOPERM no"),
            ]
        );
    }

    #[test]
    fn what_is_no_resp3_is_found() {
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
    fn a_message_that_is_too_large_is_told_by_its_head() {
        let head = b">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$20000000\r\nxx";
        let (said, taken) = next(head).unwrap().unwrap();
        assert_eq!(said, RespMessage::TooLarge { channel: b"news", rest: 20_000_002 });
        assert_eq!(&head[taken..], b"xx");
    }

    #[test]
    fn commands_are_lists_of_words() {
        let mut out = Vec::new();
        write_command(&mut out, [&b"SUBSCRIBE"[..], b"a b"].into_iter());
        assert_eq!(out, b"*2\r\n$9\r\nSUBSCRIBE\r\n$3\r\na b\r\n");
    }
}
