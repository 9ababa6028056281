//! From which positions clients can resume.

use std::time::Duration;

use super::*;
use crate::hub::recent_publications::ResumeCheck;
use crate::rules::History;

#[test]
fn clients_resume_from_the_publications_in_memory() {
    let history = History { size: 10, age: Duration::from_secs(60) };
    let mut cursor = live(at(1, 5));
    let ResumeCheck::Yes(none) = cursor.positions.check_resume(at(1, 5), history) else {
        panic!("nothing is missing")
    };
    assert!(none.is_empty());
    assert!(
        matches!(cursor.positions.check_resume(at(1, 6), history), ResumeCheck::Ahead),
        "it has not arrived yet"
    );
    assert!(matches!(cursor.positions.check_resume(at(1, 3), history), ResumeCheck::Load(_)));
    assert!(
        matches!(cursor.positions.check_resume(at(1, 2), history), ResumeCheck::Read(_)),
        "it is being read"
    );
    cursor.receive(at_position(1, 6));
    let recent = cursor.positions.recent().unwrap();
    recent.add_loaded(
        vec![at_position(1, 6), at_position(1, 5), at_position(1, 4), at_position(1, 3)],
        true,
    );
    let mut after = |seq| match cursor.positions.check_resume(at(1, seq), history) {
        ResumeCheck::Yes(backlog) => {
            Some(backlog.iter().map(|entry| entry.position().seq).collect())
        }
        _ => None::<Vec<_>>,
    };
    assert_eq!(after(2), Some(vec![3, 4, 5, 6]));
    assert_eq!(after(4), Some(vec![5, 6]));
    assert_eq!(after(6), Some(vec![]));
    assert_eq!(after(1), None, "2 was trimmed");
}

#[test]
fn no_client_resumes_from_before_a_publication_whose_stream_was_deleted() {
    let history = History { size: 10, age: Duration::from_secs(60) };
    let mut cursor = live(at(1, 5));
    // Another epoch began, whose stream has expired before the read.
    check_is_rejected(&mut cursor, at_position(2, 1));
    assert!(
        matches!(cursor.positions.check_resume(at(1, 5), history), ResumeCheck::No),
        "2-1 would be missing"
    );
    assert!(cursor.positions.after(at(1, 5)).is_none());
    // The next epoch continues.
    assert!(matches!(cursor.receive(at_position(3, 1)), ArrivalOutcome::Read(_)));
    let mut events = Vec::new();
    cursor.receive_page(vec![at_position(3, 1)], true, &mut events);
    released(&mut cursor);
    assert!(matches!(cursor.positions.check_resume(at(3, 1), history), ResumeCheck::Yes(_)));
}

#[test]
fn no_client_resumes_from_before_a_nodes_publication_past_the_history() {
    let history = History { size: 10, age: Duration::from_secs(60) };
    let mut cursor = live(at(1, 5));
    let by_a_service = plain();
    assert_eq!(cursor.receive(by_a_service.clone()), ArrivalOutcome::Deliver(by_a_service));
    assert!(matches!(cursor.positions.check_resume(at(1, 5), history), ResumeCheck::Yes(_)));
    cursor.receive(Publication { signed: true, ..plain() });
    assert!(matches!(cursor.positions.check_resume(at(1, 5), history), ResumeCheck::No));
    cursor.receive(at_position(1, 6));
    assert!(matches!(cursor.positions.check_resume(at(1, 6), history), ResumeCheck::Yes(_)));
}
