//! An HTTP response that continues until one side ends it: its body is the content of the outbound queue.
//!
//! Most bodies end with the connection (RFC 9112 section 6.3), so that all responses of a format share the same
//! bytes, and flushers write them directly to the sockets, as for a WebSocket.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::Full;
use hyper::StatusCode;
use hyper::body::Body;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, TRANSFER_ENCODING};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout};

use super::writer::ConnectionWriter;
use crate::close::Close;
use crate::framing::chunked;
use crate::outbound::Outbound;
use crate::protocol::Format;
use crate::session::{Config, Connection, ConnectionEvent};
use crate::telemetry;

/// Most bytes that a client may send after its request. Nothing is expected there.
const UNEXPECTED_BYTES_MAX: usize = 16 << 10;

/// Makes nginx pass the response on without buffering.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Bytes of one read.
const READ_BYTES: usize = 512;

/// How long the client may take to close its side.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How the client sees that the body is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// By the end of the connection, which is no other than that of one that broke.
    Connection,
    /// By the last chunk. The session's frames are chunks.
    LastChunk,
    /// By the end of the HTTP/2 stream. One that breaks off is reset.
    Stream,
}

/// A connection whose request is being answered.
pub struct Response<S> {
    stream: S,
    writer: ConnectionWriter,
    format: Format,
    body_end: BodyEnd,
    config: Arc<Config>,
    next_heartbeat: Instant,
    /// Bytes that arrived after the request.
    unexpected_bytes: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Response<S> {
    pub fn new(stream: S, format: Format, body_end: BodyEnd, config: &Arc<Config>) -> Self {
        let config = config.clone();
        // Random, so that clients that connected together do not get their heartbeats together.
        let first = config.ping_interval.mul_f64(rand::random_range(0.5..1.0));
        let next_heartbeat = Instant::now() + first;
        Self {
            stream,
            writer: ConnectionWriter::default(),
            format,
            body_end,
            config,
            next_heartbeat,
            unexpected_bytes: 0,
        }
    }

    /// Whether the body breaks off for this reason instead of ending.
    fn breaks_off(&self, close: Close) -> bool {
        self.body_end != BodyEnd::Connection && self.format.breaks_off(close)
    }

    /// The end of a body that does not break off.
    fn last_bytes(&self, close: Close) -> Option<Bytes> {
        let last = self.format.close(close);
        if self.body_end != BodyEnd::LastChunk {
            return last;
        }
        let last = last.map(|last| chunked::chunk(&last)).unwrap_or_default();
        Some([&last[..], chunked::LAST].concat().into())
    }

    /// Reads and drops. Ready: the client has disconnected, or has sent too much.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<Close> {
        loop {
            let mut bytes = [0; READ_BYTES];
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
            let count = buffer.filled().len();
            if read.is_err() || count == 0 {
                return Poll::Ready(Close::Lost);
            }
            telemetry::received_bytes(count);
            self.unexpected_bytes += count;
            if self.unexpected_bytes > UNEXPECTED_BYTES_MAX {
                return Poll::Ready(Close::Protocol(
                    "the client must not send data on this connection",
                ));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection for Response<S> {
    fn poll_event(
        &mut self,
        cx: &mut Context<'_>,
        outbound: &Outbound,
        reading: bool,
    ) -> Poll<ConnectionEvent> {
        if outbound.take_notification() {
            return Poll::Ready(ConnectionEvent::Notified);
        }
        if let Poll::Ready(close) = self.writer.poll_write(&mut self.stream, cx, outbound) {
            return Poll::Ready(ConnectionEvent::End(close));
        }
        if !reading {
            return Poll::Pending;
        }
        self.poll_discard(cx).map(ConnectionEvent::End)
    }

    fn next_heartbeat(&self) -> Instant {
        self.next_heartbeat
    }

    /// The client answers no heartbeat. TCP detects a dead client, which does not acknowledge what is
    /// written.
    fn check_heartbeat(&mut self, now: Instant, _: bool, outbound: &Outbound) -> Option<Close> {
        if now >= self.next_heartbeat {
            self.next_heartbeat = now + self.config.ping_interval;
            if let Some(heartbeat) = self.format.heartbeat() {
                outbound.push_own_or_close(heartbeat);
            }
        }
        None
    }

    async fn close(&mut self, close: Close, _: Option<Bytes>, outbound: &Outbound) {
        if close == Close::Lost {
            return;
        }
        let breaks_off = self.breaks_off(close);
        let last = (!breaks_off).then(|| self.last_bytes(close)).flatten();
        if !self.writer.write_rest(&mut self.stream, close, outbound, last).await {
            return;
        }
        if breaks_off && self.body_end == BodyEnd::Stream {
            // The drop resets the stream.
            return;
        }
        let ending = async {
            let _ = self.stream.shutdown().await;
            // Closing a socket with unread bytes resets it, and the client might lose the end of the
            // response.
            std::future::poll_fn(|cx| self.poll_discard(cx)).await
        };
        // The socket is closed now, whether the client has closed its side or not.
        let _ = timeout(CLOSE_TIMEOUT, ending).await;
    }
}

/// The head of a streamed response: caches do not store it, and proxies do not buffer it.
pub fn accept(
    content_type: &'static str,
    header: Option<(&'static str, &'static str)>,
    is_chunked: bool,
) -> hyper::Response<Full<Bytes>> {
    let mut response = hyper::Response::new(Full::default());
    let headers = response.headers_mut();
    for (name, value) in
        [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store"), (ACCEL_BUFFERING, "no")]
    {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Some((name, value)) = header {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if is_chunked {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    response
}

/// There is nothing to stream; caches do not store that.
pub fn no_content() -> hyper::Response<Full<Bytes>> {
    let mut response = hyper::Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The bytes of the head of a response that hyper does not write. `closes`: the connection ends with the
/// response; if not, the length of a body that has one is in the head.
pub fn head<B: Body>(response: &hyper::Response<B>, closes: bool) -> Bytes {
    let status = response.status();
    let reason = status.canonical_reason().unwrap_or_default();
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
    let mut line = |name: &[u8], value: &[u8]| {
        for piece in [name, b": ", value, b"\r\n"] {
            head.extend_from_slice(piece);
        }
    };
    for (name, value) in response.headers() {
        line(name.as_str().as_bytes(), value.as_bytes());
    }
    match response.body().size_hint().exact() {
        _ if response.headers().contains_key(TRANSFER_ENCODING) => {}
        Some(length) if length > 0 || !closes => {
            line(b"content-length", length.to_string().as_bytes());
        }
        _ => {}
    }
    if closes {
        line(b"connection", b"close");
    }
    line(b"date", httpdate::fmt_http_date(SystemTime::now()).as_bytes());
    head.extend_from_slice(b"\r\n");
    head.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_streamed_response_head_ends_with_an_empty_line_and_contains_connection_close() {
        let head = head(&accept("text/plain", None, false), true);
        let text = str::from_utf8(&head).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"), "{text}");
        assert!(text.contains("\r\nconnection: close\r\ndate: "), "{text}");
        assert!(text.ends_with(" GMT\r\n\r\n"));
    }
}
