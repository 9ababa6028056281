//! The table of routes: which path and subprotocol lead to which protocol on which transport.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;

use super::request_refused::RequestRefused;
use super::routed_request::{HEAD_BYTES_MAX, RoutedRequest, SessionRequest, has_chunks, position};
use super::stream_live::StreamLive;
use crate::apps::Apps;
use crate::close::Close;
use crate::http::{Parameter, Query, idempotency_key};
use crate::protocol::{
    Command, HISTORY_LIMIT, HISTORY_LIMIT_MAX, Protocol, ServiceRefused, ai, http, json, plain,
    pusher, sse, streams,
};
use crate::publication::{Channel, PayloadKind, Publication, ReplayStart};
use crate::session::RunWanted;
use crate::settings::read_duration;
use crate::streams::StreamReading;
use crate::telemetry::ShortRequest;

/// The query parameter with the id of the last event that a client received.
const LAST_EVENT_ID: &str = "last_event_id";

/// Most bytes of the query and of an event's id together, for a stream of several channels: both are in the
/// head of the request that resumes it. The rest of the head is for the other headers.
const RESUME_BYTES_MAX: usize = HEAD_BYTES_MAX - (3 << 10);

/// A path of the public listener.
pub struct Route {
    /// A name in braces matches all that stands between what is before and behind it, slashes included.
    pub path: &'static str,
    pub transport: Transport,
    /// The protocols of the path. The first is the default.
    pub protocols: &'static [RouteProtocol],
}

/// A protocol of a path.
pub struct RouteProtocol {
    /// Its name in `Sec-WebSocket-Protocol`, if it has one.
    pub subprotocol: Option<&'static str>,
    /// Reads the session that a request asks for.
    pub read: fn(&RoutedRequest<'_>) -> Result<SessionRequest, RequestRefused>,
}

/// The transport of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A WebSocket after an upgrade (RFC 6455).
    WebSocket,
    /// The body of an HTTP response that continues until one side ends it.
    Response {
        content_type: &'static str,
        /// A header of the response.
        header: Option<(&'static str, &'static str)>,
        /// Whether its clients reconnect by themselves, but never after an error status. Clients that do not reconnect
        /// get an error status for each refusal, and can tell a complete body from one that broke off.
        client_reconnects: bool,
    },
    /// One HTTP response.
    Request(ShortRequest),
    /// Requests about durable streams.
    Streams(StreamLive),
}

/// Server-Sent Events for the `EventSource` of browsers.
const EVENT_STREAM: Transport =
    Transport::Response { content_type: sse::CONTENT_TYPE, header: None, client_reconnects: true };

pub const ROUTES: &[Route] = &[
    Route {
        path: "/ws",
        transport: Transport::WebSocket,
        protocols: &[
            RouteProtocol { subprotocol: Some(json::SUBPROTOCOL), read: json },
            RouteProtocol { subprotocol: Some(ai::SUBPROTOCOL), read: ai_chat },
        ],
    },
    Route {
        path: "/ws/{channel}",
        transport: Transport::WebSocket,
        protocols: &[RouteProtocol { subprotocol: Some(plain::SUBPROTOCOL), read: plain }],
    },
    Route {
        path: "/sse",
        transport: EVENT_STREAM,
        protocols: &[RouteProtocol { subprotocol: None, read: sse_channels }],
    },
    Route {
        path: "/sse/{channel}",
        transport: EVENT_STREAM,
        protocols: &[RouteProtocol { subprotocol: None, read: sse }],
    },
    Route {
        path: "/ai/{channel}/stream",
        transport: Transport::Response {
            content_type: sse::CONTENT_TYPE,
            header: Some(ai::HEADER),
            client_reconnects: false,
        },
        protocols: &[RouteProtocol { subprotocol: None, read: ai_stream }],
    },
    Route {
        path: "/app/{key}",
        transport: Transport::WebSocket,
        protocols: &[RouteProtocol { subprotocol: None, read: pusher }],
    },
    Route {
        path: "/apps/{request}",
        transport: Transport::Request(ShortRequest::Service),
        protocols: &[],
    },
    Route {
        path: "/publish/{channel}",
        transport: Transport::Request(ShortRequest::Publish),
        protocols: &[RouteProtocol { subprotocol: None, read: publish }],
    },
    Route {
        path: "/history/{channel}",
        transport: Transport::Request(ShortRequest::History),
        protocols: &[RouteProtocol { subprotocol: None, read: history }],
    },
    Route {
        path: "/presence/{channel}",
        transport: Transport::Request(ShortRequest::Presence),
        protocols: &[RouteProtocol { subprotocol: None, read: presence }],
    },
    Route {
        path: "/poll/{channel}",
        transport: Transport::Request(ShortRequest::Poll),
        protocols: &[RouteProtocol { subprotocol: None, read: poll }],
    },
    streams_route(StreamLive::No),
    streams_route(StreamLive::LongPoll),
    streams_route(StreamLive::Events),
];

const fn streams_route(live: StreamLive) -> Route {
    Route {
        path: "/streams/{channel}",
        transport: Transport::Streams(live),
        protocols: &[RouteProtocol { subprotocol: None, read: stream_request }],
    }
}

/// How long a poll waits: by default, and at most.
const POLL_WAIT: Duration = Duration::from_secs(25);
const POLL_WAIT_MAX: Duration = Duration::from_secs(60);

/// The route of a path, and what is variable in it, percent-encoded. `live`: how the request reads, if it is one about
/// streams.
pub fn find(path: &str, live: StreamLive) -> Option<(&'static Route, Option<&str>)> {
    let is_apt =
        |route: &&Route| !matches!(route.transport, Transport::Streams(other) if other != live);
    ROUTES.iter().filter(is_apt).find_map(|route| match route.path.split_once(['{', '}']) {
        Some((before, name)) => {
            let behind = name.split_once('}').map_or("", |(_, behind)| behind);
            Some((route, Some(path.strip_prefix(before)?.strip_suffix(behind)?)))
        }
        None => (route.path == path).then_some((route, None)),
    })
}

/// Whether the path begins like one of the routes.
pub fn is_near(path: &str) -> bool {
    ROUTES.iter().any(|route| {
        let second = route.path.match_indices('/').nth(1);
        path.starts_with(second.map_or(route.path, |(at, _)| &route.path[..at]))
    })
}

/// All paths, as a list in a sentence.
pub fn paths() -> String {
    let mut paths: Vec<&str> = ROUTES.iter().map(|route| route.path).collect();
    paths.dedup();
    match paths.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

fn json(_: &RoutedRequest<'_>) -> Result<SessionRequest, RequestRefused> {
    Ok(SessionRequest::new(json::Json))
}

fn ai_chat(_: &RoutedRequest<'_>) -> Result<SessionRequest, RequestRefused> {
    Ok(SessionRequest::new(ai::AiChat::default()))
}

/// A client that names an unknown application or version is told by a close code, because it would try again for ever
/// after a refused upgrade.
fn pusher(routed: &RoutedRequest<'_>) -> Result<SessionRequest, RequestRefused> {
    if routed.apps.is_empty() {
        return Err(RequestRefused::no_apps());
    }
    let app = routed.variable.and_then(|key| routed.apps.of_key(key)).cloned();
    let version = routed.parameter("protocol")?.map(Parameter::whole_number);
    let is_spoken = |version: Option<usize>| {
        let version = version.and_then(|version| u32::try_from(version).ok());
        version.is_some_and(|version| pusher::VERSIONS.contains(&version))
    };
    let refused = match (&app, version) {
        (None, _) => Some(Close::UnknownApp),
        (_, Some(version)) if !is_spoken(version) => Some(Close::UnknownVersion),
        _ => None,
    };
    Ok(SessionRequest { refused, ..SessionRequest::new(pusher::Pusher::new(app)) })
}

/// Checks a request of a service without its body. `rest`: what is variable in its path. `now_seconds`: since 1970.
pub fn check_signed(
    apps: &Apps,
    method: &str,
    rest: &str,
    query: Query<'_>,
    now_seconds: u64,
) -> Result<pusher::api::SignedRequest, ServiceRefused> {
    let query = query
        .pairs()
        .map(|(name, value)| (name, value.map(Parameter::decoded_lossy).unwrap_or_default()));
    pusher::api::SignedRequest::check(apps, method, rest, query, now_seconds)
}

/// The run from its beginning.
fn ai_stream(routed: &RoutedRequest<'_>) -> Result<SessionRequest, RequestRefused> {
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

fn plain(routed: &RoutedRequest<'_>) -> Result<SessionRequest, RequestRefused> {
    let traceparent = routed.traceparent().map(Box::new);
    let protocol = plain::Plain { channel: routed.channel()?, traceparent };
    let since = vec![routed.start()?];
    let closes_on_gap = match routed.query("gap")?.as_deref() {
        None => false,
        Some("close") => true,
        Some(_) => {
            return Err(RequestRefused::bad_request("gap must be `close` or absent"));
        }
    };
    let echo = routed.query("echo")?.is_none_or(|echo| echo != "false");
    Ok(SessionRequest { echo, since, closes_on_gap, ..SessionRequest::new(protocol) })
}

fn sse(routed: &RoutedRequest<'_>) -> Result<SessionRequest, RequestRefused> {
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
fn sse_channels(routed: &RoutedRequest<'_>) -> Result<SessionRequest, RequestRefused> {
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

/// The payload is the request's body, which is not read yet.
fn publish(routed: &RoutedRequest<'_>) -> Result<SessionRequest, RequestRefused> {
    let channel = routed.channel()?;
    let key = idempotency_key(routed.headers)
        .map_err(|invalid| RequestRefused::bad_request(invalid.to_string()))?;
    let publication = Publication {
        id: key.map(Into::into),
        traceparent: routed.traceparent(),
        ..Publication::new(Bytes::new(), PayloadKind::Text)
    };
    Ok(command(Command::Publish { id: None, channel, publication }))
}

fn history(routed: &RoutedRequest<'_>) -> Result<SessionRequest, RequestRefused> {
    let channel = routed.channel()?;
    let since = routed.query("since")?.map(|text| position("since", &text)).transpose()?;
    let limit = match routed.parameter("limit")?.map(Parameter::whole_number) {
        None => HISTORY_LIMIT,
        Some(Some(limit @ 1..=HISTORY_LIMIT_MAX)) => limit,
        Some(_) => {
            return Err(RequestRefused::bad_request(format!(
                "limit is a whole number, 1 to {HISTORY_LIMIT_MAX}"
            )));
        }
    };
    Ok(command(Command::History { id: None, channel, since, limit }))
}

fn presence(routed: &RoutedRequest<'_>) -> Result<SessionRequest, RequestRefused> {
    Ok(command(Command::Presence { id: None, channel: routed.channel()? }))
}

fn command(command: Command) -> SessionRequest {
    SessionRequest::new(http::Http::Command(Box::new(command)))
}

/// A poll that cannot be subscribed immediately is refused, so that its client misses nothing unknowingly.
fn poll(routed: &RoutedRequest<'_>) -> Result<SessionRequest, RequestRefused> {
    let protocol = http::Http::Poll(routed.channel()?);
    let since = routed.start()?;
    let wait = match routed.query("wait")?.map(|text| read_duration(&text)) {
        None => POLL_WAIT,
        Some(Some(wait)) if wait <= POLL_WAIT_MAX => wait,
        Some(_) => {
            return Err(RequestRefused::bad_request(format!(
                "wait is a duration with its unit (ms, s), 0s to {}s, such as {}s",
                POLL_WAIT_MAX.as_secs(),
                POLL_WAIT.as_secs()
            )));
        }
    };
    let since = vec![since];
    Ok(SessionRequest { since, wait, closes_on_gap: true, ..SessionRequest::new(protocol) })
}

fn stream_request(_: &RoutedRequest<'_>) -> Result<SessionRequest, RequestRefused> {
    Ok(SessionRequest::new(streams::Streams::Request))
}

/// The session that waits until something is appended to a stream.
pub fn stream_poll(channel: Channel, reading: &StreamReading) -> SessionRequest {
    let since = vec![Some(ReplayStart::After(reading.position))];
    let (protocol, wait) = (http::Http::Poll(channel), POLL_WAIT);
    SessionRequest { since, wait, closes_on_gap: true, ..SessionRequest::new(protocol) }
}

/// The session that gets an event for each message of a stream.
pub fn stream_events(channel: Channel, reading: &StreamReading) -> SessionRequest {
    let StreamReading { class, position: start, cursor } = *reading;
    let protocol = streams::FollowedStream { channel, class, start, cursor };
    let since = vec![Some(ReplayStart::After(start))];
    let protocol = streams::Streams::Follow(protocol);
    SessionRequest { since, closes_on_gap: true, ..SessionRequest::new(protocol) }
}

#[cfg(test)]
mod tests;
