//! Distributed traces: which of what happens here is traced, and what this node says about it.
//!
//! Whether something is traced is decided before a span is made, as a span costs most of a microsecond
//! also where nobody wants it. Spans have a subscriber of their own: the log never sees one, and
//! nothing but the spans of [`span`] gets to the collector.

mod config;
mod export;
mod ratio;
mod span;
mod tracer;

use tracing::level_filters::LevelFilter;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;

pub use self::config::Config;
pub use self::export::{Exporting, Unexportable};
pub use self::span::{handshake_answered, handshake_began, publication_refused};
pub(super) use self::span::{publish_answered, publish_began, relay_began, relay_ended};
pub(super) use self::tracer::Asker;
pub use self::tracer::Trace;
use self::tracer::{TARGET, TRACING, Tracing};
use crate::publication::NodeId;

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
    let subscriber = Registry::default().with(only_ours).with(layer);
    let tracing = Tracing::new(subscriber.into());
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
