//! HTTP on a stream, until one of its requests starts a session.

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
use super::request_body::RequestBody;
use super::response::{self, Response};
use super::run_session::run_session;
use super::stream::ClientStream;
use super::websocket::WebSocket;
use crate::session::Session;
use crate::telemetry::{self, Rejected};

/// How long closing a connection without a session may take.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// Answers requests until one of them starts a session, which gets a task of its own, so that the memory of
/// the handshake is freed while the connection idles.
pub async fn serve(public: Arc<Public>, stream: impl ClientStream, admitted: AdmittedConnection) {
    let AdmittedConnection { peer, slot, address_slot, accepted, deadline } = admitted;
    let handshake_timeout = public.server.get().handshake_timeout;
    let upgrade: Arc<Mutex<Upgrade>> = Arc::default();
    let service = service_fn(|request: Request<Incoming>| {
        let (public, upgrade) = (public.clone(), upgrade.clone());
        let request = request.map(RequestBody::Http1);
        // Boxed, so that the connection can be taken apart whatever the state of the request.
        Box::pin(async move {
            let (answer, address_slot) = answer(&public, &request, peer).await;
            let mut upgrade = upgrade.lock().expect("no code panics while it holds the lock");
            upgrade.answered = true;
            match answer {
                RequestOutcome::Response(response) => Ok(response),
                RequestOutcome::Session(response, session) => {
                    upgrade.session = Some(StartedSession { session, address_slot, head: None });
                    Ok(response)
                }
                RequestOutcome::Stream(response, session) => {
                    let head = Some(response::head(&response));
                    upgrade.session = Some(StartedSession { session, address_slot, head });
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
    // hyper bounds the reading of a request head, not the writing of a response that the client does not
    // read.
    let time_limit = handshake_timeout * 3;
    let serving = poll_fn(|cx| connection.poll_without_shutdown(cx));
    let Ok(ended) = timeout(time_limit, serving).await else {
        if !upgrade.lock().expect("the service is done with it").answered {
            telemetry::rejected(Rejected::Handshake, &"no upgrade in time");
        }
        return;
    };
    let parts = connection.into_parts();
    let upgrade = std::mem::take(&mut *upgrade.lock().expect("the service is done with it"));
    match (ended, upgrade.session) {
        (Ok(()), Some(started)) => {
            // Bytes that the client sent directly after its request. Copied, so that hyper's buffer is freed.
            let early = parts.read_buf.to_vec();
            let StartedSession { session, address_slot: request_slot, .. } = started;
            let stream = attach(&session, parts.io.into_inner(), accepted);
            let connection = WebSocket::new(stream, early, session.format(), session.config());
            tokio::spawn(run_session(session, connection, (slot, address_slot.or(request_slot))));
        }
        (
            Err(_),
            Some(StartedSession { session, address_slot: request_slot, head: Some(head) }),
        ) => {
            let mut stream = parts.io.into_inner();
            // A client that does not read even the head counts as gone.
            if let Ok(Ok(())) = timeout(handshake_timeout, write(&mut stream, &head)).await {
                let stream = attach(&session, stream, accepted);
                let connection = Response::new(stream, session.format(), session.config());
                tokio::spawn(run_session(
                    session,
                    connection,
                    (slot, address_slot.or(request_slot)),
                ));
            }
        }
        (Ok(()), None) => {
            // Sends the TLS `close_notify`. The outcome does not matter: the connection is closed in any
            // case.
            let _ = timeout(SHUTDOWN_TIMEOUT, parts.io.into_inner().shutdown()).await;
        }
        (Err(error), _) if !upgrade.answered => {
            telemetry::rejected(Rejected::Handshake, &error);
        }
        (Err(_), _) => {}
    }
}

/// Answers one request. The returned slot counts its client for as long as its session lasts.
async fn answer(
    public: &Public,
    request: &Request<RequestBody>,
    peer: Peer,
) -> (RequestOutcome, Option<AddressSlot>) {
    let trace = request::begin_trace(request);
    let admitted = public.admit_request(peer, request.headers());
    let (answer, address_slot) = match admitted {
        Ok(address_slot) => (request::answer(public, request, peer).await, address_slot),
        Err(refusal) => (RequestOutcome::Response(refusal.into()), None),
    };
    // Checked again: a session that started before the drain began is among those that the drain closes, but
    // one that started after it is not.
    let answer = match public.check_phase() {
        Err(refusal) if answer.session().is_some() => {
            refusal.count(None);
            RequestOutcome::Response(refusal.into())
        }
        _ => answer,
    };
    answer.end_trace(trace);
    (answer, address_slot)
}

/// Connects the session to its stream, to which flushers may write from now on.
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
    /// Counts the client of a request that came through a trusted proxy; other clients were counted when
    /// their connection was accepted. Fails while the node drains.
    fn admit_request(
        &self,
        peer: Peer,
        headers: &HeaderMap,
    ) -> Result<Option<AddressSlot>, ConnectionRefusal> {
        self.check_phase().inspect_err(|refusal| refusal.count(None))?;
        if !peer.is_proxy() {
            return Ok(None);
        }
        let client = peer.client_of(headers, &self.server.get().trusted_proxies);
        self.admission.admit_client(client).inspect_err(|refusal| refusal.count(Some(client)))
    }
}

/// The result of a connection's requests.
#[derive(Default)]
struct Upgrade {
    session: Option<StartedSession>,
    answered: bool,
}

/// A session that takes the connection over.
struct StartedSession {
    session: Box<Session>,
    /// None: its client was counted when the connection was accepted.
    address_slot: Option<AddressSlot>,
    /// The response's head if hyper does not write it, because the session's frames are the body.
    head: Option<Bytes>,
}

/// Ends hyper's use of a connection without a response from hyper.
#[derive(Debug, thiserror::Error)]
#[error("the connection belongs to a session")]
struct HandedOver;
