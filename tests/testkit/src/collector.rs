//! An OpenTelemetry collector: receives traces over OTLP/gRPC and keeps the nodes' spans.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span as Exported;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::eventually;
use crate::redis::free_address;

pub const PRODUCER: i32 = 4;
pub const CONSUMER: i32 = 5;
pub const SERVER: i32 = 2;

pub struct Collector {
    address: SocketAddr,
    spans: Spans,
}

type Spans = Arc<Mutex<Vec<Span>>>;

/// A span as a node exported it; ids in hexadecimal, attributes as text.
#[derive(Clone, Debug)]
pub struct Span {
    pub resource: HashMap<String, String>,
    pub name: String,
    pub trace: String,
    pub id: String,
    /// Empty for a root span.
    pub parent: String,
    pub kind: i32,
    pub attributes: HashMap<String, String>,
    /// The status message of an error.
    pub error: Option<String>,
    pub nanoseconds: u64,
}

impl Span {
    /// The node that exported it.
    pub fn node(&self) -> &str {
        &self.resource["service.instance.id"]
    }

    /// The `traceparent` header of a child.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace, self.id)
    }

    /// An attribute; empty if it is absent.
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

impl Collector {
    pub async fn start() -> Self {
        let address = free_address();
        let listener = TcpListener::bind(address).await.expect("the port is free");
        let spans = Spans::default();
        let service = TraceServiceServer::new(Receiver(spans.clone()));
        let serving = Server::builder().add_service(service);
        tokio::spawn(serving.serve_with_incoming(TcpIncoming::from(listener)));
        Self { address, spans }
    }

    /// The settings of a node that exports to it and samples this ratio of root spans.
    pub fn settings(&self, ratio: &str) -> [String; 2] {
        settings(self.address, ratio)
    }

    /// The spans received so far.
    pub fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }

    /// The spans with this name.
    pub fn spans_named(&self, name: &str) -> Vec<Span> {
        self.spans().into_iter().filter(|span| span.name == name).collect()
    }

    /// Waits for `COUNT` spans with this name.
    pub async fn wait_for_spans<const COUNT: usize>(&self, name: &str) -> [Span; COUNT] {
        let what = format!("{COUNT} spans {name}");
        let named = async || Some(self.spans_named(name)).filter(|named| named.len() >= COUNT);
        let named = eventually(&what, named).await;
        named.try_into().unwrap_or_else(|more| panic!("more than {what}: {more:#?}"))
    }
}

pub fn settings(address: SocketAddr, ratio: &str) -> [String; 2] {
    [format!("telemetry.otlp_endpoint=http://{address}"), format!("telemetry.trace_ratio={ratio}")]
}

struct Receiver(Spans);

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut spans = self.0.lock().unwrap();
        for of_resource in request.into_inner().resource_spans {
            let Resource { attributes, .. } = of_resource.resource.expect("a resource");
            let resource = texts(attributes);
            for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                spans.push(read(resource.clone(), span));
            }
        }
        Ok(Response::new(ExportTraceServiceResponse { partial_success: None }))
    }
}

fn read(resource: HashMap<String, String>, span: Exported) -> Span {
    let status = span.status.unwrap_or_default();
    Span {
        resource,
        name: span.name,
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        kind: span.kind,
        attributes: texts(span.attributes),
        error: (status.code == StatusCode::Error as i32).then_some(status.message),
        nanoseconds: span.end_time_unix_nano - span.start_time_unix_nano,
    }
}

fn texts(attributes: Vec<KeyValue>) -> HashMap<String, String> {
    let text = |attribute: KeyValue| {
        let value = match attribute.value.and_then(|it| it.value).expect("a value") {
            Value::StringValue(text) => text,
            Value::IntValue(number) => number.to_string(),
            other => panic!("{}: {other:?}", attribute.key),
        };
        (attribute.key, value)
    };
    attributes.into_iter().map(text).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
