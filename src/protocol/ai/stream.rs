//! The UI message stream of one run: Server-Sent Events whose data are chunks, and `[DONE]` at the end.

use bytes::Bytes;

use super::chunk::Chunk;
use super::mark::FrameMark;
use super::message::{UiMessage, error_chunk};
use crate::close::Close;
use crate::framing::chunked;
use crate::framing::sse::{COMMENT, SseEvent};
use crate::protocol::{
    DecodeError, Decoded, Encode, Format, Message, Packets, Push, Reply, ReplyError,
    SessionControl, Speak, Stamp, Will,
};
use crate::publication::{Channel, Publication, ReplayStart, SessionId};

/// The header of the response that names the dialect and its version.
pub const HEADER: (&str, &str) = ("x-vercel-ai-ui-message-stream", "v1");

const DONE: &[u8] = b"data: [DONE]\n\n";

/// A session that follows one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AiStream {
    pub channel: Channel,
    /// Whether the body has the chunked transfer coding.
    pub is_chunked: bool,
}

impl Speak for AiStream {
    fn begin(&mut self, _: SessionId) {}

    fn packets(&self) -> Option<Box<dyn Packets>> {
        None
    }

    fn decode(&self, _: Message, _: usize) -> Decoded {
        Err(DecodeError::Close(Close::Unsupported(
            "the client must not send data on this connection",
        )))
    }

    fn reply(&self, _: &Reply) -> Option<Bytes> {
        None
    }

    fn nothing_kept(&self, _: &Channel) -> Option<Bytes> {
        None
    }

    fn refuse(&self, _: ReplyError, close: Close) -> Result<Reply, Close> {
        Err(close)
    }

    fn format(&self) -> Format {
        Format::AiStream
    }

    fn subscription(&self, _: &Channel) -> (Format, Option<Stamp>) {
        (self.format(), None)
    }

    fn last_bytes(&self, close: Close) -> Option<Bytes> {
        self.format().close(close)
    }

    fn channels(&self) -> &[Channel] {
        std::slice::from_ref(&self.channel)
    }

    fn start_of_run(&mut self) -> Option<ReplayStart> {
        Some(ReplayStart::First)
    }

    fn stamp(&self) -> Option<Stamp> {
        let (mut message, is_chunked) = (UiMessage::default(), self.is_chunked);
        Some(Box::new(move |frame| Some(stamped(&mut message, is_chunked, frame))))
    }

    fn member_stamp(&self) -> Option<Stamp> {
        None
    }

    fn takes_tokens(&self) -> bool {
        true
    }

    fn take_will(&self, _: Close) -> Option<Will> {
        None
    }

    fn publishes(&self) -> bool {
        false
    }

    fn subscribes_listed(&self) -> bool {
        false
    }

    fn control(&self) -> Option<&dyn SessionControl> {
        None
    }
}

/// Completes a frame for one viewer.
fn stamped(message: &mut UiMessage, is_chunked: bool, frame: Bytes) -> Bytes {
    let framed = |content: Bytes| match is_chunked {
        true => chunked::chunk(&content),
        false => content,
    };
    let Some(mark) = FrameMark::of(&frame) else { return framed(frame) };
    let rest = frame.slice(1..);
    if mark == FrameMark::Ended {
        let mut events = Vec::new();
        for chunk in message.end(&String::from_utf8_lossy(&rest)) {
            events.extend_from_slice(&event(chunk.as_bytes()));
        }
        events.extend_from_slice(DONE);
        return framed(events.into());
    }
    let before: Vec<u8> = message.before(mark).flat_map(|it| event(it.as_bytes())).collect();
    let own = if is_chunked { rest } else { chunked::content(&rest) };
    match before.is_empty() {
        true => own,
        false => [&framed(before.into())[..], &own].concat().into(),
    }
}

fn event(chunk: &[u8]) -> Bytes {
    SseEvent::default().data(chunk).end()
}

/// Chunks in Server-Sent Events.
pub struct AiStreamEvents;

impl Encode for AiStreamEvents {
    /// Each event is one chunk of the transfer coding. A stream without that coding takes its content.
    fn publication(_: &str, publication: &Publication) -> Bytes {
        let Chunk { mark, json } = Chunk::of(publication);
        let mut out = vec![mark as u8];
        chunked::append(&mut out, &event(&json));
        out.into()
    }

    /// A stream in which publications are missing is of no use: the session ends, and its client replays the run.
    fn push(push: &Push<'_>) -> Option<Bytes> {
        match push {
            Push::Ended { reason, .. } => {
                Some([&[FrameMark::Ended as u8], reason.as_str().as_bytes()].concat().into())
            }
            Push::Welcome { .. }
            | Push::Gap { .. }
            | Push::PatternGap { .. }
            | Push::Presence { .. }
            | Push::Reconnect { .. } => None,
        }
    }

    fn close_at_end() -> Option<Close> {
        Some(Close::Ended { is_told: true })
    }

    fn heartbeat() -> Option<Bytes> {
        Some(Bytes::from_static(COMMENT))
    }

    fn close(close: Close) -> Option<Bytes> {
        let error = event(error_chunk(close.text()).as_bytes());
        match close {
            Close::Ended { is_told: true } | Close::Client(_) | Close::Lost => None,
            _ => Some([&error[..], DONE].concat().into()),
        }
    }

    /// The client takes an error of the stream as the end of the answer, and a broken connection as one to resume.
    fn breaks_off(close: Close) -> bool {
        matches!(
            close,
            Close::Drain { .. }
                | Close::Rebalance { .. }
                | Close::Unavailable
                | Close::KeysUnavailable
                | Close::Gap
                | Close::Slow
                | Close::Overloaded
                | Close::Internal
                | Close::Lost
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publication::{EndReason, PayloadKind};

    /// The stream of these publications and the end for this reason.
    fn stream(publications: &[Publication], reason: &str, is_chunked: bool) -> String {
        let channel = Channel::new("run:1").unwrap();
        let mut stamp = AiStream { channel, is_chunked }.stamp().unwrap();
        let end =
            Publication { end: EndReason::new(reason).ok(), ..Publication::bare(Bytes::new()) };
        let all = publications.iter().chain([&end]);
        let frames = all.filter_map(|it| stamp(Format::AiStream.publication("run:1", it)));
        String::from_utf8(frames.flatten().collect()).unwrap()
    }

    fn texts(texts: &[&'static str]) -> Vec<Publication> {
        texts.iter().map(|text| Publication::bare(Bytes::from_static(text.as_bytes()))).collect()
    }

    #[test]
    fn plain_texts_become_one_text_block_of_a_message() {
        let expected = concat!(
            "data: {\"type\":\"start\"}\n\ndata: {\"type\":\"text-start\",\"id\":\"0\"}\n\n",
            "data: {\"delta\":\"Hel\\n\",\"id\":\"0\",\"type\":\"text-delta\"}\n\n",
            "data: {\"delta\":\" 12\",\"id\":\"0\",\"type\":\"text-delta\"}\n\n",
            "data: {\"type\":\"text-end\",\"id\":\"0\"}\n\ndata: {\"type\":\"finish\"}\n\ndata: [DONE]\n\n",
        );
        assert_eq!(stream(&texts(&["Hel\n", " 12"]), "done", false), expected);
    }

    #[test]
    fn typed_parts_are_chunks_as_they_are_and_bytes_are_data() {
        let parts = texts(&[r#"{"type":"start","messageId":"m"}"#, r#"{"type":"finish"}"#]);
        let expected = "data: {\"type\":\"start\",\"messageId\":\"m\"}\n\ndata: {\"type\":\"finish\"}\n\ndata: [DONE]\n\n";
        assert_eq!(stream(&parts, "done", false), expected);
        let binary = Publication::new(Bytes::from_static(b"\xff\0"), PayloadKind::Binary);
        let expected = "data: {\"data\":\"/wA=\",\"type\":\"data-binary\"}\n\n";
        assert!(stream(&[binary], "done", false).contains(expected));
    }

    #[test]
    fn a_chunked_stream_has_the_same_content_in_chunks() {
        let parts = texts(&["a", "", r#"{"type":"start-step"}"#]);
        let chunks = stream(&parts, "error: x", true);
        let mut rest = chunks.as_str();
        let mut content = String::new();
        while let Some((size, behind)) = rest.split_once("\r\n") {
            let size = usize::from_str_radix(size, 16).unwrap();
            content.push_str(&behind[..size]);
            rest = behind[size..].strip_prefix("\r\n").unwrap();
        }
        assert_eq!(content, stream(&parts, "error: x", false));
    }

    #[test]
    fn a_heartbeat_is_a_comment_and_its_own_chunk() {
        let channel = Channel::new("run:1").unwrap();
        let heartbeat = Format::AiStream.heartbeat().unwrap();
        let mut stamp = AiStream { channel: channel.clone(), is_chunked: true }.stamp().unwrap();
        assert_eq!(&stamp(heartbeat.clone()).unwrap()[..], b"3\r\n:\n\n\r\n");
        let mut stamp = AiStream { channel, is_chunked: false }.stamp().unwrap();
        assert_eq!(&stamp(heartbeat).unwrap()[..], b":\n\n");
    }
}
