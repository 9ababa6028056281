//! What a request says beside its path: its query, and what of it belongs to the session that it asks for.

use std::borrow::Cow;

use hyper::HeaderMap;
use percent_encoding::percent_decode_str;

use super::request_refused::RequestRefused;
use crate::http::{self, Parameter, Query};
use crate::protocol::Protocol;
use crate::publication::{Channel, Position, Traceparent};

/// A request whose path is known.
pub struct RoutedRequest<'a> {
    /// As it stands in the path, percent-encoded. None: the path has no channel.
    pub channel: Option<&'a str>,
    pub query: Query<'a>,
    pub headers: &'a HeaderMap,
}

/// The session that it asks for.
pub struct SessionRequest {
    pub protocol: Protocol,
    /// Does a session that is bound to a channel get its own publications?
    pub echo: bool,
    /// Where it resumes.
    pub since: Option<Position>,
    /// Is it closed at a gap?
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
        // What follows a percent sign is left alone where it is not hexadecimal; no client means that.
        let digits = |rest: &str| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
        if !name.split('%').skip(1).all(digits) {
            return Err(RequestRefused::bad_request("the channel's percent-encoding is broken"));
        }
        let name = percent_decode_str(name).decode_utf8().map_err(|_| {
            RequestRefused::bad_request(
                "a channel name is UTF-8, percent-encoded where a path needs it",
            )
        })?;
        Channel::new(&name).map_err(|error| RequestRefused::bad_request(error.to_string()))
    }

    /// A parameter of the query, percent-decoded. What is no UTF-8 comes out as what nothing takes.
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        self.query.first(name).map(Parameter::decoded_lossy)
    }

    /// The trace that the request belongs to.
    pub fn traceparent(&self) -> Option<Traceparent> {
        http::traceparent(self.headers)
    }
}

/// A position that was given as the parameter or header `name`.
pub fn position(name: &str, text: &str) -> Result<Position, RequestRefused> {
    text.parse().map_err(|error| RequestRefused::bad_request(format!("{name}: {error}")))
}
