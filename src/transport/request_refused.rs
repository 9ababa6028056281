//! The error responses to requests of admitted connections.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, RETRY_AFTER,
    SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};

use crate::close::Close;
use crate::protocol::{Code, ReplyError};
use crate::session::TooMany;
use crate::telemetry::{self, Rejected};

/// Seconds after which a user with too many connections may try again.
const RETRY_AFTER_SECONDS: &str = "5";

/// The most characters of a client's own text in a message.
const QUOTED_MAX: usize = 100;

/// Where the paths are that clients do not have.
const INTERNAL: &str = "this one is at the node's internal listener (internal.listen)";

const NOT_OUR_PAGE: &str = "the page's origin is neither this host and port nor in server.origins";
const NOT_OUR_HOST: &str = "the node listens on loopback, and the host is neither a loopback name nor in \
    server.origins";

/// Why a request is refused.
pub struct RequestRefused {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
    /// The text of the client that the message is about. The response has it behind the message; the log never
    /// does.
    pub about: Option<String>,
    pub header: Option<(HeaderName, &'static str)>,
    pub reason: Rejected,
    /// The session has counted it already.
    pub counted: bool,
}

impl RequestRefused {
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code: "bad_request",
            message: message.into(),
            about: None,
            header: None,
            reason: Rejected::BadRequest,
            counted: false,
        }
    }

    /// `paths`: the existing paths.
    pub fn not_found(path: &str, paths: &str) -> Self {
        let which = match path {
            "/metrics" | "/healthz" | "/readyz" => INTERNAL,
            path if path.starts_with("/api/") => INTERNAL,
            _ => "this is none of them",
        };
        Self {
            status: StatusCode::NOT_FOUND,
            code: "not_found",
            about: Some(clipped(path)),
            ..Self::bad_request(format!("the paths are {paths}, and {which}"))
        }
    }

    /// The path is that of an application's clients, and the node has no applications.
    pub fn no_apps() -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            code: "not_found",
            ..Self::bad_request("the node has no applications: pusher.apps is not set")
        }
    }

    /// The path is that of a hub of updates, and the node is none.
    pub fn no_updates() -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            code: "not_found",
            ..Self::bad_request("the node is no Mercure hub: mercure.enabled is not set")
        }
    }

    pub fn method_not_allowed(allowed: &'static str) -> Self {
        Self {
            status: StatusCode::METHOD_NOT_ALLOWED,
            code: "method_not_allowed",
            header: Some((ALLOW, allowed)),
            ..Self::bad_request(format!("allowed here: {allowed}"))
        }
    }

    pub fn upgrade_required(message: &str) -> Self {
        Self {
            status: StatusCode::UPGRADE_REQUIRED,
            code: "upgrade_required",
            header: Some((UPGRADE, "websocket")),
            ..Self::bad_request(message)
        }
    }

    /// A token in a cookie without the page that sent it.
    pub fn no_page() -> Self {
        Self {
            status: StatusCode::FORBIDDEN,
            code: "forbidden",
            reason: Rejected::Origin,
            ..Self::bad_request(
                "a token in a cookie needs the header Origin or Referer of an allowed page, because a browser sends it \
                 for every page; send it as Authorization: Bearer otherwise",
            )
        }
    }

    /// A page of another origin; or, without `Origin`, a host name that another site may own.
    pub fn origin(headers: &HeaderMap) -> Self {
        let text = |name: HeaderName| {
            let value = headers.get(name)?;
            Some(clipped(&String::from_utf8_lossy(value.as_bytes())))
        };
        let (message, about) = match text(ORIGIN) {
            Some(origin) => (NOT_OUR_PAGE, Some(origin)),
            None => (NOT_OUR_HOST, text(HOST)),
        };
        Self {
            status: StatusCode::FORBIDDEN,
            code: "forbidden",
            about,
            reason: Rejected::Origin,
            ..Self::bad_request(message)
        }
    }

    /// The body is larger than `session.message_bytes_max`. The connection ends, because the rest of the body
    /// is not read.
    pub fn too_large(bytes_max: usize) -> Self {
        let message =
            format!("the body has more than session.message_bytes_max = {bytes_max} bytes");
        Self {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            code: Code::TooLarge.as_str(),
            header: Some((CONNECTION, "close")),
            ..Self::bad_request(message)
        }
    }

    /// A part of the body is larger than its bound.
    pub fn too_large_for(message: String) -> Self {
        Self {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            code: Code::TooLarge.as_str(),
            ..Self::bad_request(message)
        }
    }

    /// A body in front of a session that gets the connection. The connection ends, because the body is not read.
    pub fn unexpected_body() -> Self {
        Self {
            header: Some((CONNECTION, "close")),
            ..Self::bad_request("this request must not have a body")
        }
    }

    /// The connection ends, because the end of the body is unknown.
    pub fn unknown_coding() -> Self {
        Self {
            status: StatusCode::NOT_IMPLEMENTED,
            header: Some((CONNECTION, "close")),
            ..Self::bad_request("the only Transfer-Encoding here is chunked, given once")
        }
    }

    /// The body did not arrive in time.
    pub fn body_timeout() -> Self {
        Self {
            status: StatusCode::REQUEST_TIMEOUT,
            code: "timeout",
            header: Some((CONNECTION, "close")),
            reason: Rejected::Handshake,
            ..Self::bad_request("the body did not arrive within server.handshake_timeout")
        }
    }

    /// For a command that failed, which is counted already.
    pub fn of_error(error: ReplyError) -> Self {
        let again = Some((RETRY_AFTER, RETRY_AFTER_SECONDS));
        let (status, header) = match error.code {
            Code::BadRequest => (StatusCode::BAD_REQUEST, None),
            Code::Unauthorized => (StatusCode::UNAUTHORIZED, Some((WWW_AUTHENTICATE, "Bearer"))),
            Code::Forbidden => (StatusCode::FORBIDDEN, None),
            Code::NotFound => (StatusCode::NOT_FOUND, None),
            Code::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, None),
            Code::RateLimited => (StatusCode::TOO_MANY_REQUESTS, Some((RETRY_AFTER, "1"))),
            Code::LimitReached => (StatusCode::TOO_MANY_REQUESTS, again),
            Code::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, again),
            Code::Ended => (StatusCode::CONFLICT, None),
        };
        Self {
            status,
            code: error.code.as_str(),
            header,
            counted: true,
            ..Self::bad_request(error.message)
        }
    }

    /// For a session that ended at its start, which is counted already.
    pub fn of_close(close: Close) -> Self {
        let again = Some((RETRY_AFTER, RETRY_AFTER_SECONDS));
        let (status, code, header) = match close {
            Close::Unauthorized(_) | Close::Expired | Close::Revoked => {
                let header = Some((WWW_AUTHENTICATE, "Bearer"));
                (StatusCode::UNAUTHORIZED, "unauthorized", header)
            }
            Close::Forbidden => (StatusCode::FORBIDDEN, "forbidden", None),
            Close::Ended { .. } => (StatusCode::CONFLICT, Code::Ended.as_str(), None),
            Close::RunCut => (StatusCode::NOT_FOUND, Code::NotFound.as_str(), None),
            Close::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "rate_limited", again),
            Close::Protocol(_) => (StatusCode::BAD_REQUEST, "bad_request", None),
            Close::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", None),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", again),
        };
        Self { status, code, header, counted: true, ..Self::bad_request(close.text()) }
    }

    /// Adds the channel's name, as the client gave it.
    pub fn naming(self, channel: &str) -> Self {
        Self { about: Some(channel.to_owned()), ..self }
    }

    /// Counts the refusal.
    pub fn count(&self) {
        if !self.counted {
            telemetry::rejected(self.reason, &self.message);
        }
    }
}

impl From<TooMany> for RequestRefused {
    fn from(too_many: TooMany) -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            code: "limit_reached",
            message: too_many.to_string(),
            about: None,
            header: Some((RETRY_AFTER, RETRY_AFTER_SECONDS)),
            reason: Rejected::ConnectionsPerUser,
            counted: false,
        }
    }
}

impl From<RequestRefused> for Response<Full<Bytes>> {
    fn from(refused: RequestRefused) -> Self {
        let message = match refused.about {
            Some(about) if !about.is_empty() => format!("{}: {about}", refused.message),
            _ => refused.message,
        };
        let error = serde_json::json!({ "code": refused.code, "message": message });
        let body = format!("{}\n", serde_json::json!({ "error": error }));
        let mut response = Self::new(Full::from(body));
        *response.status_mut() = refused.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some((name, value)) = refused.header {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if refused.status == StatusCode::UPGRADE_REQUIRED {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        response
    }
}

/// The beginning of a client's text.
fn clipped(text: &str) -> String {
    text.chars().take(QUOTED_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_for_the_origin_names_the_origin_or_else_the_host() {
        let refused = |given: &[(HeaderName, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, text) in given {
                headers.insert(name.clone(), HeaderValue::from_str(text).unwrap());
            }
            let refused = RequestRefused::origin(&headers);
            (refused.message, refused.about.unwrap_or_default())
        };
        let expected = |message: &str, about: &str| (message.to_owned(), about.to_owned());
        assert_eq!(refused(&[(HOST, "app.test")]), expected(NOT_OUR_HOST, "app.test"));
        let both = [(HOST, "app.test"), (ORIGIN, "http://app.test")];
        assert_eq!(refused(&both), expected(NOT_OUR_PAGE, "http://app.test"));
        let (_, about) = refused(&[(ORIGIN, &"x".repeat(5000))]);
        assert_eq!(about.len(), QUOTED_MAX);
    }
}
