//! HTTP on a stream, until one of its requests becomes a session.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};

use super::addresses::Visit;
use super::client::Peer;
use super::converse::converse;
use super::public::Public;
use super::refusal::Refusal;
use super::request::{self, Answer};
use super::stream::Stream;
use super::visitor::Visitor;
use super::websocket::WebSocket;
use crate::session::Session;
use crate::telemetry::{self, Rejected};

/// How long the end of a connection without a session may take.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// Answers requests until one of them becomes a session, which then gets a task of its own: what the
/// handshake needed is given back while the connection idles.
pub async fn serve(public: Arc<Public>, stream: impl Stream, visitor: Visitor) {
    let Visitor { peer, place, visit, accepted, deadline } = visitor;
    let handshake_timeout = public.server.get().handshake_timeout;
    let upgrade: Arc<Mutex<Upgrade>> = Arc::default();
    let service = service_fn(|request: Request<Incoming>| {
        let (public, upgrade) = (public.clone(), upgrade.clone());
        async move {
            let trace = request::begin_trace(&request);
            let admitted = public.admit(peer, request.headers());
            let (answer, visit) = match admitted {
                Ok(visit) => (request::answer(&public, &request, peer).await, visit),
                Err(refusal) => (Answer::Response(refusal.into()), None),
            };
            // Asked afterwards too: a session that has begun by then is among those that are told to go,
            // and one that began later was told by nobody.
            let answer = match public.check_phase() {
                Err(refusal) if matches!(answer, Answer::Session(..)) => {
                    refusal.count(None);
                    Answer::Response(refusal.into())
                }
                _ => answer,
            };
            answer.end_trace(trace);
            let mut upgrade = upgrade.lock().expect("no code panics while it holds the lock");
            upgrade.answered = true;
            Ok::<_, Infallible>(match answer {
                Answer::Response(response) => response,
                Answer::Session(response, session) => {
                    upgrade.session = Some((session, visit));
                    response
                }
            })
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(deadline.saturating_duration_since(Instant::now()))
        .max_buf_size(request::HEAD_BYTES_MAX)
        .max_headers(request::HEAD_LINES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // hyper bounds the reading of a head, not the writing of an answer nobody takes.
    let patience = handshake_timeout * 3;
    let Ok(ended) = timeout(patience, connection.without_shutdown()).await else {
        if !upgrade.lock().expect("the service is done with it").answered {
            telemetry::rejected(Rejected::Handshake, &"no upgrade in time");
        }
        return;
    };
    let upgrade = std::mem::take(&mut *upgrade.lock().expect("the service is done with it"));
    match (ended, upgrade.session) {
        (Ok(parts), Some((session, named))) => {
            telemetry::connection_opened(session.format(), accepted.elapsed());
            let stream = parts.io.into_inner();
            if let Some(wire) = stream.wire() {
                session.attach(wire);
            }
            // What the client sent right behind its request. hyper's buffer is not kept for it.
            let early = parts.read_buf.to_vec();
            let connection = WebSocket::new(stream, early, session.format(), session.config());
            tokio::spawn(converse(session, connection, (place, visit.or(named))));
        }
        (Ok(parts), None) => {
            // Over TLS there is a last word, which nobody may take. Whether the client hears of the end is its own affair.
            let _ = timeout(SHUTDOWN_TIMEOUT, parts.io.into_inner().shutdown()).await;
        }
        (Err(error), _) if !upgrade.answered => {
            telemetry::rejected(Rejected::Handshake, &error);
        }
        (Err(_), _) => {}
    }
}

impl Public {
    /// Counts the client of a request that came through a trusted proxy; others were counted when
    /// they were accepted. Fails while the node drains.
    fn admit(&self, peer: Peer, headers: &HeaderMap) -> Result<Option<Visit>, Refusal> {
        self.check_phase().inspect_err(|refusal| refusal.count(None))?;
        if !peer.is_proxy() {
            return Ok(None);
        }
        let client = peer.client_of(headers, &self.server.get().trusted_proxies);
        self.admission.visit(client).inspect_err(|refusal| refusal.count(Some(client)))
    }
}

/// What became of a connection's requests.
#[derive(Default)]
struct Upgrade {
    session: Option<(Box<Session>, Option<Visit>)>,
    answered: bool,
}
