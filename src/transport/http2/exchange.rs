//! A request on a stream of HTTP/2, and its response or session.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, DATE, HOST, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use hyper::{HeaderMap, Method, Request, Response};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, timeout};

use super::connection::{Http2Connection, RunningStream};
use super::session_stream::SessionStream;
use super::stream::{Http2Stream, InputEnd, poll_room};
use crate::session::Session;
use crate::telemetry;
use crate::transport::admitted_request;
use crate::transport::http::attach;
use crate::transport::packet_connection::PacketConnection;
use crate::transport::request;
use crate::transport::request_body::{Http2Body, RequestBody};
use crate::transport::request_outcome::RequestOutcome;
use crate::transport::response::{BodyEnd, Response as StreamedResponse};
use crate::transport::run_session::run_session;
use crate::transport::websocket::WebSocket;

/// How long a client that still sends a body has for reading the response that refuses it.
const REFUSED_TIMEOUT: Duration = Duration::from_secs(1);

/// What a response depends on.
#[derive(Clone, Copy)]
struct RequestKind {
    is_head: bool,
    has_body: bool,
}

/// Answers a request. A session that it starts gets a task of its own, so that the memory of the handshake is
/// freed.
pub async fn run(
    mut running: RunningStream,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let began = Instant::now();
    let connection = running.connection().clone();
    let kind = RequestKind {
        is_head: request.method() == Method::HEAD,
        has_body: !request.body().is_end_stream(),
    };
    let (request, receive) = read_later(request);
    // Boxed, so that its memory is freed while a poll waits.
    let answering = Box::pin(async {
        let admit = |request: &Request<()>| running.admit(request);
        admitted_request::answer(connection.public(), request, connection.peer(), admit).await.0
    });
    let answered = tokio::select! {
        biased;
        // Also ready when the connection has ended.
        _ = poll_fn(|cx| respond.poll_reset(cx)) => return connection.count_reset(),
        answered = answering => answered,
    };
    match (answered, receive) {
        (RequestOutcome::Response(response), _) => {
            write(&connection, respond, response, kind).await;
        }
        (RequestOutcome::Session(response, session), Some(receive)) => {
            let stream = begin_stream(respond, response, receive, InputEnd::EndStream);
            if let Some(stream) = stream {
                let stream = attach(&session, stream, began);
                let socket = WebSocket::new(stream, Vec::new(), session.config());
                match session.packets() {
                    None => start(session, socket, running),
                    Some(packets) => {
                        start(session, PacketConnection::new(socket, packets), running);
                    }
                }
            }
        }
        (RequestOutcome::Stream(response, session), Some(receive)) => {
            if let Some(stream) = begin_stream(respond, response, receive, InputEnd::Reset) {
                let stream = attach(&session, stream, began);
                let (format, config) = (session.format(), session.config());
                let response = StreamedResponse::new(stream, format, BodyEnd::Stream, config);
                start(session, response, running);
            }
        }
        (RequestOutcome::Poll(poll), _) => {
            let mut until_reset = UntilReset(&mut respond);
            let counted = telemetry::http2_session_started(poll.session().format());
            let slots = (counted, running);
            let answered = poll.wait(Some(&mut until_reset), &mut Vec::new(), slots).await;
            let Some(response) = answered else { return };
            if response.headers().contains_key(CONNECTION) {
                connection.leave();
            }
            write(&connection, respond, response, kind).await;
        }
        // A session on a path that starts none, which does not happen.
        _ => respond.send_reset(Reason::INTERNAL_ERROR),
    }
}

/// Names the host as HTTP/1.1 does (RFC 9113 section 8.3.1), and takes the stream out of a request whose session
/// reads it.
fn read_later(request: Request<RecvStream>) -> (Request<RequestBody>, Option<RecvStream>) {
    let takes_stream = request::takes_stream(&request);
    let (mut parts, receive) = request.into_parts();
    let authority = parts.uri.authority().and_then(|it| HeaderValue::try_from(it.as_str()).ok());
    if let Some(authority) = authority {
        parts.headers.insert(HOST, authority);
    }
    if takes_stream {
        return (Request::from_parts(parts, RequestBody::OfSession), Some(receive));
    }
    let body = Http2Body::new(receive, &parts.headers);
    (Request::from_parts(parts, RequestBody::Http2(body)), None)
}

/// A stream without content that ends when the client resets its request or disconnects.
struct UntilReset<'a>(&'a mut SendResponse<Bytes>);

impl AsyncRead for UntilReset<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.poll_reset(cx).map(|_| Ok(()))
    }
}

/// Sends the head of a response whose body is a session's. None: the client has reset the stream.
fn begin_stream(
    mut respond: SendResponse<Bytes>,
    response: Response<Full<Bytes>>,
    receive: RecvStream,
    input_end: InputEnd,
) -> Option<Http2Stream> {
    let mut head = response.map(drop);
    adapt(head.headers_mut(), None);
    let send = respond.send_response(head, false).ok()?;
    Some(Http2Stream::new(send, receive, input_end))
}

/// Runs the session in a task of its own.
fn start(
    session: Box<Session>,
    stream: impl crate::session::Connection + 'static,
    running: RunningStream,
) {
    let stream = SessionStream::new(stream, running.connection().clone());
    let counted = telemetry::http2_session_started(session.format());
    tokio::spawn(run_session(session, stream, (counted, running)));
}

/// Sends a whole response, as long as the client takes some of it within each `server.handshake_timeout`.
async fn write(
    connection: &Http2Connection,
    respond: SendResponse<Bytes>,
    response: Response<Full<Bytes>>,
    kind: RequestKind,
) {
    let time_limit = connection.public().server.get().handshake_timeout;
    // Otherwise the client has gone, or is too slow. The stream is reset.
    let _ = try_write(respond, response, kind, time_limit).await;
}

async fn try_write(
    mut respond: SendResponse<Bytes>,
    response: Response<Full<Bytes>>,
    kind: RequestKind,
    time_limit: Duration,
) -> io::Result<()> {
    let is_refused = !response.status().is_success();
    let (mut parts, mut body) = response.into_parts();
    let length = body.size_hint().exact();
    adapt(&mut parts.headers, length);
    let is_empty = kind.is_head || length == Some(0);
    let sent = respond.send_response(Response::from_parts(parts, ()), is_empty);
    let mut sending = Sending { send: sent.map_err(io::Error::other)?, is_complete: is_empty };
    if is_empty {
        return Ok(());
    }
    while let Some(frame) = body.frame().await {
        let Ok(mut bytes) = frame.map_err(io::Error::other)?.into_data() else { continue };
        while !bytes.is_empty() {
            let room = poll_fn(|cx| poll_room(&mut sending.send, cx, bytes.len()));
            let piece = bytes.split_to(timeout(time_limit, room).await??);
            sending.send.send_data(piece, false).map_err(io::Error::other)?;
        }
    }
    sending.is_complete = true;
    sending.send.send_data(Bytes::new(), true).map_err(io::Error::other)?;
    if kind.has_body && is_refused {
        // A client that still sends the body may not read the response once the stream is reset.
        let _ = timeout(REFUSED_TIMEOUT, poll_fn(|cx| sending.send.poll_reset(cx))).await;
    }
    Ok(())
}

/// A body that is being sent. Dropped before it is complete, the stream is reset, and the client's flow control
/// cannot delay that.
struct Sending {
    send: SendStream<Bytes>,
    is_complete: bool,
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.is_complete {
            self.send.send_reset(Reason::CANCEL);
        }
    }
}

/// Makes the headers those of HTTP/2: without those of a connection (RFC 9113 section 8.2.2), and with those that
/// hyper adds on HTTP/1.1.
pub fn adapt(headers: &mut HeaderMap, length: Option<u64>) {
    for name in [CONNECTION, UPGRADE, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    if let Some(length) = length.filter(|length| *length > 0) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now())) {
        headers.insert(DATE, date);
    }
}
