//! Sends spans to the collector: a bounded queue that never blocks, and one task that sends its spans. The
//! SDK's own processor would not count the spans that it drops.

use std::error::Error;
use std::time::Duration;

use hyper::Uri;
use hyper_util::rt::TokioIo;
use opentelemetry::trace::TracerProvider;
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    Sampler, SdkTracer, SdkTracerProvider, Span, SpanData, SpanExporter as _, SpanProcessor,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::dial::dial;
use crate::publication::NodeId;
use crate::telemetry::metrics::METRICS;
use crate::telemetry::metrics::spans::{DROPPED, EXPORTED, FAILED};

/// The most queued spans, about 2 KB each; further ones are dropped and counted.
pub const SPANS_QUEUED_MAX: usize = 4096;

/// The most spans in one request.
const BATCH_SPANS_MAX: usize = 512;

/// The pause between requests, to collect spans. The first span after an idle time is sent immediately.
const BATCH_DELAY: Duration = Duration::from_millis(200);

/// The longest time for one request, including retries.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a stopping node waits for the collector to accept the last spans.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// The exporter could not be built. The endpoint was checked before, so another setting is the cause.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot export traces: the environment (OTEL_EXPORTER_OTLP_…) has settings that this build does not support"
)]
pub struct Unexportable(#[source] Box<dyn Error + Send + Sync>);

/// Starts the export task on the current runtime. It sends the spans of the returned tracer.
pub(super) fn start(endpoint: &str, node: NodeId) -> Result<(SdkTracer, Exporting), Unexportable> {
    let channel = channel(endpoint).map_err(|error| Unexportable(error.into()))?;
    let builder = SpanExporter::builder().with_tonic().with_channel(channel);
    let mut exporter =
        builder.with_timeout(EXPORT_TIMEOUT).build().map_err(|error| Unexportable(error.into()))?;
    let resource = Resource::builder().with_service_name("tidegate").with_attributes([
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", node.to_string()),
    ]);
    exporter.set_resource(&resource.build());
    let (queue, spans) = mpsc::channel(SPANS_QUEUED_MAX);
    let (stop, stopping) = oneshot::channel();
    let export = Export { exporter, spans, endpoint: endpoint.to_owned(), is_failing: false };
    let task = tokio::spawn(export.run(stopping));
    let provider = SdkTracerProvider::builder()
        // `Tracing` has already decided before a span is made.
        .with_sampler(Sampler::AlwaysOn)
        .with_span_processor(SpanQueue(queue))
        .build();
    Ok((provider.tracer("tidegate"), Exporting(Some((stop, task)))))
}

/// Connects when there is something to send, and reconnects after a loss. `tonic`'s own connector tries a name's
/// addresses one after another.
fn channel(endpoint: &str) -> Result<Channel, tonic::transport::Error> {
    let connector = service_fn(async |uri: Uri| {
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or_default();
        dial(host, port, CONNECT_TIMEOUT).await.map(TokioIo::new)
    });
    let endpoint = Endpoint::from_shared(endpoint.to_owned())?.timeout(EXPORT_TIMEOUT);
    Ok(endpoint.connect_with_connector_lazy(connector))
}

/// The export task of a node, which [`Exporting::finish`] ends.
#[must_use]
pub struct Exporting(Option<(oneshot::Sender<()>, JoinHandle<()>)>);

impl Exporting {
    /// For a node that does not trace.
    pub(super) fn nothing() -> Self {
        Self(None)
    }

    /// Sends the queued spans, for at most [`FLUSH_TIMEOUT`].
    pub async fn finish(self) {
        let Some((stop, mut task)) = self.0 else { return };
        // Fails only if the task has ended.
        _ = stop.send(());
        if timeout(FLUSH_TIMEOUT, &mut task).await.is_err() {
            task.abort();
            last_spans_lost(FLUSH_TIMEOUT);
        }
    }
}

/// Puts ended spans into the queue. Never waits.
#[derive(Debug)]
struct SpanQueue(mpsc::Sender<SpanData>);

impl SpanProcessor for SpanQueue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.0.try_send(span).is_err() {
            METRICS.spans.count(DROPPED, 1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// The task that sends the queued spans.
struct Export {
    exporter: SpanExporter,
    spans: mpsc::Receiver<SpanData>,
    endpoint: String,
    /// The last request failed, and that has been logged.
    is_failing: bool,
}

impl Export {
    /// Runs until stopped, and then sends once more.
    async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let mut batch = Vec::new();
        let mut is_last = false;
        loop {
            if !is_last {
                tokio::select! {
                    _ = &mut stop => is_last = true,
                    _ = self.spans.recv_many(&mut batch, BATCH_SPANS_MAX) => {}
                }
            }
            // Sends at most a full queue; spans that arrive meanwhile wait for the next round.
            for _ in 0..SPANS_QUEUED_MAX / BATCH_SPANS_MAX {
                while batch.len() < BATCH_SPANS_MAX
                    && let Ok(span) = self.spans.try_recv()
                {
                    batch.push(span);
                }
                if batch.is_empty() {
                    break;
                }
                self.send(std::mem::take(&mut batch)).await;
            }
            if is_last {
                return;
            }
            tokio::select! {
                _ = &mut stop => is_last = true,
                () = sleep(BATCH_DELAY) => {}
            }
        }
    }

    /// Sends a batch. Spans that the collector does not accept are lost.
    async fn send(&mut self, batch: Vec<SpanData>) {
        let count = batch.len();
        let sent = timeout(EXPORT_TIMEOUT, self.exporter.export(batch)).await;
        let why = match sent {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("it does not answer".to_owned()),
        };
        match &why {
            None => {
                METRICS.spans.count(EXPORTED, count);
                if self.is_failing {
                    export_recovered(&self.endpoint);
                }
            }
            Some(why) => {
                METRICS.spans.count(FAILED, count);
                export_failed(&self.endpoint, why, !self.is_failing);
            }
        }
        self.is_failing = why.is_some();
    }
}

/// The collector did not accept spans. `first`: the last request succeeded.
fn export_failed(endpoint: &str, why: &str, first: bool) {
    match first {
        true => tracing::warn!(endpoint, why, "the collector accepts no traces; spans are lost"),
        false => tracing::debug!(endpoint, why, "the collector accepts no traces"),
    }
}

/// The collector accepts spans again.
fn export_recovered(endpoint: &str) {
    tracing::info!(endpoint, "the collector accepts traces again");
}

/// The node stops, and the collector did not accept the last spans.
fn last_spans_lost(waited: Duration) {
    tracing::warn!(seconds = waited.as_secs_f64(), "the collector did not accept the last spans");
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::Tracer;

    use super::*;

    #[test]
    fn spans_that_do_not_fit_the_queue_are_dropped_and_counted() {
        let dropped = || {
            let text = crate::telemetry::exposition(Default::default());
            let sample = "tidegate_trace_spans_total{outcome=\"dropped\"} ";
            let count = text.lines().find_map(|line| line.strip_prefix(sample));
            count.and_then(|count| count.parse::<u64>().ok()).unwrap()
        };
        let before = dropped();
        let (queue, mut spans) = mpsc::channel(2);
        let provider = SdkTracerProvider::builder().with_span_processor(SpanQueue(queue)).build();
        let tracer = provider.tracer("test");
        for number in 0..5 {
            drop(tracer.start(number.to_string()));
        }
        assert_eq!(dropped() - before, 3);
        let names = [spans.try_recv().unwrap().name, spans.try_recv().unwrap().name];
        assert_eq!(names, ["0", "1"]);
    }
}
