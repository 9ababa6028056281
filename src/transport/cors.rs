//! What a page of another origin may do with an answer (the Fetch standard, section 3.2). Which pages there are is
//! for `server.origins` to say; a page that is not among them is refused before.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, HeaderValue, ORIGIN, VARY,
};
use hyper::{HeaderMap, Response, StatusCode};

/// Seconds for which a browser may remember the answer to its preflight request.
const MAX_AGE_SECONDS: &str = "600";

/// Headers that a page may send.
const REQUEST_HEADERS: &str = "authorization, cache-control, last-event-id";

/// Lets the page that asked read an answer. `request`: the headers of a request whose origin is allowed.
pub fn let_read(request: &HeaderMap, response: &mut HeaderMap) {
    response.append(VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = request.get(ORIGIN) {
        response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
}

/// The answer to a preflight request, which a browser sends before one with headers of its own.
pub fn preflight(methods: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_METHODS, methods),
        (ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS),
        (ACCESS_CONTROL_MAX_AGE, MAX_AGE_SECONDS),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
