//! The frames of a `WebSocketChatTransport`, decoded to commands.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::requests::{ChatRequestKind, ChatRequests};
use crate::protocol::{Code, Command, DecodeError, Decoded, Id, Message, ReplyError};
use crate::publication::{Channel, Publication};

/// Longest id of a request, in bytes.
pub const REQUEST_ID_BYTES_MAX: usize = 255;

/// A frame before validation. The other fields are for the worker.
#[derive(Deserialize)]
struct RawFrame<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, rename = "requestId")]
    request_id: Option<&'a RawValue>,
    /// Of the chat.
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(borrow, rename = "lastSequence")]
    last_sequence: Option<&'a RawValue>,
}

/// What the page adds to a frame.
#[derive(Default, Deserialize)]
struct RawBody<'a> {
    #[serde(borrow)]
    channel: Option<&'a RawValue>,
    #[serde(borrow)]
    ended: Option<&'a RawValue>,
}

/// Decodes a frame, which is a JSON object in valid UTF-8.
pub fn decode(message: &Message, requests: &ChatRequests) -> Decoded {
    let answer = |id: Option<&str>, code, message: String| {
        let id = id.map(|id| Id::Text(id.into()));
        ReplyError { id, channel: None, code, message }
    };
    let refuse = |id: Option<&str>, what| DecodeError::Answer(answer(id, Code::BadRequest, what));
    let frame: RawFrame<'_> = serde_json::from_slice(&message.payload)
        .map_err(|error| refuse(None, format!("the frame is not valid: {error}")))?;
    let request = request_id(frame.request_id).map_err(|what| refuse(None, what))?;
    let refuse = |what| refuse(Some(&request), what);
    let kind = text(frame.kind, "type").map_err(refuse)?;
    let publication = || Publication::new(message.payload.clone(), message.kind);
    let id = Some(Id::Text(Box::from(&*request)));
    let command = match kind.as_deref() {
        Some("abort") => match requests.channel_of(&request) {
            Some(channel) => Command::LeaveRun { id, channel, request: publication() },
            None => {
                let what = format!("no request {request} is being answered");
                return Ok(vec![Err(answer(Some(&request), Code::NotFound, what))]);
            }
        },
        Some(kind @ ("send" | "resume")) => {
            let (channel, with_ended) = run(&frame).map_err(refuse)?;
            let kind = if kind == "send" { ChatRequestKind::Send } else { ChatRequestKind::Resume };
            if kind == ChatRequestKind::Resume && frame.last_sequence.is_some() {
                return Err(refuse(
                    "lastSequence must be absent: the run is replayed whole".into(),
                ));
            }
            if !requests.begin(&request, channel.clone(), kind) {
                return Err(refuse("a request with this requestId is being answered".into()));
            }
            let request = (kind == ChatRequestKind::Send).then(publication);
            Command::FollowRun { id, channel, with_ended, request }
        }
        Some(_) => return Err(refuse("type must be one of send, resume, abort".into())),
        None => return Err(refuse("type is missing: it is one of send, resume, abort".into())),
    };
    // A run that has ended needs no subscription.
    let unused = requests.take_unused().into_iter();
    let left = unused.map(|channel| Ok(Command::Unsubscribe { id: None, channel }));
    Ok(left.chain([Ok(command)]).collect())
}

fn request_id(raw: Option<&RawValue>) -> Result<Cow<'_, str>, String> {
    let id = text(raw, "requestId")?.ok_or("requestId is missing")?;
    match (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) {
        true => Ok(id),
        false => Err(format!("requestId is 1 to {REQUEST_ID_BYTES_MAX} bytes long")),
    }
}

/// The channel of the run: `body.channel`, or the id of the chat. And whether it may have ended.
fn run(frame: &RawFrame<'_>) -> Result<(Channel, bool), String> {
    let body = match frame.body {
        Some(body) if body.get().starts_with('{') => {
            serde_json::from_str(body.get()).map_err(|error| format!("body: {error}"))?
        }
        Some(_) => return Err("body must be an object".into()),
        None => RawBody::default(),
    };
    let name = match text(body.channel, "body.channel")? {
        Some(channel) => channel,
        None => text(frame.id, "id")?.ok_or("body.channel is missing, and id too")?,
    };
    let with_ended = match body.ended.map(RawValue::get) {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err("body.ended must be true or false".into()),
    };
    let channel = Channel::new(&name).map_err(|error| error.to_string())?;
    Ok((channel, with_ended))
}

fn text<'a>(raw: Option<&'a RawValue>, name: &str) -> Result<Option<Cow<'a, str>>, String> {
    let Some(raw) = raw else { return Ok(None) };
    let text = serde_json::from_str::<String>(raw.get());
    text.map(|text| Some(text.into())).map_err(|_| format!("{name} must be a string"))
}
