//! Answers one request of the public listener: with a demo page, a session, a reply, or an error.

use std::net::IpAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::ORIGIN;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Version};

use super::client::Peer;
use super::connection_refusal::ConnectionRefusal;
use super::cors;
use super::credentials;
use super::origin::{Origins, RequestPath};
use super::poll::PendingPoll;
use super::public::Public;
use super::request_body::RequestBody;
use super::request_framing;
use super::request_refused::RequestRefused;
use super::response;
use super::routed_request::{RoutedRequest, SessionRequest, has_chunks};
use super::routes::{self, Route, RouteProtocol, Transport};
use super::short_request;
use super::started_session::StartedSession;
use super::websocket::handshake;
use crate::close::Close;
use crate::http::{self, Query};
use crate::session::{Session, SessionParameters};
use crate::telemetry::{self, ShortRequest, Trace};

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
    /// The response follows when the channel has a publication, or the time is over.
    Poll(PendingPoll),
}

/// Starts a trace of the request if its path is that of a session or similar to one, and if it is to be
/// traced. A publication has a trace of its own.
pub fn begin_trace<B>(request: &Request<B>) -> Trace {
    let path = request.uri().path();
    match routes::is_near(path) && request.method() != Method::POST {
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
            Self::Poll(poll) => Some(poll.session()),
        }
    }

    /// Lets the page that sent the request read the response.
    fn allow_reading(&mut self, request: &HeaderMap) {
        let origin = request.get(ORIGIN);
        match self {
            Self::Response(response) | Self::Session(response, _) | Self::Stream(response, _) => {
                cors::allow_reading(origin, response.headers_mut());
            }
            Self::Poll(poll) => poll.origin = origin.cloned(),
        }
    }

    pub fn end_trace(&self, trace: Trace) {
        let status = match self {
            Self::Response(response) | Self::Session(response, _) | Self::Stream(response, _) => {
                response.status()
            }
            Self::Poll(_) => StatusCode::OK,
        };
        let session = self.session();
        let format = session.map(Session::format);
        let close = session.and_then(|session| session.outbound().closing());
        telemetry::handshake_answered(trace, status, format, close);
    }
}

impl From<RequestRefused> for RequestOutcome {
    fn from(refused: RequestRefused) -> Self {
        refused.count();
        Self::Response(refused.into())
    }
}

pub async fn answer(
    public: &Public,
    request: &Request<()>,
    body: RequestBody,
    peer: Peer,
) -> RequestOutcome {
    if let Err(refused) = request_framing::check(request) {
        return refused.into();
    }
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
            Some(found) => answer_route(public, request, body, found, peer).await,
            None => Err(RequestRefused::not_found(path, &routes::paths())),
        },
    };
    answered.unwrap_or_else(RequestOutcome::from)
}

/// The response to a request whose connection is refused.
pub fn refuse(
    public: &Public,
    request: &Request<()>,
    peer: Peer,
    refusal: ConnectionRefusal,
) -> RequestOutcome {
    let mut outcome = RequestOutcome::Response(refusal.into());
    if let Some(route) = route(request)
        && route.transport != Transport::WebSocket
        && check_origin(public, request.headers(), peer, Origins::allow_reading).is_ok()
    {
        outcome.allow_reading(request.headers());
    }
    outcome
}

/// Whether the request is answered with one response.
pub fn is_short<B>(request: &Request<B>) -> bool {
    route(request).is_some_and(|route| matches!(route.transport, Transport::Request(_)))
}

/// Whether the request asks for a session that gets the stream or connection for itself.
pub fn takes_stream<B>(request: &Request<B>) -> bool {
    route(request).is_some() && !is_short(request)
}

/// Whether the request asks for a session that lasts.
pub fn starts_session<B>(request: &Request<B>) -> bool {
    let is_poll = |route: &Route| route.transport == Transport::Request(ShortRequest::Poll);
    takes_stream(request) || route(request).is_some_and(is_poll)
}

/// The route of the request's path.
fn route<B>(request: &Request<B>) -> Option<&'static Route> {
    routes::find(request.uri().path()).map(|(route, _)| route)
}

/// Answers a request to one of the routes.
async fn answer_route(
    public: &Public,
    request: &Request<()>,
    body: RequestBody,
    (route, channel): (&Route, Option<&str>),
    peer: Peer,
) -> Result<RequestOutcome, RequestRefused> {
    let headers = request.headers();
    let answered = match route.transport {
        Transport::WebSocket => {
            handshake::check(request)?;
            check_origin(public, headers, peer, Origins::allow)?;
            let (selected, name) = select_protocol(headers, route)?;
            let started = start_session(public, request, channel, selected).await?;
            let response = handshake::accept(request, name, started.join_position);
            return Ok(RequestOutcome::Session(response, started.session));
        }
        Transport::Response { .. } => {
            check_origin(public, headers, peer, Origins::allow_reading)?;
            match *request.method() {
                Method::GET if body.is_on_connection() => Err(RequestRefused::unexpected_body()),
                Method::GET => start_session(public, request, channel, &route.protocols[0])
                    .await
                    .map(|started| stream(started.session, route.transport, request.version())),
                Method::OPTIONS => Ok(RequestOutcome::Response(cors::preflight("GET"))),
                _ => Err(RequestRefused::method_not_allowed("GET, OPTIONS")),
            }
        }
        Transport::Request(short) => {
            check_origin(public, headers, peer, Origins::allow_reading)?;
            let answered = answer_short(public, request, body, (route, channel, short), peer).await;
            count_short(short, &answered);
            answered
        }
    };
    let mut outcome = answered.unwrap_or_else(RequestOutcome::from);
    outcome.allow_reading(headers);
    Ok(outcome)
}

/// Answers a request with one response.
async fn answer_short(
    public: &Public,
    request: &Request<()>,
    body: RequestBody,
    (route, channel, short): (&Route, Option<&str>, ShortRequest),
    peer: Peer,
) -> Result<RequestOutcome, RequestRefused> {
    let (allowed, with_options) = match short {
        ShortRequest::Publish => ("POST", "POST, OPTIONS"),
        ShortRequest::History | ShortRequest::Presence | ShortRequest::Poll => {
            ("GET", "GET, OPTIONS")
        }
    };
    match request.method().as_str() {
        "OPTIONS" => return Ok(RequestOutcome::Response(cors::preflight(allowed))),
        method if method != allowed => {
            return Err(RequestRefused::method_not_allowed(with_options));
        }
        _ => {}
    }
    if short == ShortRequest::Poll && body.is_on_connection() {
        return Err(RequestRefused::unexpected_body());
    }
    let started = start_session(public, request, channel, &route.protocols[0]).await?;
    let client = client(public, request.headers(), peer);
    if short == ShortRequest::Poll {
        return PendingPoll::new(started, client).map(RequestOutcome::Poll);
    }
    let headers = request.headers();
    let answer = short_request::answer(public, short, headers, body, started.session, client);
    answer.await.map(RequestOutcome::Response)
}

/// Counts a short request that is answered; a poll is counted with its response.
fn count_short(short: ShortRequest, answered: &Result<RequestOutcome, RequestRefused>) {
    match answered {
        Ok(RequestOutcome::Response(response)) => {
            telemetry::short_request_answered(short, response.status());
        }
        Ok(_) => {}
        Err(refused) => telemetry::short_request_answered(short, refused.status),
    }
}

/// The client's address.
fn client(public: &Public, headers: &HeaderMap, peer: Peer) -> IpAddr {
    peer.client_of(headers, &public.server.get().trusted_proxies)
}

/// The streamed response. If the session has ended at its start, a status can still report it; but a browser
/// never reconnects after an error status, so it gets a temporary reason at the end of the stream instead.
fn stream(session: Box<Session>, transport: Transport, version: Version) -> RequestOutcome {
    let Transport::Response { content_type, header, client_reconnects } = transport else {
        return RequestRefused::of_close(Close::Internal).into();
    };
    let accepted = |session| {
        let is_chunked = !client_reconnects && has_chunks(version);
        RequestOutcome::Stream(response::accept(content_type, header, is_chunked), session)
    };
    match session.outbound().closing() {
        Some(Close::NoRun) => RequestOutcome::Response(response::no_content()),
        // The whole stream is queued, its end too.
        Some(Close::Ended { is_told: true }) | None => accepted(session),
        Some(close) if !client_reconnects || !close.is_temporary() => {
            let refused = RequestRefused::of_close(close);
            RequestOutcome::Response(match session.denied_channel() {
                Some(channel) => refused.naming(channel.as_str()).into(),
                None => refused.into(),
            })
        }
        Some(_) => accepted(session),
    }
}

/// Starts the session that a request asks for.
async fn start_session(
    public: &Public,
    request: &Request<()>,
    variable: Option<&str>,
    selected: &RouteProtocol,
) -> Result<StartedSession, RequestRefused> {
    let (headers, query) = (request.headers(), Query::new(request.uri().query()));
    let channels_max = public.context.config.channels_max;
    let version = request.version();
    let apps = &public.apps;
    let routed = RoutedRequest { variable, query, headers, version, channels_max, apps };
    let SessionRequest { protocol, echo, since, closes_on_gap, run, refused, wait } =
        (selected.read)(&routed)?;
    let context = public.context.clone();
    let token = match credentials::token(headers, query) {
        Some(token) if public.context.accepts_tokens() => {
            Some(public.context.identify(&token).await)
        }
        // Without authentication a token is ignored.
        _ => None,
    };
    let parameters =
        SessionParameters { protocol, token, echo, since, closes_on_gap, run, refused };
    let (session, join_position) = Session::start(context, parameters).await?;
    Ok(StartedSession { session: Box::new(session), join_position, wait })
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
    match allow(&server.origins, headers, request_path) {
        true => Ok(()),
        false => Err(RequestRefused::origin(headers)),
    }
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
