//! Responses about durable streams.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONNECTION, HeaderName, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode};

use super::cors;
use super::request_refused::RequestRefused;
use crate::protocol::durable::{HEADERS, RESPONSE_HEADERS, ReadRequest, StreamAnswer};
use crate::publication::Channel;
use crate::session::SessionContext;
use crate::streams::StreamReading;

/// A live read that waits for what is appended next.
pub struct StreamPoll {
    pub context: Arc<SessionContext>,
    pub channel: Channel,
    pub read: ReadRequest,
    pub reading: StreamReading,
}

impl StreamPoll {
    /// The answer when the wait is over. `polled`: the response of the poll, which is the answer if it is an error.
    pub async fn answer(self, polled: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
        if polled.status() != StatusCode::OK {
            return polled;
        }
        let Self { context, channel, read, reading } = self;
        let mut response = match context.read_stream(&channel, read, &reading).await {
            Ok(answer) => written(answer),
            Err(error) => RequestRefused::of_error(error).into(),
        };
        if let Some(connection) = polled.headers().get(CONNECTION) {
            response.headers_mut().insert(CONNECTION, connection.clone());
        }
        response
    }
}

/// The answer as a response.
pub fn written(answer: StreamAnswer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = answer.status;
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}

/// Adds the headers that all responses of streams have. `origin`: the page that sent the request.
pub fn complete(origin: Option<&HeaderValue>, response: &mut HeaderMap) {
    for (name, value) in HEADERS {
        response.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    cors::allow_reading(origin, response);
    if origin.is_some() {
        cors::expose(RESPONSE_HEADERS, response);
    }
}
