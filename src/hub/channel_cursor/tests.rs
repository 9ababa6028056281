mod model;
mod resuming;
mod rules;

use super::reading::HELD_MAX;
use super::*;
use bytes::Bytes;

fn at(epoch: u64, seq: u64) -> Position {
    Position { epoch, seq }
}

/// A publication at this position.
fn kept(epoch: u64, seq: u64) -> Publication {
    Publication { position: Some(at(epoch, seq)), ..Publication::bare(Bytes::new()) }
}

/// A publication of a service with plain `PUBLISH`, past the history.
fn plain() -> Publication {
    Publication::bare(Bytes::from_static(b"plain"))
}

fn linked(epoch: u64, seq: u64, previous: Position) -> Publication {
    Publication { previous: Some(previous), ..kept(epoch, seq) }
}

/// A cursor that is live at a position.
fn live(last: Position) -> ChannelCursor {
    let mut tail = ChannelCursor::default();
    let mut items = Vec::new();
    assert!(tail.open().is_some());
    assert_eq!(tail.open(), None, "one reading at a time");
    assert_eq!(tail.ends_at(Some(last), &mut items), RecoveryStep::Release);
    assert_eq!(tail.release(&mut items), RecoveryStep::Done);
    assert!(items.is_empty() && tail.is_live());
    tail
}

fn interrupted(last: Position) -> ChannelCursor {
    let mut tail = live(last);
    tail.interrupt();
    tail
}

/// Releases all held publications.
fn released(tail: &mut ChannelCursor) -> Vec<ChannelEvent> {
    let mut items = Vec::new();
    while tail.release(&mut items) == RecoveryStep::Release {}
    items
}

fn publications(items: &[ChannelEvent]) -> Vec<Option<Position>> {
    let position = |item: &ChannelEvent| match item {
        ChannelEvent::Publication(publication) => publication.position,
        ChannelEvent::Gap(reason) => panic!("a gap: {reason}"),
    };
    items.iter().map(position).collect()
}

#[test]
fn what_follows_is_delivered_and_what_was_delivered_is_not_again() {
    let mut tail = live(at(1, 5));
    assert_eq!(tail.arrive(kept(1, 6)), ArrivalOutcome::Deliver(kept(1, 6)));
    assert_eq!(tail.arrive(kept(1, 6)), ArrivalOutcome::Nothing);
    assert_eq!(tail.arrive(plain()), ArrivalOutcome::Deliver(plain()));
    assert_eq!(tail.arrive(kept(1, 7)), ArrivalOutcome::Deliver(kept(1, 7)));
}

#[test]
fn what_comes_before_the_opening_waits_for_it_and_is_for_those_who_listen_already() {
    let mut tail = ChannelCursor::default();
    tail.open();
    for publication in [kept(1, 4), kept(1, 5), kept(1, 6)] {
        assert_eq!(tail.arrive(publication), ArrivalOutcome::Nothing);
    }
    let mut items = Vec::new();
    assert_eq!(tail.ends_at(Some(at(1, 5)), &mut items), RecoveryStep::Release);
    let wanted = [Some(at(1, 4)), Some(at(1, 5)), Some(at(1, 6))];
    assert_eq!(publications(&released(&mut tail)), wanted);
    assert!(tail.is_live() && tail.last() == Some(at(1, 6)));
}

#[test]
fn what_was_missed_is_read_and_what_came_meanwhile_follows_it() {
    let mut tail = interrupted(at(1, 5));
    tail.arrive(kept(1, 8));
    tail.arrive(plain());
    tail.arrive(kept(1, 9));
    let mut items = Vec::new();
    assert_eq!(tail.ends_at(Some(at(1, 8)), &mut items), RecoveryStep::Page(at(1, 5)));
    let page = vec![kept(1, 6), kept(1, 7), kept(1, 8), kept(1, 9)];
    assert_eq!(tail.page(page, true, &mut items), RecoveryStep::Release);
    items.extend(released(&mut tail));
    assert_eq!(
        publications(&items),
        [Some(at(1, 6)), Some(at(1, 7)), Some(at(1, 8)), None, Some(at(1, 9))]
    );
    assert_eq!(tail.arrive(kept(1, 10)), ArrivalOutcome::Deliver(kept(1, 10)));
}

#[test]
fn a_jump_is_read_before_anything_else_is_delivered() {
    let mut tail = live(at(1, 5));
    let ArrivalOutcome::Read(_) = tail.arrive(kept(1, 7)) else { panic!("6 is missing") };
    assert_eq!(tail.arrive(kept(1, 8)), ArrivalOutcome::Nothing);
    let mut items = Vec::new();
    assert_eq!(tail.page(vec![kept(1, 6), kept(1, 7)], true, &mut items), RecoveryStep::Release);
    items.extend(released(&mut tail));
    assert_eq!(publications(&items), [Some(at(1, 6)), Some(at(1, 7)), Some(at(1, 8))]);
}

#[test]
fn long_histories_are_read_page_by_page() {
    let mut tail = interrupted(at(1, 0));
    let mut items = Vec::new();
    assert_eq!(tail.ends_at(Some(at(1, 4)), &mut items), RecoveryStep::Page(at(1, 0)));
    let first = vec![kept(1, 1), kept(1, 2)];
    assert_eq!(tail.page(first, false, &mut items), RecoveryStep::Page(at(1, 2)));
    assert_eq!(tail.page(vec![kept(1, 3), kept(1, 4)], true, &mut items), RecoveryStep::Release);
    assert_eq!(publications(&items).len(), 4);
}

#[test]
fn an_epoch_that_goes_on_from_the_last_one_is_no_gap() {
    let mut tail = live(at(1, 5));
    let next = linked(2, 0, at(1, 5));
    assert_eq!(tail.arrive(next.clone()), ArrivalOutcome::Deliver(next));

    let mut tail = interrupted(at(1, 5));
    let mut items = Vec::new();
    assert_eq!(tail.ends_at(Some(at(2, 1)), &mut items), RecoveryStep::Page(at(1, 5)));
    let page = vec![kept(1, 6), linked(2, 0, at(1, 6)), kept(2, 1)];
    assert_eq!(tail.page(page, true, &mut items), RecoveryStep::Release);
    assert_eq!(publications(&items), [Some(at(1, 6)), Some(at(2, 0)), Some(at(2, 1))]);
}

#[test]
fn where_history_cannot_tell_there_is_a_gap() {
    // Trimmed: the next publication no longer exists.
    let mut tail = interrupted(at(1, 5));
    let mut items = Vec::new();
    tail.ends_at(Some(at(1, 9)), &mut items);
    tail.page(vec![kept(1, 8), kept(1, 9)], true, &mut items);
    let wanted = [
        ChannelEvent::Gap(TRIMMED),
        ChannelEvent::Publication(kept(1, 8)),
        ChannelEvent::Publication(kept(1, 9)),
    ];
    assert_eq!(items, wanted);

    // All of it trimmed.
    let mut tail = interrupted(at(1, 5));
    let mut items = Vec::new();
    tail.ends_at(Some(at(1, 9)), &mut items);
    tail.page(Vec::new(), true, &mut items);
    assert_eq!((items, tail.last()), (vec![ChannelEvent::Gap(TRIMMED)], Some(at(1, 9))));

    // Redis has less than was delivered, or another history, or none.
    for end in [Some(at(1, 3)), None] {
        let mut tail = interrupted(at(1, 5));
        let mut items = Vec::new();
        assert_eq!(tail.ends_at(end, &mut items), RecoveryStep::Release);
        assert_eq!((items, tail.last()), (vec![ChannelEvent::Gap(LOST)], end));
    }
    let mut tail = interrupted(at(1, 5));
    let mut items = Vec::new();
    assert_eq!(tail.ends_at(Some(at(2, 1)), &mut items), RecoveryStep::Page(at(1, 5)));
    tail.page(vec![kept(2, 0), kept(2, 1)], true, &mut items);
    assert_eq!(items[0], ChannelEvent::Gap(LOST));

    // Another history, which is still empty.
    let mut tail = interrupted(at(1, 5));
    let mut items = Vec::new();
    tail.ends_at(Some(at(2, 0)), &mut items);
    tail.page(Vec::new(), true, &mut items);
    assert_eq!((items, tail.last()), (vec![ChannelEvent::Gap(LOST)], Some(at(2, 0))));
}

#[test]
fn a_history_that_is_begun_anew_on_a_connection_that_held_is_no_gap_once_it_is_found() {
    let mut tail = live(at(1, 5));
    assert!(matches!(tail.arrive(kept(2, 1)), ArrivalOutcome::Read(_)));
    tail.arrive(kept(2, 2));
    let mut items = Vec::new();
    assert_eq!(tail.page(vec![kept(2, 1), kept(2, 2)], true, &mut items), RecoveryStep::Release);
    items.extend(released(&mut tail));
    assert_eq!(publications(&items), [Some(at(2, 1)), Some(at(2, 2))]);
    assert!(matches!(tail.arrive(kept(3, 7)), ArrivalOutcome::Read(_)));
}

#[test]
fn a_history_that_began_anew_while_the_broker_was_away_is_a_gap_also_where_its_first_is_held() {
    let mut tail = interrupted(at(5, 5));
    tail.arrive(kept(6, 1));
    let mut items = Vec::new();
    assert_eq!(tail.ends_at(Some(at(6, 1)), &mut items), RecoveryStep::Page(at(5, 5)));
    assert_eq!(tail.page(vec![kept(6, 1)], true, &mut items), RecoveryStep::Release);
    items.extend(released(&mut tail));
    assert_eq!(items, [ChannelEvent::Gap(LOST), ChannelEvent::Publication(kept(6, 1))]);
}

#[test]
fn what_is_held_behind_a_gap_is_delivered_once_and_goes_on() {
    // Trimmed beyond the first held one.
    let mut tail = interrupted(at(5, 5));
    (50..=55).for_each(|seq| drop(tail.arrive(kept(5, seq))));
    let mut items = Vec::new();
    tail.ends_at(Some(at(5, 55)), &mut items);
    tail.page(vec![kept(5, 53), kept(5, 54), kept(5, 55)], true, &mut items);
    items.extend(released(&mut tail));
    assert_eq!(items.remove(0), ChannelEvent::Gap(TRIMMED));
    let wanted: Vec<_> = (50..=55).map(|seq| Some(at(5, seq))).collect();
    assert_eq!(publications(&items), wanted);
    assert_eq!(tail.arrive(kept(5, 56)), ArrivalOutcome::Deliver(kept(5, 56)));

    // A server was promoted that has less than was delivered.
    let mut tail = interrupted(at(5, 52));
    let first = linked(6, 1, at(5, 50));
    tail.arrive(first.clone());
    tail.arrive(kept(6, 2));
    let mut items = Vec::new();
    tail.ends_at(Some(at(6, 2)), &mut items);
    tail.page(vec![first, kept(6, 2)], true, &mut items);
    items.extend(released(&mut tail));
    assert_eq!(items.remove(0), ChannelEvent::Gap(LOST));
    assert_eq!(publications(&items), [Some(at(6, 1)), Some(at(6, 2))]);
    assert_eq!(tail.arrive(kept(6, 3)), ArrivalOutcome::Deliver(kept(6, 3)));
}

#[test]
fn a_position_that_no_history_has_is_not_believed() {
    let mut tail = live(at(1, 5));
    for claim in [kept(1, 1000), kept(9, 1)] {
        does_not_believe(&mut tail, claim);
    }
    assert_eq!(tail.arrive(kept(1, 6)), ArrivalOutcome::Deliver(kept(1, 6)));
}

fn does_not_believe(tail: &mut ChannelCursor, claim: Publication) {
    assert!(matches!(tail.arrive(claim.clone()), ArrivalOutcome::Read(_)));
    let mut items = Vec::new();
    assert_eq!(tail.page(Vec::new(), true, &mut items), RecoveryStep::Release);
    items.extend(released(tail));
    let stripped = Publication { position: None, ..claim };
    assert_eq!(items, [ChannelEvent::Gap(LOST), ChannelEvent::Publication(stripped)]);
}

#[test]
fn too_much_to_hold_is_read_again_and_what_cannot_be_is_told() {
    let mut tail = interrupted(at(1, 0));
    let many = HELD_MAX as u64 + 1;
    (1..=many).for_each(|seq| drop(tail.arrive(kept(1, seq))));
    let mut items = Vec::new();
    assert_eq!(tail.ends_at(Some(at(1, 0)), &mut items), RecoveryStep::Release);
    assert_eq!(tail.release(&mut items), RecoveryStep::Page(at(1, 0)));
    let page: Vec<_> = (1..=many).map(|seq| kept(1, seq)).collect();
    assert_eq!(tail.page(page, true, &mut items), RecoveryStep::Release);
    assert_eq!(publications(&items).len(), HELD_MAX + 1);
    assert_eq!(tail.release(&mut items), RecoveryStep::Done);

    let mut tail = interrupted(at(1, 0));
    (0..many).for_each(|_| drop(tail.arrive(plain())));
    tail.ends_at(Some(at(1, 0)), &mut Vec::new());
    let mut items = Vec::new();
    tail.release(&mut items);
    assert_eq!(items, [ChannelEvent::Gap(CROWDED)]);
}

#[tokio::test]
async fn who_waits_for_the_opening_is_answered() {
    let mut tail = ChannelCursor::default();
    tail.open();
    let (first, second) = (tail.opened(), tail.opened());
    drop(first);
    tail.fail(Unavailable("away"));
    assert_eq!(second.await.unwrap(), Err(Unavailable("away")));
    let third = tail.opened();
    tail.ends_at(Some(at(1, 1)), &mut Vec::new());
    released(&mut tail);
    assert_eq!(third.await.unwrap(), Ok(()));
}

#[test]
fn what_a_promoted_server_receives_late_is_not_delivered_again() {
    let mut tail = live(at(1, 8));
    [9, 10].into_iter().for_each(|seq| drop(tail.arrive(kept(1, seq))));
    tail.interrupt();
    let mut items = Vec::new();
    tail.ends_at(Some(at(1, 8)), &mut items);
    assert_eq!(items, [ChannelEvent::Gap(LOST)]);
    assert_eq!(released(&mut tail), []);
    for seq in [9, 10] {
        assert_eq!(tail.arrive(kept(1, seq)), ArrivalOutcome::Nothing, "subscribers have it");
    }
    assert_eq!(tail.last(), Some(at(1, 10)));
    assert_eq!(tail.arrive(kept(1, 11)), ArrivalOutcome::Deliver(kept(1, 11)));
}

#[test]
fn what_stands_in_no_history_waits_also_while_the_broker_is_away_again() {
    let mut tail = interrupted(at(1, 5));
    tail.arrive(kept(1, 6));
    tail.arrive(plain());
    tail.interrupt();
    tail.arrive(kept(1, 8));
    let mut items = Vec::new();
    assert_eq!(tail.ends_at(Some(at(1, 8)), &mut items), RecoveryStep::Page(at(1, 5)));
    tail.page(vec![kept(1, 6), kept(1, 7), kept(1, 8)], true, &mut items);
    items.extend(released(&mut tail));
    assert_eq!(publications(&items), [Some(at(1, 6)), Some(at(1, 7)), None, Some(at(1, 8))]);
}

#[test]
fn what_was_held_when_the_history_ended_is_delivered_without_a_position() {
    let mut tail = interrupted(at(1, 5));
    tail.arrive(kept(1, 6));
    let mut items = Vec::new();
    assert_eq!(tail.ends_at(None, &mut items), RecoveryStep::Release);
    assert_eq!(items, [ChannelEvent::Gap(LOST)]);
    assert_eq!(publications(&released(&mut tail)), [None]);
    assert_eq!((tail.last(), tail.is_live()), (None, true));
}
