//! `/api/end` and `/api/renew`: the end and the lease of a run, for workers without a client for Redis.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hyper::StatusCode;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::answer::{ApiResponse, error, object};
use super::channel::of_path;
use super::publish;
use crate::broker::{ENDED, NO_RUN, TOO_LARGE, Unavailable};
use crate::hub::Hub;
use crate::publication::{EndReason, PayloadKind, Publication};

/// The body of a request to end a run.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EndBody {
    reason: String,
    /// The last publication, in one of three forms.
    data: Option<Box<RawValue>>,
    text: Option<String>,
    base64: Option<String>,
}

/// Ends the run on the channel, after a last publication if the body has one.
pub async fn end(hub: &Hub, name: &str, body: Incoming) -> ApiResponse {
    let channel = match of_path(name) {
        Ok(channel) => channel,
        Err(why) => return bad_request(&why),
    };
    let body = match publish::payload(body).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let (reason, last) = match parse(&body) {
        Ok(parsed) => parsed,
        Err(why) => return bad_request(&why),
    };
    match hub.broker().end(channel.clone(), reason, last.sent_now()).await {
        Ok(Some(position)) => object(StatusCode::OK, &json!({"position": position.to_string()})),
        Ok(None) => object(StatusCode::OK, &json!({})),
        Err(why) => refusal(hub, channel.as_str(), why),
    }
}

/// Renews the lease of the run on the channel.
pub async fn renew(hub: &Hub, name: &str) -> ApiResponse {
    let channel = match of_path(name) {
        Ok(channel) => channel,
        Err(why) => return bad_request(&why),
    };
    match hub.broker().renew(channel.clone()).await {
        Ok(lease) => object(StatusCode::OK, &json!({"lease_ms": lease.as_millis() as u64})),
        Err(why) => refusal(hub, channel.as_str(), why),
    }
}

/// The reason, and the last publication; without one its payload is empty.
fn parse(body: &[u8]) -> Result<(EndReason, Publication), String> {
    let body: EndBody = serde_json::from_slice(body).map_err(|fault| {
        format!("the body must be {{\"reason\":\"done\"}}, with data, text or base64 for a last publication: {fault}")
    })?;
    let reason = EndReason::new(&body.reason).map_err(|invalid| invalid.to_string())?;
    let last = match (body.data, body.text, body.base64) {
        (None, None, None) => Publication::bare(Bytes::new()),
        (Some(data), None, None) => Publication::bare(data.get().to_owned().into()),
        (None, Some(text), None) => Publication::bare(text.into()),
        (None, None, Some(base64)) => {
            let bytes = BASE64.decode(base64).map_err(|fault| format!("base64: {fault}"))?;
            Publication::new(bytes.into(), PayloadKind::Binary)
        }
        _ => return Err("data, text and base64 exclude each other".to_owned()),
    };
    Ok((reason, last))
}

fn refusal(hub: &Hub, channel: &str, why: Unavailable) -> ApiResponse {
    match why {
        ENDED => error(StatusCode::CONFLICT, "ended", &why.to_string()),
        NO_RUN => {
            let message = match hub.rules().of(channel).run {
                Some(_) => format!("no run: nothing was published on {channel}"),
                None => hub.rules().explain_not_kept("run", channel),
            };
            error(StatusCode::NOT_FOUND, "not_found", &message)
        }
        TOO_LARGE => error(StatusCode::PAYLOAD_TOO_LARGE, "too_large", &why.to_string()),
        _ => error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", &why.to_string()),
    }
}

fn bad_request(why: &str) -> ApiResponse {
    error(StatusCode::BAD_REQUEST, "bad_request", why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_publication_of_a_run_keeps_its_bytes() {
        for (body, payload, kind) in [
            (r#"{"reason":"done"}"#, &b""[..], PayloadKind::Text),
            (
                r#"{"reason":"done","data":{"b":1.0, "a":2}}"#,
                br#"{"b":1.0, "a":2}"#,
                PayloadKind::Text,
            ),
            (r#"{"reason":"done","text":" 12"}"#, b" 12", PayloadKind::Text),
            (r#"{"reason":"done","base64":"/wA="}"#, b"\xff\x00", PayloadKind::Binary),
        ] {
            let (reason, last) = parse(body.as_bytes()).unwrap();
            assert_eq!(reason.as_str(), "done");
            assert_eq!((&last.payload[..], last.kind), (payload, kind), "{body}");
        }
    }

    #[test]
    fn a_bad_request_to_end_a_run_is_told_what_is_wrong() {
        for (body, why) in [
            ("", "the body must be"),
            (r#"{"text":"x"}"#, "missing field `reason`"),
            (r#"{"reason":""}"#, "a reason is 1 to 255 bytes"),
            (r#"{"reason":"a\nb"}"#, "a reason is 1 to 255 bytes"),
            (r#"{"reason":"done","base64":"?"}"#, "base64"),
            (r#"{"reason":"done","text":"a","data":1}"#, "exclude each other"),
            (r#"{"reason":"done","last":"a"}"#, "unknown field `last`"),
        ] {
            let found = parse(body.as_bytes()).unwrap_err();
            assert!(found.contains(why), "{body}: {found}");
        }
    }
}
