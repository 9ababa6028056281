//! The header line in Redis: every node reads back what a node wrote, for any payload.

use std::sync::Arc;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use tidegate::broker::header::{object, read, read_entry, write};
use tidegate::publication::{NodeId, PayloadKind, Publication, SessionId, Traceparent};

use super::check_property;

const KEY: &str = "0123456789abcdefghijkl";

fn publication() -> impl Strategy<Value = Publication> {
    let payload = prop_oneof![
        vec(any::<u8>(), 0..60),
        any::<String>().prop_map(String::into_bytes),
        "\\x1e\\{\"user\":\"mallory\"\\}\n[a-z]{0,9}".prop_map(String::into_bytes),
    ];
    let field = || of("(?s).{1,60}".prop_map(Arc::<str>::from));
    let trace = of(any::<([u8; 16], [u8; 8])>());
    (payload, any::<bool>(), of(any::<u64>()), of(any::<u64>()), field(), field(), trace).prop_map(
        |(payload, is_binary, session, sent_at, id, user, trace)| {
            let bare = Publication::bare(Bytes::from(payload));
            let kind = if is_binary { PayloadKind::Binary } else { bare.kind };
            let session = session.map(|number| SessionId { node: NodeId::random(), number });
            let traceparent = trace.and_then(|(trace, span)| Traceparent::sampled(trace, span));
            Publication { kind, session, sent_at, id, user, traceparent, ..bare }
        },
    )
}

#[test]
fn a_publication_read_from_its_header_line_equals_the_written_one() {
    check_property(1000, publication(), |sent| {
        let node = NodeId::random();
        let written = write(&sent, node, Some(KEY));
        let signed = Publication { signed: true, ..sent.clone() };
        prop_assert_eq!(&read(written.clone().into(), |key| key == KEY), &signed);
        // A reader that does not accept the key reads no user and no session, and all else.
        let anonymous = Publication { user: None, session: None, ..sent.clone() };
        prop_assert_eq!(&read(written.into(), |_| false), &anonymous);
        prop_assert_eq!(&read_entry(&object(&sent, node), &sent.payload), &signed);
        Ok(())
    });
}
