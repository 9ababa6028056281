//! Requests that are answered with one JSON body: each executes one command, in a session of its own.

use std::net::IpAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Body;
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode};
use tokio::time::timeout;

use super::public::Public;
use super::request_body::RequestBody;
use super::request_refused::RequestRefused;
use crate::protocol::Message;
use crate::publication::{PayloadKind, Publication};
use crate::session::{RequestAnswer, Session};
use crate::telemetry::ShortRequest;

/// Reads the body of the request, executes its command, and returns the response.
pub async fn answer(
    public: &Public,
    request: ShortRequest,
    headers: &HeaderMap,
    body: RequestBody,
    session: Box<Session>,
    client: IpAddr,
) -> Result<Response<Full<Bytes>>, RequestRefused> {
    if let Some(close) = session.outbound().closing() {
        return Err(RequestRefused::of_close(close));
    }
    let message = match request {
        ShortRequest::Publish => {
            let payload = read(public, body, session.config().message_bytes_max).await?;
            message(headers.get(CONTENT_TYPE), payload)?
        }
        _ => Message { kind: PayloadKind::Text, payload: Bytes::new() },
    };
    match session.answer(message, client).await {
        Ok(RequestAnswer::Body(body)) => Ok(json(request.status(), body)),
        Ok(RequestAnswer::Error(error)) => Err(RequestRefused::of_error(error)),
        Err(close) => Err(RequestRefused::of_close(close)),
    }
}

/// A response with a JSON body that caches do not store.
pub fn json(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Tells the client to send its next request on another connection.
pub fn close_connection<B>(response: &mut Response<B>) {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
}

/// Reads a whole body within `server.handshake_timeout`. One that is announced as too large is not read.
pub async fn read(
    public: &Public,
    body: RequestBody,
    bytes_max: usize,
) -> Result<Bytes, RequestRefused> {
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(RequestRefused::too_large(bytes_max));
    }
    let time_limit = public.server.get().handshake_timeout;
    match timeout(time_limit, Limited::new(body, bytes_max).collect()).await {
        // Copied, because a history that keeps the payload would keep the read buffer of which it is a part.
        Ok(Ok(body)) => Ok(Bytes::copy_from_slice(&body.to_bytes())),
        Ok(Err(fault)) if fault.is::<LengthLimitError>() => {
            Err(RequestRefused::too_large(bytes_max))
        }
        Ok(Err(_)) => {
            Err(RequestRefused::bad_request("the body is incomplete or its chunks are invalid"))
        }
        Err(_) => Err(RequestRefused::body_timeout()),
    }
}

/// The body as a message. `content_type` decides whether it is text; without one, or with another one than
/// these, a body is text if it is UTF-8.
fn message(content_type: Option<&HeaderValue>, payload: Bytes) -> Result<Message, RequestRefused> {
    let essence = content_type.map(HeaderValue::as_bytes).unwrap_or_default();
    let essence = essence.split(|byte| *byte == b';').next().unwrap_or_default();
    let essence = essence.trim_ascii().to_ascii_lowercase();
    let is_text = essence.starts_with(b"text/") || essence == b"application/json";
    let kind = match Publication::bare(payload.clone()).kind {
        _ if essence == b"application/octet-stream" => PayloadKind::Binary,
        PayloadKind::Binary if is_text => {
            return Err(RequestRefused::bad_request(
                "a body of Content-Type text/* or application/json must be UTF-8; send bytes as \
                 application/octet-stream",
            ));
        }
        kind => kind,
    };
    Ok(Message { kind, payload })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(content_type: &'static str, payload: &'static [u8]) -> Option<PayloadKind> {
        let header = HeaderValue::from_static(content_type);
        let header = Some(&header).filter(|_| !content_type.is_empty());
        message(header, Bytes::from_static(payload)).ok().map(|message| message.kind)
    }

    #[test]
    fn the_content_type_decides_whether_a_body_is_text() {
        let (text, binary) = (Some(PayloadKind::Text), Some(PayloadKind::Binary));
        for (content_type, utf8, bytes) in [
            ("", text, binary),
            ("application/x-www-form-urlencoded", text, binary),
            ("image/png", text, binary),
            ("text/plain", text, None),
            ("Text/Plain; charset=utf-8", text, None),
            ("application/json", text, None),
            ("application/json;charset=UTF-8", text, None),
            ("application/octet-stream", binary, binary),
            (" application/octet-stream ; x=y", binary, binary),
        ] {
            assert_eq!(kind(content_type, "ü".as_bytes()), utf8, "{content_type:?}");
            assert_eq!(kind(content_type, b"\xff"), bytes, "{content_type:?}");
        }
    }
}
