//! `/api/publish`: publishing without a WebSocket.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::{HeaderMap, StatusCode};
use serde_json::json;
use tokio::time::timeout;

use super::answer::{ApiResponse, error, object};
use super::channel::of_path;
use crate::broker::{ENDED, TOO_LARGE, Unavailable};
use crate::events::Events;
use crate::http;
use crate::hub::Hub;
use crate::publication::{PayloadKind, Position, Publication};
use crate::telemetry;

/// The largest body of a publication.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

pub async fn answer(
    hub: &Hub,
    events: &Events,
    name: &str,
    headers: &HeaderMap,
    body: Incoming,
) -> ApiResponse {
    let channel = match of_path(name) {
        Ok(channel) => channel,
        Err(why) => return error(StatusCode::BAD_REQUEST, "bad_request", &why),
    };
    let key = match http::idempotency_key(headers) {
        Ok(key) => key,
        Err(invalid) => {
            return error(StatusCode::BAD_REQUEST, "bad_request", &invalid.to_string());
        }
    };
    let payload = match payload(body).await {
        Ok(payload) => payload,
        Err(refusal) => return refusal,
    };
    let binary = headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "application/octet-stream");
    let mut publication = match binary {
        true => Publication::new(payload, PayloadKind::Binary),
        false => Publication::bare(payload),
    };
    publication.id = key.map(Into::into);
    publication.traceparent = http::traceparent(headers);
    let trace = telemetry::api_publication_received(&channel, &mut publication);
    let policy = || hub.rules().of(channel.as_str());
    let event = events.publication(&channel, policy, &publication);
    let answer = hub.publish(channel, publication.sent_now()).await;
    if let Ok(position) = answer {
        events.published(event, position);
    }
    telemetry::api_publication_answered(trace, answer.map_err(|why| why.0));
    answered(answer)
}

/// The body, or the refusal of a body that is too large, late or incomplete.
pub async fn payload(body: Incoming) -> Result<Bytes, ApiResponse> {
    let body = timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect());
    match body.await.unwrap_or_else(|late| Err(late.into())) {
        // Copied, because a history that keeps the payload would keep the read buffer of which it is a part.
        Ok(body) => Ok(Bytes::copy_from_slice(&body.to_bytes())),
        Err(fault) if fault.is::<LengthLimitError>() => {
            let message = format!("a publication has at most {BODY_BYTES_MAX} bytes");
            Err(error(StatusCode::PAYLOAD_TOO_LARGE, "too_large", &message))
        }
        Err(_) => Err(error(StatusCode::BAD_REQUEST, "bad_request", "the body is incomplete")),
    }
}

fn answered(answer: Result<Option<Position>, Unavailable>) -> ApiResponse {
    match answer {
        Ok(None) => object(StatusCode::ACCEPTED, &json!({})),
        Ok(Some(position)) => {
            object(StatusCode::ACCEPTED, &json!({"position": position.to_string()}))
        }
        Err(ENDED) => error(StatusCode::CONFLICT, "ended", &ENDED.to_string()),
        Err(TOO_LARGE) => error(StatusCode::PAYLOAD_TOO_LARGE, "too_large", &TOO_LARGE.to_string()),
        Err(why) => error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", &why.to_string()),
    }
}
