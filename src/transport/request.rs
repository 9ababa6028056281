//! Answering one request of the public listener: the demo page, an upgrade, or a clear refusal.

use std::borrow::Cow;

use bytes::Bytes;
use fastwebsockets::upgrade;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Version};
use percent_encoding::percent_decode_str;

use super::client::Peer;
use super::origin::Way;
use super::{Public, credentials};
use crate::protocol::{JSON_SUBPROTOCOL, Protocol};
use crate::publication::{Channel, Traceparent};
use crate::session::{Beginning, Session};
use crate::telemetry::{self, Rejected, Trace};

/// Seconds after which a user with too many connections may try again.
const RETRY_AFTER_SECONDS: &str = "5";

/// Most bytes of a request's head; more is answered 431.
pub const HEAD_BYTES_MAX: usize = 16 << 10;

/// Most lines of a request's head; more is answered 431 too. Browsers send some 20, and proxies add theirs.
pub const HEAD_LINES_MAX: usize = 256;

/// Where the channel of a plain session stands, and whether its `since` was honoured.
const POSITION: HeaderName = HeaderName::from_static("tidegate-position");
const RECOVERED: HeaderName = HeaderName::from_static("tidegate-recovered");

/// Of the W3C Trace Context.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A request's answer.
pub enum Answer {
    Response(Response<Full<Bytes>>),
    /// The upgrade is accepted: after the response the connection belongs to the session.
    Session(Response<Full<Bytes>>, Box<Session>),
}

/// A trace of the request, where it asks for a WebSocket and is to be traced.
pub fn begin_trace(request: &Request<Incoming>) -> Trace {
    match request.uri().path() {
        path if path.starts_with("/ws") => {
            telemetry::handshake_began(path, traceparent(request.headers()))
        }
        _ => Trace::default(),
    }
}

impl Answer {
    pub fn end_trace(&self, trace: Trace) {
        let (status, session) = match self {
            Self::Response(response) => (response.status(), None),
            Self::Session(response, session) => (response.status(), Some(session)),
        };
        let protocol = session.map(|session| session.protocol());
        let close = session.and_then(|session| session.outbound().closing());
        telemetry::handshake_answered(trace, status, protocol, close);
    }
}

fn traceparent(headers: &HeaderMap) -> Option<Traceparent> {
    Traceparent::of_headers(headers.get_all(TRACEPARENT).iter().map(HeaderValue::as_bytes))
}

/// Why a request is refused.
struct Refused {
    status: StatusCode,
    code: &'static str,
    message: String,
    header: Option<(HeaderName, &'static str)>,
    reason: Rejected,
}

pub async fn answer(public: &Public, request: &Request<Incoming>, peer: Peer) -> Answer {
    let answered = match (request.uri().path(), request.method()) {
        ("/", method) if let Some(demo) = &public.demo => match *method {
            Method::GET | Method::HEAD => return Answer::Response(demo.response()),
            _ => Err(method_not_allowed("GET, HEAD")),
        },
        (path, method) => match path.strip_prefix("/ws") {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => match *method {
                Method::GET => upgrade(public, request, rest.strip_prefix('/'), peer).await,
                _ => Err(method_not_allowed("GET")),
            },
            _ => Err(not_found()),
        },
    };
    answered.unwrap_or_else(|refused: Refused| {
        telemetry::rejected(refused.reason, &refused.message);
        Answer::Response(refused.into())
    })
}

async fn upgrade(
    public: &Public,
    request: &Request<Incoming>,
    channel: Option<&str>,
    peer: Peer,
) -> Result<Answer, Refused> {
    let headers = request.headers();
    if !upgrade::is_upgrade_request(request) || request.version() < Version::HTTP_11 {
        return Err(upgrade_required("this is a WebSocket: ask for an upgrade over HTTP/1.1"));
    }
    if headers.get_all(HOST).iter().count() != 1 {
        return Err(bad_request("Host must be given, and once"));
    }
    if has_body(headers) {
        return Err(bad_request("an upgrade has no body"));
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(upgrade_required("Sec-WebSocket-Version must be 13"));
    }
    if !headers.get(SEC_WEBSOCKET_KEY).is_some_and(is_key) {
        return Err(bad_request("Sec-WebSocket-Key must be 16 bytes in base64"));
    }
    check_origin(public, headers, peer)?;
    let (protocol, subprotocol) = match channel {
        Some(name) => {
            let channel = channel_of_path(name)?;
            let traceparent = traceparent(headers).map(Box::new);
            let subprotocol = choose_subprotocol(headers, PLAIN)?;
            (Protocol::Plain { channel, traceparent }, subprotocol)
        }
        None => (Protocol::Json, choose_subprotocol(headers, JSON_SUBPROTOCOL)?),
    };
    let echo = query(request, "echo").is_none_or(|echo| echo != "false");
    let since = match query(request, "since").filter(|_| channel.is_some()) {
        None => None,
        Some(text) => Some(text.parse().map_err(|error| bad_request(format!("since: {error}")))?),
    };
    let closes_on_gap = match query(request, "gap").filter(|_| channel.is_some()).as_deref() {
        None => false,
        Some("close") => true,
        Some(_) => return Err(bad_request("gap: there is `close`, or leave it out")),
    };
    let context = public.context.clone();
    let token = match credentials::token(headers, request.uri().query()) {
        Some(token) if public.context.takes_tokens() => Some(public.context.identify(&token).await),
        // Where there are no tokens, one that is shown means nothing.
        _ => None,
    };
    let beginning = Beginning { protocol, token, echo, since, closes_on_gap };
    let begun = Session::begin(context, beginning).await;
    let (session, standing) = begun.map_err(|too_many| Refused {
        status: StatusCode::TOO_MANY_REQUESTS,
        code: "limit_reached",
        message: too_many.to_string(),
        header: Some((RETRY_AFTER, RETRY_AFTER_SECONDS)),
        reason: Rejected::ConnectionsPerUser,
    })?;
    let mut response = switching(headers, subprotocol);
    let mut tell = |name, value: Option<String>| {
        if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
            response.headers_mut().insert(name, value);
        }
    };
    // A plain client has no other words for it.
    tell(POSITION, standing.position.map(|position| position.to_string()));
    tell(RECOVERED, standing.recovered.map(|recovered| recovered.to_string()));
    Ok(Answer::Session(response, Box::new(session)))
}

fn check_origin(public: &Public, headers: &HeaderMap, peer: Peer) -> Result<(), Refused> {
    let server = public.server.get();
    let way = Way {
        through_proxy: peer.is_proxy(),
        on_loopback: public.on_loopback,
        is_tls: server.tls.is_some(),
    };
    match server.origins.allow(headers, way) {
        true => Ok(()),
        false => Err(Refused {
            status: StatusCode::FORBIDDEN,
            code: "forbidden",
            message: "the page's origin is neither this host and port nor in server.origins".into(),
            header: None,
            reason: Rejected::Origin,
        }),
    }
}

/// Whoever stands in front may take the bytes behind the head for one, where we take them for frames.
fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING)
        || headers.get_all(CONTENT_LENGTH).iter().any(|length| length != "0")
}

/// What a plain client may ask for, so that a browser, which gives up without an answer, can carry its
/// token in `Sec-WebSocket-Protocol` beside it.
const PLAIN: &str = "tidegate.v1.plain";

/// `101`, with the key's answer made by fastwebsockets.
fn switching(headers: &HeaderMap, subprotocol: Option<&'static str>) -> Response<Full<Bytes>> {
    let mut asked = Request::new(());
    for name in [SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION] {
        if let Some(value) = headers.get(&name) {
            asked.headers_mut().insert(name, value.clone());
        }
    }
    let (response, _) = upgrade::upgrade(&mut asked).expect("key and version were just checked");
    let mut response = response.map(|_| Full::default());
    if let Some(subprotocol) = subprotocol {
        let value = HeaderValue::from_static(subprotocol);
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, value);
    }
    response
}

/// The one that the path speaks, where the client offers it among others; none where it offers nothing.
fn choose_subprotocol(
    headers: &HeaderMap,
    spoken: &'static str,
) -> Result<Option<&'static str>, Refused> {
    let mut asked = credentials::subprotocols(headers).peekable();
    if asked.peek().is_none() {
        return Ok(None);
    }
    match asked.any(|name| name == spoken.as_bytes()) {
        true => Ok(Some(spoken)),
        false => {
            Err(bad_request(format!("Sec-WebSocket-Protocol must offer {spoken}, or nothing")))
        }
    }
}

fn channel_of_path(name: &str) -> Result<Channel, Refused> {
    // What follows a percent sign is left alone where it is not hexadecimal; no client means that.
    let digits = |rest: &str| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    if !name.split('%').skip(1).all(digits) {
        return Err(bad_request("the channel's percent-encoding is broken"));
    }
    let name = percent_decode_str(name).decode_utf8().map_err(|_| {
        bad_request("a channel name is UTF-8, percent-encoded where a path needs it")
    })?;
    Channel::new(&name).map_err(|error| bad_request(error.to_string()))
}

/// A parameter of the query, percent-decoded. What is no UTF-8 comes out as what nothing takes.
fn query<'a>(request: &'a Request<Incoming>, name: &str) -> Option<Cow<'a, str>> {
    let pairs = request.uri().query()?.split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)?;
    Some(percent_decode_str(value).decode_utf8_lossy())
}

/// RFC 6455 section 4.1: sixteen bytes in base64.
fn is_key(value: &HeaderValue) -> bool {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let mut bytes = [0; 18];
    STANDARD.decode_slice(value.as_bytes().trim_ascii(), &mut bytes) == Ok(16)
}

fn bad_request(message: impl Into<String>) -> Refused {
    Refused {
        status: StatusCode::BAD_REQUEST,
        code: "bad_request",
        message: message.into(),
        header: None,
        reason: Rejected::BadRequest,
    }
}

fn not_found() -> Refused {
    Refused {
        status: StatusCode::NOT_FOUND,
        code: "not_found",
        ..bad_request("there are /ws and /ws/{channel}")
    }
}

fn method_not_allowed(allowed: &'static str) -> Refused {
    Refused {
        status: StatusCode::METHOD_NOT_ALLOWED,
        code: "method_not_allowed",
        header: Some((ALLOW, allowed)),
        ..bad_request(format!("allowed here: {allowed}"))
    }
}

fn upgrade_required(message: &str) -> Refused {
    Refused {
        status: StatusCode::UPGRADE_REQUIRED,
        code: "upgrade_required",
        header: Some((UPGRADE, "websocket")),
        ..bad_request(message)
    }
}

impl From<Refused> for Response<Full<Bytes>> {
    fn from(refused: Refused) -> Self {
        let error = serde_json::json!({ "code": refused.code, "message": refused.message });
        let body = serde_json::json!({ "error": error }).to_string();
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
