//! The answer to a request, before it is written.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::ORIGIN;
use hyper::{HeaderMap, Response, StatusCode};

use super::cors;
use super::poll::PendingPoll;
use super::request_refused::RequestRefused;
use super::stream_answer;
use super::update_answer;
use crate::session::Session;
use crate::telemetry::{self, Trace};

/// The answer to a request.
pub enum RequestOutcome {
    Response(Response<Full<Bytes>>),
    /// The session takes the connection over after the response.
    Session(Response<Full<Bytes>>, Box<Session>),
    /// The session's frames are the response's body.
    Stream(Response<Full<Bytes>>, Box<Session>),
    /// The response follows when the channel has a publication, or the time is over.
    Poll(PendingPoll),
}

impl RequestOutcome {
    /// The session that was started.
    pub fn session(&self) -> Option<&Session> {
        match self {
            Self::Response(_) => None,
            Self::Session(_, session) | Self::Stream(_, session) => Some(session),
            Self::Poll(poll) => Some(poll.session()),
        }
    }

    /// Lets the page that sent the request read the response.
    pub fn allow_reading(&mut self, request: &HeaderMap) {
        let origin = request.get(ORIGIN);
        match self {
            Self::Response(response) | Self::Session(response, _) | Self::Stream(response, _) => {
                cors::allow_reading(origin, response.headers_mut());
            }
            Self::Poll(poll) => poll.origin = origin.cloned().map(Box::new),
        }
    }

    /// Adds what all responses about durable streams have.
    pub fn complete_stream(&mut self, request: &HeaderMap) {
        match self {
            Self::Response(response) | Self::Session(response, _) | Self::Stream(response, _) => {
                stream_answer::complete(request.get(ORIGIN), response.headers_mut());
            }
            Self::Poll(poll) => poll.origin = request.get(ORIGIN).cloned().map(Box::new),
        }
    }

    /// Adds what all responses about updates have.
    pub fn complete_update(&mut self, request: &HeaderMap) {
        if let Self::Response(response) | Self::Stream(response, _) = self {
            update_answer::complete(request, response.headers_mut());
        }
    }

    pub fn end_trace(&self, trace: Trace) {
        let status = match self {
            Self::Response(response) | Self::Session(response, _) | Self::Stream(response, _) => {
                response.status()
            }
            Self::Poll(_) => StatusCode::OK,
        };
        let session = self.session();
        let format = session.map(Session::format);
        let close = session.and_then(|session| session.outbound().closing());
        telemetry::handshake_answered(trace, status, format, close);
    }
}

impl From<RequestRefused> for RequestOutcome {
    fn from(refused: RequestRefused) -> Self {
        refused.count();
        Self::Response(refused.into())
    }
}
