//! What is traced: the ratio, and how many spans of each kind there may be in a second.

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

/// Spans of one kind that a node makes in a second, at most; the others are not made, and counted.
/// Whoever traces everything, or sends a sampled `traceparent` with everything, gets no more.
const SPANS_PER_SECOND_MAX: usize = 1000;

/// Spans a second that clients bring about with sampled `traceparent`s of their own, at most: they
/// leave room for what the node chooses.
const FORCED_SPANS_PER_SECOND_MAX: usize = 100;

/// The target of the node's spans.
pub const TARGET: &str = "tidegate::trace";

/// Something that happens, traced or not. Dropped, it is over.
#[derive(Debug, Default)]
pub struct Trace(pub(super) Option<Box<Span>>);

/// What there are spans of.
#[derive(Clone, Copy)]
pub enum SpanKind {
    Handshake,
    Publish,
    Relay,
}

impl SpanKind {
    const COUNT: usize = 3;
}

/// Whose word it is that something is to be traced.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// A client's, who may be anybody.
    Client,
    /// A service's or another node's.
    Fleet,
}

/// What is needed to trace. None: nothing is traced.
pub static TRACING: OnceLock<Tracing> = OnceLock::new();

pub struct Tracing {
    subscriber: Dispatch,
    pub ratio: Ratio,
    /// Of each kind.
    budgets: [Mutex<Bucket>; SpanKind::COUNT],
    forced: Mutex<Bucket>,
}

impl Tracing {
    /// Traces nothing of its own accord until its ratio is set.
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

    /// Is it to be traced? A parent decides by its own flag.
    pub fn wants(&self, kind: SpanKind, parent: Option<Traceparent>, asker: Asker) -> bool {
        match parent {
            None => self.ratio.hits() && self.has_room(kind, Asker::Fleet),
            Some(parent) => parent.is_sampled() && self.has_room(kind, asker),
        }
    }

    /// Takes a span's worth of what there may be. A client's comes out of two purses.
    fn has_room(&self, kind: SpanKind, asker: Asker) -> bool {
        let take = |bucket: &Mutex<Bucket>, per_second| {
            let mut bucket = bucket.lock().expect("no code panics while it holds a bucket's lock");
            bucket.take(1, per_second, Instant::now())
        };
        let may = asker == Asker::Fleet || take(&self.forced, FORCED_SPANS_PER_SECOND_MAX);
        let has_room = may && take(&self.budgets[kind as usize], SPANS_PER_SECOND_MAX);
        if !has_room {
            METRICS.spans.count(LIMITED, 1);
        }
        has_room
    }

    /// Makes a span that follows `parent`, or begins a trace.
    pub fn span(&self, parent: Option<Traceparent>, make: impl FnOnce() -> Span) -> Trace {
        let span = dispatcher::with_default(&self.subscriber, make);
        debug_assert!(span.metadata().map(Metadata::target) == Some(TARGET), "{span:?}");
        if let Some(parent) = parent {
            let context = SpanContext::new(
                TraceId::from_bytes(parent.trace()),
                SpanId::from_bytes(parent.span()),
                TraceFlags::SAMPLED,
                true,
                // Vendors' own `tracestate` is not carried.
                Default::default(),
            );
            let context = opentelemetry::Context::new().with_remote_span_context(context);
            // Fails only where the span has begun or has no layer.
            _ = span.set_parent(context);
        }
        Trace(Some(Box::new(span)))
    }
}

impl Trace {
    /// What follows is a child of this span.
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
    async fn what_clients_ask_for_is_bounded_and_leaves_room() {
        let tracing = tracing();
        let sampled = Traceparent::sampled([1; 16], [1; 8]);
        let made = |kind, asker| (0..5000).filter(|_| tracing.wants(kind, sampled, asker)).count();
        assert_eq!(made(SpanKind::Publish, Asker::Client), FORCED_SPANS_PER_SECOND_MAX);
        assert_eq!(made(SpanKind::Handshake, Asker::Client), 0, "of both together");
        let rest = SPANS_PER_SECOND_MAX - FORCED_SPANS_PER_SECOND_MAX;
        assert_eq!(made(SpanKind::Publish, Asker::Fleet), rest);
        assert_eq!(made(SpanKind::Relay, Asker::Fleet), SPANS_PER_SECOND_MAX);
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        assert_eq!(made(SpanKind::Publish, Asker::Client), FORCED_SPANS_PER_SECOND_MAX);
    }

    #[test]
    fn a_parent_that_is_not_sampled_decides() {
        let tracing = tracing();
        tracing.ratio.set(1.);
        let unsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00".parse().ok();
        assert!(unsampled.is_some() && !tracing.wants(SpanKind::Publish, unsampled, Asker::Client));
        assert!(tracing.wants(SpanKind::Publish, None, Asker::Client));
    }
}
