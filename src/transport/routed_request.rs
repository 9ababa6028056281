//! The parts of a request that determine its session: channel, query and headers.

use std::borrow::Cow;
use std::fmt::Display;
use std::time::Duration;

use hyper::{HeaderMap, Version};
use percent_encoding::percent_decode_str;

use super::request_refused::RequestRefused;
use crate::apps::Apps;
use crate::close::Close;
use crate::http::{self, Parameter, Query, Repeated};
use crate::protocol::Protocol;
use crate::publication::{Channel, InvalidCount, InvalidStart, Position, ReplayStart, Traceparent};
use crate::session::{Config, RunWanted};

/// Most bytes of a request's head; a longer one is answered with 431.
pub const HEAD_BYTES_MAX: usize = 16 << 10;

/// A request whose path matches a route.
pub struct RoutedRequest<'a> {
    /// What the path has in place of `{channel}` or `{key}`, percent-encoded. None: the route's path has neither.
    pub variable: Option<&'a str>,
    pub query: Query<'a>,
    pub headers: &'a HeaderMap,
    pub version: Version,
    /// The `[session]` settings.
    pub session: &'a Config,
    pub apps: &'a Apps,
}

/// The session that it asks for.
pub struct SessionRequest {
    pub protocol: Protocol,
    /// Whether a session that is bound to channels receives its own publications.
    pub echo: bool,
    /// From where it gets the past of its channels, in their order.
    pub since: Vec<Option<ReplayStart>>,
    /// Whether a gap closes it.
    pub closes_on_gap: bool,
    /// Some: it follows the run on its channel, and is refused if there is none.
    pub run: Option<RunWanted>,
    /// Some: it is closed at its start.
    pub refused: Option<Close>,
    /// How long a poll waits. Zero for all other requests.
    pub wait: Duration,
}

impl SessionRequest {
    pub fn new(protocol: impl Into<Protocol>) -> Self {
        Self {
            protocol: protocol.into(),
            echo: true,
            since: Vec::new(),
            closes_on_gap: false,
            run: None,
            refused: None,
            wait: Duration::ZERO,
        }
    }
}

impl RoutedRequest<'_> {
    /// The channel of the path.
    pub fn channel(&self) -> Result<Channel, RequestRefused> {
        channel(self.variable.unwrap_or_default()).map_err(RequestRefused::bad_request)
    }

    /// The channels of the query: each `channel` in it, once, at most `channels_max` and as many as a session
    /// may have.
    pub fn channels(&self, channels_max: usize) -> Result<Vec<Channel>, RequestRefused> {
        const CHANNEL: &str = "channel";
        let channels_max = channels_max.min(self.session.channels_max);
        let mut channels: Vec<Channel> = Vec::new();
        for (_, value) in self.query.pairs().filter(|(name, _)| *name == CHANNEL) {
            let name = value.map(Parameter::as_sent).unwrap_or_default();
            let (fault, name) = match channel(name) {
                Ok(channel) if channels.len() == channels_max => {
                    (format!("at most {channels_max} channels per connection"), channel.to_string())
                }
                Ok(channel) if channels.contains(&channel) => {
                    ("give each channel once".to_owned(), channel.to_string())
                }
                Ok(channel) => {
                    channels.push(channel);
                    continue;
                }
                Err(fault) => (fault, name.to_owned()),
            };
            let refused = RequestRefused::bad_request(format!("{CHANNEL}: {fault}"));
            return Err(refused.naming(&name));
        }
        match channels.is_empty() {
            true => Err(RequestRefused::bad_request(
                "the path or the query must name a channel: /sse/a, or /sse?channel=a&channel=b",
            )),
            false => Ok(channels),
        }
    }

    /// From where the query asks for the channel's past, with `since` or `last`.
    pub fn start(&self) -> Result<Option<ReplayStart>, RequestRefused> {
        let refuse =
            |name, error: &dyn Display| RequestRefused::bad_request(format!("{name} {error}"));
        let newest = |count: Parameter<'_>| {
            let count = count.whole_number().and_then(|count| i64::try_from(count).ok());
            ReplayStart::newest(count.ok_or(InvalidCount)?)
        };
        match (self.query("since")?, self.parameter("last")?) {
            (None, None) => Ok(None),
            (Some(since), None) => {
                since.parse().map(Some).map_err(|error: InvalidStart| refuse("since", &error))
            }
            (None, Some(count)) => newest(count).map(Some).map_err(|error| refuse("last", &error)),
            (Some(_), Some(_)) => Err(RequestRefused::bad_request("give either since or last")),
        }
    }

    /// A parameter of the query, percent-decoded. Bytes that are not UTF-8 become a value that nothing
    /// accepts.
    pub fn query(&self, name: &str) -> Result<Option<Cow<'_, str>>, RequestRefused> {
        Ok(self.parameter(name)?.map(Parameter::decoded_lossy))
    }

    /// A parameter of the query. Refuses one that is given twice: which of them counts is not obvious.
    pub fn parameter(&self, name: &str) -> Result<Option<Parameter<'_>>, RequestRefused> {
        let twice = |Repeated| RequestRefused::bad_request(format!("give {name} once"));
        self.query.only(name).map_err(twice)
    }

    /// The trace that the request belongs to.
    pub fn traceparent(&self) -> Option<Traceparent> {
        http::traceparent(self.headers)
    }
}

/// Whether a response to such a request may have the chunked transfer coding, with which the client can tell a complete
/// body from one that broke off (RFC 9112 section 7.1). HTTP/2 needs none.
pub fn has_chunks(version: Version) -> bool {
    version == Version::HTTP_11
}

/// A channel's name, percent-encoded. Fails with what is wrong with it.
fn channel(name: &str) -> Result<Channel, String> {
    // The decoder keeps a percent sign without two hexadecimal digits, which no client intends.
    let digits = |rest: &str| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    if !name.split('%').skip(1).all(digits) {
        return Err("the channel's percent-encoding is invalid".to_owned());
    }
    let name = percent_decode_str(name).decode_utf8().map_err(|_| {
        "a channel name must be UTF-8, percent-encoded as a URL requires".to_owned()
    })?;
    Channel::new(&name).map_err(|error| error.to_string())
}

/// Parses a position from the parameter or header `name`.
pub fn position(name: &str, text: &str) -> Result<Position, RequestRefused> {
    text.parse().map_err(|error| RequestRefused::bad_request(format!("{name}: {error}")))
}
