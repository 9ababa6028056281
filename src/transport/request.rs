//! Answering one request of the public listener: the demo page, a session, or a clear refusal.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Request, Response};

use super::asked::{Asked, Wanted};
use super::client::Peer;
use super::credentials;
use super::origin::Way;
use super::public::Public;
use super::refused::Refused;
use super::routes::{self, Route, Spoken, Transport};
use super::websocket::handshake;
use crate::http::{self, Query};
use crate::session::{Beginning, Session};
use crate::telemetry::{self, Trace};

/// Most bytes of a request's head; more is answered 431.
pub const HEAD_BYTES_MAX: usize = 16 << 10;

/// Most lines of a request's head; more is answered 431 too. Browsers send some 20, and proxies add theirs.
pub const HEAD_LINES_MAX: usize = 256;

/// A request's answer.
pub enum Answer {
    Response(Response<Full<Bytes>>),
    /// After the response's head the connection belongs to the session.
    Session(Response<Full<Bytes>>, Box<Session>),
}

/// A trace of the request, where it asks for a session and is to be traced.
pub fn begin_trace(request: &Request<Incoming>) -> Trace {
    let path = request.uri().path();
    match routes::find(path) {
        Some(_) => telemetry::handshake_began(path, http::traceparent(request.headers())),
        None => Trace::default(),
    }
}

impl Answer {
    pub fn end_trace(&self, trace: Trace) {
        let (status, session) = match self {
            Self::Response(response) => (response.status(), None),
            Self::Session(response, session) => (response.status(), Some(session)),
        };
        let format = session.map(|session| session.format());
        let close = session.and_then(|session| session.outbound().closing());
        telemetry::handshake_answered(trace, status, format, close);
    }
}

pub async fn answer(public: &Public, request: &Request<Incoming>, peer: Peer) -> Answer {
    let method = request.method();
    let answered = match (request.uri().path(), &public.demo) {
        ("/", Some(demo)) => match *method {
            Method::GET | Method::HEAD => Ok(Answer::Response(demo.response())),
            _ => Err(Refused::method_not_allowed("GET, HEAD")),
        },
        (path, _) => match routes::find(path) {
            Some((route, channel)) => begin(public, request, (route, channel), peer).await,
            None => Err(Refused::not_found(&routes::paths())),
        },
    };
    answered.unwrap_or_else(|refused| {
        refused.count();
        Answer::Response(refused.into())
    })
}

/// Begins the session that a request asks for.
async fn begin(
    public: &Public,
    request: &Request<Incoming>,
    (route, channel): (&Route, Option<&str>),
    peer: Peer,
) -> Result<Answer, Refused> {
    let headers = request.headers();
    if request.method() != Method::GET {
        return Err(Refused::method_not_allowed("GET"));
    }
    if route.transport == Transport::WebSocket {
        handshake::check(request)?;
    }
    check_origin(public, headers, peer)?;
    let (spoken, named) = choose(headers, route)?;
    let query = Query::new(request.uri().query());
    let asked = Asked { channel, query, headers };
    let Wanted { protocol, echo, since, closes_on_gap } = (spoken.wanted)(&asked)?;
    let context = public.context.clone();
    let token = match credentials::token(headers, query) {
        Some(token) if public.context.takes_tokens() => Some(public.context.identify(&token).await),
        // Where there are no tokens, one that is shown means nothing.
        _ => None,
    };
    let beginning = Beginning { protocol, token, echo, since, closes_on_gap };
    let (session, standing) = Session::begin(context, beginning).await?;
    let response = handshake::accept(headers, named, standing);
    Ok(Answer::Session(response, Box::new(session)))
}

fn check_origin(public: &Public, headers: &HeaderMap, peer: Peer) -> Result<(), Refused> {
    let server = public.server.get();
    let way = Way {
        through_proxy: peer.is_proxy(),
        on_loopback: public.on_loopback,
        is_tls: server.tls.is_some(),
    };
    server.origins.allow(headers, way).then_some(()).ok_or_else(Refused::origin)
}

/// What the client wants to speak, of what the route has, and the name to answer with: that which the client
/// offers first. Where it offers nothing, the route's first, without a name.
fn choose<'a>(
    headers: &HeaderMap,
    route: &'a Route,
) -> Result<(&'a Spoken, Option<&'static str>), Refused> {
    let mut offered = credentials::subprotocols(headers).peekable();
    if offered.peek().is_none() {
        return Ok((&route.spoken[0], None));
    }
    let of_name = |name: &[u8]| {
        let is_it = |spoken: &&Spoken| spoken.subprotocol.is_some_and(|it| it.as_bytes() == name);
        route.spoken.iter().find(is_it)
    };
    match offered.find_map(of_name) {
        Some(spoken) => Ok((spoken, spoken.subprotocol)),
        None => {
            let names: Vec<_> = route.spoken.iter().filter_map(|it| it.subprotocol).collect();
            Err(Refused::bad_request(format!(
                "Sec-WebSocket-Protocol must offer {}, or nothing",
                names.join(" or ")
            )))
        }
    }
}
