//! Frames of an AI SDK chat, and what a run brings it: each frame becomes commands, an error or a close, and what the
//! client gets is one JSON object in each text frame, numbered from 0 within a request. The stream of the same run has the
//! same chunks.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;
use tidegate::protocol::ai::{AiChat, AiStream};
use tidegate::protocol::{
    Code, Command, DecodeError, Format, Id, Message, Push, Reply, ReplyError, Speak, Stamp,
};
use tidegate::publication::{Channel, EndReason, PayloadKind, Publication};

const RUN: &str = "run:1";

/// Each line is a step: its first byte says which, and the rest is its text.
pub fn check(bytes: &[u8]) {
    let mut viewer = Viewer::default();
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some((step, rest)) = line.split_first() else { continue };
        let rest = Bytes::copy_from_slice(rest);
        match step {
            b'>' => viewer.publish(Publication::bare(rest)),
            b'<' => viewer.publish(Publication::new(rest, PayloadKind::Binary)),
            b'=' => viewer.end(&String::from_utf8_lossy(&rest)),
            b'?' => viewer.push(&Push::Gap { channel: RUN, reason: "x" }),
            b'!' => viewer.lose(),
            // The outcome of each request that it begins.
            b'0'..=b'3' => viewer.send(rest, *step),
            _ => viewer.send(Bytes::copy_from_slice(line), b'0'),
        }
    }
}

/// The connection of a chat, and the streams of the run `run:1`, as HTTP/1.0 and HTTP/1.1 have them.
struct Viewer {
    chat: AiChat,
    stamp: Stamp,
    /// The next number of each request that is being answered.
    sequences: HashMap<String, u64>,
    streams: [Stamp; 2],
    has_ended: bool,
}

impl Default for Viewer {
    fn default() -> Self {
        let chat = AiChat::default();
        let stamp = chat.stamp().expect("a chat has a stamp");
        let streams = [false, true].map(|is_chunked| {
            let channel = Channel::new(RUN).expect("a name");
            AiStream { channel, is_chunked }.stamp().expect("a stream has a stamp")
        });
        Self { chat, stamp, sequences: HashMap::new(), streams, has_ended: false }
    }
}

impl Viewer {
    /// Takes a frame of the client.
    fn send(&mut self, payload: Bytes, outcome: u8) {
        let is_text = std::str::from_utf8(&payload).is_ok();
        let kind = if is_text { PayloadKind::Text } else { PayloadKind::Binary };
        let is_object =
            serde_json::from_slice::<Value>(&payload).is_ok_and(|value| value.is_object());
        match self.chat.decode(Message { kind, payload: payload.clone() }, usize::MAX) {
            Ok(commands) => {
                assert!(!commands.is_empty(), "a frame without an outcome");
                for command in commands {
                    match command {
                        Ok(command) => self.answer(command, &payload, outcome),
                        Err(error) => self.refuse(error),
                    }
                }
            }
            Err(DecodeError::Answer(error) | DecodeError::TooDeep(error)) => self.refuse(error),
            Err(DecodeError::Close(_)) => assert!(!is_object, "an object is answered"),
        }
    }

    /// Answers a command as a session does.
    fn answer(&mut self, command: Command, frame: &Bytes, outcome: u8) {
        match command {
            Command::FollowRun { id, channel, request, .. } => {
                assert!(request.is_none_or(|it| it.payload == frame), "the worker gets the frame");
                match outcome {
                    b'3' => self.refuse(ReplyError {
                        id,
                        channel: Some(channel.to_string()),
                        code: Code::NotFound,
                        message: "there is no run".to_owned(),
                    }),
                    _ => {
                        let recovered =
                            [None, Some(true), Some(false)][usize::from(outcome - b'0')];
                        self.reply(&Reply::Subscribed { id, channel, position: None, recovered });
                    }
                }
            }
            Command::LeaveRun { id, channel, request } => {
                assert_eq!(request.payload, frame, "the worker gets the frame");
                self.reply(&Reply::Unsubscribed { id, channel });
            }
            Command::Unsubscribe { id, channel } => {
                self.reply(&Reply::Unsubscribed { id, channel });
            }
            other => panic!("no command of a chat: {other:?}"),
        }
    }

    fn refuse(&mut self, error: ReplyError) {
        assert!(!error.message.is_empty());
        assert!(error.id.is_none() || matches!(error.id, Some(Id::Text(_))));
        self.reply(&Reply::Error(error));
    }

    fn reply(&mut self, reply: &Reply) {
        let frame = self.chat.reply(reply);
        self.receive(frame);
    }

    /// The session is not subscribed to the run any more.
    fn lose(&mut self) {
        let (channel, message) = (Some(RUN.to_owned()), "no longer allowed".to_owned());
        self.refuse(ReplyError { id: None, channel, code: Code::Forbidden, message });
    }

    fn push(&mut self, push: &Push<'_>) {
        let frame = Format::AiChat.push(push);
        self.receive(frame);
    }

    fn publish(&mut self, publication: Publication) {
        if self.has_ended {
            return;
        }
        let chunks = self.receive(Some(Format::AiChat.publication(RUN, &publication)));
        let content = self.stream(&publication);
        assert!(!content.is_empty(), "a publication without a chunk");
        // A request that began later has more chunks before it: the last one is that of the publication.
        if let Some(chunk) = chunks.last() {
            assert_eq!(Some(chunk), content.last());
        }
    }

    fn end(&mut self, reason: &str) {
        let Ok(reason) = EndReason::new(reason) else { return };
        let end = Publication { end: Some(reason), ..Publication::bare(Bytes::new()) };
        self.receive(Some(Format::AiChat.publication(RUN, &end)));
        if !std::mem::replace(&mut self.has_ended, true) {
            let content = self.stream(&end);
            assert_eq!(content.last().map(String::as_str), Some("[DONE]"));
        }
    }

    /// The data of the events that both streams get for a publication.
    fn stream(&mut self, publication: &Publication) -> Vec<String> {
        let frame = Format::AiStream.publication(RUN, publication);
        let [plain, chunked] = &mut self.streams;
        let content = plain(frame.clone()).expect("a frame of a stream is written");
        let dechunked = dechunked(&chunked(frame).expect("a frame of a stream is written"));
        assert_eq!(dechunked, content, "the transfer coding changes nothing");
        events(std::str::from_utf8(&content).expect("a stream is UTF-8"))
    }

    /// Takes a frame of the outbound queue. Returns the chunks that the client gets.
    fn receive(&mut self, frame: Option<Bytes>) -> Vec<String> {
        let Some(frame) = frame.and_then(|frame| (self.stamp)(frame)) else { return Vec::new() };
        let mut chunks = Vec::new();
        for text in texts(&frame) {
            let fields: HashMap<String, &RawValue> =
                serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"));
            let of = |name: &str| -> Option<String> {
                serde_json::from_str(fields.get(name)?.get()).ok()
            };
            let id = of("requestId").expect("a frame names its request");
            match of("type").as_deref() {
                Some("start") => {
                    assert!(self.sequences.insert(id, 0).is_none(), "a request is answered once");
                }
                Some("chunk") => {
                    let next = self.sequences.get_mut(&id).expect("the request has started");
                    assert_eq!(fields["sequence"].get(), next.to_string());
                    *next += 1;
                    chunks.push(fields["chunk"].get().to_owned());
                }
                Some("end" | "error" | "no-active") => _ = self.sequences.remove(&id),
                kind => panic!("no frame of a chat: {kind:?}"),
            }
        }
        chunks
    }
}

/// The texts of the frames of a node.
fn texts(mut frames: &[u8]) -> Vec<&str> {
    let mut texts = Vec::new();
    while let [0x81, length, rest @ ..] = frames {
        let size = match length {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let (extended, rest) = rest.split_at(size);
        let length = match size {
            0 => usize::from(*length),
            _ => extended.iter().fold(0, |all, byte| all << 8 | usize::from(*byte)),
        };
        texts.push(std::str::from_utf8(&rest[..length]).expect("a text frame is UTF-8"));
        frames = &rest[length..];
    }
    assert!(frames.is_empty(), "not a text frame");
    texts
}

/// The content of the transfer coding's chunks.
fn dechunked(mut chunks: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while !chunks.is_empty() {
        let end = chunks.windows(2).position(|two| two == b"\r\n").expect("a chunk has a size");
        let size = std::str::from_utf8(&chunks[..end]).expect("a size is text");
        let size = usize::from_str_radix(size, 16).expect("a size is hexadecimal");
        assert!(size > 0, "only the end of the body is empty");
        let rest = &chunks[end + 2..];
        content.extend_from_slice(&rest[..size]);
        chunks = rest[size..].strip_prefix(b"\r\n").expect("a line end follows a chunk");
    }
    content
}

/// The data of each event: a JSON object, or `[DONE]`.
fn events(content: &str) -> Vec<String> {
    let blocks = content.split_terminator("\n\n").map(|block| {
        let lines = block.split('\n').map(|line| line.strip_prefix("data: ").expect("data"));
        let data: Vec<&str> = lines.collect();
        let data = data.join("\n");
        let is_json = serde_json::from_str::<&RawValue>(&data).is_ok() && data.starts_with('{');
        assert!(is_json || data == "[DONE]", "{data}");
        data
    });
    blocks.collect()
}
