//! The three spans of a node, named by OpenTelemetry's semantic conventions if they have a name. Spans may
//! carry channel names, because unlike metrics they are not aggregated over them.

use hyper::StatusCode;
use tracing::{Span, field, info_span};

use super::tracer::{ParentSender, SpanKind, TARGET, TRACING, Trace};
use crate::close::Close;
use crate::protocol::Format;
use crate::publication::{Channel, Position, Publication, Traceparent};

/// `messaging.system` of all spans.
const SYSTEM: &str = "tidegate";

/// The most bytes of a request's path in a span. The path of the longest channel name is shorter, in any
/// encoding.
const PATH_BYTES_MAX: usize = 1024;

/// A client sent a WebSocket handshake.
pub fn handshake_began(path: &str, parent: Option<Traceparent>) -> Trace {
    let Some(tracing) = TRACING.get() else { return Trace::default() };
    if !tracing.should_sample(SpanKind::Handshake, parent, ParentSender::Client) {
        return Trace::default();
    }
    tracing.span(parent, || {
        info_span!(
            target: TARGET,
            parent: None,
            "handshake",
            otel.kind = "server",
            otel.status_description = field::Empty,
            error.type = field::Empty,
            http.request.method = "GET",
            http.response.status_code = field::Empty,
            messaging.system = SYSTEM,
            tidegate.protocol = field::Empty,
            url.path = &path[..path.floor_char_boundary(PATH_BYTES_MAX)],
        )
    })
}

/// The node answered the handshake. `format`: a session started. `close`: it ends immediately, because a browser
/// cannot read the status of a refused upgrade.
pub fn handshake_answered(
    trace: Trace,
    status: StatusCode,
    format: Option<Format>,
    close: Option<Close>,
) {
    let Some(span) = trace.0 else { return };
    span.record("http.response.status_code", i64::from(status.as_u16()));
    if let Some(format) = format {
        span.record("tidegate.protocol", format.label());
    }
    match close {
        Some(close) => fail(&span, close.label(), "the session was closed as it started"),
        None if status.is_client_error() || status.is_server_error() => {
            fail(&span, status.as_str(), status.canonical_reason().unwrap_or_default());
        }
        None => {}
    }
}

/// The node is about to send a publication to the broker; further spans become children of this one. A
/// publication that is not traced keeps its `traceparent`.
pub(in crate::telemetry) fn publish_began(
    channel: &Channel,
    publication: &mut Publication,
    asker: ParentSender,
) -> Trace {
    let trace = publish(channel, publication, asker);
    if trace.0.is_some() {
        publication.traceparent = trace.traceparent();
    }
    trace
}

/// The broker accepted it, or answered why not.
pub(in crate::telemetry) fn publish_answered(
    trace: Trace,
    answer: Result<Option<Position>, &'static str>,
) {
    let Some(span) = trace.0 else { return };
    match answer {
        Ok(Some(position)) => _ = span.record("messaging.message.id", position.to_string()),
        Ok(None) => {}
        Err(why) => fail(&span, "unavailable", why),
    }
}

/// The node refused a client's publication before the broker. `code`: the error code sent to the client.
pub fn publication_refused(channel: &Channel, publication: &Publication, code: &'static str) {
    if let Some(span) = publish(channel, publication, ParentSender::Client).0 {
        fail(&span, code, "refused");
    }
}

fn publish(channel: &Channel, publication: &Publication, asker: ParentSender) -> Trace {
    let Some(tracing) = TRACING.get() else { return Trace::default() };
    if !tracing.should_sample(SpanKind::Publish, publication.traceparent, asker) {
        return Trace::default();
    }
    tracing.span(publication.traceparent, || {
        info_span!(
            target: TARGET,
            parent: None,
            "publish",
            otel.kind = "producer",
            otel.status_description = field::Empty,
            error.type = field::Empty,
            messaging.system = SYSTEM,
            messaging.operation.name = "publish",
            messaging.operation.type = "send",
            messaging.destination.name = channel.as_str(),
            messaging.message.body.size = publication.payload.len() as i64,
            messaging.message.id = field::Empty,
            tidegate.session = publication.session.map(field::display),
        )
    })
}

/// The node received a publication from the broker, for its local subscribers. It is traced only if its
/// `traceparent` is sampled, because otherwise each node would start its own trace.
pub(in crate::telemetry) fn relay_began(channel: &str, publication: &Publication) -> Trace {
    match publication.traceparent {
        Some(parent) if parent.is_sampled() => relay(channel, publication, parent),
        _ => Trace::default(),
    }
}

fn relay(channel: &str, publication: &Publication, parent: Traceparent) -> Trace {
    let Some(tracing) = TRACING.get() else { return Trace::default() };
    if !tracing.should_sample(SpanKind::Relay, Some(parent), ParentSender::Fleet) {
        return Trace::default();
    }
    tracing.span(Some(parent), || {
        info_span!(
            target: TARGET,
            parent: None,
            "relay",
            otel.kind = "consumer",
            messaging.system = SYSTEM,
            messaging.operation.name = "relay",
            messaging.operation.type = "process",
            messaging.destination.name = channel,
            messaging.message.body.size = publication.payload.len() as i64,
            messaging.message.id = publication.position.map(field::display),
            tidegate.subscribers = field::Empty,
        )
    })
}

/// The publication was handed to this many subscribers.
pub(in crate::telemetry) fn relay_ended(trace: Trace, subscribers: u64) {
    if let Some(span) = trace.0 {
        span.record("tidegate.subscribers", i64::try_from(subscribers).unwrap_or(i64::MAX));
    }
}

/// A description makes the span's status an error.
fn fail(span: &Span, code: &str, why: &str) {
    span.record("error.type", code);
    span.record("otel.status_description", why);
}
