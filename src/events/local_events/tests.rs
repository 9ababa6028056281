use super::*;
use crate::publication::Channel;

const GRACE: Duration = Duration::from_secs(5);

fn item(name: &str) -> EventItem {
    EventItem::Channel(Channel::new(name).unwrap())
}

fn local() -> LocalEvents {
    let mut local = LocalEvents::new(NodeId::random(), GRACE);
    let first = local.take_batch(Instant::now()).unwrap();
    assert!((first.number, first.begins, first.changes.is_empty()) == (1, true, true));
    local
}

/// The next changes: `+` and `-` with an item's channel, `o` and `x` with a session's number, `p`.
fn changes(batch: Option<&EventBatch>) -> Vec<String> {
    let text = |change: &EventChange| match change {
        EventChange::Hold { item: EventItem::Channel(channel), .. } => format!("+{channel}"),
        EventChange::Free { item: EventItem::Channel(channel), .. } => format!("-{channel}"),
        EventChange::Connected { session, .. } => format!("o{}", session.number),
        EventChange::Disconnected { session, .. } => format!("x{}", session.number),
        EventChange::Published(_) => "p".to_owned(),
        other => panic!("{other:?}"),
    };
    batch.map(|batch| batch.changes.iter().map(text).collect()).unwrap_or_default()
}

fn taken(local: &mut LocalEvents, now: Instant) -> Vec<String> {
    changes(local.take_batch(now).as_ref())
}

fn published() -> PublishedEvent {
    PublishedEvent {
        channel: Channel::new("news").unwrap(),
        user: None,
        session: None,
        position: None,
        size: 0,
        payload: None,
        is_binary: false,
    }
}

#[test]
fn an_item_is_held_from_its_first_holder_to_the_end_of_its_grace() {
    let (mut local, now) = (local(), Instant::now());
    local.hold(&item("a"), EventEdges::Both, None);
    local.hold(&item("a"), EventEdges::Both, None);
    assert_eq!(taken(&mut local, now), ["+a"]);
    local.free(&item("a"), now);
    local.free(&item("a"), now);
    assert!(taken(&mut local, now).is_empty());
    local.hold(&item("a"), EventEdges::Both, None);
    assert!(taken(&mut local, now + 2 * GRACE).is_empty(), "it was held again within the grace");
    local.free(&item("a"), now);
    assert_eq!(local.next_grace_end(), Some(now + GRACE));
    assert_eq!(taken(&mut local, now + GRACE), ["-a"]);
    assert!(local.items.is_empty() && local.in_grace.is_empty());
}

#[test]
fn items_that_come_and_go_before_they_are_written_leave_nothing_behind() {
    let mut local = LocalEvents::new(NodeId::random(), Duration::ZERO);
    let now = Instant::now();
    for number in 0..10 * OBSOLETE_MAX {
        let item = item(&format!("c{number}"));
        local.hold(&item, EventEdges::Both, None);
        local.free(&item, now);
    }
    local.hold(&item("stays"), EventEdges::Both, None);
    assert!(local.queued() <= 2 * OBSOLETE_MAX, "{}", local.queued());
    assert_eq!(local.items.len(), 1);
    let mut all = Vec::new();
    while let Some(batch) = local.take_batch(now) {
        all.extend(changes(Some(&batch)));
        if local.queued() == 0 {
            break;
        }
    }
    assert_eq!(all, ["+stays"]);
}

#[test]
fn a_short_session_is_told_with_both_its_ends_and_a_changed_user_once_more() {
    let (mut local, now) = (local(), Instant::now());
    local.connect(1, None);
    local.disconnect(1, "lost");
    local.connect(2, None);
    assert_eq!(taken(&mut local, now), ["o1", "x1", "o2"]);
    local.set_user(2, &None);
    assert!(taken(&mut local, now).is_empty());
    local.set_user(2, &Some("ada".into()));
    assert_eq!(taken(&mut local, now), ["o2"]);
    local.disconnect(2, "client");
    assert_eq!(taken(&mut local, now), ["x2"]);
    assert!(local.sessions.is_empty());
}

#[test]
fn publications_and_ends_beyond_their_bounds_are_dropped_and_the_broker_is_told_all_again() {
    let (mut local, now) = (local(), Instant::now());
    local.connect(0, None);
    local.connect(1, None);
    assert_eq!(taken(&mut local, now), ["o0", "o1"]);
    for number in 2..ENDED_MAX as u64 + 2 {
        local.connect(number, None);
        local.disconnect(number, "lost");
    }
    assert_eq!(local.ended, ENDED_MAX);
    local.disconnect(1, "lost");
    assert!(local.has_lost_ends);
    for number in 0..ENDED_MAX as u64 {
        local.connect(1_000_000 + number, None);
        local.disconnect(1_000_000 + number, "lost");
    }
    assert!(local.queued() < 3 * ENDED_MAX, "{}", local.queued());
    (0..PUBLISHED_MAX + 1).for_each(|_| local.publish(published()));
    assert_eq!(local.published, PUBLISHED_MAX);
    local.restart_if_ends_are_lost();
    let batch = local.take_batch(now).unwrap();
    assert!(batch.begins && batch.generation == 2);
    assert_eq!(local.sweep_due(), None, "the session that is left is not yet told again");
    while local.queued() > 0 {
        local.take_batch(now);
    }
    assert_eq!(local.sweep_due(), Some(2));
    local.swept(2);
    assert_eq!(local.sweep_due(), None);
}

#[test]
fn a_refused_batch_begins_a_generation_in_which_all_is_told_again() {
    let (mut local, now) = (local(), Instant::now());
    local.hold(&item("a"), EventEdges::Both, None);
    local.connect(1, None);
    assert_eq!(taken(&mut local, now), ["+a", "o1"]);
    local.hold(&item("b"), EventEdges::Both, None);
    local.publish(published());
    let batch = local.take_batch(now).unwrap();
    let number = batch.number;
    let batch = local.refused(batch);
    assert_eq!((batch.number, batch.generation, batch.begins), (number, 2, true));
    assert_eq!(changes(Some(&batch)), ["+b", "p"], "nothing of it is lost");
    let next = local.take_batch(now).unwrap();
    assert!(!next.begins && next.generation == 2 && next.number == number + 1);
    let mut again = changes(Some(&next));
    again.sort();
    assert_eq!(again, ["+a", "+b", "o1"]);
    assert_eq!(local.sweep_due(), Some(2));
}

#[test]
fn a_batch_of_events_is_bounded() {
    let (mut local, now) = (local(), Instant::now());
    (0..2 * EVENT_CHANGES_MAX as u64).for_each(|number| local.connect(number, None));
    let batch = local.take_batch(now).unwrap();
    assert!((EVENT_CHANGES_MAX - 1..=EVENT_CHANGES_MAX).contains(&batch.changes.len()));
}
