//! The body of a request, whatever the version of HTTP.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use hyper::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::CONTENT_LENGTH;

/// The body of a request. Nothing of it is read before it is polled.
pub enum RequestBody {
    Http1(Incoming),
    Http2(Http2Body),
    /// The request starts a session, which reads the stream.
    OfSession,
}

/// The body of a request on a stream of HTTP/2.
pub struct Http2Body {
    receive: RecvStream,
    /// As announced in `content-length`.
    length: Option<u64>,
}

/// The client has disconnected, or its body violates HTTP.
#[derive(Debug, thiserror::Error)]
#[error("the request's body did not arrive")]
pub enum RequestBodyLost {
    Http1(#[from] hyper::Error),
    Http2(#[from] h2::Error),
}

impl RequestBody {
    /// Whether the connection still carries a body, which a session that gets the connection would take for the
    /// client's next request.
    pub fn is_on_connection(&self) -> bool {
        matches!(self, Self::Http1(body) if !body.is_end_stream())
    }
}

impl Http2Body {
    pub fn new(receive: RecvStream, headers: &HeaderMap) -> Self {
        let length =
            headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        Self { receive, length }
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> {
        let Some(bytes) = ready!(self.receive.poll_data(cx)).transpose()? else {
            return Poll::Ready(None);
        };
        self.receive.flow_control().release_capacity(bytes.len())?;
        Poll::Ready(Some(Ok(bytes)))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyLost;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyLost>>> {
        match self.get_mut() {
            Self::Http1(body) => Pin::new(body).poll_frame(cx).map_err(RequestBodyLost::from),
            Self::Http2(body) => {
                body.poll_data(cx).map_ok(Frame::data).map_err(RequestBodyLost::from)
            }
            Self::OfSession => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.receive.is_end_stream(),
            Self::OfSession => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.length.map(SizeHint::with_exact).unwrap_or_default(),
            Self::OfSession => SizeHint::with_exact(0),
        }
    }
}
