//! `/api`: publishing without a WebSocket, and what this node carries.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{HeaderMap, Method, Request, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{Answer, error, object};
use crate::hub::Hub;
use crate::publication::{Channel, Kind, Publication};
use crate::telemetry;

/// Largest body of a publication.
const BODY_BYTES_MAX: usize = 1 << 20;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Most channels in one answer.
const CHANNELS_MAX: usize = 10_000;

pub async fn answer(hub: &Hub, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    match (parts.uri.path(), &parts.method) {
        ("/api/channels", &Method::GET) => channels(hub).await,
        ("/api/channels", _) => not_allowed("GET"),
        (path, method) => match (path.strip_prefix("/api/publish/"), method) {
            (Some(name), &Method::POST) => publish(hub, name, &parts.headers, body).await,
            (Some(_), _) => not_allowed("POST"),
            (None, _) => error(
                StatusCode::NOT_FOUND,
                "not_found",
                "there are POST /api/publish/{channel} and GET /api/channels",
            ),
        },
    }
}

/// Does the request carry the key? Takes as long for a wrong key as for a right one.
pub fn carries_key(headers: &HeaderMap, key: &str) -> bool {
    const SCHEME: &[u8] = b"Bearer ";
    let given = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.as_bytes().split_at_checked(SCHEME.len()));
    let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(SCHEME));
    let given = given.map_or(&[][..], |(_, key)| key);
    let differing = given.iter().zip(key.as_bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
    given.len() == key.len() && differing == 0
}

async fn publish(hub: &Hub, name: &str, headers: &HeaderMap, body: Incoming) -> Answer {
    let channel = match percent_decode_str(name).decode_utf8().map(|name| Channel::new(&name)) {
        Ok(Ok(channel)) => channel,
        Ok(Err(invalid)) => {
            return error(StatusCode::BAD_REQUEST, "bad_request", &invalid.to_string());
        }
        Err(_) => {
            return error(StatusCode::BAD_REQUEST, "bad_request", "a channel name is UTF-8");
        }
    };
    let body = timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect());
    let payload: Bytes = match body.await.unwrap_or_else(|late| Err(late.into())) {
        Ok(body) => body.to_bytes(),
        Err(fault) if fault.is::<LengthLimitError>() => {
            let message = format!("a publication has at most {BODY_BYTES_MAX} bytes");
            return error(StatusCode::PAYLOAD_TOO_LARGE, "too_large", &message);
        }
        Err(_) => return error(StatusCode::BAD_REQUEST, "bad_request", "the body broke off"),
    };
    let binary = headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "application/octet-stream");
    let publication = match binary {
        true => Publication::new(payload, Kind::Binary),
        false => Publication::bare(payload),
    };
    telemetry::api_publication_received();
    match hub.publish(channel, publication.sent_now()).await {
        Ok(None) => object(StatusCode::ACCEPTED, &json!({})),
        Ok(Some(position)) => {
            object(StatusCode::ACCEPTED, &json!({"position": position.to_string()}))
        }
        Err(why) => error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", &why.to_string()),
    }
}

/// The channels of this node, with their local subscribers and how many nodes carry each.
async fn channels(hub: &Hub) -> Answer {
    let mut channels = hub.registry().channels();
    let total = channels.len();
    channels.truncate(CHANNELS_MAX);
    let names = channels.iter().map(|count| count.channel.clone()).collect();
    let nodes = match hub.broker().nodes(names).await {
        Ok(nodes) => nodes.into_iter().map(Value::from).collect(),
        // What this node knows is worth an answer all the same.
        Err(_) => vec![Value::Null; channels.len()],
    };
    let list: Vec<Value> = channels
        .iter()
        .zip(nodes)
        .map(|(count, nodes)| {
            json!({
                "channel": count.channel.as_str(),
                "subscribers": count.subscribers,
                "nodes": nodes,
            })
        })
        .collect();
    object(StatusCode::OK, &json!({"channels": list, "total": total}))
}

fn not_allowed(allowed: &str) -> Answer {
    let message = format!("allowed here: {allowed}");
    error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_key_opens() {
        let headers = |value: &str| HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]);
        let key = "0123456789abcdef";
        assert!(carries_key(&headers("Bearer 0123456789abcdef"), key));
        for wrong in [
            "",
            "Bearer ",
            "Bearer 0123456789abcdeF",
            "Bearer 0123456789abcdef0",
            "0123456789abcdef",
        ] {
            assert!(!carries_key(&headers(wrong), key), "{wrong}");
        }
        assert!(!carries_key(&HeaderMap::new(), key));
    }
}
