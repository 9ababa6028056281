//! Requests of clients that are answered with one response.

use hyper::StatusCode;

use super::metrics::METRICS;
use super::short_request::ShortRequest;

/// A request was answered with this status.
pub fn short_request_answered(request: ShortRequest, status: StatusCode) {
    let class = match status {
        _ if status.is_server_error() => 2,
        _ if status.is_client_error() => 1,
        _ => 0,
    };
    METRICS.requests.answered[request as usize][class].inc();
}
