//! Decides which events are traced: by the ratio, and by a limit of spans per second for each kind.

use std::sync::{Mutex, OnceLock};

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId};
use tokio::time::Instant;
use tracing::dispatcher::{self, Dispatch};
use tracing::{Metadata, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::ratio::Ratio;
use crate::limits::Bucket;
use crate::publication::Traceparent;
use crate::telemetry::metrics::METRICS;
use crate::telemetry::metrics::spans::LIMITED;

/// The most spans of one kind that a node makes per second; it counts the others without making them. Tracing
/// everything, or sending a sampled `traceparent` with every request, does not exceed it.
const SPANS_PER_SECOND_MAX: usize = 1000;

/// The most spans per second that clients can request with sampled `traceparent`s. The rest of
/// [`SPANS_PER_SECOND_MAX`] remains for the node's own choice.
const FORCED_SPANS_PER_SECOND_MAX: usize = 100;

/// The target of the node's spans.
pub const TARGET: &str = "tidegate::trace";

/// The span of an operation, or none if it is not traced. Dropping it ends the span.
#[derive(Debug, Default)]
pub struct Trace(pub(super) Option<Box<Span>>);

/// The kinds of spans.
#[derive(Clone, Copy)]
pub enum SpanKind {
    Handshake,
    Publish,
    Relay,
}

impl SpanKind {
    const COUNT: usize = 3;
}

/// The sender of a `traceparent`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ParentSender {
    /// A client, which is not trusted.
    Client,
    /// A service or another node.
    Fleet,
}

/// The tracing of this process. Not set: tracing is off.
pub static TRACING: OnceLock<Tracing> = OnceLock::new();

pub struct Tracing {
    subscriber: Dispatch,
    pub ratio: Ratio,
    /// One for each kind.
    budgets: [Mutex<Bucket>; SpanKind::COUNT],
    forced: Mutex<Bucket>,
}

impl Tracing {
    /// Traces only what has a sampled parent, until the ratio is set.
    pub fn new(subscriber: Dispatch) -> Self {
        let now = Instant::now();
        let bucket = |per_second| Mutex::new(Bucket::full(per_second, now));
        Self {
            subscriber,
            ratio: Ratio::default(),
            budgets: std::array::from_fn(|_| bucket(SPANS_PER_SECOND_MAX)),
            forced: bucket(FORCED_SPANS_PER_SECOND_MAX),
        }
    }

    /// Whether to make a span. If there is a parent, its sampled flag decides.
    pub fn should_sample(
        &self,
        kind: SpanKind,
        parent: Option<Traceparent>,
        sender: ParentSender,
    ) -> bool {
        match parent {
            None => self.ratio.hits() && self.has_room(kind, ParentSender::Fleet),
            Some(parent) => parent.is_sampled() && self.has_room(kind, sender),
        }
    }

    /// Takes one span from the limit of its kind and, for a client's request, from the limit of those.
    fn has_room(&self, kind: SpanKind, sender: ParentSender) -> bool {
        let take = |bucket: &Mutex<Bucket>, per_second| {
            let mut bucket = bucket.lock().expect("no code panics while it holds a bucket's lock");
            bucket.take(1, per_second, Instant::now())
        };
        let may = sender == ParentSender::Fleet || take(&self.forced, FORCED_SPANS_PER_SECOND_MAX);
        let has_room = may && take(&self.budgets[kind as usize], SPANS_PER_SECOND_MAX);
        if !has_room {
            METRICS.spans.count(LIMITED, 1);
        }
        has_room
    }

    /// Makes a span that is a child of `parent`, or starts a trace.
    pub fn span(&self, parent: Option<Traceparent>, make: impl FnOnce() -> Span) -> Trace {
        let span = dispatcher::with_default(&self.subscriber, make);
        debug_assert!(span.metadata().map(Metadata::target) == Some(TARGET), "{span:?}");
        if let Some(parent) = parent {
            let context = SpanContext::new(
                TraceId::from_bytes(parent.trace()),
                SpanId::from_bytes(parent.span()),
                TraceFlags::SAMPLED,
                true,
                // Vendors' `tracestate` is not propagated.
                Default::default(),
            );
            let context = opentelemetry::Context::new().with_remote_span_context(context);
            // Fails only if the span has started or has no layer.
            _ = span.set_parent(context);
        }
        Trace(Some(Box::new(span)))
    }
}

impl Trace {
    /// The `traceparent` for children of this span.
    pub(super) fn traceparent(&self) -> Option<Traceparent> {
        let context = self.0.as_ref()?.context();
        let span = context.span();
        let context = span.span_context();
        Traceparent::sampled(context.trace_id().to_bytes(), context.span_id().to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracing() -> Tracing {
        Tracing::new(Dispatch::none())
    }

    #[tokio::test(start_paused = true)]
    async fn spans_that_clients_request_are_limited_and_leave_room_for_others() {
        let tracing = tracing();
        let sampled = Traceparent::sampled([1; 16], [1; 8]);
        let made =
            |kind, asker| (0..5000).filter(|_| tracing.should_sample(kind, sampled, asker)).count();
        assert_eq!(made(SpanKind::Publish, ParentSender::Client), FORCED_SPANS_PER_SECOND_MAX);
        assert_eq!(made(SpanKind::Handshake, ParentSender::Client), 0, "of both together");
        let rest = SPANS_PER_SECOND_MAX - FORCED_SPANS_PER_SECOND_MAX;
        assert_eq!(made(SpanKind::Publish, ParentSender::Fleet), rest);
        assert_eq!(made(SpanKind::Relay, ParentSender::Fleet), SPANS_PER_SECOND_MAX);
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        assert_eq!(made(SpanKind::Publish, ParentSender::Client), FORCED_SPANS_PER_SECOND_MAX);
    }

    #[test]
    fn a_parent_that_is_not_sampled_prevents_a_span() {
        let tracing = tracing();
        tracing.ratio.set(1.);
        let unsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00".parse().ok();
        assert!(
            unsampled.is_some()
                && !tracing.should_sample(SpanKind::Publish, unsampled, ParentSender::Client)
        );
        assert!(tracing.should_sample(SpanKind::Publish, None, ParentSender::Client));
    }
}
