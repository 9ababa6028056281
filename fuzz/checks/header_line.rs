//! Bytes from Redis by any publisher are read without a panic, and a header line that a node writes is read back
//! unchanged.

use bytes::Bytes;
use tidegate::broker::header::{object, read, read_entry, write};
use tidegate::publication::{NodeId, PayloadKind, Publication};

/// Opens a header line.
const MARK: u8 = 0x1E;

/// Longest text of a field that comes from clients, in bytes.
const FIELD_BYTES_MAX: usize = 255;

/// The bytes are what Redis brought, and then the fields of a publication that is to go there.
pub fn check(bytes: &[u8]) {
    let unknown = read(Bytes::copy_from_slice(bytes), |_| false);
    assert!(unknown.user.is_none() && unknown.session.is_none() && unknown.position.is_none());
    let read_first = read(Bytes::copy_from_slice(bytes), |_| true);
    assert_eq!(read_first.payload, unknown.payload);
    look(&read_first);
    if bytes.first() != Some(&MARK) {
        assert_eq!(&read_first.payload[..], bytes, "a payload without a header is as it is");
    }
    let mut parts = bytes.splitn(3, |byte| *byte == b'|');
    let mut part = || parts.next().unwrap_or_default();
    let (first, second, rest) = (part(), part(), part());
    look(&read_entry(first, rest));
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

/// As clients and tokens may give one.
fn field(bytes: &[u8]) -> Option<std::sync::Arc<str>> {
    let text = std::str::from_utf8(bytes).ok()?;
    (1..=FIELD_BYTES_MAX).contains(&text.len()).then(|| text.into())
}

fn look(publication: &Publication) {
    let is_text = std::str::from_utf8(&publication.payload).is_ok();
    assert!(publication.kind == PayloadKind::Binary || is_text, "a text that is no UTF-8");
}
