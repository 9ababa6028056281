//! The listener for operators and other services: health, metrics and the API, on a port of its own
//! that the public need never reach.

mod api;
mod callers;
mod connections;
mod disconnect;
mod drain;
mod explain;
mod readiness;
mod top;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

pub use self::api::BODY_BYTES_MAX as PUBLICATION_BYTES_MAX;
use self::connections::{Connections, Place};
use self::readiness::Readiness;
use crate::auth::Auth;
use crate::drain::Drain;
use crate::hub::Hub;
use crate::lag::Lag;
use crate::listener::{self, Listener};
use crate::live::Live;
use crate::memory::Memory;
use crate::presence::Presence;
use crate::rules::Rules;
use crate::session::Users;
use crate::settings::{ListenAddress, Section, Settings};
use crate::telemetry::{self, Rejected};
use crate::tls;

/// How long a request's head may take to arrive, and so how long a connection may idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// The `[internal]` section.
#[derive(Clone)]
pub struct Config {
    pub listen: ListenAddress,
    pub api_key: Option<String>,
    /// None: callers come without TLS.
    pub tls: Option<tls::Server>,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config").field("listen", &self.listen).finish_non_exhaustive()
    }
}

impl Config {
    pub fn read(settings: &mut Settings) -> Self {
        let mut section = settings.section("internal");
        Self {
            listen: listen(&mut section),
            api_key: api_key(&mut section),
            tls: tls::Server::read(&mut section),
        }
    }
}

/// How a command on the same host reaches the internal listener.
pub struct Entrance {
    pub listen: ListenAddress,
    /// What opens `/api`. None: nothing does, or it is not asked for anything there.
    pub api_key: Option<String>,
    pub tls: Option<tls::Files>,
}

impl Entrance {
    pub fn read(settings: &mut Settings) -> Self {
        let mut section = settings.section("internal");
        Self { listen: listen(&mut section), api_key: None, tls: tls::Files::read(&mut section) }
    }

    pub fn with_api_key(self, settings: &mut Settings) -> Self {
        Self { api_key: api_key(&mut settings.section("internal")), ..self }
    }
}

fn api_key(section: &mut Section<'_>) -> Option<String> {
    section.parsed(
        "api_key",
        None,
        "1 to 255 visible ASCII characters",
        |key| {
            let fits = (1..=255).contains(&key.len());
            (fits && key.bytes().all(|b| b.is_ascii_graphic())).then(|| key.to_owned())
        },
        |_| "***".to_owned(),
        "Requests to `/api` must carry it as `Authorization: Bearer`. Not set: they need none.",
    )
}

fn listen(section: &mut Section<'_>) -> ListenAddress {
    section.address(
        "listen",
        "127.0.0.1:9090",
        "The internal listener: health, metrics, API. Not for the public.",
    )
}

/// What of the node the internal listener answers from.
pub struct Parts {
    pub hub: Hub,
    pub presence: Presence,
    pub users: Users,
    pub auth: Auth,
    pub rules: Rules,
    pub drain: Drain,
    pub memory: Memory,
    pub lag: Lag,
}

/// The internal listener.
pub struct Internal {
    parts: Parts,
    config: Live<Config>,
    connections: Arc<Connections>,
}

type Answer = Response<Full<Bytes>>;

impl Internal {
    pub fn new(config: Live<Config>, parts: Parts) -> Self {
        Self { parts, config, connections: Arc::default() }
    }

    /// What `/readyz` would answer now.
    pub fn is_ready(&self) -> bool {
        Readiness::of(&self.parts).is_ready()
    }

    /// Accepts for ever.
    pub async fn serve(self: Arc<Self>, listener: Listener) -> Infallible {
        listener::accept(listener, |stream, peer| {
            match self.connections.enter(peer.ip(), Instant::now()) {
                Some(place) => _ = tokio::spawn(self.clone().connection(stream, place)),
                None => telemetry::rejected(
                    Rejected::InternalConnections,
                    &"the internal listener answers as many as it may",
                ),
            }
        })
        .await
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, place: Place) {
        tokio::select! {
            () = place.told_to_leave() => {}
            () = self.speak(stream, &place) => {}
        }
    }

    async fn speak(&self, stream: TcpStream, place: &Place) {
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

    async fn serve_on(&self, stream: impl AsyncRead + AsyncWrite + Unpin, place: &Place) {
        let service = service_fn(async |request| {
            if !place.begins() {
                // The connection is closed in a moment: what is not begun may be asked again elsewhere.
                std::future::pending::<()>().await;
            }
            let answer = self.answer(request).await;
            place.waits(Instant::now());
            Ok::<_, Infallible>(answer)
        });
        // How a caller's connection ends is the caller's affair.
        let _ = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
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
                "there are /healthz, /readyz, /metrics, /api/publish/{channel}, /api/channels, \
                 /api/top, /api/presence/{channel}, /api/explain, /api/disconnect and /api/drain",
            ),
        }
    }

    /// The answer to who may not ask `/api`.
    fn refusal(&self, request: &Request<Incoming>) -> Option<Answer> {
        let config = self.config.get();
        match &config.api_key {
            Some(key) if api::carries_key(request.headers(), key) => None,
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

    fn metrics(&self) -> Answer {
        // What is looked at when somebody asks is as it is now.
        Readiness::of(&self.parts).measure();
        let text = telemetry::exposition(self.parts.hub.registry().levels());
        let mut response = Response::new(Full::from(text));
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }
}

fn object(status: StatusCode, body: &Value) -> Answer {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn error(status: StatusCode, code: &str, message: &str) -> Answer {
    object(status, &json!({"error": {"code": code, "message": message}}))
}

fn not_allowed(allowed: &'static str) -> Answer {
    let message = format!("allowed here: {allowed}");
    let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &message);
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}
