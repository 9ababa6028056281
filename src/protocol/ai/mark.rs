//! What the shared bytes of a publication, and the replies of a session, begin with.

use bytes::Bytes;

/// What a frame is to the stamp that completes it. No frame of a WebSocket and no Server-Sent Event begins with such a
/// byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameMark {
    /// The chunk with which a worker begins its message.
    Start = 1,
    /// The chunk with which a worker completes its message.
    Last,
    /// Any other chunk of a worker.
    Typed,
    /// A text that the node has put into a chunk.
    Text,
    /// The end of the run, with the reason.
    Ended,
    /// Publications of the channel may be missing.
    Gap,
    /// A request is answered from now on.
    Started,
    /// A request has failed, or there is nothing to answer.
    Refused,
    /// The client has left a request.
    Left,
    /// The session is not subscribed to the channel any more.
    Unsubscribed,
}

impl FrameMark {
    const EACH: [Self; 10] = [
        Self::Start,
        Self::Last,
        Self::Typed,
        Self::Text,
        Self::Ended,
        Self::Gap,
        Self::Started,
        Self::Refused,
        Self::Left,
        Self::Unsubscribed,
    ];

    /// The mark of a frame. None: the frame is written as it is.
    pub fn of(frame: &[u8]) -> Option<Self> {
        let first = usize::from(*frame.first()?);
        Self::EACH.get(first.checked_sub(1)?).copied()
    }

    /// A marked frame: about a channel or request, whose name has at most 255 bytes.
    pub fn frame(self, name: &str, rest: &[u8]) -> Bytes {
        let length = u8::try_from(name.len()).expect("names of channels and requests are bounded");
        [&[self as u8, length], name.as_bytes(), rest].concat().into()
    }

    /// The name and the rest of such a frame.
    pub fn parts(frame: &[u8]) -> Option<(&str, &[u8])> {
        let (length, rest) = frame.get(1..)?.split_first()?;
        let (name, rest) = rest.split_at_checked(usize::from(*length))?;
        Some((str::from_utf8(name).ok()?, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marked_frame_has_a_name_and_a_rest_and_other_frames_have_no_mark() {
        for mark in FrameMark::EACH {
            let frame = mark.frame("run:1", b"rest");
            assert_eq!(FrameMark::of(&frame), Some(mark));
            assert_eq!(FrameMark::parts(&frame), Some(("run:1", &b"rest"[..])));
        }
        for other in [&b"\x81\x02{}"[..], b"\x89\0", b":\n\n", b"data: 1\n\n", b""] {
            assert_eq!(FrameMark::of(other), None);
        }
        assert_eq!(FrameMark::parts(b"\x01\x09short"), None);
    }
}
