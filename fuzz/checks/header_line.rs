//! A node reads any bytes from Redis without a panic, and reads back unchanged a header line that a node wrote.

use bytes::Bytes;
use tidegate::broker::header::{object, read, read_entry, write};
use tidegate::publication::{NodeId, PayloadKind, Publication};

/// The first byte of a header line.
const MARK: u8 = 0x1E;

/// The longest text of a field that clients set, in bytes.
const FIELD_BYTES_MAX: usize = 255;

/// Reads the bytes as a message from Redis, then uses them as the fields of a publication to write.
pub fn check(bytes: &[u8]) {
    let unknown = read(Bytes::copy_from_slice(bytes), |_| false);
    assert!(unknown.user.is_none() && unknown.session.is_none() && unknown.position.is_none());
    let read_first = read(Bytes::copy_from_slice(bytes), |_| true);
    assert_eq!(read_first.payload, unknown.payload);
    check_publication(&read_first);
    if bytes.first() != Some(&MARK) {
        assert_eq!(&read_first.payload[..], bytes, "a payload without a header is unchanged");
    }
    let mut parts = bytes.splitn(3, |byte| *byte == b'|');
    let mut part = || parts.next().unwrap_or_default();
    let (first, second, rest) = (part(), part(), part());
    check_publication(&read_entry(first, rest));
    let sent = Publication {
        id: field(first),
        user: field(second),
        traceparent: field(second).and_then(|text| text.parse().ok()),
        session: read_first.session,
        sent_at: read_first.sent_at,
        ..Publication::bare(Bytes::copy_from_slice(rest))
    };
    round_trip(&sent);
    round_trip(&Publication { kind: PayloadKind::Binary, ..sent });
}

fn round_trip(sent: &Publication) {
    let node = NodeId::random();
    let signed = Publication { signed: true, ..sent.clone() };
    assert_eq!(read(write(sent, node, Some("key")).into(), |key| key == "key"), signed);
    assert_eq!(read_entry(&object(sent, node), &sent.payload), signed);
}

/// The bytes as a field, if a client or token may set it to this.
fn field(bytes: &[u8]) -> Option<std::sync::Arc<str>> {
    let text = std::str::from_utf8(bytes).ok()?;
    (1..=FIELD_BYTES_MAX).contains(&text.len()).then(|| text.into())
}

fn check_publication(publication: &Publication) {
    let is_text = std::str::from_utf8(&publication.payload).is_ok();
    assert!(publication.kind == PayloadKind::Binary || is_text, "a text that is not UTF-8");
}
