//! Refuses connections before they use resources, and tells the client why.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::telemetry::{self, Rejected};

/// How long sending a refusal may take.
pub const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Most bytes that are read and dropped from a refused client.
const DISCARDED_BYTES_MAX: usize = 32 << 10;

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionRefusal {
    ConnectionsMax,
    ConnectionsPerIp,
    HandshakeRate,
    HandshakeRatePerIp,
    Memory,
    Draining,
}

/// The response to a refused client.
struct RefusalText {
    status: StatusCode,
    code: &'static str,
    message: &'static str,
    /// Seconds.
    retry_after: &'static str,
    reason: Rejected,
}

impl ConnectionRefusal {
    fn text(self) -> RefusalText {
        let (status, code, message, retry_after, reason) = match self {
            Self::ConnectionsMax => (
                StatusCode::SERVICE_UNAVAILABLE,
                "limit_reached",
                "this node has its maximum number of connections: try again",
                "5",
                Rejected::ConnectionsMax,
            ),
            Self::ConnectionsPerIp => (
                StatusCode::TOO_MANY_REQUESTS,
                "limit_reached",
                "this address has its maximum number of connections",
                "10",
                Rejected::ConnectionsPerIp,
            ),
            Self::HandshakeRate => (
                StatusCode::SERVICE_UNAVAILABLE,
                "rate_limited",
                "too many new connections at once: try again",
                "1",
                Rejected::HandshakeRate,
            ),
            Self::HandshakeRatePerIp => (
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limited",
                "too many new connections from this address at once: try again",
                "1",
                Rejected::HandshakeRatePerIp,
            ),
            Self::Memory => (
                StatusCode::SERVICE_UNAVAILABLE,
                "limit_reached",
                "this node is short of memory: try again",
                "5",
                Rejected::Memory,
            ),
            Self::Draining => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "this node is draining: connect again, to another node",
                "1",
                Rejected::Draining,
            ),
        };
        RefusalText { status, code, message, retry_after, reason }
    }

    /// Whether a rate limit is the reason.
    pub fn is_rate_limit(self) -> bool {
        matches!(self, Self::HandshakeRate | Self::HandshakeRatePerIp)
    }

    /// Counts the refusal. `client`: None if it is unknown or irrelevant.
    pub fn count(self, client: Option<IpAddr>) {
        let RefusalText { reason, message, .. } = self.text();
        match client {
            Some(client) => telemetry::rejected(reason, &format_args!("{client}: {message}")),
            None => telemetry::rejected(reason, &message),
        }
    }

    /// Sends the refusal on a stream whose request was not read, and closes it.
    pub async fn send(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let sending = async {
            stream.write_all(self.response().as_bytes()).await?;
            stream.shutdown().await?;
            // Closing a socket with unread bytes resets it, and the client might lose the response.
            let mut discarded = [0; 1024];
            let mut left = DISCARDED_BYTES_MAX;
            while left > 0 {
                let read = stream.read(&mut discarded).await?;
                if read == 0 {
                    break;
                }
                left = left.saturating_sub(read);
            }
            std::io::Result::Ok(())
        };
        // The outcome does not matter: the connection is closed in any case.
        let _ = timeout(REFUSAL_TIMEOUT, sending).await;
    }

    /// The whole HTTP response.
    fn response(self) -> String {
        let RefusalText { status, retry_after, .. } = self.text();
        let body = self.body();
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Retry-After: {retry_after}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }

    pub fn body(self) -> String {
        let RefusalText { code, message, .. } = self.text();
        format!("{}\n", json!({ "error": { "code": code, "message": message } }))
    }
}

impl From<ConnectionRefusal> for Response<Full<Bytes>> {
    fn from(refusal: ConnectionRefusal) -> Self {
        let RefusalText { status, retry_after, .. } = refusal.text();
        let mut response = Self::new(Full::from(refusal.body()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(RETRY_AFTER, HeaderValue::from_static(retry_after));
        if refusal == ConnectionRefusal::Draining {
            // Further requests on this connection would be refused too.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
