//! The header line before what a node publishes: the byte `0x1E`, a JSON object, and `\n`; then the
//! payload as it is. What has no valid header line is a payload as it is.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::publication::{Kind, NodeId, Publication};

/// Opens a header line: ASCII's record separator, which begins no text that people write.
const MARK: u8 = 0x1E;

/// Longest header line that is looked for.
const HEADER_BYTES_MAX: usize = 4096;

/// The fields of the contract, all optional.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Header<'a> {
    #[serde(skip_serializing_if = "Option::is_none", borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", borrow)]
    node: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none", borrow)]
    session: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none", borrow)]
    user: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none", borrow)]
    traceparent: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    binary: bool,
    /// Written by whoever appends to the history, where the publication stands in it.
    #[serde(skip_serializing, borrow)]
    pos: Option<Cow<'a, str>>,
    #[serde(skip_serializing, borrow)]
    prev: Option<Cow<'a, str>>,
}

/// Header line and payload, as they go to Redis.
pub fn write(publication: &Publication, node: NodeId) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(publication.payload.len() + 128);
    bytes.push(MARK);
    write_object(&mut bytes, publication, node);
    bytes.push(b'\n');
    bytes.extend_from_slice(&publication.payload);
    bytes
}

/// The bare JSON object of the header line.
pub fn object(publication: &Publication, node: NodeId) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    write_object(&mut bytes, publication, node);
    bytes
}

fn write_object(bytes: &mut Vec<u8>, publication: &Publication, node: NodeId) {
    let header = Header {
        id: publication.id.as_deref().map(Cow::Borrowed),
        ts: publication.sent_at,
        node: Some(node.to_string().into()),
        session: publication.session.map(|session| session.to_string().into()),
        user: publication.user.as_deref().map(Cow::Borrowed),
        traceparent: publication.traceparent.map(|it| it.to_string().into()),
        binary: publication.kind == Kind::Binary,
        pos: None,
        prev: None,
    };
    serde_json::to_writer(bytes, &header).expect("a vector takes every header");
}

/// What came from Redis, whoever published it.
pub fn read(bytes: Bytes) -> Publication {
    let Some((header, payload_at)) = header(&bytes) else {
        return Publication::bare(bytes);
    };
    let payload = bytes.slice(payload_at..);
    let mut publication = match header.binary {
        true => Publication::new(payload, Kind::Binary),
        false => Publication::bare(payload),
    };
    publication.id = header.id.as_deref().map(Into::into);
    publication.session = header.session.as_deref().and_then(|session| session.parse().ok());
    publication.user = header.user.as_deref().map(Into::into);
    publication.traceparent = header.traceparent.as_deref().and_then(|it| it.parse().ok());
    publication.position = header.pos.as_deref().and_then(|position| position.parse().ok());
    publication.sent_at = header.ts;
    publication.previous = header.prev.as_deref().and_then(|position| position.parse().ok());
    publication
}

/// What a stream's entry holds: the bare header object, and the payload.
pub fn read_entry(object: &[u8], payload: &[u8]) -> Publication {
    let line = [&[MARK], object, b"\n", payload].concat();
    match header(&line).is_some() {
        true => read(line.into()),
        // Whoever wrote it knew no header.
        false => Publication::bare(Bytes::copy_from_slice(payload)),
    }
}

/// The header, and where the payload begins.
fn header(bytes: &[u8]) -> Option<(Header<'_>, usize)> {
    let line = bytes.strip_prefix(&[MARK])?;
    let end = line.iter().take(HEADER_BYTES_MAX).position(|byte| *byte == b'\n')?;
    // serde would read an array into a struct, field by field.
    let object = line[..end].first() == Some(&b'{');
    let header = serde_json::from_slice(&line[..end]).ok().filter(|_| object)?;
    Some((header, end + 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publication::{SessionId, Traceparent};

    #[test]
    fn what_is_written_is_read_again() {
        let node = NodeId::random();
        for kind in [Kind::Text, Kind::Binary] {
            let publication = Publication {
                session: Some(SessionId { node, number: 7 }),
                user: Some("ada \"l\"".into()),
                sent_at: Some(1_763_000_000_000_000),
                id: Some("once".into()),
                traceparent: Traceparent::sampled([7; 16], [9; 8]),
                ..Publication::new(Bytes::from_static(b"line\nline"), kind)
            };
            assert_eq!(read(write(&publication, node).into()), publication);
        }
    }

    #[test]
    fn a_payload_without_a_valid_header_is_as_it_is() {
        for payload in [
            &b""[..],
            b"{\"plain\":true}",
            b"\x1e",
            b"\x1e{\"ts\":1}",
            b"\x1e[]\npayload",
            b"\x1enot json\npayload",
            b"\x1e{\"ts\":\"soon\"}\npayload",
            b"\x1e{} trailing\npayload",
        ] {
            let publication = read(Bytes::copy_from_slice(payload));
            assert_eq!(publication, Publication::bare(Bytes::copy_from_slice(payload)));
        }
    }

    #[test]
    fn services_may_write_what_they_know_and_more() {
        let line = b"\x1e{\"user\":\"ada\",\"session\":\"worker-7\",\"traceparent\":\"my own\",\"new\":1}\nhi";
        let publication = read(Bytes::from_static(line));
        assert_eq!(publication.user.as_deref(), Some("ada"));
        assert_eq!((&publication.payload[..], publication.session), (&b"hi"[..], None));
        assert_eq!(publication.traceparent, None);
    }

    #[test]
    fn positions_are_read_where_they_can_be() {
        let read = |line: &'static str| read(Bytes::from_static(line.as_bytes()));
        let publication = read("\x1e{\"pos\":\"1763-1\",\"prev\":\"1700-9\"}\nhi");
        let expected = ["1763-1".parse().ok(), "1700-9".parse().ok()];
        assert_eq!([publication.position, publication.previous], expected);
        let publication = read("\x1e{\"pos\":\"soon\"}\nhi");
        assert_eq!((publication.position, &publication.payload[..]), (None, &b"hi"[..]));
    }

    #[test]
    fn the_bare_object_is_the_header_line_without_mark_and_end() {
        let publication = Publication::bare(Bytes::from_static(b"hi"));
        let node = NodeId::random();
        let line = [&[MARK], &object(&publication, node)[..], b"\nhi"].concat();
        assert_eq!(write(&publication, node), line);
    }

    #[test]
    fn bytes_marked_as_text_that_are_not_utf8_are_binary_all_the_same() {
        assert_eq!(read(Bytes::from_static(b"\x1e{}\n\xff")).kind, Kind::Binary);
    }
}
