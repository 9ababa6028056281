//! HTTP on a stream, until one of its requests becomes a session.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};

use super::addresses::AddressSlot;
use super::admitted_connection::AdmittedConnection;
use super::client::Peer;
use super::connection_refusal::ConnectionRefusal;
use super::public::Public;
use super::request::{self, RequestOutcome};
use super::response::{self, Response};
use super::run_session::run_session;
use super::stream::ClientStream;
use super::websocket::WebSocket;
use crate::session::Session;
use crate::telemetry::{self, Rejected};

/// How long the end of a connection without a session may take.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// Answers requests until one of them becomes a session, which then gets a task of its own: what the
/// handshake needed is given back while the connection idles.
pub async fn serve(public: Arc<Public>, stream: impl ClientStream, visitor: AdmittedConnection) {
    let AdmittedConnection { peer, place, visit, accepted, deadline } = visitor;
    let handshake_timeout = public.server.get().handshake_timeout;
    let upgrade: Arc<Mutex<Upgrade>> = Arc::default();
    let service = service_fn(|request: Request<Incoming>| {
        let (public, upgrade) = (public.clone(), upgrade.clone());
        // In a box, so that the connection can be taken apart whatever becomes of the request.
        Box::pin(async move {
            let (answer, visit) = answer(&public, &request, peer).await;
            let mut upgrade = upgrade.lock().expect("no code panics while it holds the lock");
            upgrade.answered = true;
            match answer {
                RequestOutcome::Response(response) => Ok(response),
                RequestOutcome::Session(response, session) => {
                    upgrade.begun = Some(StartedSession { session, visit, head: None });
                    Ok(response)
                }
                RequestOutcome::Stream(response, session) => {
                    let head = Some(response::head(&response));
                    upgrade.begun = Some(StartedSession { session, visit, head });
                    Err(HandedOver)
                }
            }
        })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(deadline.saturating_duration_since(Instant::now()))
        .max_buf_size(request::HEAD_BYTES_MAX)
        .max_headers(request::HEAD_LINES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // hyper bounds the reading of a head, not the writing of an answer nobody takes.
    let patience = handshake_timeout * 3;
    let serving = poll_fn(|cx| connection.poll_without_shutdown(cx));
    let Ok(ended) = timeout(patience, serving).await else {
        if !upgrade.lock().expect("the service is done with it").answered {
            telemetry::rejected(Rejected::Handshake, &"no upgrade in time");
        }
        return;
    };
    let parts = connection.into_parts();
    let upgrade = std::mem::take(&mut *upgrade.lock().expect("the service is done with it"));
    match (ended, upgrade.begun) {
        (Ok(()), Some(begun)) => {
            // What the client sent right behind its request. hyper's buffer is not kept for it.
            let early = parts.read_buf.to_vec();
            let StartedSession { session, visit: named, .. } = begun;
            let stream = attach(&session, parts.io.into_inner(), accepted);
            let connection = WebSocket::new(stream, early, session.format(), session.config());
            tokio::spawn(run_session(session, connection, (place, visit.or(named))));
        }
        (Err(_), Some(StartedSession { session, visit: named, head: Some(head) })) => {
            let mut stream = parts.io.into_inner();
            // A client that does not take so little is gone.
            if let Ok(Ok(())) = timeout(handshake_timeout, write(&mut stream, &head)).await {
                let stream = attach(&session, stream, accepted);
                let connection = Response::new(stream, session.format(), session.config());
                tokio::spawn(run_session(session, connection, (place, visit.or(named))));
            }
        }
        (Ok(()), None) => {
            // Over TLS there is a last word, which nobody may take. Whether the client hears of the end is its own affair.
            let _ = timeout(SHUTDOWN_TIMEOUT, parts.io.into_inner().shutdown()).await;
        }
        (Err(error), _) if !upgrade.answered => {
            telemetry::rejected(Rejected::Handshake, &error);
        }
        (Err(_), _) => {}
    }
}

/// Answers one request, and counts its client for as long as the session lasts that it begins.
async fn answer(
    public: &Public,
    request: &Request<Incoming>,
    peer: Peer,
) -> (RequestOutcome, Option<AddressSlot>) {
    let trace = request::begin_trace(request);
    let admitted = public.admit(peer, request.headers());
    let (answer, visit) = match admitted {
        Ok(visit) => (request::answer(public, request, peer).await, visit),
        Err(refusal) => (RequestOutcome::Response(refusal.into()), None),
    };
    // Asked afterwards too: a session that has begun by then is among those that are told to go,
    // and one that began later was told by nobody.
    let answer = match public.check_phase() {
        Err(refusal) if answer.session().is_some() => {
            refusal.count(None);
            RequestOutcome::Response(refusal.into())
        }
        _ => answer,
    };
    answer.end_trace(trace);
    (answer, visit)
}

/// From here on the session is its connection's, and flushers may write to it.
fn attach<S: ClientStream>(session: &Session, stream: S, accepted: Instant) -> S {
    telemetry::connection_opened(session.format(), accepted.elapsed());
    if let Some(wire) = stream.wire() {
        session.attach(wire);
    }
    stream
}

async fn write(stream: &mut impl ClientStream, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await?;
    telemetry::sent_bytes(bytes.len());
    Ok(())
}

impl Public {
    /// Counts the client of a request that came through a trusted proxy; others were counted when
    /// they were accepted. Fails while the node drains.
    fn admit(
        &self,
        peer: Peer,
        headers: &HeaderMap,
    ) -> Result<Option<AddressSlot>, ConnectionRefusal> {
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
    begun: Option<StartedSession>,
    answered: bool,
}

/// A session that has the connection next.
struct StartedSession {
    session: Box<Session>,
    /// None: its client was counted when the connection was accepted.
    visit: Option<AddressSlot>,
    /// The answer's head where hyper does not write it, as the session's own bytes are its body.
    head: Option<Bytes>,
}

/// Ends hyper's part in a connection without an answer of its.
#[derive(Debug, thiserror::Error)]
#[error("the connection belongs to a session")]
struct HandedOver;
