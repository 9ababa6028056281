//! Tests of histories in memory.

use super::*;
use crate::publication::{NodeId, SessionId};
use bytes::Bytes;

const LIMITS: History = History { size: 3, age: Duration::from_secs(10) };
const WINDOW: Duration = Duration::from_secs(60);

fn channel() -> Channel {
    Channel::new("news").unwrap()
}

fn append(histories: &mut Histories, text: &str, now: Instant) -> Position {
    let publication = Publication::bare(Bytes::copy_from_slice(text.as_bytes()));
    match histories.append(&channel(), publication, LIMITS, WINDOW, now) {
        Appended::New(publication) => publication.position.unwrap(),
        Appended::Duplicate(position) => panic!("{text} is already at {position}"),
    }
}

fn payloads(page: &[Publication]) -> Vec<&[u8]> {
    page.iter().map(|publication| &publication.payload[..]).collect()
}

#[test]
fn positions_grow_by_one_and_pages_are_read_in_both_directions() {
    let (mut histories, now) = (Histories::default(), Instant::now());
    let positions: Vec<_> =
        ["a", "b", "c", "d"].iter().map(|it| append(&mut histories, it, now)).collect();
    for pair in positions.windows(2) {
        assert_eq!((pair[1].epoch, pair[1].seq), (pair[0].epoch, pair[0].seq + 1));
    }
    let mut page = |page, count| histories.page(&channel(), page, count, now);
    assert_eq!(payloads(&page(Page::Newest, 2)), [b"d", b"c"]);
    assert_eq!(payloads(&page(Page::After(positions[0]), 2)), [b"b", b"c"]);
    assert_eq!(payloads(&page(Page::Before(positions[3]), 9)), [b"c", b"b"]);
    assert_eq!(histories.end(&channel(), LIMITS, now).position, positions[3]);
}

#[test]
fn entries_expire_by_age_and_an_expired_history_starts_a_new_epoch() {
    let (mut histories, now) = (Histories::default(), Instant::now());
    let first = append(&mut histories, "a", now);
    append(&mut histories, "b", now + LIMITS.age / 2);
    let page = histories.page(&channel(), Page::Newest, 9, now + LIMITS.age);
    assert_eq!(payloads(&page), [b"b"]);
    let later = append(&mut histories, "c", now + LIMITS.age * 2);
    assert!(later.epoch > first.epoch);
    histories.sweep(now + LIMITS.age * 4);
    assert!(histories.streams.is_empty());
}

#[test]
fn a_repeated_idempotency_key_is_published_once_within_the_window() {
    let (mut histories, now) = (Histories::default(), Instant::now());
    let keyed = Publication { id: Some("k".into()), ..Publication::bare(Bytes::new()) };
    let mut append = |now| histories.append(&channel(), keyed.clone(), LIMITS, WINDOW, now);
    let Appended::New(first) = append(now) else { panic!("it is the first") };
    let Appended::Duplicate(again) = append(now + WINDOW / 2) else { panic!("it is not new") };
    assert_eq!(Some(again), first.position);
    assert!(matches!(append(now + WINDOW), Appended::New(_)));
}

#[test]
fn idempotency_keys_of_different_publishers_are_independent() {
    let (mut histories, now) = (Histories::default(), Instant::now());
    let session = |number| Some(SessionId { node: NodeId::random(), number });
    let of = |user: Option<&str>, session| Publication {
        id: Some("k".into()),
        user: user.map(Into::into),
        session,
        ..Publication::bare(Bytes::new())
    };
    let mut append =
        |it: &Publication| histories.append(&channel(), it.clone(), LIMITS, WINDOW, now);
    let all = [
        of(Some("ada"), session(1)),
        of(Some("bo"), session(2)),
        of(None, session(1)),
        of(None, None),
    ];
    for publication in &all {
        assert!(matches!(append(publication), Appended::New(_)), "{publication:?}");
    }
    for publication in &all {
        assert!(matches!(append(publication), Appended::Duplicate(_)), "{publication:?}");
    }
    // A key is the same on every connection of its user, and of all clients without one.
    assert!(matches!(append(&of(Some("ada"), session(9))), Appended::Duplicate(_)));
    assert!(matches!(append(&of(None, session(9))), Appended::Duplicate(_)));
}

#[test]
fn reading_positions_cannot_create_unbounded_histories() {
    let (mut histories, now) = (Histories::default(), Instant::now());
    let channel = |i: usize| Channel::new(&format!("a:{i}")).unwrap();
    let publication = Publication::bare(Bytes::from_static(b"x"));
    let window = Duration::from_secs(1);
    histories.append(&channel(0), publication, LIMITS, window, now);
    let before = histories.end(&channel(0), LIMITS, now);
    for i in 1..=2 * EMPTY_MAX {
        histories.end(&channel(i), LIMITS, now);
    }
    assert!(histories.streams.len() <= EMPTY_MAX + 1, "{}", histories.streams.len());
    assert_eq!(
        histories.end(&channel(0), LIMITS, now),
        before,
        "a history with a publication stays"
    );
}
