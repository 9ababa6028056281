//! Journals of runs.

use super::case::{JournalCase, place};
use crate::audit::Violation;
use crate::audit::channels::HistoryKind;
use crate::audit::journal::{Entry, FIRST, HistoryReply, PublishOutcome, RunCall};

#[test]
fn a_run_whose_end_comes_once_after_the_last_publication_has_no_findings() {
    JournalCase::run().receives(1..=9).ended(10, "done").is_clean();
    let late = JournalCase::run().receives(1..=9).ended(10, "done").reconnects(11);
    late.subscribes(11, Some(10)).subscribed(11, Some(10), Some(true)).ended(11, "done").is_clean();
}

#[test]
fn an_end_that_is_missing_or_comes_twice_or_is_followed_by_something_is_found() {
    JournalCase::run().receives(1..=9).has(Violation::End, 1);
    let twice = JournalCase::run().receives(1..=9).ended(10, "done").ended(10, "done");
    twice.has(Violation::End, 1);
    let finds = JournalCase::run().receives(1..=8).ended(9, "done").receives([9]).finds();
    assert!(finds.contains(&(Violation::End, 1)), "{finds:?}");
    let early = JournalCase::run().receives(1..=9).ended(10, "done").reconnects(11);
    early.subscribes(11, Some(10)).subscribed(11, Some(10), Some(true)).has(Violation::End, 1);
}

#[test]
fn an_end_before_the_last_publication_is_a_loss() {
    JournalCase::run().receives(1..=7).ended(10, "done").has(Violation::Loss, 2);
}

#[test]
fn an_end_for_a_reason_that_no_worker_gave_is_found() {
    let finds = JournalCase::run().receives(1..=9).ended(10, "other").finds();
    assert!(finds.iter().any(|(kind, _)| *kind == Violation::Breach), "{finds:?}");
    let abandoned = |kind| {
        let case = JournalCase::on(kind).subscribes(0, None).subscribed(0, Some(0), None);
        case.receives(1..=9).ended(10, "abandoned")
    };
    abandoned(HistoryKind::Leased).is_clean();
    abandoned(HistoryKind::Run).has(Violation::End, 1);
}

#[test]
fn a_publication_that_is_accepted_after_the_end_is_found() {
    let run = || JournalCase::run().receives(1..=9).ended(10, "done");
    run().calls(12, RunCall::Renew).has(Violation::End, 1);
    let mut again = run();
    let started = again.calls[0].ended + std::time::Duration::from_secs(1);
    let mut late = again.ledgers[0].publications[8];
    (late.started, late.outcome) = (started, PublishOutcome::Accepted(Some(place(11))));
    again.ledgers[0].publications.push(late);
    let finds = again.finds();
    assert!(finds.iter().any(|(kind, _)| *kind == Violation::End), "{finds:?}");
}

#[test]
fn a_refused_publication_that_arrives_is_found() {
    let refused = |it: &mut crate::audit::journal::JournalPublication| {
        it.outcome = PublishOutcome::Refused;
    };
    let finds = JournalCase::run().sent(9, refused).receives(1..=9).ended(10, "done").finds();
    assert!(finds.iter().any(|(kind, _)| *kind == Violation::Breach), "{finds:?}");
}

#[test]
fn a_late_subscriber_of_a_run_gets_all_of_it_from_the_first_publication_on() {
    let late = |received: &[u64], recovered| {
        let mut case = JournalCase::on(HistoryKind::Run).calls(10, RunCall::End("done".to_owned()));
        case.id = 7;
        let subscribe = Entry::Subscribe { id: 7, channel: 0, since: Some(FIRST), echo: true };
        let case = case.event(11, subscribe).subscribed(11, Some(10), Some(recovered));
        case.receives(received.iter().copied()).ended(11, "done")
    };
    late(&[1, 2, 3, 4, 5, 6, 7, 8, 9], true).is_clean();
    let finds = late(&[3, 4, 5, 6, 7, 8, 9], true).finds();
    assert!(finds.contains(&(Violation::Loss, 2)), "{finds:?}");
    let finds = late(&[1, 2, 3, 4, 5, 6, 7, 8, 9], false).finds();
    assert!(finds.iter().any(|(kind, _)| *kind == Violation::NeedlessGap), "{finds:?}");
}

#[test]
fn a_history_that_reaches_the_end_of_a_run_without_saying_so_is_found() {
    let reply = |at, ended: Option<&str>| {
        let reply = HistoryReply {
            channel: 0,
            since: None,
            publications: vec![(place(8), (0, 8)), (place(9), (0, 9))],
            position: Some(place(at)),
            recovered: None,
            ended: ended.map(str::to_owned),
        };
        let run = JournalCase::run().receives(1..=9).ended(10, "done");
        run.event(11, Entry::History(Box::new(reply)))
    };
    reply(10, Some("done")).is_clean();
    reply(9, None).is_clean();
    reply(10, None).has(Violation::End, 1);
    reply(9, Some("done")).has(Violation::End, 1);
}
