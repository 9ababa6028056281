//! Answers one request of the public listener: with a demo page, a session, or an error.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{HeaderMap, Method, Request, Response};

use super::client::Peer;
use super::cors;
use super::credentials;
use super::origin::{Origins, RequestPath};
use super::public::Public;
use super::request_body::RequestBody;
use super::request_refused::RequestRefused;
use super::response;
use super::routed_request::{RoutedRequest, SessionRequest};
use super::routes::{self, Route, RouteProtocol, Transport};
use super::websocket::handshake;
use crate::http::{self, Query};
use crate::session::{JoinPosition, Session, SessionParameters};
use crate::telemetry::{self, Trace};

/// Most bytes of a request's head; a longer one is answered with 431.
pub const HEAD_BYTES_MAX: usize = 16 << 10;

/// Most header lines of a request; more are answered with 431 too. Browsers send some 20, and proxies add
/// theirs.
pub const HEAD_LINES_MAX: usize = 256;

/// The answer to a request.
pub enum RequestOutcome {
    Response(Response<Full<Bytes>>),
    /// The session takes the connection over after the response.
    Session(Response<Full<Bytes>>, Box<Session>),
    /// The session's frames are the response's body.
    Stream(Response<Full<Bytes>>, Box<Session>),
}

/// Starts a trace of the request if its path is that of a session or similar to one, and if it is to be
/// traced.
pub fn begin_trace(request: &Request<RequestBody>) -> Trace {
    let path = request.uri().path();
    match routes::is_near(path) {
        true => telemetry::handshake_began(path, http::traceparent(request.headers())),
        false => Trace::default(),
    }
}

impl RequestOutcome {
    /// The session that was started.
    pub fn session(&self) -> Option<&Session> {
        match self {
            Self::Response(_) => None,
            Self::Session(_, session) | Self::Stream(_, session) => Some(session),
        }
    }

    fn headers_mut(&mut self) -> &mut HeaderMap {
        let (Self::Response(response) | Self::Session(response, _) | Self::Stream(response, _)) =
            self;
        response.headers_mut()
    }

    pub fn end_trace(&self, trace: Trace) {
        let (Self::Response(response) | Self::Session(response, _) | Self::Stream(response, _)) =
            self;
        let (status, session) = (response.status(), self.session());
        let format = session.map(Session::format);
        let close = session.and_then(|session| session.outbound().closing());
        telemetry::handshake_answered(trace, status, format, close);
    }
}

pub async fn answer(public: &Public, request: &Request<RequestBody>, peer: Peer) -> RequestOutcome {
    let method = request.method();
    let path = request.uri().path();
    let answered = match public.demo.as_ref().and_then(|demo| demo.find(path)) {
        Some(file) => match *method {
            Method::GET | Method::HEAD => {
                Ok(RequestOutcome::Response(file.response(request.headers())))
            }
            _ => Err(RequestRefused::method_not_allowed("GET, HEAD")),
        },
        None => match routes::find(path) {
            Some(found) => answer_route(public, request, found, peer).await,
            None => Err(RequestRefused::not_found(&routes::paths())),
        },
    };
    answered.unwrap_or_else(|refused| {
        refused.count();
        RequestOutcome::Response(refused.into())
    })
}

/// Answers a request to one of the routes.
async fn answer_route(
    public: &Public,
    request: &Request<RequestBody>,
    (route, channel): (&Route, Option<&str>),
    peer: Peer,
) -> Result<RequestOutcome, RequestRefused> {
    let headers = request.headers();
    match route.transport {
        Transport::WebSocket if request.method() != Method::GET => {
            Err(RequestRefused::method_not_allowed("GET"))
        }
        Transport::WebSocket => {
            handshake::check(request)?;
            check_origin(public, headers, peer, Origins::allow)?;
            let (selected, name) = select_protocol(headers, route)?;
            let (session, join_position) =
                start_session(public, request, channel, selected).await?;
            Ok(RequestOutcome::Session(handshake::accept(headers, name, join_position), session))
        }
        Transport::Response { content_type } => {
            check_origin(public, headers, peer, Origins::allow_reading)?;
            let mut answer = match *request.method() {
                Method::GET => {
                    match start_session(public, request, channel, &route.protocols[0]).await {
                        Ok((session, _)) => stream(session, content_type),
                        Err(refused) => {
                            refused.count();
                            RequestOutcome::Response(refused.into())
                        }
                    }
                }
                Method::OPTIONS => RequestOutcome::Response(cors::preflight("GET")),
                _ => return Err(RequestRefused::method_not_allowed("GET, OPTIONS")),
            };
            cors::allow_reading(headers, answer.headers_mut());
            Ok(answer)
        }
    }
}

/// The streamed response. If the session has ended at its start, a status can still report it; but a browser
/// never reconnects after an error status, so a temporary reason is reported at the end of the stream
/// instead.
fn stream(session: Box<Session>, content_type: &'static str) -> RequestOutcome {
    match session.outbound().closing() {
        Some(close) if !close.is_temporary() => {
            let refused = RequestRefused::of_close(close);
            RequestOutcome::Response(match session.denied_channel() {
                Some(channel) => refused.naming(channel).into(),
                None => refused.into(),
            })
        }
        _ => RequestOutcome::Stream(response::accept(content_type), session),
    }
}

/// Starts the session that a request asks for.
async fn start_session(
    public: &Public,
    request: &Request<RequestBody>,
    channel: Option<&str>,
    selected: &RouteProtocol,
) -> Result<(Box<Session>, JoinPosition), RequestRefused> {
    let (headers, query) = (request.headers(), Query::new(request.uri().query()));
    let channels_max = public.context.config.channels_max;
    let routed = RoutedRequest { channel, query, headers, channels_max };
    let SessionRequest { protocol, echo, since, closes_on_gap } = (selected.read)(&routed)?;
    let context = public.context.clone();
    let token = match credentials::token(headers, query) {
        Some(token) if public.context.accepts_tokens() => {
            Some(public.context.identify(&token).await)
        }
        // Without authentication a token is ignored.
        _ => None,
    };
    let parameters = SessionParameters { protocol, token, echo, since, closes_on_gap };
    let (session, join_position) = Session::start(context, parameters).await?;
    Ok((Box::new(session), join_position))
}

/// `allow`: whether the origin's pages may send such a request.
fn check_origin(
    public: &Public,
    headers: &HeaderMap,
    peer: Peer,
    allow: impl Fn(&Origins, &HeaderMap, RequestPath) -> bool,
) -> Result<(), RequestRefused> {
    let server = public.server.get();
    let request_path = RequestPath {
        through_proxy: peer.is_proxy(),
        on_loopback: public.on_loopback,
        is_tls: server.tls.is_some(),
    };
    allow(&server.origins, headers, request_path).then_some(()).ok_or_else(RequestRefused::origin)
}

/// Selects the protocol that the client offers first among the route's, and the subprotocol name for the
/// response. If the client offers none, selects the route's first, without a name.
fn select_protocol<'a>(
    headers: &HeaderMap,
    route: &'a Route,
) -> Result<(&'a RouteProtocol, Option<&'static str>), RequestRefused> {
    let mut offered = credentials::subprotocols(headers).peekable();
    if offered.peek().is_none() {
        return Ok((&route.protocols[0], None));
    }
    let of_name = |name: &[u8]| {
        let is_it = |selected: &&RouteProtocol| {
            selected.subprotocol.is_some_and(|it| it.as_bytes() == name)
        };
        route.protocols.iter().find(is_it)
    };
    match offered.find_map(of_name) {
        Some(selected) => Ok((selected, selected.subprotocol)),
        None => {
            let names: Vec<_> = route.protocols.iter().filter_map(|it| it.subprotocol).collect();
            Err(RequestRefused::bad_request(format!(
                "Sec-WebSocket-Protocol must offer {}, or nothing",
                names.join(" or ")
            )))
        }
    }
}
