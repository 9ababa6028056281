//! What subscribers get while a channel's rule changes.

use super::*;

#[test]
fn a_rule_that_begins_to_keep_history_takes_nothing_from_those_who_subscribe_already() {
    // The history is at 1-7. It is unknown whether subscribers got that much, so they get a gap.
    let mut tail = ChannelCursor::late(None);
    tail.open();
    let mut items = Vec::new();
    tail.ends_at(Some(at(1, 7)), &mut items);
    assert_eq!(items, [ChannelEvent::Gap(RULES_CHANGED)]);

    // Its first publications arrive while the end is requested: nothing can be missing.
    let mut tail = ChannelCursor::late(None);
    tail.open();
    tail.arrive(plain());
    tail.arrive(kept(1, 1));
    let mut items = Vec::new();
    tail.ends_at(Some(at(1, 2)), &mut items);
    items.extend(released(&mut tail));
    assert_eq!(publications(&items), [None, Some(at(1, 1))]);

    // It has just begun: publications in transit are still delivered, without a position.
    let mut tail = ChannelCursor::late(None);
    tail.open();
    let mut items = Vec::new();
    tail.ends_at(Some(at(2, 0)), &mut items);
    items.extend(released(&mut tail));
    assert_eq!(items, []);
    let straggler = Publication { position: None, ..kept(1, 9) };
    assert_eq!(tail.arrive(kept(1, 9)), ArrivalOutcome::Deliver(straggler));
    assert_eq!(tail.arrive(kept(2, 1)), ArrivalOutcome::Deliver(kept(2, 1)));
    assert_eq!(tail.arrive(kept(1, 10)), ArrivalOutcome::Nothing);

    // Subscribers got 1-3 before; 1-4 and 1-5 are in transit.
    let mut tail = ChannelCursor::late(Some(at(1, 3)));
    tail.open();
    tail.arrive(kept(1, 5));
    let mut items = Vec::new();
    assert_eq!(tail.ends_at(Some(at(1, 5)), &mut items), RecoveryStep::Page(at(1, 3)));
    tail.page(vec![kept(1, 4), kept(1, 5)], true, &mut items);
    items.extend(released(&mut tail));
    assert_eq!(publications(&items), [Some(at(1, 4)), Some(at(1, 5))]);
}

#[test]
fn an_epoch_that_other_rules_began_is_told_as_a_gap_also_on_a_connection_that_held() {
    let first = Publication { rules_changed: true, ..kept(2, 1) };
    let mut tail = live(at(1, 5));
    assert!(matches!(tail.arrive(first.clone()), ArrivalOutcome::Read(_)));
    let mut items = Vec::new();
    assert_eq!(tail.page(vec![first.clone()], true, &mut items), RecoveryStep::Release);
    assert_eq!(items, [ChannelEvent::Gap(RULES_CHANGED)]);
    assert_eq!(released(&mut tail), [ChannelEvent::Publication(first)]);
    assert_eq!(tail.last(), Some(at(2, 1)));
}
