//! The handshake of a WebSocket: an upgrade (RFC 6455 section 4.2), or on a stream of HTTP/2 an extended CONNECT
//! (RFC 8441).

use bytes::Bytes;
use fastwebsockets::upgrade;
use h2::ext::Protocol;
use http_body_util::Full;
use hyper::header::{
    CONTENT_LENGTH, HeaderName, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING,
};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Version};

use crate::session::JoinPosition;
use crate::transport::request_refused::RequestRefused;

/// Headers for a session that is bound to a channel: the channel's position, and whether everything since
/// `since` follows.
const POSITION: HeaderName = HeaderName::from_static("tidegate-position");
const RECOVERED: HeaderName = HeaderName::from_static("tidegate-recovered");

/// Checks that the request is a valid handshake of its version of HTTP.
pub fn check(request: &Request<()>) -> Result<(), RequestRefused> {
    match request.version() {
        Version::HTTP_2 => check_connect(request)?,
        _ => check_upgrade(request)?,
    }
    match request.headers().get(SEC_WEBSOCKET_VERSION) {
        Some(version) if version == "13" => Ok(()),
        _ => Err(RequestRefused::upgrade_required("Sec-WebSocket-Version must be 13")),
    }
}

fn check_connect(request: &Request<()>) -> Result<(), RequestRefused> {
    if request.method() != Method::CONNECT {
        return Err(RequestRefused {
            message: "over HTTP/2 this path requires CONNECT with :protocol websocket (RFC 8441)"
                .into(),
            ..RequestRefused::method_not_allowed("CONNECT")
        });
    }
    match request.extensions().get::<Protocol>() {
        Some(protocol) if protocol.as_str() == "websocket" => Ok(()),
        _ => Err(RequestRefused {
            status: StatusCode::NOT_IMPLEMENTED,
            ..RequestRefused::bad_request("the :protocol of a CONNECT must be websocket")
        }),
    }
}

fn check_upgrade(request: &Request<()>) -> Result<(), RequestRefused> {
    let headers = request.headers();
    if request.method() != Method::GET {
        return Err(RequestRefused::method_not_allowed("GET"));
    }
    if !upgrade::is_upgrade_request(request) || request.version() < Version::HTTP_11 {
        let message = "this path requires a WebSocket upgrade over HTTP/1.1";
        return Err(RequestRefused::upgrade_required(message));
    }
    if has_body(headers) {
        return Err(RequestRefused::bad_request("an upgrade request must not have a body"));
    }
    if !headers.get(SEC_WEBSOCKET_KEY).is_some_and(is_key) {
        return Err(RequestRefused::bad_request("Sec-WebSocket-Key must be 16 bytes in base64"));
    }
    Ok(())
}

/// A body is refused: a proxy may take the bytes after the head for a body, while this node takes them for
/// frames.
fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING)
        || headers.get_all(CONTENT_LENGTH).iter().any(|length| length != "0")
}

/// RFC 6455 section 4.1: sixteen bytes in base64.
fn is_key(value: &HeaderValue) -> bool {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let mut bytes = [0; 18];
    STANDARD.decode_slice(value.as_bytes().trim_ascii(), &mut bytes) == Ok(16)
}

/// The response to a request that [`check`] accepted.
pub fn accept(
    request: &Request<()>,
    subprotocol: Option<&'static str>,
    join_position: JoinPosition,
) -> Response<Full<Bytes>> {
    let mut response = match request.version() {
        // RFC 8441 section 5: 200, and no `Sec-WebSocket-Accept`.
        Version::HTTP_2 => Response::new(Full::default()),
        _ => upgraded(request.headers()),
    };
    if let Some(subprotocol) = subprotocol {
        let value = HeaderValue::from_static(subprotocol);
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, value);
    }
    let mut set_header = |name, value: Option<String>| {
        if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
            response.headers_mut().insert(name, value);
        }
    };
    // The plain protocol has no other message for them.
    set_header(POSITION, join_position.position.map(|position| position.to_string()));
    set_header(RECOVERED, join_position.recovered.map(|recovered| recovered.to_string()));
    response
}

/// The `101` response; fastwebsockets computes `Sec-WebSocket-Accept`.
fn upgraded(headers: &HeaderMap) -> Response<Full<Bytes>> {
    let mut key_request = Request::new(());
    for name in [SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION] {
        if let Some(value) = headers.get(&name) {
            key_request.headers_mut().insert(name, value.clone());
        }
    }
    let (response, _) =
        upgrade::upgrade(&mut key_request).expect("key and version were just checked");
    response.map(|_| Full::default())
}
