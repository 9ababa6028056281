use super::*;
use proptest::prelude::*;

fn at(seq: u64) -> Option<Position> {
    Some(Position { epoch: 7, seq })
}

fn texts(payloads: &[&str]) -> Vec<Publication> {
    let numbered = (1..).zip(payloads);
    numbered
        .map(|(seq, payload)| Publication {
            position: at(seq),
            ..Publication::new(Bytes::copy_from_slice(payload.as_bytes()), PayloadKind::Text)
        })
        .collect()
}

fn payloads(pieces: &[Piece]) -> Vec<&str> {
    pieces.iter().map(|it| std::str::from_utf8(&it.publication.payload).unwrap()).collect()
}

#[test]
fn texts_that_follow_each_other_are_one_piece_with_the_last_position() {
    let pieces = TextPieces::join(texts(&["Hel", "lo", " 12"]));
    assert_eq!(payloads(&pieces), ["Hello 12"]);
    assert_eq!((pieces[0].after, pieces[0].publication.position), (at(0), at(3)));
}

#[test]
fn a_text_that_is_json_but_no_typed_part_is_joined_as_text() {
    let pieces = TextPieces::join(texts(&["1", "{}", r#"{"type":5}"#, "[", "null"]));
    assert_eq!(payloads(&pieces), [r#"1{}{"type":5}[null"#]);
}

#[test]
fn deltas_are_joined_within_their_block_only() {
    let (start, end) = (r#"{"type":"text-start","id":"a"}"#, r#"{"type":"text-end","id":"a"}"#);
    let delta = |kind: &str, id: &str, text: &str| {
        serde_json::json!({"type": kind, "id": id, "delta": text}).to_string()
    };
    let parts = [
        start.to_owned(),
        delta("text-delta", "a", "He\""),
        delta("text-delta", "a", "llo"),
        delta("reasoning-delta", "a", "x"),
        delta("text-delta", "b", "1"),
        delta("text-delta", "b", "2"),
        r#"{"type":"text-delta","id":"b","delta":"3","providerMetadata":{}}"#.to_owned(),
        end.to_owned(),
        "plain".to_owned(),
    ];
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let expected = [
        start,
        r#"{"type":"text-delta","id":"a","delta":"He\"llo"}"#,
        parts[3],
        r#"{"type":"text-delta","id":"b","delta":"12"}"#,
        parts[6],
        end,
        "plain",
    ];
    assert_eq!(payloads(&TextPieces::join(texts(&parts))), expected);
}

#[test]
fn a_delta_that_is_not_joined_keeps_its_bytes() {
    let spaced = r#" { "delta": "\u0041", "id": "a", "type": "text-delta" } "#;
    assert_eq!(payloads(&TextPieces::join(texts(&[spaced]))), [spaced]);
}

#[test]
fn nothing_is_joined_across_a_gap_another_publisher_or_bytes() {
    let mut all = texts(&["a", "b", "c", "d", "e", "f"]);
    all[1].position = at(9);
    all[2].position = at(10);
    all[2].user = Some("ada".into());
    all[3].position = at(11);
    all[3].user = Some("ada".into());
    all[4] = Publication { position: at(12), kind: PayloadKind::Binary, ..all[4].clone() };
    all[5].position = None;
    assert_eq!(payloads(&TextPieces::join(all)), ["a", "b", "cd", "e", "f"]);
}

#[test]
fn neither_bytes_nor_the_end_of_a_run_are_joined_with_texts_of_the_same_publisher() {
    let mut all = texts(&["a", "b", "c", "d", ""]);
    all[2].kind = PayloadKind::Binary;
    all[4].end = crate::publication::EndReason::new("done").ok();
    let pieces = TextPieces::join(all);
    assert_eq!(payloads(&pieces), ["ab", "c", "d", ""]);
    assert_eq!(pieces[1].publication.kind, PayloadKind::Binary);
    let ends: Vec<_> = pieces.iter().map(|it| it.publication.end.is_some()).collect();
    assert_eq!(ends, [false, false, false, true]);
}

#[test]
fn a_piece_that_begins_an_epoch_says_which_one_it_continues() {
    let mut all = texts(&["a", "b"]);
    (all[0].previous, all[0].rules_changed) = (Some(Position { epoch: 6, seq: 4 }), true);
    let pieces = TextPieces::join(all);
    let joined = &pieces[0].publication;
    assert_eq!(
        (joined.previous, joined.rules_changed),
        (Some(Position { epoch: 6, seq: 4 }), true)
    );
}

/// Short texts and texts that fill a piece.
fn text() -> impl Strategy<Value = String> {
    let fragment = prop::sample::select(vec!["", "a", " ", "é", "\u{1f600}", "\"", "{\"type\":"]);
    let times = prop::sample::select(vec![1_usize, 3, 1000]);
    (fragment, times).prop_map(|(fragment, times)| fragment.repeat(times))
}

proptest! {
    #[test]
    fn the_joined_text_is_the_same_and_each_piece_is_bounded(
        parts in prop::collection::vec(text(), 0..40),
    ) {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let pieces = TextPieces::join(texts(&parts));
        prop_assert_eq!(payloads(&pieces).concat(), parts.concat());
        let mut last = 0;
        for piece in &pieces {
            let is_bounded = piece.publication.payload.len() <= PIECE_BYTES_MAX;
            prop_assert!(is_bounded);
            prop_assert_eq!(piece.after, at(last));
            last = piece.publication.position.unwrap().seq;
        }
        prop_assert_eq!(last as usize, parts.len());
    }

    #[test]
    fn deltas_keep_their_text_and_stay_bounded(
        parts in prop::collection::vec(("[ab]", text()), 0..40),
    ) {
        let payload = |(id, text): &(String, String)| {
            serde_json::json!({"type": "text-delta", "id": id, "delta": text}).to_string()
        };
        let written: Vec<_> = parts.iter().map(payload).collect();
        let written: Vec<&str> = written.iter().map(String::as_str).collect();
        let pieces = TextPieces::join(texts(&written));
        let of_block = |block: &str, all: Vec<(String, String)>| -> String {
            all.into_iter().filter(|(id, _)| id == block).map(|(_, text)| text).collect()
        };
        let read = |piece: &Piece| {
            let it: serde_json::Value = serde_json::from_slice(&piece.publication.payload).unwrap();
            (it["id"].as_str().unwrap().to_owned(), it["delta"].as_str().unwrap().to_owned())
        };
        let joined: Vec<_> = pieces.iter().map(read).collect();
        for block in ["a", "b"] {
            prop_assert_eq!(of_block(block, joined.clone()), of_block(block, parts.clone()));
        }
    }
}
