//! The requests of one connection: which run answers each, and how far its answer is.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::mark::FrameMark;
use super::message::UiMessage;
use crate::framing::websocket;
use crate::publication::{Channel, PayloadKind};

/// What a later request for the same run ends an earlier one with: a connection has one place in a run.
const REPLACED: &str = "a later request of this connection follows the same run";

/// The history does not reach back to the beginning of the run.
const CUT: &str = "the beginning of the run is no longer kept";

/// The requests of one connection. Shared by the protocol, which reads frames, and the stamp, which answers them.
#[derive(Clone, Debug, Default)]
pub struct ChatRequests(Arc<Mutex<RequestTable>>);

impl PartialEq for ChatRequests {
    /// Whether they are those of the same connection.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ChatRequests {}

/// At most as many as a session may have channels, and one that is not answered yet.
#[derive(Debug, Default)]
struct RequestTable {
    /// By the client's id.
    requests: HashMap<Box<str>, Request>,
    /// The channels to which the session is subscribed for a request.
    subscribed: HashSet<Channel>,
}

#[derive(Debug)]
struct Request {
    channel: Channel,
    kind: ChatRequestKind,
    /// None: the session is not subscribed to the run yet.
    answer: Option<Answer>,
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatRequestKind {
    /// The answer to what it sends.
    Send,
    /// The answer that is in progress, if there is one.
    Resume,
}

#[derive(Debug, Default)]
struct Answer {
    sequence: u64,
    message: UiMessage,
}

impl ChatRequests {
    /// Adds a request. Returns false if one with this id is not answered yet.
    pub fn begin(&self, id: &str, channel: Channel, kind: ChatRequestKind) -> bool {
        let mut table = self.lock();
        let is_new = !table.requests.contains_key(id);
        if is_new {
            table.requests.insert(id.into(), Request { channel, kind, answer: None });
        }
        is_new
    }

    /// The channel of a request that is not answered yet.
    pub fn channel_of(&self, id: &str) -> Option<Channel> {
        self.lock().requests.get(id).map(|request| request.channel.clone())
    }

    pub fn kind_of(&self, id: &str) -> Option<ChatRequestKind> {
        self.lock().requests.get(id).map(|request| request.kind)
    }

    /// Takes the channels that no request uses any more: their runs have ended.
    pub fn take_unused(&self) -> Vec<Channel> {
        let RequestTable { requests, subscribed } = &mut *self.lock();
        let is_unused = |channel: &Channel| requests.values().all(|it| it.channel != *channel);
        let unused: Vec<Channel> = subscribed.extract_if(is_unused).collect();
        unused
    }

    /// The bytes that the client gets for a frame of the outbound queue.
    pub fn stamped(&self, frame: Bytes) -> Option<Bytes> {
        let Some(mark) = FrameMark::of(&frame) else { return Some(frame) };
        let (name, rest) = FrameMark::parts(&frame)?;
        let mut out = Vec::new();
        self.lock().write(mark, name, rest, &mut out);
        (!out.is_empty()).then(|| out.into())
    }

    fn lock(&self) -> MutexGuard<'_, RequestTable> {
        // A session that panicked while it held the lock has damaged only its own requests.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RequestTable {
    /// Writes what a marked frame is to the client.
    fn write(&mut self, mark: FrameMark, name: &str, rest: &[u8], out: &mut Vec<u8>) {
        match mark {
            FrameMark::Start | FrameMark::Last | FrameMark::Typed | FrameMark::Text => {
                let Some((id, answer)) = self.answer_from(name) else { return };
                for chunk in answer.message.before(mark) {
                    answer.write(id, chunk.as_bytes(), out);
                }
                answer.write(id, rest, out);
            }
            FrameMark::Ended => {
                let Some((id, answer)) = self.answer_from(name) else { return };
                for chunk in answer.message.end(&String::from_utf8_lossy(rest)) {
                    answer.write(id, chunk.as_bytes(), out);
                }
                self.finish(name, |id| json!({ "type": "end", "requestId": id }), out);
            }
            FrameMark::Gap | FrameMark::Unsubscribed => {
                let text = String::from_utf8_lossy(rest);
                self.finish(name, |id| error(id, &text), out);
            }
            FrameMark::Started => self.start(name, rest, out),
            FrameMark::Refused => {
                self.requests.remove(name);
                out.extend_from_slice(&websocket::message(PayloadKind::Text, rest));
            }
            FrameMark::Left => {
                if self.requests.remove(name).is_some() {
                    write_frame(&json!({ "type": "end", "requestId": name }), out);
                }
            }
        }
    }

    /// The session is subscribed to the channel. `rest`: whether it gets the run from its beginning, and the request.
    fn start(&mut self, channel: &str, rest: &[u8], out: &mut Vec<u8>) {
        let Some((is_whole, id)) = rest.split_first() else { return };
        let id = String::from_utf8_lossy(id);
        self.finish(channel, |id| error(id, REPLACED), out);
        let Some(request) = self.requests.get_mut(&*id) else { return };
        request.answer = Some(Answer::default());
        self.subscribed.insert(request.channel.clone());
        match is_whole {
            0 => self.finish(channel, |id| error(id, CUT), out),
            _ => write_frame(&json!({ "type": "start", "requestId": id }), out),
        }
    }

    /// The request that gets what is published on the channel.
    fn answer_from(&mut self, channel: &str) -> Option<(&str, &mut Answer)> {
        self.requests.iter_mut().find_map(|(id, request)| {
            let answer = request.answer.as_mut().filter(|_| request.channel.as_str() == channel);
            answer.map(|answer| (&**id, answer))
        })
    }

    /// Removes the request that gets what is published on the channel, and writes its last frame.
    fn finish(&mut self, channel: &str, last: impl Fn(&str) -> Value, out: &mut Vec<u8>) {
        let Some(id) = self.answer_from(channel).map(|(id, _)| Box::from(id)) else { return };
        self.requests.remove(&id);
        write_frame(&last(&id), out);
    }
}

impl Answer {
    /// Writes a chunk, which is JSON.
    fn write(&mut self, id: &str, chunk: &[u8], out: &mut Vec<u8>) {
        let Ok(chunk) = serde_json::from_slice::<&RawValue>(chunk) else { return };
        let id = json!(id);
        let sequence = self.sequence;
        let text =
            format!(r#"{{"type":"chunk","requestId":{id},"sequence":{sequence},"chunk":{chunk}}}"#);
        self.sequence += 1;
        out.extend_from_slice(&websocket::message(PayloadKind::Text, text.as_bytes()));
    }
}

/// The frame with which a request fails. An empty id: the client has sent none.
pub fn error(id: &str, text: &str) -> Value {
    json!({ "type": "error", "requestId": id, "errorText": text })
}

fn write_frame(frame: &Value, out: &mut Vec<u8>) {
    out.extend_from_slice(&websocket::message(PayloadKind::Text, frame.to_string().as_bytes()));
}
