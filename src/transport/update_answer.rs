//! What all responses about updates have.

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue, ORIGIN};

use super::cors;

/// Response headers that a page may read.
const READABLE: &str = "last-event-id, mercure-last-event-id, link";

const CREDENTIALS: HeaderName = HeaderName::from_static("access-control-allow-credentials");

/// Lets the page that sent the request read the response, also if it sent a cookie.
pub fn complete(request: &HeaderMap, response: &mut HeaderMap) {
    cors::expose(READABLE, response);
    if request.contains_key(ORIGIN) {
        response.insert(CREDENTIALS, HeaderValue::from_static("true"));
    }
}
