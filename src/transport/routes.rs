//! The table of routes: which path and subprotocol lead to which protocol on which transport.

mod event_streams;
mod short;
mod updates;
mod websockets;

pub use self::updates::{TopicsRequest, form_bytes_max, publisher, update};
use super::request_refused::RequestRefused;
use super::routed_request::{RoutedRequest, SessionRequest};
use super::stream_live::StreamLive;
use crate::apps::Apps;
use crate::http::{Parameter, Query};
use crate::protocol::{
    ServiceRefused, ai, http, json, mercure, mqtt, plain, pusher, sse, stomp, streams,
};
use crate::publication::{Channel, ReplayStart};
use crate::streams::StreamReading;
use crate::telemetry::ShortRequest;
use crate::topics;

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
    /// Requests to a hub of updates.
    Updates,
}

/// Server-Sent Events for the `EventSource` of browsers.
pub const EVENT_STREAM: Transport =
    Transport::Response { content_type: sse::CONTENT_TYPE, header: None, client_reconnects: true };

/// The id with which a client asks for everything that is kept.
pub const EARLIEST: &str = mercure::EARLIEST;

pub const ROUTES: &[Route] = &[
    Route {
        path: "/ws",
        transport: Transport::WebSocket,
        protocols: &[
            RouteProtocol { subprotocol: Some(json::SUBPROTOCOL), read: websockets::json },
            RouteProtocol { subprotocol: Some(ai::SUBPROTOCOL), read: websockets::ai_chat },
            RouteProtocol { subprotocol: Some(mqtt::SUBPROTOCOL), read: websockets::mqtt },
            RouteProtocol { subprotocol: Some(stomp::SUBPROTOCOLS[0]), read: websockets::stomp },
            RouteProtocol { subprotocol: Some(stomp::SUBPROTOCOLS[1]), read: websockets::stomp },
            RouteProtocol { subprotocol: Some(stomp::SUBPROTOCOLS[2]), read: websockets::stomp },
        ],
    },
    Route {
        path: "/ws/{channel}",
        transport: Transport::WebSocket,
        protocols: &[RouteProtocol {
            subprotocol: Some(plain::SUBPROTOCOL),
            read: websockets::plain,
        }],
    },
    Route {
        path: "/sse",
        transport: EVENT_STREAM,
        protocols: &[RouteProtocol { subprotocol: None, read: event_streams::sse_channels }],
    },
    Route {
        path: "/sse/{channel}",
        transport: EVENT_STREAM,
        protocols: &[RouteProtocol { subprotocol: None, read: event_streams::sse }],
    },
    Route {
        path: "/ai/{channel}/stream",
        transport: Transport::Response {
            content_type: sse::CONTENT_TYPE,
            header: Some(ai::HEADER),
            client_reconnects: false,
        },
        protocols: &[RouteProtocol { subprotocol: None, read: event_streams::ai_stream }],
    },
    Route {
        path: "/app/{key}",
        transport: Transport::WebSocket,
        protocols: &[RouteProtocol { subprotocol: None, read: websockets::pusher }],
    },
    Route {
        path: "/apps/{request}",
        transport: Transport::Request(ShortRequest::Service),
        protocols: &[],
    },
    Route {
        path: "/publish/{channel}",
        transport: Transport::Request(ShortRequest::Publish),
        protocols: &[RouteProtocol { subprotocol: None, read: short::publish }],
    },
    Route {
        path: "/history/{channel}",
        transport: Transport::Request(ShortRequest::History),
        protocols: &[RouteProtocol { subprotocol: None, read: short::history }],
    },
    Route {
        path: "/presence/{channel}",
        transport: Transport::Request(ShortRequest::Presence),
        protocols: &[RouteProtocol { subprotocol: None, read: short::presence }],
    },
    Route {
        path: "/poll/{channel}",
        transport: Transport::Request(ShortRequest::Poll),
        protocols: &[RouteProtocol { subprotocol: None, read: short::poll }],
    },
    Route { path: topics::HUB_PATH, transport: Transport::Updates, protocols: &[] },
    streams_route(StreamLive::No),
    streams_route(StreamLive::LongPoll),
    streams_route(StreamLive::Events),
];

const fn streams_route(live: StreamLive) -> Route {
    Route {
        path: "/streams/{channel}",
        transport: Transport::Streams(live),
        protocols: &[RouteProtocol { subprotocol: None, read: short::stream_request }],
    }
}

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

/// A session on the listener without HTTP. `message_bytes_max`: most bytes of a packet.
pub fn direct(message_bytes_max: usize) -> SessionRequest {
    SessionRequest::new(mqtt::Mqtt::new(mqtt::Carrier::Stream, message_bytes_max))
}

/// The session that waits until something is appended to a stream.
pub fn stream_poll(channel: Channel, reading: &StreamReading) -> SessionRequest {
    let since = vec![Some(ReplayStart::After(reading.position))];
    let (protocol, wait) = (http::Http::Poll(channel), short::POLL_WAIT);
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
