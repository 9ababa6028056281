//! The format of `--json`: one object per line, as in the json protocol.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::publication::{PayloadKind, Publication};

/// One line.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum JsonLine<'a> {
    Publication {
        channel: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<Box<RawValue>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        base64: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        position: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<&'a str>,
        /// Unix milliseconds of the first node that received it.
        #[serde(skip_serializing_if = "Option::is_none")]
        time: Option<u64>,
    },
    Ended {
        channel: &'a str,
        reason: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        position: Option<String>,
    },
    Gap {
        channel: &'a str,
        reason: &'a str,
    },
}

/// The end of a run is `ended`. The payload of another publication is in `data` if it is JSON, else in `text`; if it is binary, in `base64`.
pub fn of_publication(channel: &str, publication: &Publication) -> Vec<u8> {
    if let Some(reason) = &publication.end {
        let position = publication.position.map(|position| position.to_string());
        return written(&JsonLine::Ended { channel, reason: reason.as_str(), position });
    }
    let text = match publication.kind {
        PayloadKind::Text | PayloadKind::TextPart => std::str::from_utf8(&publication.payload).ok(),
        PayloadKind::Binary => None,
    };
    let data = text.and_then(on_one_line);
    written(&JsonLine::Publication {
        channel,
        base64: text.is_none().then(|| BASE64.encode(&publication.payload)),
        text: text.filter(|_| data.is_none()),
        data,
        position: publication.position.map(|position| position.to_string()),
        user: publication.user.as_deref(),
        time: publication.sent_at.map(|micros| micros / 1000),
    })
}

/// Reports that publications may be missing.
pub fn of_gap(channel: &str, reason: &str) -> Vec<u8> {
    written(&JsonLine::Gap { channel, reason })
}

/// The text unchanged, if every reader accepts it as JSON. Line breaks can occur only between JSON tokens.
fn on_one_line(text: &str) -> Option<Box<RawValue>> {
    // Parses it completely, because a raw value may contain numbers and surrogates that readers reject.
    serde_json::from_str::<Value>(text).ok()?;
    RawValue::from_string(text.replace(['\n', '\r'], " ").trim().to_owned()).ok()
}

fn written(line: &JsonLine<'_>) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(line).expect("texts and numbers are always JSON");
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn a_payload_is_data_text_or_base64_and_always_on_one_line() {
        for (payload, kind, written) in [
            (
                &b"{\"b\":1.0,\r\n  \"a\":2}\n"[..],
                PayloadKind::Text,
                "\"data\":{\"b\":1.0,    \"a\":2}",
            ),
            (b"42", PayloadKind::Text, "\"data\":42"),
            (b"a\nb", PayloadKind::Text, "\"text\":\"a\\nb\""),
            (b"", PayloadKind::Text, "\"text\":\"\""),
            (b"1e999", PayloadKind::Text, "\"text\":\"1e999\""),
            (b"\"\\ud800\"", PayloadKind::Text, "\"text\":\"\\\"\\\\ud800\\\"\""),
            (b"42", PayloadKind::Binary, "\"base64\":\"NDI=\""),
            (b"\xff\x00", PayloadKind::Binary, "\"base64\":\"/wA=\""),
        ] {
            let publication = Publication::new(Bytes::from_static(payload), kind);
            let line = String::from_utf8(of_publication("a\"b", &publication)).unwrap();
            let expected =
                format!("{{\"type\":\"publication\",\"channel\":\"a\\\"b\",{written}}}\n");
            assert_eq!(line, expected);
        }
    }

    #[test]
    fn a_json_line_has_position_user_and_time() {
        let publication = Publication {
            position: "7-41".parse().ok(),
            user: Some("ada".into()),
            sent_at: Some(1_763_999_999_123_456),
            ..Publication::bare(Bytes::from_static(b"x"))
        };
        let line = String::from_utf8(of_publication("news", &publication)).unwrap();
        let rest = r#""text":"x","position":"7-41","user":"ada","time":1763999999123}"#;
        assert!(line.trim_end().ends_with(rest), "{line}");
    }
}
