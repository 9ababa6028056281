//! The internal listener, for operators and other services: health, metrics, the API and a page that shows them, on a
//! separate port that need not be public.

mod answer;
mod api;
mod callers;
mod channel;
mod channels;
mod config;
mod connections;
mod disconnect;
mod drain;
mod explain;
mod members;
mod page;
mod parts;
mod publish;
mod readiness;
mod runs;
mod top;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

use self::answer::{ApiResponse, error, not_allowed, object};
pub use self::config::{ApiEndpoint, Config};
use self::connections::{ListenerConnections, ListenerSlot};
pub use self::parts::InternalState;
pub use self::publish::BODY_BYTES_MAX as PUBLICATION_BYTES_MAX;
use self::readiness::Readiness;
use crate::listener::{self, Listener};
use crate::live::Live;
use crate::telemetry::{self, Rejected};

/// How long a request's head may take to arrive, and so how long a connection may be idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// The internal listener.
pub struct Internal {
    parts: InternalState,
    config: Live<Config>,
    connections: Arc<ListenerConnections>,
}

impl Internal {
    pub fn new(config: Live<Config>, parts: InternalState) -> Self {
        Self { parts, config, connections: Arc::default() }
    }

    /// Whether `/readyz` would now answer 200.
    pub fn is_ready(&self) -> bool {
        Readiness::of(&self.parts).is_ready()
    }

    /// Accepts connections for ever.
    pub async fn serve(self: Arc<Self>, listener: Listener) -> Infallible {
        listener::accept(listener, |stream, peer| {
            match self.connections.enter(peer.ip(), Instant::now()) {
                Some(place) => _ = tokio::spawn(self.clone().connection(stream, place)),
                None => telemetry::rejected(
                    Rejected::InternalConnections,
                    &"the internal listener has its maximum number of connections",
                ),
            }
        })
        .await
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, place: ListenerSlot) {
        tokio::select! {
            () = place.close_requested() => {}
            () = self.serve_stream(stream, &place) => {}
        }
    }

    async fn serve_stream(&self, stream: TcpStream, place: &ListenerSlot) {
        let tls = self.config.get().tls.clone();
        match tls {
            None => self.serve_on(stream, place).await,
            Some(tls) => {
                if let Some(stream) = tls.accept(stream, HEADER_TIMEOUT).await {
                    self.serve_on(stream, place).await;
                }
            }
        }
    }

    async fn serve_on(&self, stream: impl AsyncRead + AsyncWrite + Unpin, place: &ListenerSlot) {
        let service = service_fn(async |request| {
            if !place.begins() {
                // The connection is about to be closed; the caller may retry a request that was not started.
                std::future::pending::<()>().await;
            }
            let answer = self.answer(request).await;
            place.waits(Instant::now());
            Ok::<_, Infallible>(answer)
        });
        // An error of the caller's connection needs no action.
        let _ = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn answer(&self, request: Request<Incoming>) -> ApiResponse {
        if let Some(answer) = page::answer(request.uri().path(), request.method()) {
            return answer;
        }
        match (request.uri().path(), request.method()) {
            ("/healthz", &Method::GET | &Method::HEAD) => {
                object(StatusCode::OK, &json!({"alive": true}))
            }
            ("/readyz", &Method::GET | &Method::HEAD) => Readiness::of(&self.parts).answer(),
            ("/metrics", &Method::GET | &Method::HEAD) => self.metrics(),
            ("/healthz" | "/readyz" | "/metrics", _) => not_allowed("GET, HEAD"),
            (path, _) if path.starts_with("/api/") => {
                if let Some(refusal) = self.refusal(&request) {
                    return refusal;
                }
                api::answer(&self.parts, request).await
            }
            _ => error(
                StatusCode::NOT_FOUND,
                "not_found",
                "there are / (a page for operators), /healthz, /readyz, /metrics, /api/publish/{channel}, /api/end/{channel}, \
                 /api/renew/{channel}, /api/channels, /api/top, /api/presence/{channel}, /api/explain, /api/disconnect and \
                 /api/drain; clients connect to the public listener (server.listen)",
            ),
        }
    }

    /// The answer for a caller that may not use `/api`.
    fn refusal(&self, request: &Request<Incoming>) -> Option<ApiResponse> {
        let config = self.config.get();
        match &config.api_key {
            Some(key) if callers::has_key(request.headers(), key) => None,
            Some(_) => {
                telemetry::rejected(Rejected::ApiKey, &"missing or wrong internal.api_key");
                let message = "Authorization: Bearer must carry internal.api_key";
                Some(error(StatusCode::UNAUTHORIZED, "unauthorized", message))
            }
            None => callers::check(request.headers(), config.listen).err().map(|why| {
                telemetry::rejected(Rejected::Origin, &why);
                error(StatusCode::FORBIDDEN, "forbidden", why)
            }),
        }
    }

    fn metrics(&self) -> ApiResponse {
        // These gauges are measured when metrics are requested.
        Readiness::of(&self.parts).measure();
        let text = telemetry::exposition(self.parts.hub.registry().levels());
        let mut response = Response::new(Full::from(text));
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }
}
