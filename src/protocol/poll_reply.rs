//! The answer to a poll, and the frames from which it is made.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::publication::{EndReason, Position};

/// Most publications of one answer. The client gets further ones with its next poll.
const PUBLICATIONS_MAX: usize = 1000;

/// Most bytes of publications in one answer, which holds at least one publication, whatever its size.
const BYTES_MAX: usize = 512 << 10;

/// The frames in a poll's outbound queue: a byte that tells the kind, then its content.
pub struct PollFrame;

impl PollFrame {
    /// The content: the publication.
    const PUBLICATION: u8 = 0;
    /// The content: epoch and sequence number, then the publication.
    const POSITIONED: u8 = 1;
    /// No content: publications may be missing.
    const GAP: u8 = 2;

    /// The content: whether there is a position, epoch and sequence number, then the reason of a run's end.
    const ENDED: u8 = 3;

    /// `json`: the publication as a JSON object.
    pub fn publication(position: Option<Position>, json: &str) -> Bytes {
        let mut frame = BytesMut::with_capacity(1 + 2 * size_of::<u64>() + json.len());
        match position {
            None => frame.put_u8(Self::PUBLICATION),
            Some(Position { epoch, seq }) => {
                frame.put_u8(Self::POSITIONED);
                frame.put_u64(epoch);
                frame.put_u64(seq);
            }
        }
        frame.put_slice(json.as_bytes());
        frame.freeze()
    }

    pub fn gap() -> Bytes {
        Bytes::from_static(&[Self::GAP])
    }

    /// `position`: that of the end.
    pub fn ended(position: Option<Position>, reason: &EndReason) -> Bytes {
        let mut frame = BytesMut::new();
        let Position { epoch, seq } = position.unwrap_or(Position::MIN);
        frame.put_u8(Self::ENDED);
        frame.put_u8(u8::from(position.is_some()));
        frame.put_u64(epoch);
        frame.put_u64(seq);
        frame.put_slice(reason.as_str().as_bytes());
        frame.freeze()
    }
}

/// The answer to a poll while it is collected.
#[derive(Debug, Default)]
pub struct PollReply {
    publications: Vec<Bytes>,
    bytes: usize,
    /// Up to where the client has everything, after this answer. None: the channel keeps no history.
    position: Option<Position>,
    recovered: Option<bool>,
    /// It holds as many publications as an answer may; the client gets the others with its next poll.
    is_full: bool,
    /// Why the run has ended. None: it has not, or the client gets that with its next poll.
    ended: Option<EndReason>,
}

impl PollReply {
    /// `position`: where the poll begins. `recovered`: whether the client gets everything after the position
    /// that it gave; None if it gave none.
    pub fn new(position: Option<Position>, recovered: Option<bool>) -> Self {
        Self { position, recovered, ..Self::default() }
    }

    /// Whether there is something to tell the client.
    pub fn is_due(&self) -> bool {
        !self.publications.is_empty() || self.recovered == Some(false) || self.ended.is_some()
    }

    /// Adds a frame of [`PollFrame`].
    pub fn add(&mut self, mut frame: Bytes) {
        let kind = frame.try_get_u8();
        match kind {
            Ok(PollFrame::POSITIONED) => {
                let (Ok(epoch), Ok(seq)) = (frame.try_get_u64(), frame.try_get_u64()) else {
                    return;
                };
                self.add_kept(Position { epoch, seq }, frame);
            }
            // It is in no history: this answer is the only one that can hold it.
            Ok(PollFrame::PUBLICATION) => self.publications.push(frame),
            Ok(PollFrame::GAP) => self.recovered = Some(false),
            Ok(PollFrame::ENDED) => _ = self.end(frame),
            _ => {}
        }
    }

    /// None: the frame is damaged.
    fn end(&mut self, mut frame: Bytes) -> Option<()> {
        let is_kept = frame.try_get_u8().ok()? > 0;
        let (epoch, seq) = (frame.try_get_u64().ok()?, frame.try_get_u64().ok()?);
        let reason = EndReason::new(str::from_utf8(&frame).ok()?).ok()?;
        // Publications before it are still to come.
        if !self.is_full {
            self.position = is_kept.then_some(Position { epoch, seq }).or(self.position);
            self.ended = Some(reason);
        }
        Some(())
    }

    fn add_kept(&mut self, position: Position, json: Bytes) {
        let has_room = self.publications.len() < PUBLICATIONS_MAX
            && (self.publications.is_empty() || self.bytes + json.len() <= BYTES_MAX);
        // Nothing after the first that has no room, or the position would tell that it was delivered.
        self.is_full |= !has_room;
        if self.is_full {
            return;
        }
        self.bytes += json.len();
        self.position = Some(position);
        self.publications.push(json);
    }

    /// The body: `{"publications":[…],"position":"…","recovered":true}` as a line.
    pub fn body(&self) -> Bytes {
        let mut body = BytesMut::with_capacity(self.bytes + self.publications.len() + 96);
        body.put_slice(br#"{"publications":["#);
        for (at, publication) in self.publications.iter().enumerate() {
            if at > 0 {
                body.put_u8(b',');
            }
            body.put_slice(publication);
        }
        body.put_u8(b']');
        if let Some(position) = self.position {
            body.put_slice(format!(r#","position":"{position}""#).as_bytes());
        }
        if let Some(recovered) = self.recovered {
            body.put_slice(format!(r#","recovered":{recovered}"#).as_bytes());
        }
        if let Some(reason) = &self.ended {
            let reason = serde_json::json!({ "reason": reason.as_str() });
            body.put_slice(format!(r#","ended":{reason}"#).as_bytes());
        }
        body.put_slice(b"}\n");
        body.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seq: u64) -> Option<Position> {
        Some(Position { epoch: 7, seq })
    }

    fn text(answer: &PollReply) -> String {
        String::from_utf8(answer.body().to_vec()).unwrap()
    }

    #[test]
    fn a_poll_reply_holds_its_publications_and_the_position_of_the_last() {
        let mut answer = PollReply::new(at(4), Some(true));
        assert!(!answer.is_due());
        let empty = "{\"publications\":[],\"position\":\"7-4\",\"recovered\":true}\n";
        assert_eq!(text(&answer), empty);
        answer.add(PollFrame::publication(at(5), r#"{"data":1}"#));
        answer.add(PollFrame::publication(None, r#"{"data":2}"#));
        assert!(answer.is_due());
        let both = "{\"publications\":[{\"data\":1},{\"data\":2}],\"position\":\"7-5\",\"recovered\":true}\n";
        assert_eq!(text(&answer), both);
    }

    #[test]
    fn a_poll_reply_without_history_has_no_position_and_a_gap_is_an_answer() {
        let mut answer = PollReply::new(None, None);
        assert_eq!(text(&answer), "{\"publications\":[]}\n");
        answer.add(PollFrame::gap());
        assert!(answer.is_due());
        assert_eq!(text(&answer), "{\"publications\":[],\"recovered\":false}\n");
        assert!(PollReply::new(at(1), Some(false)).is_due());
    }

    #[test]
    fn a_poll_reply_is_bounded_and_its_position_tells_where_it_ends() {
        let mut answer = PollReply::new(at(0), Some(true));
        for seq in 1..=2 * PUBLICATIONS_MAX as u64 {
            answer.add(PollFrame::publication(at(seq), "{}"));
        }
        assert_eq!(answer.publications.len(), PUBLICATIONS_MAX);
        assert_eq!(answer.position, at(PUBLICATIONS_MAX as u64));
        let large = format!("{{\"text\":\"{}\"}}", "x".repeat(BYTES_MAX));
        let mut answer = PollReply::new(at(0), Some(true));
        answer.add(PollFrame::publication(at(1), &large));
        answer.add(PollFrame::publication(at(2), &large));
        answer.add(PollFrame::publication(at(3), "{}"));
        assert_eq!((answer.publications.len(), answer.position), (1, at(1)));
    }

    #[test]
    fn the_end_of_a_run_is_an_answer_after_its_publications_only() {
        let ended = || PollFrame::ended(at(6), &EndReason::new("a \"b\"").unwrap());
        let mut answer = PollReply::new(at(4), Some(true));
        answer.add(PollFrame::publication(at(5), "{}"));
        answer.add(ended());
        let expected = r#"{"publications":[{}],"position":"7-6","recovered":true,"ended":{"reason":"a \"b\""}}"#;
        assert_eq!(text(&answer), format!("{expected}\n"));
        let mut answer = PollReply::new(at(6), Some(true));
        answer.add(ended());
        assert!(answer.is_due(), "a late poll is answered at once");
        answer.is_full = true;
        answer.ended = None;
        answer.add(ended());
        assert_eq!(answer.ended, None);
    }

    #[test]
    fn a_damaged_frame_is_ignored() {
        let mut answer = PollReply::new(at(1), None);
        for frame in [&b""[..], b"\x01", b"\x01\0\0\0\0\0\0\0\0\0", b"\x09x", b"\x03\x01\0"] {
            answer.add(Bytes::copy_from_slice(frame));
        }
        assert!(!answer.is_due());
        assert_eq!(answer.position, at(1));
    }
}
