//! Which sessions requests for event streams ask for.

use std::borrow::Cow;

use crate::protocol::{Protocol, ai, sse};
use crate::publication::ReplayStart;
use crate::session::RunWanted;
use crate::transport::request_refused::RequestRefused;
use crate::transport::routed_request::{
    HEAD_BYTES_MAX, RoutedRequest, SessionRequest, has_chunks, position,
};

/// The query parameter with the id of the last event that a client received.
const LAST_EVENT_ID: &str = "last_event_id";

/// Most bytes of the query and of an event's id together, for a stream of several channels: both are in the
/// head of the request that resumes it. The rest of the head is for the other headers.
const RESUME_BYTES_MAX: usize = HEAD_BYTES_MAX - (3 << 10);

/// The run from its beginning.
pub fn ai_stream(routed: &RoutedRequest<'_>) -> Result<SessionRequest, RequestRefused> {
    let run = match routed.query("ended")?.as_deref() {
        None | Some("false") => RunWanted::Open,
        Some("true") => RunWanted::Kept,
        Some(_) => return Err(RequestRefused::bad_request("ended must be true or false")),
    };
    let (channel, is_chunked) = (routed.channel()?, has_chunks(routed.version));
    let protocol = ai::AiStream { channel, is_chunked };
    // The protocol says that it begins with the first publication.
    let (since, run) = (vec![None], Some(run));
    Ok(SessionRequest { since, run, closes_on_gap: true, ..SessionRequest::new(protocol) })
}

pub fn sse(routed: &RoutedRequest<'_>) -> Result<SessionRequest, RequestRefused> {
    let channel = routed.channel()?;
    let start = match last_event_id(routed)? {
        // It continues a stream, whatever its address asked for at first.
        Some((name, text)) => Some(ReplayStart::After(position(name, &text)?)),
        None => routed.start()?,
    };
    let replays = matches!(start, Some(ReplayStart::First | ReplayStart::Newest(_)));
    Ok(sse_session(sse::Sse { channel, replays }, vec![start]))
}

/// Each `channel` of the query is one of the stream's channels.
pub fn sse_channels(routed: &RoutedRequest<'_>) -> Result<SessionRequest, RequestRefused> {
    let channels = routed.channels(sse::CHANNELS_MAX)?;
    if routed.start()?.is_some() {
        return Err(RequestRefused::bad_request(
            "since and last are for a stream of one channel, /sse/{channel}; a stream of several \
             resumes from Last-Event-ID, and GET /history/{channel} returns the past of a channel",
        ));
    }
    let id_bytes = sse::id_bytes_max(channels.len());
    if routed.query.bytes() + id_bytes > RESUME_BYTES_MAX {
        return Err(RequestRefused::bad_request(format!(
            "the channels' names are too long: the query may have {} bytes, so that a browser can resume \
             {} channels",
            RESUME_BYTES_MAX - id_bytes,
            channels.len(),
        )));
    }
    if routed.parameter("since")?.or(routed.parameter("last")?).is_some() {
        return Err(RequestRefused::bad_request(
            "since and last are for one channel: /sse/{channel}. A stream of several begins with what is \
             published next",
        ));
    }
    let last_id = last_event_id(routed)?;
    let protocol = sse::SseChannels::new(channels, last_id.as_ref().map(|(_, text)| &**text));
    let protocol = protocol.map_err(|error| {
        let name = last_id.map_or(LAST_EVENT_ID, |(name, _)| name);
        RequestRefused::bad_request(format!("{name}: {error}"))
    })?;
    let since = protocol.since().into_iter().map(|since| since.map(Into::into)).collect();
    let protocol = match routed.query("subscribed")?.as_deref() {
        None | Some("false") => protocol,
        Some("true") => protocol.telling_subscribed(),
        Some(_) => return Err(RequestRefused::bad_request("subscribed must be true or false")),
    };
    Ok(sse_session(protocol, since))
}

/// The id of the last event that the client received, and the name of the header or parameter. A browser sends
/// the header when it reconnects by itself; it is newer than the parameter in the address.
fn last_event_id<'a>(
    routed: &'a RoutedRequest<'_>,
) -> Result<Option<(&'static str, Cow<'a, str>)>, RequestRefused> {
    let header = routed.headers.get("last-event-id");
    Ok(match header {
        Some(value) => Some(("Last-Event-ID", value.to_str().unwrap_or_default().into())),
        None => routed.query(LAST_EVENT_ID)?.map(|text| (LAST_EVENT_ID, text)),
    })
}

/// The client reconnects if it cannot be subscribed immediately, so that it misses nothing unknowingly.
fn sse_session(protocol: impl Into<Protocol>, since: Vec<Option<ReplayStart>>) -> SessionRequest {
    SessionRequest { since, closes_on_gap: true, ..SessionRequest::new(protocol) }
}
