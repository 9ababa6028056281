mod model;
mod resuming;
mod rules;

use super::history_read::HELD_MAX;
use super::*;
use bytes::Bytes;

fn at(epoch: u64, seq: u64) -> Position {
    Position { epoch, seq }
}

/// A publication at this position.
fn at_position(epoch: u64, seq: u64) -> Publication {
    Publication { position: Some(at(epoch, seq)), ..Publication::bare(Bytes::new()) }
}

/// A publication of a service with plain `PUBLISH`, past the history.
fn plain() -> Publication {
    Publication::bare(Bytes::from_static(b"plain"))
}

fn linked(epoch: u64, seq: u64, previous: Position) -> Publication {
    Publication { previous: Some(previous), ..at_position(epoch, seq) }
}

/// A cursor that is live at a position.
fn live(last: Position) -> ChannelCursor {
    let mut cursor = ChannelCursor::default();
    let mut events = Vec::new();
    assert!(cursor.open().is_some());
    assert_eq!(cursor.open(), None, "one reading at a time");
    assert_eq!(cursor.receive_end(Some(last), &mut events), RecoveryStep::Release);
    assert_eq!(cursor.release(&mut events), RecoveryStep::Done);
    assert!(events.is_empty() && cursor.is_live());
    cursor
}

fn interrupted(last: Position) -> ChannelCursor {
    let mut cursor = live(last);
    cursor.interrupt();
    cursor
}

/// Releases all held publications.
fn released(cursor: &mut ChannelCursor) -> Vec<ChannelEvent> {
    let mut events = Vec::new();
    while cursor.release(&mut events) == RecoveryStep::Release {}
    events
}

fn publications(events: &[ChannelEvent]) -> Vec<Option<Position>> {
    let position = |event: &ChannelEvent| match event {
        ChannelEvent::Publication(publication) => publication.position,
        ChannelEvent::Gap(reason) => panic!("a gap: {reason}"),
    };
    events.iter().map(position).collect()
}

#[test]
fn the_next_publication_is_delivered_and_a_delivered_one_is_not_repeated() {
    let mut cursor = live(at(1, 5));
    assert_eq!(cursor.receive(at_position(1, 6)), ArrivalOutcome::Deliver(at_position(1, 6)));
    assert_eq!(cursor.receive(at_position(1, 6)), ArrivalOutcome::Nothing);
    assert_eq!(cursor.receive(plain()), ArrivalOutcome::Deliver(plain()));
    assert_eq!(cursor.receive(at_position(1, 7)), ArrivalOutcome::Deliver(at_position(1, 7)));
}

#[test]
fn publications_before_the_opening_are_held_and_delivered_to_existing_subscribers() {
    let mut cursor = ChannelCursor::default();
    cursor.open();
    for publication in [at_position(1, 4), at_position(1, 5), at_position(1, 6)] {
        assert_eq!(cursor.receive(publication), ArrivalOutcome::Nothing);
    }
    let mut events = Vec::new();
    assert_eq!(cursor.receive_end(Some(at(1, 5)), &mut events), RecoveryStep::Release);
    let expected = [Some(at(1, 4)), Some(at(1, 5)), Some(at(1, 6))];
    assert_eq!(publications(&released(&mut cursor)), expected);
    assert!(cursor.is_live() && cursor.last() == Some(at(1, 6)));
}

#[test]
fn missed_publications_are_read_and_held_ones_follow_them() {
    let mut cursor = interrupted(at(1, 5));
    cursor.receive(at_position(1, 8));
    cursor.receive(plain());
    cursor.receive(at_position(1, 9));
    let mut events = Vec::new();
    assert_eq!(cursor.receive_end(Some(at(1, 8)), &mut events), RecoveryStep::Page(at(1, 5)));
    let page = vec![at_position(1, 6), at_position(1, 7), at_position(1, 8), at_position(1, 9)];
    assert_eq!(cursor.receive_page(page, true, &mut events), RecoveryStep::Release);
    events.extend(released(&mut cursor));
    assert_eq!(
        publications(&events),
        [Some(at(1, 6)), Some(at(1, 7)), Some(at(1, 8)), None, Some(at(1, 9))]
    );
    assert_eq!(cursor.receive(at_position(1, 10)), ArrivalOutcome::Deliver(at_position(1, 10)));
}

#[test]
fn missing_publications_are_read_before_later_ones_are_delivered() {
    let mut cursor = live(at(1, 5));
    let ArrivalOutcome::Read(_) = cursor.receive(at_position(1, 7)) else { panic!("6 is missing") };
    assert_eq!(cursor.receive(at_position(1, 8)), ArrivalOutcome::Nothing);
    let mut events = Vec::new();
    assert_eq!(
        cursor.receive_page(vec![at_position(1, 6), at_position(1, 7)], true, &mut events),
        RecoveryStep::Release
    );
    events.extend(released(&mut cursor));
    assert_eq!(publications(&events), [Some(at(1, 6)), Some(at(1, 7)), Some(at(1, 8))]);
}

#[test]
fn long_histories_are_read_page_by_page() {
    let mut cursor = interrupted(at(1, 0));
    let mut events = Vec::new();
    assert_eq!(cursor.receive_end(Some(at(1, 4)), &mut events), RecoveryStep::Page(at(1, 0)));
    let first = vec![at_position(1, 1), at_position(1, 2)];
    assert_eq!(cursor.receive_page(first, false, &mut events), RecoveryStep::Page(at(1, 2)));
    assert_eq!(
        cursor.receive_page(vec![at_position(1, 3), at_position(1, 4)], true, &mut events),
        RecoveryStep::Release
    );
    assert_eq!(publications(&events).len(), 4);
}

#[test]
fn an_epoch_that_continues_the_last_one_causes_no_gap() {
    let mut cursor = live(at(1, 5));
    let next = linked(2, 0, at(1, 5));
    assert_eq!(cursor.receive(next.clone()), ArrivalOutcome::Deliver(next));

    let mut cursor = interrupted(at(1, 5));
    let mut events = Vec::new();
    assert_eq!(cursor.receive_end(Some(at(2, 1)), &mut events), RecoveryStep::Page(at(1, 5)));
    let page = vec![at_position(1, 6), linked(2, 0, at(1, 6)), at_position(2, 1)];
    assert_eq!(cursor.receive_page(page, true, &mut events), RecoveryStep::Release);
    assert_eq!(publications(&events), [Some(at(1, 6)), Some(at(2, 0)), Some(at(2, 1))]);
}

#[test]
fn a_history_that_cannot_prove_completeness_causes_a_gap() {
    // Trimmed: the next publication no longer exists.
    let mut cursor = interrupted(at(1, 5));
    let mut events = Vec::new();
    cursor.receive_end(Some(at(1, 9)), &mut events);
    cursor.receive_page(vec![at_position(1, 8), at_position(1, 9)], true, &mut events);
    let expected = [
        ChannelEvent::Gap(TRIMMED),
        ChannelEvent::Publication(at_position(1, 8)),
        ChannelEvent::Publication(at_position(1, 9)),
    ];
    assert_eq!(events, expected);

    // All of it trimmed.
    let mut cursor = interrupted(at(1, 5));
    let mut events = Vec::new();
    cursor.receive_end(Some(at(1, 9)), &mut events);
    cursor.receive_page(Vec::new(), true, &mut events);
    assert_eq!((events, cursor.last()), (vec![ChannelEvent::Gap(TRIMMED)], Some(at(1, 9))));

    // Redis has less than was delivered, or another history, or none.
    for end in [Some(at(1, 3)), None] {
        let mut cursor = interrupted(at(1, 5));
        let mut events = Vec::new();
        assert_eq!(cursor.receive_end(end, &mut events), RecoveryStep::Release);
        assert_eq!((events, cursor.last()), (vec![ChannelEvent::Gap(LOST)], end));
    }
    let mut cursor = interrupted(at(1, 5));
    let mut events = Vec::new();
    assert_eq!(cursor.receive_end(Some(at(2, 1)), &mut events), RecoveryStep::Page(at(1, 5)));
    cursor.receive_page(vec![at_position(2, 0), at_position(2, 1)], true, &mut events);
    assert_eq!(events[0], ChannelEvent::Gap(LOST));

    // Another history, which is still empty.
    let mut cursor = interrupted(at(1, 5));
    let mut events = Vec::new();
    cursor.receive_end(Some(at(2, 0)), &mut events);
    cursor.receive_page(Vec::new(), true, &mut events);
    assert_eq!((events, cursor.last()), (vec![ChannelEvent::Gap(LOST)], Some(at(2, 0))));
}

#[test]
fn a_new_history_found_on_an_uninterrupted_connection_causes_no_gap() {
    let mut cursor = live(at(1, 5));
    assert!(matches!(cursor.receive(at_position(2, 1)), ArrivalOutcome::Read(_)));
    cursor.receive(at_position(2, 2));
    let mut events = Vec::new();
    assert_eq!(
        cursor.receive_page(vec![at_position(2, 1), at_position(2, 2)], true, &mut events),
        RecoveryStep::Release
    );
    events.extend(released(&mut cursor));
    assert_eq!(publications(&events), [Some(at(2, 1)), Some(at(2, 2))]);
    assert!(matches!(cursor.receive(at_position(3, 7)), ArrivalOutcome::Read(_)));
}

#[test]
fn a_new_history_during_a_broker_outage_causes_a_gap_even_if_its_first_publication_is_held() {
    let mut cursor = interrupted(at(5, 5));
    cursor.receive(at_position(6, 1));
    let mut events = Vec::new();
    assert_eq!(cursor.receive_end(Some(at(6, 1)), &mut events), RecoveryStep::Page(at(5, 5)));
    assert_eq!(
        cursor.receive_page(vec![at_position(6, 1)], true, &mut events),
        RecoveryStep::Release
    );
    events.extend(released(&mut cursor));
    assert_eq!(events, [ChannelEvent::Gap(LOST), ChannelEvent::Publication(at_position(6, 1))]);
}

#[test]
fn publications_held_behind_a_gap_are_delivered_once_and_continue() {
    // Trimmed beyond the first held one.
    let mut cursor = interrupted(at(5, 5));
    (50..=55).for_each(|seq| drop(cursor.receive(at_position(5, seq))));
    let mut events = Vec::new();
    cursor.receive_end(Some(at(5, 55)), &mut events);
    cursor.receive_page(
        vec![at_position(5, 53), at_position(5, 54), at_position(5, 55)],
        true,
        &mut events,
    );
    events.extend(released(&mut cursor));
    assert_eq!(events.remove(0), ChannelEvent::Gap(TRIMMED));
    let expected: Vec<_> = (50..=55).map(|seq| Some(at(5, seq))).collect();
    assert_eq!(publications(&events), expected);
    assert_eq!(cursor.receive(at_position(5, 56)), ArrivalOutcome::Deliver(at_position(5, 56)));

    // A server was promoted that has less than was delivered.
    let mut cursor = interrupted(at(5, 52));
    let first = linked(6, 1, at(5, 50));
    cursor.receive(first.clone());
    cursor.receive(at_position(6, 2));
    let mut events = Vec::new();
    cursor.receive_end(Some(at(6, 2)), &mut events);
    cursor.receive_page(vec![first, at_position(6, 2)], true, &mut events);
    events.extend(released(&mut cursor));
    assert_eq!(events.remove(0), ChannelEvent::Gap(LOST));
    assert_eq!(publications(&events), [Some(at(6, 1)), Some(at(6, 2))]);
    assert_eq!(cursor.receive(at_position(6, 3)), ArrivalOutcome::Deliver(at_position(6, 3)));
}

#[test]
fn a_position_that_the_history_does_not_contain_is_dropped() {
    let mut cursor = live(at(1, 5));
    for claim in [at_position(1, 1000), at_position(9, 1)] {
        check_is_rejected(&mut cursor, claim);
    }
    assert_eq!(cursor.receive(at_position(1, 6)), ArrivalOutcome::Deliver(at_position(1, 6)));
}

fn check_is_rejected(cursor: &mut ChannelCursor, claim: Publication) {
    assert!(matches!(cursor.receive(claim.clone()), ArrivalOutcome::Read(_)));
    let mut events = Vec::new();
    assert_eq!(cursor.receive_page(Vec::new(), true, &mut events), RecoveryStep::Release);
    events.extend(released(cursor));
    let stripped = Publication { position: None, ..claim };
    assert_eq!(events, [ChannelEvent::Gap(LOST), ChannelEvent::Publication(stripped)]);
}

#[test]
fn dropped_held_publications_are_read_again_and_those_without_position_cause_a_gap() {
    let mut cursor = interrupted(at(1, 0));
    let many = HELD_MAX as u64 + 1;
    (1..=many).for_each(|seq| drop(cursor.receive(at_position(1, seq))));
    let mut events = Vec::new();
    assert_eq!(cursor.receive_end(Some(at(1, 0)), &mut events), RecoveryStep::Release);
    assert_eq!(cursor.release(&mut events), RecoveryStep::Page(at(1, 0)));
    let page: Vec<_> = (1..=many).map(|seq| at_position(1, seq)).collect();
    assert_eq!(cursor.receive_page(page, true, &mut events), RecoveryStep::Release);
    assert_eq!(publications(&events).len(), HELD_MAX + 1);
    assert_eq!(cursor.release(&mut events), RecoveryStep::Done);

    let mut cursor = interrupted(at(1, 0));
    (0..many).for_each(|_| drop(cursor.receive(plain())));
    cursor.receive_end(Some(at(1, 0)), &mut Vec::new());
    let mut events = Vec::new();
    cursor.release(&mut events);
    assert_eq!(events, [ChannelEvent::Gap(TOO_MANY_PUBLICATIONS)]);
}

#[tokio::test]
async fn sessions_waiting_for_the_opening_get_its_outcome() {
    let mut cursor = ChannelCursor::default();
    cursor.open();
    let (first, second) = (cursor.wait_open(), cursor.wait_open());
    drop(first);
    cursor.fail_waiters(Unavailable("away"));
    assert_eq!(second.await.unwrap(), Err(Unavailable("away")));
    let third = cursor.wait_open();
    cursor.receive_end(Some(at(1, 1)), &mut Vec::new());
    released(&mut cursor);
    assert_eq!(third.await.unwrap(), Ok(()));
}

#[test]
fn publications_that_a_promoted_server_receives_late_are_not_delivered_again() {
    let mut cursor = live(at(1, 8));
    [9, 10].into_iter().for_each(|seq| drop(cursor.receive(at_position(1, seq))));
    cursor.interrupt();
    let mut events = Vec::new();
    cursor.receive_end(Some(at(1, 8)), &mut events);
    assert_eq!(events, [ChannelEvent::Gap(LOST)]);
    assert_eq!(released(&mut cursor), []);
    for seq in [9, 10] {
        assert_eq!(
            cursor.receive(at_position(1, seq)),
            ArrivalOutcome::Nothing,
            "subscribers have it"
        );
    }
    assert_eq!(cursor.last(), Some(at(1, 10)));
    assert_eq!(cursor.receive(at_position(1, 11)), ArrivalOutcome::Deliver(at_position(1, 11)));
}

#[test]
fn held_publications_without_position_survive_another_broker_outage() {
    let mut cursor = interrupted(at(1, 5));
    cursor.receive(at_position(1, 6));
    cursor.receive(plain());
    cursor.interrupt();
    cursor.receive(at_position(1, 8));
    let mut events = Vec::new();
    assert_eq!(cursor.receive_end(Some(at(1, 8)), &mut events), RecoveryStep::Page(at(1, 5)));
    cursor.receive_page(
        vec![at_position(1, 6), at_position(1, 7), at_position(1, 8)],
        true,
        &mut events,
    );
    events.extend(released(&mut cursor));
    assert_eq!(publications(&events), [Some(at(1, 6)), Some(at(1, 7)), None, Some(at(1, 8))]);
}

#[test]
fn publications_held_when_the_history_ended_are_delivered_without_position() {
    let mut cursor = interrupted(at(1, 5));
    cursor.receive(at_position(1, 6));
    let mut events = Vec::new();
    assert_eq!(cursor.receive_end(None, &mut events), RecoveryStep::Release);
    assert_eq!(events, [ChannelEvent::Gap(LOST)]);
    assert_eq!(publications(&released(&mut cursor)), [None]);
    assert_eq!((cursor.last(), cursor.is_live()), (None, true));
}
