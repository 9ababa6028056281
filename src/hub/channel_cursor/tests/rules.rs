//! What subscribers get while a channel's rule changes.

use super::*;
use crate::hub::channel_cursor::history_read::FIRST_WAITS_MAX;

#[test]
fn a_rule_that_starts_history_loses_no_publication_for_existing_subscribers() {
    // The history is at 1-7, and none of it arrives. It is unknown whether subscribers got that much, so they get a gap.
    let mut cursor = ChannelCursor::with_subscribers(None);
    cursor.open();
    let mut events = Vec::new();
    for _ in 0..FIRST_WAITS_MAX {
        assert_eq!(cursor.receive_end(Some(at(1, 7)), &mut events), RecoveryStep::AskAgain);
    }
    assert_eq!(cursor.receive_end(Some(at(1, 7)), &mut events), RecoveryStep::Release);
    assert_eq!(events, [ChannelEvent::Gap(RULES_CHANGED)]);

    // The end is known before its first publication has arrived on the other connection.
    let mut cursor = ChannelCursor::with_subscribers(None);
    cursor.open();
    let mut events = Vec::new();
    assert_eq!(cursor.receive_end(Some(at(1, 2)), &mut events), RecoveryStep::AskAgain);
    cursor.receive(at_position(1, 1));
    assert_eq!(cursor.receive_end(Some(at(1, 2)), &mut events), RecoveryStep::Release);
    events.extend(released(&mut cursor));
    assert_eq!(publications(&events), [Some(at(1, 1))]);
    assert_eq!(cursor.receive(at_position(1, 2)), ArrivalOutcome::Deliver(at_position(1, 2)));

    // Its first publications arrive while the end is requested: nothing can be missing.
    let mut cursor = ChannelCursor::with_subscribers(None);
    cursor.open();
    cursor.receive(plain());
    cursor.receive(at_position(1, 1));
    let mut events = Vec::new();
    cursor.receive_end(Some(at(1, 2)), &mut events);
    events.extend(released(&mut cursor));
    assert_eq!(publications(&events), [None, Some(at(1, 1))]);

    // It has just begun: publications in transit are still delivered, without a position.
    let mut cursor = ChannelCursor::with_subscribers(None);
    cursor.open();
    let mut events = Vec::new();
    cursor.receive_end(Some(at(2, 0)), &mut events);
    events.extend(released(&mut cursor));
    assert_eq!(events, []);
    let straggler = Publication { position: None, ..at_position(1, 9) };
    assert_eq!(cursor.receive(at_position(1, 9)), ArrivalOutcome::Deliver(straggler));
    assert_eq!(cursor.receive(at_position(2, 1)), ArrivalOutcome::Deliver(at_position(2, 1)));
    assert_eq!(cursor.receive(at_position(1, 10)), ArrivalOutcome::Nothing);

    // Subscribers got 1-3 before; 1-4 and 1-5 are in transit.
    let mut cursor = ChannelCursor::with_subscribers(Some(at(1, 3)));
    cursor.open();
    cursor.receive(at_position(1, 5));
    let mut events = Vec::new();
    assert_eq!(cursor.receive_end(Some(at(1, 5)), &mut events), RecoveryStep::Page(at(1, 3)));
    cursor.receive_page(vec![at_position(1, 4), at_position(1, 5)], true, &mut events);
    events.extend(released(&mut cursor));
    assert_eq!(publications(&events), [Some(at(1, 4)), Some(at(1, 5))]);
}

#[test]
fn an_epoch_begun_by_changed_rules_causes_a_gap_on_an_uninterrupted_connection() {
    let first = Publication { rules_changed: true, ..at_position(2, 1) };
    let mut cursor = live(at(1, 5));
    assert!(matches!(cursor.receive(first.clone()), ArrivalOutcome::Read(_)));
    let mut events = Vec::new();
    assert_eq!(cursor.receive_page(vec![first.clone()], true, &mut events), RecoveryStep::Release);
    assert_eq!(events, [ChannelEvent::Gap(RULES_CHANGED)]);
    assert_eq!(released(&mut cursor), [ChannelEvent::Publication(first)]);
    assert_eq!(cursor.last(), Some(at(2, 1)));
}

#[test]
fn a_history_that_is_switched_on_again_while_it_is_published_to_causes_no_gap() {
    let first = Publication { rules_changed: true, ..at_position(2, 1) };
    for is_held in [false, true] {
        // Subscribers got 1-5, and after it publications of the time when the history was off.
        let mut cursor = ChannelCursor::with_subscribers(Some(at(1, 5)));
        cursor.open();
        cursor.receive(plain());
        if is_held {
            cursor.receive(first.clone());
        }
        let mut events = Vec::new();
        assert_eq!(cursor.receive_end(Some(at(2, 1)), &mut events), RecoveryStep::Page(at(1, 5)));
        let next = cursor.receive_page(vec![first.clone()], true, &mut events);
        assert_eq!(next, RecoveryStep::Release);
        events.extend(released(&mut cursor));
        if !is_held {
            // It is still in transit, behind another one from before.
            assert!(matches!(cursor.receive(plain()), ArrivalOutcome::Deliver(_)));
            assert_eq!(cursor.receive(first.clone()), ArrivalOutcome::Deliver(first.clone()));
        }
        let expected = [None, Some(at(2, 1))];
        assert_eq!(publications(&events), expected[..=usize::from(is_held)]);
        assert_eq!(cursor.last(), Some(at(2, 1)));
    }
}

#[test]
fn a_history_whose_first_publication_arrives_after_its_empty_page_was_read_causes_no_gap() {
    let mut cursor = ChannelCursor::with_subscribers(Some(at(1, 5)));
    cursor.open();
    let mut events = Vec::new();
    assert_eq!(cursor.receive_end(Some(at(2, 0)), &mut events), RecoveryStep::Page(at(1, 5)));
    cursor.receive(at_position(2, 1));
    cursor.receive_page(Vec::new(), true, &mut events);
    events.extend(released(&mut cursor));
    assert_eq!(publications(&events), [Some(at(2, 1))]);
}

#[test]
fn a_history_that_begins_again_after_an_interruption_still_causes_a_gap() {
    let first = Publication { rules_changed: true, ..at_position(2, 1) };
    let mut cursor = ChannelCursor::with_subscribers(Some(at(1, 5)));
    cursor.open();
    cursor.interrupt();
    let mut events = Vec::new();
    cursor.receive_end(Some(at(2, 1)), &mut events);
    cursor.receive_page(vec![first.clone()], true, &mut events);
    assert_eq!(events[0], ChannelEvent::Gap(RULES_CHANGED));
}
