//! Distributed traces: which of what happens here is traced, and what this node says about it.
//!
//! Whether something is traced is decided before a span is made, as a span costs most of a microsecond
//! also where nobody wants it. Spans have a subscriber of their own: the log never sees one, and
//! nothing but the spans of [`span`] gets to the collector.

mod config;
mod export;
mod span;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId};
use tokio::time::Instant;
use tracing::dispatcher::{self, Dispatch};
use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Span};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;

pub use self::config::Config;
pub use self::export::{Exporting, Unexportable};
pub use self::span::{handshake_answered, handshake_began, publication_refused};
pub(super) use self::span::{publish_answered, publish_began, relay_began, relay_ended};
use super::metrics::{METRICS, SPANS_LIMITED};
use crate::limits::Bucket;
use crate::publication::{NodeId, Traceparent};

/// Spans of one kind that a node makes in a second, at most; the others are not made, and counted.
/// Whoever traces everything, or sends a sampled `traceparent` with everything, gets no more.
pub const SPANS_PER_SECOND_MAX: usize = 1000;

/// Spans a second that clients bring about with sampled `traceparent`s of their own, at most: they
/// leave room for what the node chooses.
pub const FORCED_SPANS_PER_SECOND_MAX: usize = 100;

/// The target of the node's spans.
const TARGET: &str = "tidegate::trace";

/// Something that happens, traced or not. Dropped, it is over.
#[derive(Debug, Default)]
pub struct Trace(Option<Box<Span>>);

/// What there are spans of.
#[derive(Clone, Copy)]
enum Kind {
    Handshake,
    Publish,
    Relay,
}

impl Kind {
    const COUNT: usize = 3;
}

/// Whose word it is that something is to be traced.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    /// A client's, who may be anybody.
    Client,
    /// A service's or another node's.
    Fleet,
}

/// What is needed to trace. None: nothing is traced.
static TRACING: OnceLock<Tracing> = OnceLock::new();

struct Tracing {
    subscriber: Dispatch,
    ratio: Ratio,
    /// Of each kind.
    budgets: [Mutex<Bucket>; Kind::COUNT],
    forced: Mutex<Bucket>,
}

/// Starts to trace what the configuration asks for. Only the first call of a process counts. To be
/// called within a runtime, which the exporting then runs on.
///
/// Fails where the environment (`OTEL_…`) has settings that the exporter cannot do.
pub fn start_tracing(config: &Config, node: NodeId) -> Result<Exporting, Unexportable> {
    let Some(endpoint) = &config.endpoint else { return Ok(Exporting::nothing()) };
    let (tracer, exporting) = export::start(endpoint, node)?;
    let layer = OpenTelemetryLayer::new(tracer)
        .with_context_activation(false)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false);
    // Says that it wants nothing else, so that it costs nothing else anything.
    let only_ours = Targets::new().with_target(TARGET, LevelFilter::INFO);
    let now = Instant::now();
    let bucket = |per_second| Mutex::new(Bucket::full(per_second, now));
    let tracing = Tracing {
        subscriber: Dispatch::new(Registry::default().with(only_ours).with(layer)),
        ratio: Ratio::default(),
        budgets: std::array::from_fn(|_| bucket(SPANS_PER_SECOND_MAX)),
        forced: bucket(FORCED_SPANS_PER_SECOND_MAX),
    };
    tracing.ratio.set(config.ratio);
    // Fails only where tracing was started before, as tests in one process may do.
    _ = TRACING.set(tracing);
    Ok(exporting)
}

/// From here on this part of all that comes without a `traceparent` is traced.
pub fn set_trace_ratio(ratio: f64) {
    if let Some(tracing) = TRACING.get() {
        tracing.ratio.set(ratio);
    }
}

impl Tracing {
    /// Is it to be traced? A parent decides by its own flag.
    fn wants(&self, kind: Kind, parent: Option<Traceparent>, asker: Asker) -> bool {
        match parent {
            None => self.ratio.hits() && self.has_room(kind, Asker::Fleet),
            Some(parent) => parent.is_sampled() && self.has_room(kind, asker),
        }
    }

    /// Takes a span's worth of what there may be. A client's comes out of two purses.
    fn has_room(&self, kind: Kind, asker: Asker) -> bool {
        let take = |bucket: &Mutex<Bucket>, per_second| {
            let mut bucket = bucket.lock().expect("no code panics while it holds a bucket's lock");
            bucket.take(1, per_second, Instant::now())
        };
        let may = asker == Asker::Fleet || take(&self.forced, FORCED_SPANS_PER_SECOND_MAX);
        let has_room = may && take(&self.budgets[kind as usize], SPANS_PER_SECOND_MAX);
        if !has_room {
            METRICS.spans(SPANS_LIMITED, 1);
        }
        has_room
    }

    /// Makes a span that follows `parent`, or begins a trace.
    fn span(&self, parent: Option<Traceparent>, make: impl FnOnce() -> Span) -> Trace {
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
    fn traceparent(&self) -> Option<Traceparent> {
        let context = self.0.as_ref()?.context();
        let span = context.span();
        let context = span.span_context();
        Traceparent::sampled(context.trace_id().to_bytes(), context.span_id().to_bytes())
    }
}

/// A part of all, as the highest number that hits of those that are drawn.
#[derive(Default)]
struct Ratio(AtomicU64);

impl Ratio {
    fn set(&self, ratio: f64) {
        // The cast saturates: 1.0 is the largest number.
        self.0.store((ratio * 2f64.powi(64)) as u64, Ordering::Relaxed);
    }

    fn hits(&self) -> bool {
        match self.0.load(Ordering::Relaxed) {
            0 => false,
            u64::MAX => true,
            highest => rand::random::<u64>() < highest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_hits_as_often_as_it_says() {
        let ratio = Ratio::default();
        let hits = |part| {
            ratio.set(part);
            (0..10_000).filter(|_| ratio.hits()).count()
        };
        assert_eq!((hits(0.), hits(1.)), (0, 10_000));
        // Twelve standard deviations to each side.
        assert!((1900..=3100).contains(&hits(0.25)));
    }

    #[test]
    fn what_clients_ask_for_is_bounded_and_leaves_room() {
        let now = Instant::now();
        let full = |per_second| Mutex::new(Bucket::full(per_second, now));
        let tracing = Tracing {
            subscriber: Dispatch::none(),
            ratio: Ratio::default(),
            budgets: std::array::from_fn(|_| full(SPANS_PER_SECOND_MAX)),
            forced: full(FORCED_SPANS_PER_SECOND_MAX),
        };
        let sampled = Traceparent::sampled([1; 16], [1; 8]);
        let wanted = |asker| {
            let wants = |_: &i32| tracing.wants(Kind::Publish, sampled, asker);
            (0..10_000).filter(wants).count()
        };
        let spent = now.elapsed().as_secs() as usize;
        let forced = wanted(Asker::Client);
        // What refills while this runs on a busy machine is let pass.
        assert!(forced >= FORCED_SPANS_PER_SECOND_MAX, "{forced}");
        assert!(forced < FORCED_SPANS_PER_SECOND_MAX * (spent + 5), "{forced}");
        assert!(wanted(Asker::Fleet) >= SPANS_PER_SECOND_MAX - forced);
        assert!(wanted(Asker::Fleet) < SPANS_PER_SECOND_MAX, "it is spent");
    }

    #[test]
    fn a_parent_that_is_not_sampled_decides() {
        let now = Instant::now();
        let tracing = Tracing {
            subscriber: Dispatch::none(),
            ratio: Ratio::default(),
            budgets: std::array::from_fn(|_| Mutex::new(Bucket::full(10, now))),
            forced: Mutex::new(Bucket::full(10, now)),
        };
        tracing.ratio.set(1.);
        let unsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00".parse().ok();
        assert!(unsampled.is_some() && !tracing.wants(Kind::Publish, unsampled, Asker::Client));
        assert!(tracing.wants(Kind::Publish, None, Asker::Client));
    }
}
