//! HTTP on a stream, until one of its requests starts a session that keeps the stream.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::admitted_connection::AdmittedConnection;
use super::http1::{self, HandedOver, Requests, Started};
use super::packet_connection::PacketConnection;
use super::public::Public;
use super::request_deadline::RequestDeadline;
use super::response::{self, Response};
use super::run_session::run_session;
use super::short_request;
use super::stream::ClientStream;
use super::websocket::WebSocket;
use crate::session::Session;
use crate::telemetry;

/// How long closing a connection without a session may take.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// Most bytes that are read and dropped from a client that still sends a body which the node does not read.
const DISCARDED_BYTES_MAX: u64 = 1 << 20;

/// Answers requests until one of them starts a session, which gets a task of its own, so that the memory of
/// the handshake is freed while the connection idles.
pub async fn serve(public: Arc<Public>, stream: impl ClientStream, admitted: AdmittedConnection) {
    let AdmittedConnection { peer, slot, address_slot, accepted, deadline } = admitted;
    let handshake_timeout = public.server.get().handshake_timeout;
    let mut deadline = RequestDeadline::new(deadline, handshake_timeout);
    let (mut stream, mut early) = (stream, Vec::new());
    loop {
        // Boxed, so that the memory of HTTP is freed while a poll waits.
        let requests = Box::pin(http1::answer_requests(&public, stream, early, peer, deadline));
        let started = match requests.await {
            Requests::Session(handed_over) => {
                let HandedOver { stream: its_stream, early: its_early, started } = handed_over;
                (stream, early) = (its_stream, its_early);
                started
            }
            Requests::Answered(stream) => return close(stream).await,
            Requests::Ended => return,
        };
        match started {
            Started::WebSocket(session, request_slot) => {
                let stream = attach(&session, stream, accepted);
                let connection = WebSocket::new(stream, early, session.config());
                let slots = (slot, address_slot.or(request_slot));
                match session.packets() {
                    None => tokio::spawn(run_session(session, connection, slots)),
                    Some(packets) => {
                        let connection = PacketConnection::new(connection, packets);
                        tokio::spawn(run_session(session, connection, slots))
                    }
                };
                return;
            }
            Started::Stream(session, request_slot, head, body_end) => {
                // A client that does not read even the head counts as gone.
                if let Ok(Ok(())) = timeout(handshake_timeout, write(&mut stream, &[&head])).await {
                    let stream = attach(&session, stream, accepted);
                    let (format, config) = (session.format(), session.config());
                    let connection = Response::new(stream, format, body_end, config);
                    let slots = (slot, address_slot.or(request_slot));
                    tokio::spawn(run_session(session, connection, slots));
                }
                return;
            }
            Started::Poll(poll, request_slot, keep_alive) => {
                let answered = poll.wait(Some(&mut stream), &mut early, request_slot).await;
                let Some(response) = answered else { return };
                let writing = Box::pin(write_poll(&public, &mut stream, response, keep_alive));
                match timeout(handshake_timeout, writing).await {
                    Ok(Ok(true)) => {}
                    Ok(Ok(false)) => return close(stream).await,
                    _ => return,
                }
                deadline = RequestDeadline::after_response(handshake_timeout, Instant::now());
            }
        }
    }
}

/// Connects the session to its stream, to which flushers may write from now on.
pub fn attach<S: ClientStream>(session: &Session, stream: S, accepted: Instant) -> S {
    telemetry::connection_opened(session.format(), accepted.elapsed());
    if let Some(wire) = stream.wire() {
        session.attach(wire);
    }
    stream
}

/// Writes the response to a poll. Returns whether the connection stays open.
async fn write_poll(
    public: &Public,
    stream: &mut impl ClientStream,
    mut response: hyper::Response<Full<Bytes>>,
    keep_alive: bool,
) -> std::io::Result<bool> {
    if !keep_alive || public.check_phase().is_err() {
        short_request::close_connection(&mut response);
    }
    let closes = response.headers_mut().remove(hyper::header::CONNECTION).is_some();
    let head = response::head(&response, closes);
    let body = response.into_body().collect().await.unwrap_or_default().to_bytes();
    write(stream, &[&head, &body]).await?;
    Ok(!closes)
}

async fn write(stream: &mut impl ClientStream, parts: &[&[u8]]) -> std::io::Result<()> {
    for part in parts {
        stream.write_all(part).await?;
        telemetry::sent_bytes(part.len());
    }
    stream.flush().await
}

/// Closes a connection whose last response is written. Also sends the TLS `close_notify`.
async fn close(mut stream: impl ClientStream) {
    let closing = async {
        stream.shutdown().await?;
        // Closing a socket with unread bytes resets it, and the client might lose the response.
        tokio::io::copy(&mut stream.take(DISCARDED_BYTES_MAX), &mut tokio::io::sink()).await
    };
    // The outcome does not matter: the connection is closed in any case.
    let _ = timeout(SHUTDOWN_TIMEOUT, closing).await;
}
