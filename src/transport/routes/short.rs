//! Which sessions requests with one response ask for.

use std::time::Duration;

use bytes::Bytes;

use crate::http::{Parameter, idempotency_key};
use crate::protocol::{Command, HISTORY_LIMIT, HISTORY_LIMIT_MAX, http, streams};
use crate::publication::{PayloadKind, Publication};
use crate::settings::read_duration;
use crate::transport::request_refused::RequestRefused;
use crate::transport::routed_request::{RoutedRequest, SessionRequest, position};

/// How long a poll waits: by default, and at most.
pub const POLL_WAIT: Duration = Duration::from_secs(25);
const POLL_WAIT_MAX: Duration = Duration::from_secs(60);

/// The payload is the request's body, which is not read yet.
pub fn publish(routed: &RoutedRequest<'_>) -> Result<SessionRequest, RequestRefused> {
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

pub fn history(routed: &RoutedRequest<'_>) -> Result<SessionRequest, RequestRefused> {
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

pub fn presence(routed: &RoutedRequest<'_>) -> Result<SessionRequest, RequestRefused> {
    Ok(command(Command::Presence { id: None, channel: routed.channel()? }))
}

fn command(command: Command) -> SessionRequest {
    SessionRequest::new(http::Http::Command(Box::new(command)))
}

/// A poll that cannot be subscribed immediately is refused, so that its client misses nothing unknowingly.
pub fn poll(routed: &RoutedRequest<'_>) -> Result<SessionRequest, RequestRefused> {
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

pub fn stream_request(_: &RoutedRequest<'_>) -> Result<SessionRequest, RequestRefused> {
    Ok(SessionRequest::new(streams::Streams::Request))
}
