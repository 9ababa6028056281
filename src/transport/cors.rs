//! The CORS response headers (the Fetch standard, section 3.2). `server.origins` decides which pages may send
//! requests; others are refused before this module is used.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderValue, VARY,
};
use hyper::{HeaderMap, Response, StatusCode};

/// Seconds for which a browser may cache the response to a preflight request.
const MAX_AGE_SECONDS: &str = "600";

/// Request headers that a page may send.
const REQUEST_HEADERS: &str =
    "authorization, cache-control, content-type, idempotency-key, last-event-id, traceparent";

/// Response headers that a page may read, besides those that every page may.
const RESPONSE_HEADERS: &str = "retry-after, www-authenticate";

/// Allows the requesting page to read a response. `origin`: the page's, which is allowed.
pub fn allow_reading(origin: Option<&HeaderValue>, response: &mut HeaderMap) {
    response.append(VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin {
        response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        let readable = HeaderValue::from_static(RESPONSE_HEADERS);
        response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, readable);
    }
}

/// Allows the requesting page to read these headers too.
pub fn expose(names: &'static str, response: &mut HeaderMap) {
    response.append(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(names));
}

/// The response to a preflight request, which a browser sends before a request with non-standard headers.
pub fn preflight(methods: &'static str) -> Response<Full<Bytes>> {
    preflight_with(methods, "")
}

/// The same for requests with further headers.
pub fn preflight_with(methods: &'static str, more: &str) -> Response<Full<Bytes>> {
    let request_headers = HeaderValue::try_from(format!("{REQUEST_HEADERS}{more}"));
    let request_headers =
        request_headers.unwrap_or_else(|_| HeaderValue::from_static(REQUEST_HEADERS));
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    for (name, value) in
        [(ACCESS_CONTROL_ALLOW_METHODS, methods), (ACCESS_CONTROL_MAX_AGE, MAX_AGE_SECONDS)]
    {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, request_headers);
    response
}
