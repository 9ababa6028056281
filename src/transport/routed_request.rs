//! The parts of a request that determine its session: channel, query and headers.

use std::borrow::Cow;

use hyper::HeaderMap;
use percent_encoding::percent_decode_str;

use super::request_refused::RequestRefused;
use crate::http::{self, Parameter, Query};
use crate::protocol::Protocol;
use crate::publication::{Channel, Position, Traceparent};

/// A request whose path matches a route.
pub struct RoutedRequest<'a> {
    /// As in the path, percent-encoded. None: the path has no channel.
    pub channel: Option<&'a str>,
    pub query: Query<'a>,
    pub headers: &'a HeaderMap,
}

/// The session that it asks for.
pub struct SessionRequest {
    pub protocol: Protocol,
    /// Whether a session that is bound to a channel receives its own publications.
    pub echo: bool,
    /// The position from which it resumes.
    pub since: Option<Position>,
    /// Whether a gap closes it.
    pub closes_on_gap: bool,
}

impl SessionRequest {
    pub fn new(protocol: impl Into<Protocol>) -> Self {
        Self { protocol: protocol.into(), echo: true, since: None, closes_on_gap: false }
    }
}

impl RoutedRequest<'_> {
    /// The channel of the path.
    pub fn channel(&self) -> Result<Channel, RequestRefused> {
        let name = self.channel.unwrap_or_default();
        // The decoder keeps a percent sign without two hexadecimal digits, which no client intends.
        let digits = |rest: &str| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
        if !name.split('%').skip(1).all(digits) {
            return Err(RequestRefused::bad_request("the channel's percent-encoding is invalid"));
        }
        let name = percent_decode_str(name).decode_utf8().map_err(|_| {
            RequestRefused::bad_request(
                "a channel name must be UTF-8, percent-encoded as a path requires",
            )
        })?;
        Channel::new(&name).map_err(|error| RequestRefused::bad_request(error.to_string()))
    }

    /// A parameter of the query, percent-decoded. Bytes that are not UTF-8 become a value that nothing
    /// accepts.
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        self.query.first(name).map(Parameter::decoded_lossy)
    }

    /// The trace that the request belongs to.
    pub fn traceparent(&self) -> Option<Traceparent> {
        http::traceparent(self.headers)
    }
}

/// Parses a position from the parameter or header `name`.
pub fn position(name: &str, text: &str) -> Result<Position, RequestRefused> {
    text.parse().map_err(|error| RequestRefused::bad_request(format!("{name}: {error}")))
}
