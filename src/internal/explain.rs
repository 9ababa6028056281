//! `/api/explain`: which rule of this node applies to a channel, who may subscribe and publish there, and why.

use std::borrow::Cow;

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};

use super::answer::{ApiResponse, error};
use crate::auth::explanation::{TokenStatus, explain};
use crate::auth::{Auth, Revocations, TokenRefused};
use crate::http::{Parameter, Query, Repeated};
use crate::publication::Channel;
use crate::rules::Rules;

/// The origin shown for the rules.
const ORIGIN: &str = "the node's configuration";

const REVOKED: TokenRefused =
    TokenRefused("the token is revoked: its user was disconnected after it was issued");

/// Answers as text, for people. The token is checked as for a session, and then discarded.
pub(super) async fn answer(
    auth: &Auth,
    revocations: &Revocations,
    rules: &Rules,
    query: Query<'_>,
) -> ApiResponse {
    let (channel, token) = match (value(query, "channel"), value(query, "token")) {
        (Ok(Some(channel)), Ok(token)) => (channel, token),
        (Ok(None), _) => return refused("give one channel: ?channel=CHANNEL"),
        (Err(why), _) | (_, Err(why)) => return refused(why),
    };
    let channel = match Channel::new(&channel) {
        Ok(channel) => channel,
        Err(invalid) => return refused(&invalid.to_string()),
    };
    let shown = match TokenStatus::of(token.as_deref(), auth).await {
        TokenStatus::Token(Ok(identity)) if revocations.is_revoked(&identity) => {
            TokenStatus::Token(Err(REVOKED))
        }
        shown => shown,
    };
    let text = explain(&rules.current(), ORIGIN, channel.as_str(), &shown);
    let mut answer = ApiResponse::new(text.into());
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

/// The value of a query parameter. None: it is absent.
fn value<'a>(query: Query<'a>, name: &str) -> Result<Option<Cow<'a, str>>, &'static str> {
    let value = query.only(name).map_err(|Repeated| "give channel and token once each")?;
    let decoded = value.map(Parameter::decoded).transpose();
    decoded.map_err(|_| "channel and token must be UTF-8")
}

fn refused(why: &str) -> ApiResponse {
    error(StatusCode::BAD_REQUEST, "bad_request", why)
}
