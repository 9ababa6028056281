use bytes::Bytes;

use super::publication::{object, publication};
use super::written::reply;
use crate::protocol::{Code, Excerpt, Reply, ReplyError};
use crate::publication::{Channel, PayloadKind, Position, Publication};

fn text(object: &[u8]) -> &str {
    std::str::from_utf8(object).unwrap()
}

#[test]
fn a_payload_is_data_if_it_is_json_else_text_else_base64() {
    for (payload, written) in [
        (&br#"{"b":1.0, "a":2}"#[..], r#""data":{"b":1.0, "a":2}"#),
        (b"null", r#""data":null"#),
        (b"42", r#""data":42"#),
        (b"say \"hi\"\n", r#""text":"say \"hi\"\n""#),
        (b"", r#""text":"""#),
        (b"{\"a\":", r#""text":"{\"a\":""#),
        (b"1e999", r#""text":"1e999""#),
        (b"\"\\ud83d\"", r#""text":"\"\\ud83d\"""#),
        (b"\xff\x00", r#""base64":"/wA=""#),
        (b"\"\xff\"", r#""base64":"Iv8i""#),
    ] {
        let frame = publication("chat:1", &Publication::bare(Bytes::copy_from_slice(payload)));
        let wanted = format!(r#"{{"type":"publication","channel":"chat:1",{written}}}"#);
        assert_eq!(text(&frame), wanted);
    }
}

#[test]
fn a_binary_publication_is_base64_even_if_its_bytes_are_json_or_text() {
    for (payload, written) in [(&b"42"[..], "NDI="), (b"hi", "aGk="), (b"", ""), (b"\xff", "/w==")]
    {
        let binary = Publication::new(Bytes::from_static(payload), PayloadKind::Binary);
        let fields = format!(r#""base64":"{written}"}}"#);
        let expected = format!(r#"{{"type":"publication","channel":"a",{fields}"#);
        assert_eq!(text(&publication("a", &binary)), expected);
        assert_eq!(object(&binary).get(), format!("{{{fields}"));
    }
}

#[test]
fn a_json_publication_names_its_user_and_time_and_escapes_the_channel() {
    let mut from_ada = Publication::bare(Bytes::from_static(b"1"));
    from_ada.user = Some("ada".into());
    from_ada.sent_at = Some(1_763_999_999_123_456);
    let frame = publication("a\"b", &from_ada);
    let fields = r#""data":1,"user":"ada","time":1763999999123}"#;
    assert_eq!(text(&frame), format!(r#"{{"type":"publication","channel":"a\"b",{fields}"#));
    assert_eq!(object(&from_ada).get(), format!("{{{fields}"));
}

#[test]
fn json_publications_contain_positions_alone_and_in_lists() {
    let position = Some(Position { epoch: 1763, seq: 58 });
    let kept = Publication { position, ..Publication::bare(Bytes::from_static(b"{}")) };
    assert_eq!(
        text(&publication("a", &kept)),
        r#"{"type":"publication","channel":"a","data":{},"position":"1763-58"}"#
    );
    let excerpt = Excerpt { publications: vec![kept], position, ..Excerpt::default() };
    let channel = Channel::new("a").unwrap();
    assert_eq!(
        text(&reply(&Reply::History { id: Some(6.into()), channel, excerpt })),
        r#"{"type":"history","id":6,"channel":"a","publications":[{"data":{},"position":"1763-58"}],"position":"1763-58"}"#
    );
}

#[test]
fn json_replies_omit_absent_fields() {
    assert_eq!(
        text(&reply(&Reply::Published { id: None, position: None })),
        r#"{"type":"published"}"#
    );
    let error = ReplyError {
        id: Some(4.into()),
        channel: Some("news".into()),
        code: Code::Unavailable,
        message: "later".into(),
    };
    assert_eq!(
        text(&reply(&Reply::Error(error))),
        r#"{"type":"error","id":4,"channel":"news","code":"unavailable","message":"later","temporary":true}"#
    );
}
