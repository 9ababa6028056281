//! Requests about durable streams: each in a session of its own, and live reads in a second one that waits or follows.

use std::borrow::Cow;
use std::net::IpAddr;

use bytes::Bytes;
use hyper::header::{HOST, HeaderName, HeaderValue, LOCATION};
use hyper::http::uri::Authority;
use hyper::{Method, Request, StatusCode};

use super::client::Peer;
use super::cors;
use super::poll::PendingPoll;
use super::public::Public;
use super::request_body::RequestBody;
use super::request_outcome::RequestOutcome;
use super::request_refused::RequestRefused;
use super::routed_request::RoutedRequest;
use super::routes::{self, Route};
use super::session_start;
use super::short_request;
use super::stream_answer::{StreamPoll, written};
use super::stream_live::StreamLive;
use crate::close::Close;
use crate::http::Parameter;
use crate::protocol::durable::{
    REQUEST_HEADERS, ReadRequest, StreamQuery, StreamRequest, end_event, events_head,
};
use crate::publication::Channel;
use crate::session::Session;
use crate::streams::{FollowState, ReadOutcome, StreamReading};

const METHODS: &str = "GET, HEAD, PUT, POST, DELETE";
const METHODS_AND_OPTIONS: &str = "GET, HEAD, PUT, POST, DELETE, OPTIONS";

/// A request that is allowed, and its session.
struct AllowedRequest<'a> {
    public: &'a Public,
    request: &'a Request<()>,
    session: Box<Session>,
    channel: Channel,
    peer: Peer,
    client: IpAddr,
}

/// Answers a request to a path of streams.
pub async fn answer(
    public: &Public,
    request: &Request<()>,
    body: RequestBody,
    (route, channel, live): (&Route, Option<&str>, StreamLive),
    peer: Peer,
) -> Result<RequestOutcome, RequestRefused> {
    let writes = match *request.method() {
        Method::OPTIONS => {
            let preflight = cors::preflight_with(METHODS, REQUEST_HEADERS);
            return Ok(RequestOutcome::Response(preflight));
        }
        Method::GET | Method::HEAD => false,
        Method::PUT | Method::POST | Method::DELETE => true,
        _ => return Err(RequestRefused::method_not_allowed(METHODS_AND_OPTIONS)),
    };
    if live != StreamLive::No && body.is_on_connection() {
        return Err(RequestRefused::unexpected_body());
    }
    let routed = session_start::routed(public, request, channel);
    let (channel, query) = (routed.channel()?, query(&routed)?);
    let asked = (route.protocols[0].read)(&routed)?;
    let session = session_start::start(public, request, asked).await?.session;
    if let Some(close) = session.outbound().closing() {
        return Err(RequestRefused::of_close(close));
    }
    session.allow_stream(&channel, writes).map_err(RequestRefused::of_error)?;
    let body = match *request.method() {
        Method::PUT | Method::POST => {
            short_request::read(public, body, session.config().message_bytes_max).await?
        }
        _ => Bytes::new(),
    };
    let client = session_start::client(public, request.headers(), peer);
    let allowed = AllowedRequest { public, request, session, channel, peer, client };
    match StreamRequest::read(request.method(), request.headers(), &query, body) {
        Err(refused) => Ok(RequestOutcome::Response(written(refused))),
        Ok(StreamRequest::Read(read)) if live == StreamLive::Events => allowed.follow(read).await,
        Ok(asked) => allowed.execute(asked).await,
    }
}

/// The parameters of the query.
fn query(routed: &RoutedRequest<'_>) -> Result<StreamQuery, RequestRefused> {
    let of = |name: &str| {
        let parameter = routed.parameter(name);
        parameter.map(|it| it.map(Parameter::decoded_lossy).map(Cow::into_owned))
    };
    Ok(StreamQuery { offset: of("offset")?, live: of("live")?, cursor: of("cursor")? })
}

impl AllowedRequest<'_> {
    async fn execute(mut self, asked: StreamRequest) -> Result<RequestOutcome, RequestRefused> {
        let read = match &asked {
            StreamRequest::Read(read) => Some(read.clone()),
            _ => None,
        };
        let outcome = self.session.stream(&self.channel, asked, self.client).await;
        match (outcome.map_err(RequestRefused::of_error)?, read) {
            (ReadOutcome::Wait(reading), Some(read)) => self.wait(read, reading).await,
            (ReadOutcome::Answer(answer), _) => {
                let mut response = written(answer);
                if response.status() == StatusCode::CREATED
                    && let Ok(location) = HeaderValue::try_from(self.location())
                {
                    response.headers_mut().insert(LOCATION, location);
                }
                Ok(RequestOutcome::Response(response))
            }
            // Only reads wait.
            (ReadOutcome::Wait(_), None) => Err(RequestRefused::bad_request("not a live read")),
        }
    }

    /// The address of the stream, as the client has written it.
    fn location(&self) -> String {
        let (uri, headers) = (self.request.uri(), self.request.headers());
        let told = |name: &HeaderName| headers.get(name)?.to_str().ok();
        let by_proxy = |name| told(&HeaderName::from_static(name)).filter(|_| self.peer.is_proxy());
        let host = by_proxy("x-forwarded-host");
        let host = host.or(uri.authority().map(Authority::as_str)).or_else(|| told(&HOST));
        let is_tls = self.public.server.get().tls.is_some();
        let is_secure = is_tls || by_proxy("x-forwarded-proto") == Some("https");
        let scheme = if is_secure { "https" } else { "http" };
        host.map_or_else(String::new, |host| format!("{scheme}://{host}")) + uri.path()
    }

    /// Waits in a session of a poll.
    async fn wait(
        self,
        read: ReadRequest,
        reading: StreamReading,
    ) -> Result<RequestOutcome, RequestRefused> {
        let Self { public, request, channel, client, .. } = self;
        let asked = routes::stream_poll(channel.clone(), &reading);
        let started = session_start::start(public, request, asked).await?;
        let mut poll = PendingPoll::new(started, client)?;
        let context = public.context.clone();
        poll.stream = Some(Box::new(StreamPoll { context, channel, read, reading }));
        Ok(RequestOutcome::Poll(poll))
    }

    /// Gives the response to a session that follows the stream.
    async fn follow(mut self, read: ReadRequest) -> Result<RequestOutcome, RequestRefused> {
        let found = self.session.follow_stream(&self.channel, &read, self.client).await;
        let (reading, state) = match found.map_err(RequestRefused::of_error)? {
            Ok(found) => found,
            Err(refused) => return Ok(RequestOutcome::Response(written(refused))),
        };
        let head = events_head(reading.class);
        if state == FollowState::Closed {
            let whole = head.body(end_event(reading.position));
            return Ok(RequestOutcome::Response(written(whole)));
        }
        let asked = routes::stream_events(self.channel, &reading);
        let started = session_start::start(self.public, self.request, asked).await?;
        let closing = started.session.outbound().closing();
        match closing.filter(|close| *close != Close::Ended { is_told: true }) {
            Some(close) => Err(RequestRefused::of_close(close)),
            None => Ok(RequestOutcome::Stream(written(head), started.session)),
        }
    }
}
