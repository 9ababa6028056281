//! A poll: a session whose publications are collected, until there are some or the time is over, and become the
//! body of one response.
//!
//! While it waits it holds no buffers of HTTP: on HTTP/1.1 the connection is taken back from hyper, and given to
//! it again after the response.

use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::HeaderValue;
use hyper::{Response, StatusCode};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use super::cors;
use super::request_refused::RequestRefused;
use super::run_session::run_session;
use super::short_request;
use super::started_session::StartedSession;
use super::stream_answer::{self, StreamPoll};
use crate::close::Close;
use crate::outbound::{FrameBatch, Outbound};
use crate::protocol::PollReply;
use crate::session::{Connection, ConnectionEvent, JoinPosition, Session};
use crate::telemetry::{self, ShortRequest};

/// Most bytes that a client may send while its poll waits: its next requests. More ends the poll.
const EARLY_BYTES_MAX: usize = 16 << 10;

/// Bytes of one read.
const READ_BYTES: usize = 512;

/// A poll that is not answered yet.
pub struct PendingPoll {
    session: Box<Session>,
    answer: PollReply,
    wait: Duration,
    /// The page that sent it.
    pub origin: Option<Box<HeaderValue>>,
    /// Some: a live read of a durable stream. What is collected only tells that there is something to read.
    pub stream: Option<Box<StreamPoll>>,
}

impl PendingPoll {
    /// `client`: its address. Fails if the session cannot wait: it has ended at its start, or the client sends
    /// too many requests.
    pub fn new(started: StartedSession, client: IpAddr) -> Result<Self, RequestRefused> {
        let StartedSession { mut session, join_position, wait } = started;
        if let Some(close) = session.outbound().closing() {
            return Err(RequestRefused::of_close(close));
        }
        session.count_request(client).map_err(RequestRefused::of_error)?;
        let JoinPosition { position, recovered } = join_position;
        let answer = PollReply::new(position, recovered);
        Ok(Self { session, answer, wait, origin: None, stream: None })
    }

    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Waits for the answer. None: the client has disconnected. `stream`: where its disconnect is seen; None:
    /// the caller drops this future then. `slots` is dropped last.
    pub async fn wait<S: AsyncRead + Unpin + Send>(
        self,
        stream: Option<&mut S>,
        early: &mut Vec<u8>,
        slots: impl Send,
    ) -> Option<Response<Full<Bytes>>> {
        let Self { session, answer, wait, origin, stream: of_stream } = self;
        let began = Instant::now();
        telemetry::connection_opened(session.format(), Duration::ZERO);
        let mut connection = PollConnection {
            stream,
            early,
            batch: FrameBatch::default(),
            answer,
            ends_at: began + wait,
            close: Close::Lost,
        };
        run_session(session, &mut connection, slots).await;
        let mut response = connection.response()?;
        let kind = if of_stream.is_some() { ShortRequest::Stream } else { ShortRequest::Poll };
        match of_stream {
            Some(of_stream) => {
                // Boxed, so that a waiting poll holds no memory for it.
                response = Box::pin(of_stream.answer(response)).await;
                stream_answer::complete(origin.as_deref(), response.headers_mut());
            }
            None => cors::allow_reading(origin.as_deref(), response.headers_mut()),
        }
        telemetry::short_request_answered(kind, response.status());
        Some(response)
    }
}

/// The connection of a session that collects instead of writing.
struct PollConnection<'a, S> {
    stream: Option<&'a mut S>,
    early: &'a mut Vec<u8>,
    batch: FrameBatch,
    answer: PollReply,
    ends_at: Instant,
    /// Why the session has ended.
    close: Close,
}

impl<S: AsyncRead + Unpin + Send> PollConnection<'_, S> {
    /// None: there is no client left.
    fn response(&self) -> Option<Response<Full<Bytes>>> {
        let is_due = self.answer.is_due();
        let mut response = match self.close {
            Close::Lost => return None,
            // What it has collected is not in the next answer if the channel keeps no history.
            Close::Answered | Close::Slow | Close::Drain { .. } | Close::Rebalance { .. } => {
                short_request::json(StatusCode::OK, self.answer.body())
            }
            _ if is_due => short_request::json(StatusCode::OK, self.answer.body()),
            close => RequestRefused::of_close(close).into(),
        };
        // The next poll belongs on another node, or too many requests are behind this one to read them all.
        if matches!(self.close, Close::Drain { .. } | Close::Rebalance { .. } | Close::Protocol(_))
        {
            short_request::close_connection(&mut response);
        }
        Some(response)
    }

    /// Keeps what the client sends: its next requests. Ready: it has disconnected, or has sent too much.
    fn poll_disconnect(&mut self, cx: &mut Context<'_>) -> Poll<Close> {
        let Some(stream) = &mut self.stream else { return Poll::Pending };
        loop {
            let mut bytes = [0; READ_BYTES];
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = ready!(Pin::new(&mut **stream).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(Close::Lost);
            }
            self.early.extend_from_slice(buffer.filled());
            if self.early.len() > EARLY_BYTES_MAX {
                return Poll::Ready(Close::Protocol("too many requests behind a waiting poll"));
            }
        }
    }
}

impl<S: AsyncRead + Unpin + Send> Connection for &mut PollConnection<'_, S> {
    fn poll_event(
        &mut self,
        cx: &mut Context<'_>,
        outbound: &Outbound,
        _: bool,
    ) -> Poll<ConnectionEvent> {
        if outbound.take_notification() {
            return Poll::Ready(ConnectionEvent::Notified);
        }
        while let Poll::Ready(taken) = outbound.poll_take(cx, &mut self.batch) {
            if let Err(close) = taken {
                return Poll::Ready(ConnectionEvent::End(close));
            }
            let answer = &mut self.answer;
            self.batch.take_frames(|frame| answer.add(frame));
        }
        if self.answer.is_due() {
            return Poll::Ready(ConnectionEvent::End(Close::Answered));
        }
        self.poll_disconnect(cx).map(ConnectionEvent::End)
    }

    /// The session's timer ends the wait.
    fn next_heartbeat(&self) -> Instant {
        self.ends_at
    }

    fn check_heartbeat(&mut self, now: Instant, _: bool, _: &Outbound) -> Option<Close> {
        (now >= self.ends_at).then_some(Close::Answered)
    }

    /// The response is written by the caller, on a connection that stays open.
    async fn close(&mut self, close: Close, _: Option<Bytes>, _: &Outbound) {
        self.close = close;
    }
}
