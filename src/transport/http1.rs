//! The requests of an HTTP/1.1 connection, which hyper reads and answers until one of them starts a session.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, TRANSFER_ENCODING};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep_until};

use super::addresses::AddressSlot;
use super::admitted_request;
use super::client::Peer;
use super::http_stream::HttpStream;
use super::poll::PendingPoll;
use super::public::Public;
use super::request;
use super::request_body::RequestBody;
use super::request_deadline::RequestDeadline;
use super::request_outcome::RequestOutcome;
use super::response::{self, BodyEnd};
use super::routed_request::HEAD_BYTES_MAX;
use super::stream::ClientStream;
use crate::session::Session;
use crate::telemetry::{self, Rejected};

/// How the requests of a connection have ended.
pub enum Requests<S> {
    /// A session has got the connection.
    Session(HandedOver<S>),
    /// The last response is written, and the connection is to be closed.
    Answered(S),
    /// The connection is broken, or the client has sent no request in time.
    Ended,
}

/// A connection that a session has got.
pub struct HandedOver<S> {
    pub stream: S,
    /// Bytes that the client sent after the request.
    pub early: Vec<u8>,
    pub started: Started,
}

/// The session that a request has started. The slot counts its client; None: its client was counted when the
/// connection was accepted.
pub enum Started {
    WebSocket(Box<Session>, Option<AddressSlot>),
    /// With the head of the response, because the session's frames are the body, and how that ends.
    Stream(Box<Session>, Option<AddressSlot>, Bytes, BodyEnd),
    /// And whether the connection stays open after the response.
    Poll(PendingPoll, Option<AddressSlot>, bool),
}

/// Answers requests until one of them starts a session. `early`: bytes that the client has sent already.
pub async fn answer_requests<S: ClientStream>(
    public: &Arc<Public>,
    stream: S,
    early: Vec<u8>,
    peer: Peer,
    deadline: RequestDeadline,
) -> Requests<S> {
    let deadline = Arc::new(deadline);
    let started: Arc<Mutex<Option<Started>>> = Arc::default();
    let service = service_fn(|request: Request<Incoming>| {
        let (public, started, deadline) = (public.clone(), started.clone(), deadline.clone());
        // Boxed, so that the connection can be taken apart whatever the state of the request.
        Box::pin(async move {
            deadline.request_began();
            let keep_alive = keeps_alive(&request);
            let request = request.map(RequestBody::Http1);
            let admit = |request: &Request<()>| public.admit_request(peer, request);
            let (outcome, slot) = admitted_request::answer(&public, request, peer, admit).await;
            let slot = slot.flatten();
            let is_refused = matches!(&outcome, RequestOutcome::Response(response)
                if !response.status().is_success());
            deadline.request_answered(!is_refused, Instant::now());
            let (response, session) = split(outcome, slot, keep_alive);
            *started.lock().unwrap_or_else(PoisonError::into_inner) = session;
            response
        })
    });
    let mut connection = http1::Builder::new()
        // The deadline does this, and more.
        .header_read_timeout(None)
        // A client may end its side behind its last request, and still gets the answer.
        .half_close(true)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(request::HEAD_LINES_MAX)
        .serve_connection(TokioIo::new(HttpStream::new(stream, early, deadline.clone())), service);
    let ended = serve_until(|cx| connection.poll_without_shutdown(cx), &deadline).await;
    let parts = connection.into_parts();
    let http_stream = parts.io.into_inner();
    let is_blocked = http_stream.is_blocked();
    let (stream, rest) = http_stream.into_parts();
    let started = started.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (ended, started) {
        // An earlier response is not written completely, so that nothing may be written behind it.
        (_, Some(Started::Stream(..) | Started::Poll(..))) if is_blocked => Requests::Ended,
        (Some(_), Some(started)) => {
            // Copied, so that hyper's buffer is freed.
            let early = [&parts.read_buf[..], &rest].concat();
            Requests::Session(HandedOver { stream, early, started })
        }
        (Some(Ok(())), None) => Requests::Answered(stream),
        (ended, _) => {
            match &ended {
                _ if deadline.has_answered() => {}
                Some(Err(error)) => telemetry::rejected(Rejected::Handshake, error),
                _ => telemetry::rejected(Rejected::Handshake, &"no request in time"),
            }
            match ended {
                // hyper has answered 400 or 431.
                Some(Err(error)) if error.is_parse() => Requests::Answered(stream),
                _ => Requests::Ended,
            }
        }
    }
}

/// The response that hyper writes, and the session that gets the connection.
fn split(
    outcome: RequestOutcome,
    slot: Option<AddressSlot>,
    keep_alive: bool,
) -> (Result<Response<Full<Bytes>>, ConnectionTaken>, Option<Started>) {
    match outcome {
        RequestOutcome::Response(response) => (Ok(response), None),
        RequestOutcome::Session(response, session) => {
            (Ok(response), Some(Started::WebSocket(session, slot)))
        }
        RequestOutcome::Stream(response, session) => {
            let body_end = match response.headers().contains_key(TRANSFER_ENCODING) {
                true => BodyEnd::LastChunk,
                false => BodyEnd::Connection,
            };
            // Some clients take a body behind `Connection: close` for complete, whatever its chunks say.
            let head = response::head(&response, body_end == BodyEnd::Connection);
            (Err(ConnectionTaken), Some(Started::Stream(session, slot, head, body_end)))
        }
        RequestOutcome::Poll(poll) => {
            (Err(ConnectionTaken), Some(Started::Poll(poll, slot, keep_alive)))
        }
    }
}

/// Polls the connection until it ends. None: its deadline has passed.
async fn serve_until<T>(
    mut poll_connection: impl FnMut(&mut Context<'_>) -> Poll<T>,
    deadline: &RequestDeadline,
) -> Option<T> {
    let mut timer = pin!(sleep_until(Instant::now()));
    poll_fn(|cx| {
        if let Poll::Ready(ended) = poll_connection(cx) {
            return Poll::Ready(Some(ended));
        }
        let Some(at) = deadline.at() else { return Poll::Pending };
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        timer.as_mut().poll(cx).map(|()| None)
    })
    .await
}

/// Whether the client expects the connection to stay open after the response (RFC 9112 section 9.3).
fn keeps_alive<B>(request: &Request<B>) -> bool {
    let values = request.headers().get_all(CONNECTION).iter();
    let mut tokens = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let closes = tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"));
    request.version() >= Version::HTTP_11 && !closes
}

/// Ends hyper's use of a connection without a response from hyper.
#[derive(Debug, thiserror::Error)]
#[error("the connection belongs to a session")]
struct ConnectionTaken;
