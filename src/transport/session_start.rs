//! Starts the session that a request asks for.

use std::net::IpAddr;

use hyper::{HeaderMap, Request};

use super::client::Peer;
use super::credentials;
use super::public::Public;
use super::request_refused::RequestRefused;
use super::routed_request::{RoutedRequest, SessionRequest};
use super::routes::RouteProtocol;
use super::started_session::StartedSession;
use crate::auth::{Identity, TokenRefused};
use crate::http::Query;
use crate::session::{Session, SessionParameters};

/// Starts the session that a request asks for.
pub async fn start_session(
    public: &Public,
    request: &Request<()>,
    variable: Option<&str>,
    selected: &RouteProtocol,
) -> Result<StartedSession, RequestRefused> {
    let session_request = (selected.read)(&routed(public, request, variable))?;
    start(public, request, session_request).await
}

/// The parts of a request that determine its session.
pub fn routed<'a>(
    public: &'a Public,
    request: &'a Request<()>,
    variable: Option<&'a str>,
) -> RoutedRequest<'a> {
    let (headers, query) = (request.headers(), Query::new(request.uri().query()));
    let version = request.version();
    let apps = &public.apps;
    let session = &*public.context.config;
    RoutedRequest { variable, query, headers, version, session, apps }
}

/// Starts this session, with the token of the request.
pub async fn start(
    public: &Public,
    request: &Request<()>,
    session_request: SessionRequest,
) -> Result<StartedSession, RequestRefused> {
    let (headers, query) = (request.headers(), Query::new(request.uri().query()));
    let token = match credentials::token(headers, query) {
        Some(token) => identify(public, &token).await,
        None => None,
    };
    start_with(public, token, session_request).await
}

/// Checks a token. None: without authentication it is ignored.
pub async fn identify(public: &Public, token: &str) -> Option<Result<Identity, TokenRefused>> {
    match public.context.accepts_tokens() {
        true => Some(public.context.identify(token).await),
        false => None,
    }
}

/// Starts this session. `token`: the result of checking the client's. None: it has sent none.
pub async fn start_with(
    public: &Public,
    token: Option<Result<Identity, TokenRefused>>,
    session_request: SessionRequest,
) -> Result<StartedSession, RequestRefused> {
    let SessionRequest { protocol, echo, since, closes_on_gap, run, refused, wait } =
        session_request;
    let context = public.context.clone();
    let parameters =
        SessionParameters { protocol, token, echo, since, closes_on_gap, run, refused };
    let (session, join_position) = Session::start(context, parameters).await?;
    Ok(StartedSession { session: Box::new(session), join_position, wait })
}

/// The client's address.
pub fn client(public: &Public, headers: &HeaderMap, peer: Peer) -> IpAddr {
    peer.client_of(headers, &public.server.get().trusted_proxies)
}
