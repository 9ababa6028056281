//! HTTP/2 on a connection: each of its streams is a request, and may become a session.
//!
//! Uses the `h2` crate directly. hyper's server would add a task and a channel to each stream that a session
//! takes over.

mod connection;
mod exchange;
mod preface;
mod refusal;
mod session_stream;
mod stream;
mod watched;

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use h2::server::{self, Builder, SendResponse};
use h2::{Ping, PingPong, Reason, RecvStream};
use hyper::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout_at};

use self::connection::{Http2Connection, Liveness};
pub use self::preface::is_next as preface_is_next;
pub use self::refusal::refuse;
use self::stream::SEND_BUFFER_BYTES_MAX;
use self::watched::WatchedStream;
use super::admitted_connection::AdmittedConnection;
use super::heartbeat::{Beat, Heartbeat};
use super::public::Public;
use super::request::HEAD_LINES_MAX;
use super::routed_request::HEAD_BYTES_MAX;
use super::stream::ClientStream;
use crate::telemetry::{self, Rejected};

/// Bytes that HTTP/2 counts for each header besides its name and value (RFC 9113 section 6.5.2).
const HEADER_OVERHEAD: usize = 32;

/// Most bytes of a request's headers as HTTP/2 counts them; a longer one is answered with 431.
const HEADER_LIST_BYTES_MAX: usize = HEAD_BYTES_MAX + HEAD_LINES_MAX * HEADER_OVERHEAD;

/// Most bytes that a client may send on a stream before its session reads them.
const STREAM_WINDOW: u32 = 32 << 10;

/// The same for all streams of a connection: at most so much, and otherwise enough for all streams, so that
/// sessions that do not read at the moment do not block the others.
const CONNECTION_WINDOW_MAX: u32 = 16 << 20;

/// Most streams that the client has reset before the node has seen their requests. One more closes the
/// connection (CVE-2023-44487).
const PENDING_RESETS_MAX: usize = 20;

/// Most streams that the node may have to reset because of the client's errors. One more closes the connection
/// (CVE-2025-8671).
const ERROR_RESETS_MAX: usize = 128;

/// Serves a connection that begins with the preface of HTTP/2 (RFC 9113 section 3.4), until one side ends it.
pub async fn serve(public: Arc<Public>, stream: impl ClientStream, admitted: AdmittedConnection) {
    let deadline = admitted.deadline;
    let builder = builder(public.server.get().http2_streams_max);
    let connection = Http2Connection::new(public, admitted);
    let stream = WatchedStream::new(stream, connection.clone());
    match timeout_at(deadline, builder.handshake(stream)).await {
        Ok(Ok(h2)) => {
            let _open = telemetry::http2_connection_opened();
            run(h2, connection).await;
        }
        Ok(Err(error)) => telemetry::rejected(Rejected::Handshake, &error),
        Err(_) => telemetry::rejected(Rejected::Handshake, &"no HTTP/2 preface in time"),
    }
}

fn builder(streams_max: usize) -> Builder {
    let streams_max = u32::try_from(streams_max).unwrap_or(u32::MAX);
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(streams_max)
        .max_header_list_size(HEADER_LIST_BYTES_MAX as u32)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(
            STREAM_WINDOW.saturating_mul(streams_max).min(CONNECTION_WINDOW_MAX),
        )
        .max_send_buffer_size(SEND_BUFFER_BYTES_MAX)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(Some(ERROR_RESETS_MAX))
        .enable_connect_protocol();
    builder
}

/// Inputs: what the client sends; the node's drain, or a session that its client is to continue on another
/// node; the answer to a ping; the timer. Each arm is cancel safe.
async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    mut h2: server::Connection<S, Bytes>,
    connection: Arc<Http2Connection>,
) {
    let mut pings = Pings::new(h2.ping_pong().expect("nothing else takes it"), &connection);
    let timer = sleep_until(connection.check_at(pings.heartbeat.next()));
    let leaving = connection.leaving();
    tokio::pin!(timer, leaving);
    let mut leaves = false;
    loop {
        tokio::select! {
            biased;
            () = &mut leaving, if !leaves => {
                leaves = true;
                // Announces that further requests belong on another connection, and ends with the last stream.
                h2.graceful_shutdown();
            }
            accepted = h2.accept() => match accepted {
                Some(Ok((request, respond))) => answer(&connection, request, respond),
                Some(Err(error)) => {
                    // Else the client or the network has ended the connection.
                    if error.is_library() {
                        telemetry::rejected(Rejected::Http2, &error);
                    }
                    return;
                }
                None => return,
            },
            () = pings.answered(), if pings.is_sent => {}
            () = &mut timer => {
                let now = Instant::now();
                if pings.check(now, &connection) == Liveness::Dead
                    || connection.check_idle(now) == Liveness::Dead
                {
                    return;
                }
                timer.as_mut().reset(connection.check_at(pings.heartbeat.next()));
            }
        }
        if connection.resets_too_often() {
            telemetry::rejected(Rejected::Http2, &"the client resets too many requests");
            h2.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        }
    }
}

/// Answers a request in a task of its own.
fn answer(
    connection: &Arc<Http2Connection>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    match connection.begin() {
        Some(running) => drop(tokio::spawn(exchange::run(running, request, respond))),
        // The request was not processed, so the client may send it again (RFC 9113 section 8.7).
        None => respond.send_reset(Reason::REFUSED_STREAM),
    }
}

/// The pings of a connection (RFC 9113 section 6.7), by `session.ping_interval` and `session.pong_timeout`.
struct Pings {
    pings: PingPong,
    heartbeat: Heartbeat,
    /// Whether one is not yet answered.
    is_sent: bool,
}

impl Pings {
    fn new(pings: PingPong, connection: &Http2Connection) -> Self {
        let heartbeat = Heartbeat::new(connection.session_config(), Instant::now());
        Self { pings, heartbeat, is_sent: false }
    }

    async fn answered(&mut self) {
        // An error ends the connection, which reports it too.
        let _ = poll_fn(|cx| self.pings.poll_pong(cx)).await;
        self.is_sent = false;
    }

    /// Sends a ping if one is due. Any byte from the client counts as its answer: the pong may be far behind
    /// in what the client receives.
    fn check(&mut self, now: Instant, connection: &Http2Connection) -> Liveness {
        if connection.take_received() {
            self.heartbeat.frame_received();
        }
        match self.heartbeat.check(now) {
            Beat::Ping(_) if !self.is_sent => {
                self.is_sent = self.pings.send_ping(Ping::opaque()).is_ok();
            }
            Beat::Dead(_) => return Liveness::Dead,
            Beat::Ping(_) | Beat::Wait => {}
        }
        Liveness::Alive
    }
}
