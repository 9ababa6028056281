//! Answers one request of the public listener: with a demo page, a session, a reply, or an error.

use hyper::header::{HeaderValue, ORIGIN, REFERER};
use hyper::{HeaderMap, Method, Request, Uri};

use super::client::Peer;
use super::connection_refusal::ConnectionRefusal;
use super::cors;
use super::credentials;
use super::origin::{Origins, RequestPath};
use super::poll::PendingPoll;
use super::public::Public;
use super::request_body::RequestBody;
use super::request_framing;
use super::request_outcome::RequestOutcome;
use super::request_refused::RequestRefused;
use super::response_stream::stream;
use super::routes::{self, Route, RouteProtocol, Transport};
use super::service_request;
use super::session_start::{client, start_session};
use super::short_request;
use super::stream_live::StreamLive;
use super::streams;
use super::updates;
use super::websocket::handshake;
use crate::http::{self, Query};
use crate::telemetry::{self, ShortRequest, Trace};

/// Most header lines of a request; more are answered with 431 too. Browsers send some 20, and proxies add
/// theirs.
pub const HEAD_LINES_MAX: usize = 256;

/// Starts a trace of the request if its path is that of a session or similar to one, and if it is to be
/// traced. A publication has a trace of its own.
pub fn begin_trace<B>(request: &Request<B>) -> Trace {
    let path = request.uri().path();
    match routes::is_near(path) && request.method() != Method::POST {
        true => telemetry::handshake_began(path, http::traceparent(request.headers())),
        false => Trace::default(),
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
        None => match routes::find(path, StreamLive::of(request)) {
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
    route(request).is_some_and(|route| match route.transport {
        Transport::Request(_) => true,
        Transport::Streams(live) => live != StreamLive::Events,
        Transport::Updates => request.method() != Method::GET,
        Transport::WebSocket | Transport::Response { .. } => false,
    })
}

/// Whether the request asks for a session that gets the stream or connection for itself.
pub fn takes_stream<B>(request: &Request<B>) -> bool {
    route(request).is_some() && !is_short(request)
}

/// Whether the request asks for a session that lasts.
pub fn starts_session<B>(request: &Request<B>) -> bool {
    let is_poll = |route: &Route| {
        matches!(
            route.transport,
            Transport::Request(ShortRequest::Poll) | Transport::Streams(StreamLive::LongPoll)
        )
    };
    takes_stream(request) || route(request).is_some_and(is_poll)
}

/// The route of the request's path.
fn route<B>(request: &Request<B>) -> Option<&'static Route> {
    routes::find(request.uri().path(), StreamLive::of(request)).map(|(route, _)| route)
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
        Transport::Streams(live) => {
            check_origin(public, headers, peer, Origins::allow_reading)?;
            let answered =
                streams::answer(public, request, body, (route, channel, live), peer).await;
            count_short(ShortRequest::Stream, &answered);
            let mut outcome = answered.unwrap_or_else(RequestOutcome::from);
            outcome.complete_stream(headers);
            return Ok(outcome);
        }
        Transport::Updates => {
            check_origin(public, headers, peer, Origins::allow_reading)?;
            let query = Query::new(request.uri().query());
            if request.method() == Method::POST && credentials::is_sent_by_browser(headers, query) {
                check_page(public, headers, peer)?;
            }
            let answered = updates::answer(public, request, body, peer).await;
            if request.method() == Method::POST {
                count_short(ShortRequest::Publish, &answered);
            }
            let mut outcome = answered.unwrap_or_else(RequestOutcome::from);
            outcome.allow_reading(headers);
            outcome.complete_update(headers);
            return Ok(outcome);
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
        // The application's API decides.
        ShortRequest::Service => {
            let rest = channel.unwrap_or_default();
            let answer = service_request::answer(public, request, body, rest);
            return answer.await.map(RequestOutcome::Response);
        }
        ShortRequest::Publish => ("POST", "POST, OPTIONS"),
        ShortRequest::History
        | ShortRequest::Presence
        | ShortRequest::Poll
        | ShortRequest::Stream => ("GET", "GET, OPTIONS"),
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

/// Checks the page of a request whose token is in a cookie (draft-dunglas-mercure, *Cookie*): by `Origin`, which is checked
/// already, or else by `Referer`.
fn check_page(public: &Public, headers: &HeaderMap, peer: Peer) -> Result<(), RequestRefused> {
    if headers.contains_key(ORIGIN) {
        return Ok(());
    }
    let origin = headers.get(REFERER).and_then(|page| {
        let page = Uri::try_from(page.as_bytes()).ok()?;
        HeaderValue::try_from(format!("{}://{}", page.scheme_str()?, page.authority()?)).ok()
    });
    let mut of_page = headers.clone();
    of_page.insert(ORIGIN, origin.ok_or_else(RequestRefused::no_page)?);
    check_origin(public, &of_page, peer, Origins::allow_reading)
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
