//! From which positions clients can resume.

use std::time::Duration;

use super::*;
use crate::hub::recent_publications::{LoadedHistory, Replay, ResumeCheck};
use crate::publication::ReplayStart;
use crate::rules::History;

fn seqs(replay: &Replay) -> Vec<u64> {
    replay.publications.iter().map(|entry| entry.position().seq).collect()
}

const HISTORY: History = History { size: 10, age: Duration::from_secs(60) };

/// Requests this start of a channel whose history was read with this result, which must be necessary.
fn replay(cursor: &mut ChannelCursor, start: ReplayStart, loaded: LoadedHistory) -> Replay {
    assert!(matches!(cursor.positions.check_resume(start, HISTORY), ResumeCheck::Load(_)));
    cursor.positions.recent().unwrap().add_loaded(loaded);
    assert!(matches!(cursor.positions.check_resume(start, HISTORY), ResumeCheck::Yes));
    cursor.positions.replay(start).expect("the history was just read")
}

fn loaded(newest_first: Vec<Publication>) -> LoadedHistory {
    let kept_from = newest_first.last().and_then(|first| first.position);
    LoadedHistory { newest_first, is_all: true, kept_from }
}

#[test]
fn a_replay_from_the_first_is_recovered_only_if_the_history_begins_with_it() {
    let page = |from: u64| (from..=5).rev().map(|seq| at_position(1, seq)).collect::<Vec<_>>();
    let of = |page| replay(&mut live(at(1, 5)), ReplayStart::First, loaded(page));
    let whole = of(page(1));
    assert_eq!((seqs(&whole), whole.recovered), (vec![1, 2, 3, 4, 5], Some(true)));
    let trimmed = of(page(3));
    assert_eq!((seqs(&trimmed), trimmed.recovered), (vec![3, 4, 5], Some(false)));

    // Its epoch continues another one, the front of which was trimmed or not.
    let continued = |previous| {
        let first = Publication { previous: Some(previous), ..at_position(2, 1) };
        let older = Publication { position: Some(previous), ..at_position(1, 0) };
        let mut cursor = live(at(2, 1));
        let page = if previous.seq > 0 { vec![first, older] } else { vec![first] };
        let replay = replay(&mut cursor, ReplayStart::First, loaded(page));
        (seqs(&replay), replay.recovered)
    };
    assert_eq!(continued(at(1, 1)), (vec![1, 1], Some(true)));
    assert_eq!(continued(at(1, 9)), (vec![9, 1], Some(false)));
    assert_eq!(continued(at(1, 0)), (vec![1], Some(true)));

    let changed = Publication { rules_changed: true, ..at_position(2, 1) };
    let after_change = replay(&mut live(at(2, 1)), ReplayStart::First, loaded(vec![changed]));
    assert_eq!((seqs(&after_change), after_change.recovered), (vec![1], Some(false)));
}

/// Redis was slow: the first read found an empty history, and its channel has been opened anew since.
#[test]
fn a_late_answer_to_a_read_for_an_earlier_opening_does_not_complete_the_present_one() {
    let mut cursor = live(at(1, 0));
    let first = ReplayStart::First;
    assert!(matches!(cursor.positions.check_resume(first, HISTORY), ResumeCheck::Load(_)));
    let early = cursor.positions.recent().unwrap().load_request();
    cursor.positions.restart(Some(at(1, 2)));
    assert!(matches!(cursor.positions.check_resume(first, HISTORY), ResumeCheck::Load(_)));
    let nothing = LoadedHistory { kept_from: Some(at(1, 1)), ..loaded(Vec::new()) };
    cursor.positions.recent().unwrap().finish_load(early, Ok(nothing));
    assert!(matches!(cursor.positions.check_resume(first, HISTORY), ResumeCheck::Read(_)));

    let request = cursor.positions.recent().unwrap().load_request();
    let both = loaded([2, 1].map(|seq| at_position(1, seq)).into());
    cursor.positions.recent().unwrap().finish_load(request, Ok(both));
    let replay = cursor.positions.replay(first).expect("the history was just read");
    assert_eq!(seqs(&replay), [1, 2]);
}

#[test]
fn a_replay_of_an_empty_history_is_recovered_only_if_nothing_was_ever_published() {
    for (last, recovered) in [(at(1, 0), true), (at(1, 3), false)] {
        let nothing = LoadedHistory { kept_from: Some(at(1, last.seq + 1)), ..loaded(Vec::new()) };
        let replay = replay(&mut live(last), ReplayStart::First, nothing);
        assert_eq!((seqs(&replay), replay.recovered), (vec![], Some(recovered)));
    }
}

#[test]
fn a_replay_from_the_first_omits_what_the_history_no_longer_keeps_though_it_is_in_memory() {
    let mut cursor = live(at(1, 0));
    let begin = LoadedHistory { kept_from: Some(at(1, 1)), ..loaded(Vec::new()) };
    assert_eq!(replay(&mut cursor, ReplayStart::First, begin).recovered, Some(true));
    (1..=3).for_each(|seq| _ = cursor.receive(at_position(1, seq)));
    let whole = cursor.positions.replay(ReplayStart::First).unwrap();
    assert_eq!((seqs(&whole), whole.recovered), (vec![1, 2, 3], Some(true)));
    let expired =
        LoadedHistory { kept_from: Some(at(1, 3)), is_all: true, newest_first: Vec::new() };
    cursor.positions.recent().unwrap().add_loaded(expired);
    let rest = cursor.positions.replay(ReplayStart::First).unwrap();
    assert_eq!((seqs(&rest), rest.recovered), (vec![3], Some(false)));
}

#[test]
fn a_replay_of_the_newest_reads_no_further_than_it_must() {
    let mut cursor = live(at(1, 5));
    let some =
        LoadedHistory { is_all: false, ..loaded([5, 4].map(|seq| at_position(1, seq)).into()) };
    let newest = replay(&mut cursor, ReplayStart::Newest(2), some);
    assert_eq!((seqs(&newest), newest.recovered), (vec![4, 5], None));
    cursor.receive(at_position(1, 6));
    let newest = cursor.positions.replay(ReplayStart::Newest(2)).unwrap();
    assert_eq!(seqs(&newest), [5, 6]);
    assert!(matches!(
        cursor.positions.check_resume(ReplayStart::Newest(4), HISTORY),
        ResumeCheck::Load(_)
    ));
    let request = cursor.positions.recent().unwrap().load_request();
    assert_eq!((request.start, request.count), (Some(at(1, 3)), 1));
}

#[test]
fn clients_resume_from_the_publications_in_memory() {
    let history = History { size: 10, age: Duration::from_secs(60) };
    let mut cursor = live(at(1, 5));
    let check = cursor.positions.check_resume(ReplayStart::After(at(1, 5)), history);
    assert!(matches!(check, ResumeCheck::Yes), "nothing is missing");
    let nothing = cursor.positions.replay(ReplayStart::After(at(1, 5))).unwrap();
    assert!(nothing.publications.is_empty());
    assert!(
        matches!(
            cursor.positions.check_resume(ReplayStart::After(at(1, 6)), history),
            ResumeCheck::Ahead
        ),
        "it has not arrived yet"
    );
    assert!(matches!(
        cursor.positions.check_resume(ReplayStart::After(at(1, 3)), history),
        ResumeCheck::Load(_)
    ));
    assert!(
        matches!(
            cursor.positions.check_resume(ReplayStart::After(at(1, 2)), history),
            ResumeCheck::Read(_)
        ),
        "it is being read"
    );
    cursor.receive(at_position(1, 6));
    let recent = cursor.positions.recent().unwrap();
    recent.add_loaded(LoadedHistory {
        newest_first: [6, 5, 4, 3].map(|seq| at_position(1, seq)).into(),
        is_all: true,
        kept_from: None,
    });
    let mut after = |seq| {
        let start = ReplayStart::After(at(1, seq));
        let check = cursor.positions.check_resume(start, history);
        let replay = cursor.positions.replay(start).as_ref().map(seqs);
        assert_eq!(replay.is_some(), matches!(check, ResumeCheck::Yes));
        replay
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
        matches!(
            cursor.positions.check_resume(ReplayStart::After(at(1, 5)), history),
            ResumeCheck::No
        ),
        "2-1 would be missing"
    );
    assert!(cursor.positions.replay(ReplayStart::After(at(1, 5))).is_none());
    // The next epoch continues.
    assert!(matches!(cursor.receive(at_position(3, 1)), ArrivalOutcome::Read(_)));
    let mut events = Vec::new();
    cursor.receive_page(vec![at_position(3, 1)], true, &mut events);
    released(&mut cursor);
    assert!(matches!(
        cursor.positions.check_resume(ReplayStart::After(at(3, 1)), history),
        ResumeCheck::Yes
    ));
}

#[test]
fn no_client_resumes_from_before_a_nodes_publication_past_the_history() {
    let history = History { size: 10, age: Duration::from_secs(60) };
    let mut cursor = live(at(1, 5));
    let by_a_service = plain();
    assert_eq!(cursor.receive(by_a_service.clone()), ArrivalOutcome::Deliver(by_a_service));
    assert!(matches!(
        cursor.positions.check_resume(ReplayStart::After(at(1, 5)), history),
        ResumeCheck::Yes
    ));
    cursor.receive(Publication { signed: true, ..plain() });
    assert!(matches!(
        cursor.positions.check_resume(ReplayStart::After(at(1, 5)), history),
        ResumeCheck::No
    ));
    cursor.receive(at_position(1, 6));
    assert!(matches!(
        cursor.positions.check_resume(ReplayStart::After(at(1, 6)), history),
        ResumeCheck::Yes
    ));
}
