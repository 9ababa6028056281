//! From which positions clients can resume.

use std::time::Duration;

use super::*;
use crate::hub::recent_publications::ResumeCheck;
use crate::rules::History;

#[test]
fn clients_go_on_from_what_is_kept_since_they_came() {
    let history = History { size: 10, age: Duration::from_secs(60) };
    let mut tail = live(at(1, 5));
    let ResumeCheck::Yes(none) = tail.cursor.since(at(1, 5), history) else {
        panic!("nothing is missing")
    };
    assert!(none.is_empty());
    assert!(
        matches!(tail.cursor.since(at(1, 6), history), ResumeCheck::Ahead),
        "it has not come yet"
    );
    assert!(matches!(tail.cursor.since(at(1, 3), history), ResumeCheck::Load(_)));
    assert!(
        matches!(tail.cursor.since(at(1, 2), history), ResumeCheck::Read(_)),
        "it is being read"
    );
    tail.arrive(kept(1, 6));
    let recent = tail.cursor.recent().unwrap();
    recent.loaded(vec![kept(1, 6), kept(1, 5), kept(1, 4), kept(1, 3)], true);
    let mut after = |seq| match tail.cursor.since(at(1, seq), history) {
        ResumeCheck::Yes(backlog) => Some(backlog.iter().map(|kept| kept.position().seq).collect()),
        _ => None::<Vec<_>>,
    };
    assert_eq!(after(2), Some(vec![3, 4, 5, 6]));
    assert_eq!(after(4), Some(vec![5, 6]));
    assert_eq!(after(6), Some(vec![]));
    assert_eq!(after(1), None, "2 is gone");
}

#[test]
fn a_publication_whose_stream_is_gone_again_lets_no_client_resume_from_before_it() {
    let history = History { size: 10, age: Duration::from_secs(60) };
    let mut tail = live(at(1, 5));
    // Another epoch began, whose stream has expired before the read.
    does_not_believe(&mut tail, kept(2, 1));
    assert!(
        matches!(tail.cursor.since(at(1, 5), history), ResumeCheck::No),
        "2-1 would be missing"
    );
    assert!(tail.cursor.after(at(1, 5)).is_none());
    // The next epoch continues.
    assert!(matches!(tail.arrive(kept(3, 1)), ArrivalOutcome::Read(_)));
    let mut items = Vec::new();
    tail.page(vec![kept(3, 1)], true, &mut items);
    released(&mut tail);
    assert!(matches!(tail.cursor.since(at(3, 1), history), ResumeCheck::Yes(_)));
}

#[test]
fn what_a_node_published_past_the_history_lets_no_client_resume_from_before_it() {
    let history = History { size: 10, age: Duration::from_secs(60) };
    let mut tail = live(at(1, 5));
    let by_a_service = plain();
    assert_eq!(tail.arrive(by_a_service.clone()), ArrivalOutcome::Deliver(by_a_service));
    assert!(matches!(tail.cursor.since(at(1, 5), history), ResumeCheck::Yes(_)));
    tail.arrive(Publication { signed: true, ..plain() });
    assert!(matches!(tail.cursor.since(at(1, 5), history), ResumeCheck::No));
    tail.arrive(kept(1, 6));
    assert!(matches!(tail.cursor.since(at(1, 6), history), ResumeCheck::Yes(_)));
}
