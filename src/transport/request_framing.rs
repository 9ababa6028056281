//! What a request of HTTP/1.1 must have for this node and a proxy in front of it to see the same request.

use hyper::header::{HOST, TRANSFER_ENCODING};
use hyper::{Request, Version};

use super::request_refused::RequestRefused;

/// Refuses a request with other than one `Host` (RFC 9112 section 3.2), or in a transfer coding that the node does
/// not decode (section 6.1); hyper checks neither.
pub fn check(request: &Request<()>) -> Result<(), RequestRefused> {
    let headers = request.headers();
    if request.version() == Version::HTTP_11 && headers.get_all(HOST).iter().count() != 1 {
        return Err(RequestRefused::bad_request("exactly one Host header is required"));
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(RequestRefused::unknown_coding()),
    }
}
