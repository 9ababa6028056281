//! `/api`: publishing without a WebSocket, what this node carries, and who is in a channel.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::{HeaderMap, Method, Request, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{Answer, Parts, disconnect, drain, error, explain, not_allowed, object, top};
use crate::broker::TOO_LARGE;
use crate::http::{self, Query};
use crate::hub::Hub;
use crate::presence::Presence;
use crate::publication::{Channel, Kind, Members, Publication};
use crate::rules::Rules;
use crate::telemetry;

/// Largest body of a publication.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Most channels in one answer.
const CHANNELS_MAX: usize = 10_000;

pub(super) async fn answer(parts: &Parts, request: Request<Incoming>) -> Answer {
    let Parts { hub, presence, users, rules, .. } = parts;
    let (head, body) = request.into_parts();
    let (path, method) = (head.uri.path(), &head.method);
    let query = Query::new(head.uri.query());
    if path == "/api/channels" {
        return match *method {
            Method::GET => channels(hub).await,
            _ => not_allowed("GET"),
        };
    }
    if path == "/api/top" {
        return match *method {
            Method::GET => top::answer(hub.registry(), query),
            _ => not_allowed("GET"),
        };
    }
    if path == "/api/explain" {
        return match *method {
            Method::GET => {
                let revocations = users.revocations();
                explain::answer(&parts.auth, revocations, rules, query).await
            }
            _ => not_allowed("GET"),
        };
    }
    if path == "/api/disconnect" {
        return match *method {
            Method::POST => disconnect::answer(hub.broker(), users, query).await,
            _ => not_allowed("POST"),
        };
    }
    if path == "/api/drain" {
        return match *method {
            Method::POST => drain::answer(&parts.drain, hub, query),
            _ => not_allowed("POST"),
        };
    }
    if let Some(name) = path.strip_prefix("/api/publish/") {
        return match *method {
            Method::POST => publish(hub, name, &head.headers, body).await,
            _ => not_allowed("POST"),
        };
    }
    if let Some(name) = path.strip_prefix("/api/presence/") {
        return match *method {
            Method::GET => members(presence, rules, name).await,
            _ => not_allowed("GET"),
        };
    }
    error(
        StatusCode::NOT_FOUND,
        "not_found",
        "there are POST /api/publish/{channel}, GET /api/channels, GET /api/top?by=WHAT, \
         GET /api/presence/{channel}, GET /api/explain?channel=CHANNEL, POST /api/disconnect?user=USER and POST /api/drain",
    )
}

/// Does the request carry the key? Takes as long for a wrong key as for a right one.
pub fn carries_key(headers: &HeaderMap, key: &str) -> bool {
    let given = http::bearer(headers).unwrap_or_default();
    let differing = given.iter().zip(key.as_bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
    given.len() == key.len() && differing == 0
}

async fn publish(hub: &Hub, name: &str, headers: &HeaderMap, body: Incoming) -> Answer {
    let channel = match channel(name) {
        Ok(channel) => channel,
        Err(why) => return error(StatusCode::BAD_REQUEST, "bad_request", &why),
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
    let mut publication = match binary {
        true => Publication::new(payload, Kind::Binary),
        false => Publication::bare(payload),
    };
    publication.traceparent = http::traceparent(headers);
    let trace = telemetry::api_publication_received(&channel, &mut publication);
    let answer = hub.publish(channel, publication.sent_now()).await;
    telemetry::api_publication_answered(trace, answer.map_err(|why| why.0));
    match answer {
        Ok(None) => object(StatusCode::ACCEPTED, &json!({})),
        Ok(Some(position)) => {
            object(StatusCode::ACCEPTED, &json!({"position": position.to_string()}))
        }
        Err(TOO_LARGE) => error(StatusCode::PAYLOAD_TOO_LARGE, "too_large", &TOO_LARGE.to_string()),
        Err(why) => error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", &why.to_string()),
    }
}

/// A channel as a path names it; or why that is none.
fn channel(name: &str) -> Result<Channel, String> {
    let name = percent_decode_str(name).decode_utf8();
    let name = name.map_err(|_| "a channel name is UTF-8".to_owned())?;
    Channel::new(&name).map_err(|invalid| invalid.to_string())
}

/// Who is in the channel, over all nodes.
async fn members(presence: &Presence, rules: &Rules, name: &str) -> Answer {
    let channel = match channel(name) {
        Ok(channel) => channel,
        Err(why) => return error(StatusCode::BAD_REQUEST, "bad_request", &why),
    };
    if !rules.of(channel.as_str()).presence {
        let message = rules.keeps_no("presence", channel.as_str());
        return error(StatusCode::NOT_FOUND, "not_found", &message);
    }
    match presence.members(channel.clone()).await {
        Ok(members) => object(StatusCode::OK, &list(&channel, &members)),
        Err(why) => error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", &why.to_string()),
    }
}

/// Members as they are answered; `truncated` only where some are missing.
fn list(channel: &Channel, members: &Members) -> Value {
    let list = members.list.iter();
    let list = list.map(|it| json!({"user": it.user.as_deref(), "sessions": it.sessions}));
    let mut answer = json!({"channel": channel.as_str(), "members": list.collect::<Vec<_>>()});
    if members.truncated {
        answer["truncated"] = true.into();
    }
    answer
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

#[cfg(test)]
mod tests {
    use hyper::header::AUTHORIZATION;

    use super::*;
    use crate::publication::Member;

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

    #[test]
    fn members_are_listed_and_a_part_says_that_it_is_one() {
        let channel = Channel::new("chat:1").unwrap();
        let member = |user: Option<&str>, sessions| Member { user: user.map(Into::into), sessions };
        let members =
            Members { list: vec![member(None, 3), member(Some("u1"), 2)], truncated: false };
        let expected = json!({"channel": "chat:1", "members": [
            {"user": null, "sessions": 3}, {"user": "u1", "sessions": 2},
        ]});
        assert_eq!(list(&channel, &members), expected);
        let part = list(&channel, &Members { truncated: true, ..members });
        assert_eq!(part["truncated"], true);
    }
}
