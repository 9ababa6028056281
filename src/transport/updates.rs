//! Requests to a hub of updates: one path, where `GET` follows topics and `POST` publishes.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LINK, WWW_AUTHENTICATE,
};
use hyper::{Method, Request, Response, StatusCode};

use super::client::Peer;
use super::public::Public;
use super::request_body::RequestBody;
use super::request_outcome::RequestOutcome;
use super::request_refused::RequestRefused;
use super::response_stream::stream;
use super::routes::{self, TopicsRequest};
use super::{cors, credentials, session_start, short_request};
use crate::auth::access::{self, Right};
use crate::auth::{Identity, TokenRefused};
use crate::http::{Query, idempotency_key, traceparent};
use crate::publication::{Channel, Publication};
use crate::topics::HUB_PATH;

const METHODS: &str = "GET, POST";
const METHODS_AND_OPTIONS: &str = "GET, POST, OPTIONS";

/// The headers with the id before the first event of a stream: as in use, and as in the newest draft.
const ID_BEFORE: [HeaderName; 2] =
    [HeaderName::from_static("last-event-id"), HeaderName::from_static("mercure-last-event-id")];

const FORM: &[u8] = b"application/x-www-form-urlencoded";

/// The result of checking a token. None: the request has none, or the node takes none.
type CheckedToken = Option<Result<Identity, TokenRefused>>;

/// Answers the request, whose origin is allowed.
pub async fn answer(
    public: &Public,
    request: &Request<()>,
    body: RequestBody,
    peer: Peer,
) -> Result<RequestOutcome, RequestRefused> {
    if !public.updates.enabled {
        return Err(RequestRefused::no_updates());
    }
    match *request.method() {
        Method::GET if body.is_on_connection() => Err(RequestRefused::unexpected_body()),
        Method::GET => {
            let token = token(public, request).await;
            let had_token = token.is_some();
            let followed = follow(public, request, token).await;
            followed.map_err(|refused| challenged(refused, had_token))
        }
        Method::POST => {
            let token = token(public, request).await;
            let had_token = token.is_some();
            let published = publish(public, request, body, peer, token).await;
            let published = published.map_err(|refused| challenged(refused, had_token));
            published.map(RequestOutcome::Response)
        }
        Method::OPTIONS => Ok(RequestOutcome::Response(cors::preflight(METHODS))),
        _ => Err(RequestRefused::method_not_allowed(METHODS_AND_OPTIONS)),
    }
}

/// Checks the request's token.
async fn token(public: &Public, request: &Request<()>) -> CheckedToken {
    let query = Query::new(request.uri().query());
    let token = credentials::token_for_updates(request.headers(), query)?;
    session_start::identify(public, &token).await
}

/// Names the fault in `WWW-Authenticate` (RFC 6750 section 3).
fn challenged(refused: RequestRefused, had_token: bool) -> RequestRefused {
    let challenge = match refused.status {
        StatusCode::UNAUTHORIZED if had_token => r#"Bearer error="invalid_token""#,
        StatusCode::UNAUTHORIZED => "Bearer",
        StatusCode::FORBIDDEN => r#"Bearer error="insufficient_scope""#,
        _ => return refused,
    };
    RequestRefused { header: Some((WWW_AUTHENTICATE, challenge)), ..refused }
}

/// Starts a session that follows the topics. One whose client cannot resume begins again with all that is kept.
async fn follow(
    public: &Public,
    request: &Request<()>,
    token: CheckedToken,
) -> Result<RequestOutcome, RequestRefused> {
    let routed = session_start::routed(public, request, None);
    let rules = public.context.hub.rules().clone();
    let keeps_history = |channel: &Channel| rules.of(channel.as_str()).history.is_some();
    let identity = token.as_ref().and_then(|token| token.clone().ok()).map(Arc::new);
    let takes_tokens = public.context.accepts_tokens();
    let (by_rules, of_patterns, follower) = (rules.clone(), rules.clone(), identity.clone());
    let may_read = move |channel: &str| {
        !takes_tokens || access::reads_private(&by_rules.get(), identity.as_deref(), channel)
    };
    let may_follow = move |channel: &str| {
        let table = of_patterns.current();
        let identity = follower.as_deref();
        of_patterns.of(channel).patterns
            && access::check(&table, identity, Right::Subscribe, channel).is_ok()
    };
    let mut topics = TopicsRequest::read(&routed, keeps_history, may_read, may_follow)?;
    let mut started = session_start::start_with(public, token.clone(), topics.session()).await?;
    if started.session.outbound().closing().is_none()
        && let Some(again) = topics.again()
    {
        // Dropped first, so that it does not count twice among its user's.
        drop(started);
        started = session_start::start_with(public, token, again.session()).await?;
        topics = again;
    }
    let (patterns, is_resumed) = topics.patterns();
    if started.session.outbound().closing().is_none() {
        let followed = started.session.follow_patterns(patterns, is_resumed).await;
        followed.map_err(|error| {
            let pattern = error.channel.clone().unwrap_or_default();
            RequestRefused::of_error(error).naming(&pattern)
        })?;
    }
    let mut outcome = stream(started.session, routes::EVENT_STREAM, request.version());
    if let RequestOutcome::Stream(response, _) = &mut outcome {
        let headers = response.headers_mut();
        headers.insert(LINK, link());
        if let Some(id) = topics.id_before() {
            let value = HeaderValue::from_str(id);
            let value = value.unwrap_or(HeaderValue::from_static(routes::EARLIEST));
            for name in ID_BEFORE {
                headers.insert(name, value.clone());
            }
        }
    }
    Ok(outcome)
}

/// The header with which a response names the hub (RFC 8288).
fn link() -> HeaderValue {
    HeaderValue::try_from(format!("<{HUB_PATH}>; rel=\"mercure\""))
        .unwrap_or_else(|_| HeaderValue::from_static(HUB_PATH))
}

async fn publish(
    public: &Public,
    request: &Request<()>,
    body: RequestBody,
    peer: Peer,
    token: CheckedToken,
) -> Result<Response<Full<Bytes>>, RequestRefused> {
    let headers = request.headers();
    let started = session_start::start_with(public, token, routes::publisher()).await?;
    let mut session = started.session;
    if let Some(close) = session.outbound().closing() {
        return Err(RequestRefused::of_close(close));
    }
    check_form(headers)?;
    let key = idempotency_key(headers)
        .map_err(|invalid| RequestRefused::bad_request(invalid.to_string()))?;
    let bytes_max = session.config().message_bytes_max;
    let form = short_request::read(public, body, routes::form_bytes_max(bytes_max)).await?;
    let update = routes::update(&form, bytes_max)?;
    let event_id = update.event_id().to_owned();
    let publication = Publication {
        id: key.map(Into::into),
        traceparent: traceparent(headers),
        ..update.publication
    };
    let client = session_start::client(public, headers, peer);
    let published = session.publish_update(update.channels, publication, client).await;
    let position = published.map_err(|error| {
        let channel = error.channel.clone();
        let refused = RequestRefused::of_error(error);
        match channel {
            Some(channel) => refused.naming(&channel),
            None => refused,
        }
    })?;
    Ok(id_response(position.map_or(event_id, |position| position.to_string())))
}

/// A form, if the client says what its body is.
fn check_form(headers: &HeaderMap) -> Result<(), RequestRefused> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    match essence.trim_ascii().eq_ignore_ascii_case(FORM) {
        true => Ok(()),
        false => Err(RequestRefused::bad_request(
            "the body of an update is a form: Content-Type is application/x-www-form-urlencoded",
        )),
    }
}

fn id_response(id: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(id));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
