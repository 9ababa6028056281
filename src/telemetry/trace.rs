//! Distributed traces: which operations are traced, and which spans this node sends.
//!
//! The decision is made before a span is made, because a span costs most of a microsecond even if it is then
//! discarded. Spans have their own subscriber: the log never receives one, and the collector receives nothing
//! but the spans of [`span`].

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
pub(super) use self::tracer::ParentSender;
pub use self::tracer::Trace;
use self::tracer::{TARGET, TRACING, Tracing};
use crate::publication::NodeId;

/// Starts tracing by the configuration. Only the first call in a process has an effect. Must be called within
/// a runtime, which then runs the export task.
///
/// Fails if the environment (`OTEL_…`) has settings that the exporter does not support.
pub fn start_tracing(config: &Config, node: NodeId) -> Result<Exporting, Unexportable> {
    let Some(endpoint) = &config.endpoint else { return Ok(Exporting::nothing()) };
    let (tracer, exporting) = export::start(endpoint, node)?;
    let layer = OpenTelemetryLayer::new(tracer)
        .with_context_activation(false)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false);
    // Declares no interest in other events, so that they cost nothing.
    let only_ours = Targets::new().with_target(TARGET, LevelFilter::INFO);
    let subscriber = Registry::default().with(only_ours).with(layer);
    let tracing = Tracing::new(subscriber.into());
    tracing.ratio.set(config.ratio);
    // Fails only if tracing was started before, as tests in one process may do.
    _ = TRACING.set(tracing);
    Ok(exporting)
}

/// From now on, traces this share of the requests without a `traceparent`.
pub fn set_trace_ratio(ratio: f64) {
    if let Some(tracing) = TRACING.get() {
        tracing.ratio.set(ratio);
    }
}
