//! The header line before a publication of a node: the byte `0x1E`, a JSON object, and `\n`, then
//! the payload as it is. Without a valid header line the whole message is the payload.
//!
//! A service may relay text of its users, so anyone can write a header line. Its sender and
//! position are trusted only if the line carries a secret of the fleet's servers (`secret.rs`).

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::publication::{
    Channel, EndReason, MessageProperties, NodeId, PROPERTIES_BYTES_MAX, PayloadKind, Publication,
    UpdateFields,
};

/// First byte of a header line: ASCII's record separator, which does not occur in ordinary text.
const MARK: u8 = 0x1E;

/// Maximum length of a header line.
pub const HEADER_BYTES_MAX: usize = 4096;

/// The header fields of the contract, all optional.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct PublicationHeader<'a> {
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
    /// A value that is none of [`MessageProperties`] is ignored.
    #[serde(skip_serializing_if = "Option::is_none", borrow)]
    properties: Option<Cow<'a, RawValue>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    binary: bool,
    /// The fields of an update: see [`UpdateFields`].
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    private: bool,
    #[serde(skip_serializing_if = "Option::is_none", borrow)]
    event: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none", borrow)]
    event_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty", borrow)]
    topics: Vec<Cow<'a, str>>,
    /// Written by the function that appends to the history: the publication's position there.
    #[serde(skip_serializing, borrow)]
    pos: Option<Cow<'a, str>>,
    #[serde(skip_serializing, borrow)]
    prev: Option<Cow<'a, str>>,
    #[serde(skip_serializing)]
    rules_changed: bool,
    /// Written by the functions: why the run has ended.
    #[serde(skip_serializing, borrow)]
    ended: Option<Cow<'a, str>>,
    /// The server's secret.
    #[serde(skip_serializing_if = "Option::is_none", borrow)]
    key: Option<Cow<'a, str>>,
}

/// Header line and payload, as sent to Redis. `key`: the server's secret, where it is known.
pub fn write(publication: &Publication, node: NodeId, key: Option<&str>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(publication.payload.len() + 192);
    bytes.push(MARK);
    write_object(&mut bytes, publication, node, key);
    bytes.push(b'\n');
    bytes.extend_from_slice(&publication.payload);
    bytes
}

/// The bare JSON object of the header line. The functions add the secret.
pub fn object(publication: &Publication, node: NodeId) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    write_object(&mut bytes, publication, node, None);
    bytes
}

fn write_object(bytes: &mut Vec<u8>, publication: &Publication, node: NodeId, key: Option<&str>) {
    let update = publication.update.as_deref();
    let text = |text: &'_ Option<Box<str>>| text.clone().map(|text| Cow::Owned(text.into()));
    let header = PublicationHeader {
        id: publication.id.as_deref().map(Cow::Borrowed),
        ts: publication.sent_at,
        node: Some(node.to_string().into()),
        session: publication.session.map(|session| session.to_string().into()),
        user: publication.user.as_deref().map(Cow::Borrowed),
        traceparent: publication.traceparent.map(|it| it.to_string().into()),
        properties: publication.properties.as_deref().and_then(raw_properties),
        binary: publication.kind == PayloadKind::Binary,
        private: update.is_some_and(|update| update.is_private),
        event: update.and_then(|update| text(&update.event)),
        event_id: update.and_then(|update| text(&update.event_id)),
        retry: update.and_then(|update| update.retry_ms),
        topics: update.map_or(Vec::new(), |update| {
            update.topics.iter().map(|topic| Cow::Borrowed(&**topic)).collect()
        }),
        pos: None,
        prev: None,
        rules_changed: false,
        ended: None,
        key: key.map(Cow::Borrowed),
    };
    serde_json::to_writer(bytes, &header).expect("every header can be written to a vector");
}

fn raw_properties(properties: &MessageProperties) -> Option<Cow<'static, RawValue>> {
    serde_json::value::to_raw_value(properties).ok().map(Cow::Owned)
}

/// Reads a message from Redis. `is_secret`: whether a text is a secret of the fleet's servers.
pub fn read(bytes: Bytes, is_secret: impl Fn(&str) -> bool) -> Publication {
    let Some((header, payload_at)) = header(&bytes) else {
        return match behind_secret(&bytes, is_secret) {
            // The writer knows the secret, but its header fields cannot be read.
            Some(payload_at) => {
                Publication { signed: true, ..Publication::bare(bytes.slice(payload_at..)) }
            }
            None => Publication::bare(bytes),
        };
    };
    let is_trusted = header.key.as_deref().is_some_and(is_secret);
    publication(&header, bytes.slice(payload_at..), is_trusted)
}

/// Reads a stream entry: the bare header object, and the payload. The header is trusted, because
/// the entry holds it apart from the payload, so relayed text cannot become a header.
pub fn read_entry(object: &[u8], payload: &[u8]) -> Publication {
    let line = [&[MARK], object, b"\n"].concat();
    let payload = Bytes::copy_from_slice(payload);
    match header(&line) {
        Some((header, _)) => publication(&header, payload, true),
        // The writer used no valid header.
        None => Publication::bare(payload),
    }
}

/// `is_believed`: whether sender and position are taken from the header.
fn publication(header: &PublicationHeader<'_>, payload: Bytes, is_trusted: bool) -> Publication {
    let mut publication = match header.binary {
        true => Publication::new(payload, PayloadKind::Binary),
        false => Publication::bare(payload),
    };
    publication.id = header.id.as_deref().map(Into::into);
    publication.sent_at = header.ts;
    publication.properties = header
        .properties
        .as_deref()
        .filter(|raw| raw.get().len() <= PROPERTIES_BYTES_MAX)
        .and_then(|raw| serde_json::from_str::<MessageProperties>(raw.get()).ok().map(Arc::new));
    publication.traceparent = header.traceparent.as_deref().and_then(|it| it.parse().ok());
    publication.update = update(header, is_trusted);
    if is_trusted {
        let position = |text: &Option<Cow<'_, str>>| text.as_deref()?.parse().ok();
        publication.session = header.session.as_deref().and_then(|it| it.parse().ok());
        publication.user = header.user.as_deref().map(Into::into);
        publication.position = position(&header.pos);
        publication.previous = position(&header.prev);
        publication.rules_changed = header.rules_changed;
        publication.end = header.ended.as_deref().and_then(|it| EndReason::new(it).ok());
        publication.signed = true;
    }
    publication
}

/// The fields of an update. A service may write them too; only a node or a function knows the other channels.
fn update(header: &PublicationHeader<'_>, is_trusted: bool) -> Option<Box<UpdateFields>> {
    let text = |text: &Option<Cow<'_, str>>| UpdateFields::text(text.as_deref()?).ok();
    let topics = header.topics.iter().take(UpdateFields::TOPICS_MAX).filter(|_| is_trusted);
    let update = UpdateFields {
        is_private: header.private,
        event: text(&header.event),
        event_id: text(&header.event_id),
        retry_ms: header.retry,
        topics: topics
            .filter_map(|topic| Some(Channel::new(topic).ok()?.as_str().into()))
            .collect(),
    };
    (update != UpdateFields::default()).then(|| Box::new(update))
}

/// The header, and the offset of the payload.
fn header(bytes: &[u8]) -> Option<(PublicationHeader<'_>, usize)> {
    let line = bytes.strip_prefix(&[MARK])?;
    let end = line.iter().take(HEADER_BYTES_MAX).position(|byte| *byte == b'\n')?;
    // serde would read an array into a struct, field by field.
    let object = line[..end].first() == Some(&b'{');
    let header = serde_json::from_slice(&line[..end]).ok().filter(|_| object)?;
    Some((header, end + 2))
}

/// The offset of the payload behind a line that holds a secret but is no header that this node can
/// read. Clients must never get such a line: with the secret, a client could write lines that nodes
/// trust.
fn behind_secret(bytes: &[u8], is_secret: impl Fn(&str) -> bool) -> Option<usize> {
    const KEY: &[u8] = br#""key":""#;
    let line = bytes.strip_prefix(&[MARK])?;
    let end = line.iter().position(|byte| *byte == b'\n')?;
    // `key` is the last field of every writer.
    let fields = line[..end].strip_suffix(br#""}"#)?;
    let begin = fields.windows(KEY.len()).rposition(|some| some == KEY)?;
    let text = std::str::from_utf8(&fields[begin + KEY.len()..]).ok()?;
    is_secret(text).then_some(end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publication::{SessionId, Traceparent};

    const KEY: &str = "0123456789abcdefghijkl";

    /// Reads at a node that knows the secret.
    fn read(line: impl AsRef<[u8]>) -> Publication {
        super::read(Bytes::copy_from_slice(line.as_ref()), |key| key == KEY)
    }

    #[test]
    fn a_written_header_line_is_read_back() {
        let node = NodeId::random();
        for kind in [PayloadKind::Text, PayloadKind::Binary] {
            let publication = Publication {
                session: Some(SessionId { node, number: 7 }),
                user: Some("ada \"l\"".into()),
                sent_at: Some(1_763_000_000_000_000),
                id: Some("once".into()),
                properties: Some(Arc::new(MessageProperties {
                    qos: Some(1),
                    user: vec![("unit".to_owned(), "\u{b0}C".to_owned())],
                    ..MessageProperties::default()
                })),
                traceparent: Traceparent::sampled([7; 16], [9; 8]),
                signed: true,
                ..Publication::new(Bytes::from_static(b"line\nline"), kind)
            };
            assert_eq!(read(write(&publication, node, Some(KEY))), publication);
        }
    }

    #[test]
    fn a_message_without_a_valid_header_line_is_the_payload() {
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
            assert_eq!(read(payload), Publication::bare(Bytes::copy_from_slice(payload)));
        }
    }

    #[test]
    fn the_fields_of_an_update_are_read_back_and_its_other_channels_only_from_a_trusted_writer() {
        let update = UpdateFields {
            is_private: true,
            event: Some("price \"x\"".into()),
            event_id: Some("urn:uuid:1".into()),
            retry_ms: Some(3000),
            topics: ["a", "https://b.test/{c}"].map(Into::into).into(),
        };
        let publication = Publication {
            update: Some(Box::new(update.clone())),
            signed: true,
            ..Publication::bare(Bytes::from_static(b"hi"))
        };
        let node = NodeId::random();
        assert_eq!(read(write(&publication, node, Some(KEY))), publication);
        let entry = read_entry(&object(&publication, node), b"hi");
        assert_eq!(entry.update, publication.update);
        let of_service = read(write(&publication, node, None)).update;
        assert_eq!(of_service, Some(Box::new(UpdateFields { topics: Box::default(), ..update })));
        let odd = read("\x1e{\"event\":\"a\\nid: 1\",\"event_id\":\"\",\"private\":true}\nhi");
        let private = UpdateFields { is_private: true, ..UpdateFields::default() };
        assert_eq!(odd.update, Some(Box::new(private)));
    }

    #[test]
    fn services_may_write_some_header_fields_and_unknown_ones() {
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let line = format!(
            "\x1e{{\"ts\":5,\"id\":\"a\",\"node\":\"me\",\"traceparent\":\"{trace}\",\"new\":1}}\nhi"
        );
        let publication = read(line);
        assert_eq!((&publication.payload[..], publication.sent_at), (&b"hi"[..], Some(5)));
        assert_eq!(publication.traceparent, trace.parse().ok());
        assert_eq!(publication.id.as_deref(), Some("a"));
        assert_eq!(read("\x1e{\"traceparent\":\"my own\"}\nhi").traceparent, None);
        assert_eq!(read("\x1e{\"properties\":7}\nhi").properties, None);
        let content_type = read("\x1e{\"properties\":{\"content_type\":\"a/b\",\"new\":1}}\nhi");
        let content_type = content_type.properties.and_then(|it| it.content_type.clone());
        assert_eq!(content_type.as_deref(), Some("a/b"));
        assert_eq!(read("\x1e{\"binary\":true}\nhi").kind, PayloadKind::Binary);
    }

    #[test]
    fn sender_and_position_are_trusted_only_with_the_secret() {
        let node = NodeId::random();
        let fields = format!(
            r#""user":"ada","session":"{node}-7","pos":"1763-1","prev":"1700-9","ended":"done""#
        );
        let bare = Publication::bare(Bytes::from_static(b"hi"));
        for key in ["", r#","key":"""#, r#","key":"0123456789abcdefghijkL""#, r#","key":null"#] {
            assert_eq!(read(format!("\x1e{{{fields}{key}}}\nhi")), bare, "{key}");
        }
        let publication = read(format!("\x1e{{{fields},\"key\":\"{KEY}\"}}\nhi"));
        let expected = Publication {
            user: Some("ada".into()),
            session: Some(SessionId { node, number: 7 }),
            position: "1763-1".parse().ok(),
            previous: "1700-9".parse().ok(),
            end: EndReason::new("done").ok(),
            signed: true,
            ..bare
        };
        assert_eq!(publication, expected);
        let odd = read(format!("\x1e{{\"pos\":\"soon\",\"session\":\"w\",\"key\":\"{KEY}\"}}\nhi"));
        let bare = Publication::bare(Bytes::from_static(b"hi"));
        assert_eq!(odd, Publication { signed: true, ..bare });
    }

    #[test]
    fn a_line_with_the_secret_never_becomes_part_of_the_payload() {
        let hi = Publication { signed: true, ..Publication::bare(Bytes::from_static(b"hi")) };
        let long = "x".repeat(HEADER_BYTES_MAX);
        for fields in [&br#""ts":-0"#[..], b"\"id\":\"\xff\"", b"no JSON", long.as_bytes()] {
            let line = [b"\x1e{", fields, b",\"key\":\"", KEY.as_bytes(), b"\"}\nhi"].concat();
            assert_eq!(read(&line), hi);
        }
        let other = b"\x1e{\"ts\":-0,\"key\":\"0123456789abcdefghijkL\"}\nhi";
        assert_eq!(read(other), Publication::bare(Bytes::from_static(other)));
    }

    #[test]
    fn the_header_of_a_stream_entry_is_trusted_without_the_secret() {
        let publication = read_entry(br#"{"user":"ada"}"#, b"\x1e{\"user\":\"root\"}\nhi");
        assert_eq!(publication.user.as_deref(), Some("ada"));
        assert_eq!(&publication.payload[..], b"\x1e{\"user\":\"root\"}\nhi");
        let bare = Publication::bare(Bytes::from_static(b"hi"));
        assert_eq!(read_entry(b"no header", b"hi"), bare);
    }

    #[test]
    fn the_bare_object_is_the_header_line_without_mark_and_end() {
        let publication = Publication::bare(Bytes::from_static(b"hi"));
        let node = NodeId::random();
        let line = [&[MARK], &object(&publication, node)[..], b"\nhi"].concat();
        assert_eq!(write(&publication, node, None), line);
    }

    #[test]
    fn a_payload_marked_as_text_that_is_not_utf8_is_binary() {
        assert_eq!(read(b"\x1e{}\n\xff").kind, PayloadKind::Binary);
    }
}
