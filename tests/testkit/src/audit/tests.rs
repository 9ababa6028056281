//! Journals with one fault each: the audit finds each fault, and reports nothing where the guarantees are
//! weaker.

mod case;
mod runs;

use super::journal::{Entry, HistoryReply, JournalPublication, PublishOutcome, PublishPath};
use super::{Violation, channels};
use crate::log::Position;
use case::{EPOCH, JournalCase, elsewhere, place};

#[test]
fn a_journal_with_every_publication_in_order_has_no_findings() {
    JournalCase::plain_channel().receives(1..=9).is_clean();
    JournalCase::history().receives(1..=9).is_clean();
}

#[test]
fn a_loss_is_found_in_the_middle_and_at_the_end_and_at_the_beginning() {
    for case in [JournalCase::plain_channel, JournalCase::history] {
        case().receives([1, 2, 3, 6, 7, 8, 9]).has(Violation::Loss, 2);
        case().receives(1..=7).has(Violation::Loss, 2);
        case().receives(3..=9).has(Violation::Loss, 2);
        case().has(Violation::Loss, 9);
    }
}

#[test]
fn an_ended_subscription_loses_nothing_after_its_last_publication() {
    for case in [JournalCase::plain_channel, JournalCase::history] {
        case().receives(1..=5).ends_early().is_clean();
        case().receives(1..=5).unsubscribed(6).is_clean();
        case().receives([1, 2, 5]).unsubscribed(6).has(Violation::Loss, 2);
    }
}

#[test]
fn a_gap_explains_missing_publications_before_it_and_none_after() {
    let plain = || JournalCase::plain_channel().interrupted();
    plain().receives(1..=3).gap(6).receives(6..=9).is_clean();
    plain().receives(1..=3).gap(6).receives(8..=9).has(Violation::Loss, 2);
    plain().receives([1, 4]).gap(5).receives(5..=9).has(Violation::Loss, 2);
    JournalCase::history().data_lost().receives(1..=3).gap(6).receives(6..=9).is_clean();
}

#[test]
fn a_gap_without_possible_loss_is_found() {
    JournalCase::history()
        .interrupted()
        .receives(1..=3)
        .gap(4)
        .receives(4..=9)
        .has(Violation::NeedlessGap, 1);
    let told = JournalCase::history().receives(1..=3).reconnects(4).subscribes(4, Some(3));
    told.subscribed(4, Some(3), Some(false)).receives(4..=9).has(Violation::NeedlessGap, 1);
}

#[test]
fn a_short_history_may_have_gaps() {
    let case = JournalCase::on(channels::HistoryKind::Short).subscribes(0, None).subscribed(
        0,
        Some(0),
        None,
    );
    let case = case.receives(1..=3).reconnects(6).subscribes(6, Some(3)).subscribed(
        6,
        Some(6),
        Some(false),
    );
    case.receives(7..=9).is_clean();
}

#[test]
fn recovered_true_with_a_missing_publication_is_found() {
    let resumed = || {
        let case = JournalCase::history().receives(1..=3).reconnects(6).subscribes(6, Some(3));
        case.subscribed(6, Some(6), Some(true))
    };
    resumed().receives(4..=9).is_clean();
    resumed().receives(6..=9).has(Violation::FalseRecovery, 2);
    resumed().receives([4, 6, 7, 8, 9]).has(Violation::Loss, 1);
    resumed().has(Violation::FalseRecovery, 6);
}

#[test]
fn recovered_true_across_a_deleted_history_is_found() {
    // The stream of number 4 is gone when the client reconnects, and number 5 starts a new one.
    let case = || {
        let case = JournalCase::on(channels::HistoryKind::Expiring).subscribes(0, None).subscribed(
            0,
            Some(0),
            None,
        );
        let case = case.sent(4, |it| it.outcome = PublishOutcome::Accepted(Some(elsewhere(1))));
        (5..=9).fold(case, |case, number| {
            let position = Position { epoch: EPOCH + 2, seq: number - 4 };
            case.sent(number as usize, |it| it.outcome = PublishOutcome::Accepted(Some(position)))
        })
    };
    let later = |case: JournalCase| {
        (5..=9).fold(case, |case, number| {
            case.receives_at(number, Some(Position { epoch: EPOCH + 2, seq: number - 4 }))
        })
    };
    let told = case().receives(1..=3).reconnects(5).subscribes(5, Some(3)).subscribed(
        5,
        Some(3),
        Some(true),
    );
    later(told).has(Violation::FalseRecovery, 1);
    let connected = case().receives(1..=3);
    later(connected).has(Violation::Loss, 1);
    later(case().receives(1..=3).gap(5)).is_clean();
}

#[test]
fn recovered_true_since_an_invalid_position_is_found() {
    let case = JournalCase::history()
        .receives(1..=3)
        .reconnects(4)
        .event(4, Entry::Subscribe { id: 9, channel: 0, since: Some(elsewhere(3)), echo: true });
    let answer = Entry::Subscribed {
        id: Some(9),
        channel: 0,
        position: Some(place(3)),
        recovered: Some(true),
    };
    let finds = case.event(4, answer).receives(4..=9).finds();
    assert!(finds.iter().any(|(kind, _)| *kind == Violation::FalseRecovery), "{finds:?}");
    let ahead = JournalCase::history().receives(1..=3).reconnects(4).subscribes(4, Some(7));
    let finds = ahead.subscribed(4, Some(3), Some(true)).receives(8..=9).finds();
    assert!(finds.iter().any(|(kind, _)| *kind == Violation::FalseRecovery), "{finds:?}");
}

#[test]
fn a_duplicate_publication_is_found() {
    for case in [JournalCase::plain_channel, JournalCase::history] {
        case().receives([1, 2, 3, 2]).receives(4..=9).has(Violation::Twice, 1);
    }
    JournalCase::history().receives(1..=3).receives_at(3, None).receives(4..=9).finds();
    let again = JournalCase::history()
        .data_lost()
        .receives(1..=3)
        .gap(3)
        .receives_at(3, None)
        .receives(4..=9);
    again.has(Violation::Twice, 1);
}

#[test]
fn a_position_of_two_publications_is_found() {
    let case = JournalCase::history()
        .unknown_outcome(4)
        .receives(1..=3)
        .receives_at(4, Some(place(3)))
        .receives(5..=9);
    let finds = case.finds();
    assert!(finds.iter().any(|(kind, _)| *kind == Violation::Breach), "{finds:?}");
}

#[test]
fn a_repeated_publication_may_arrive_twice_only_without_history() {
    let again = [1, 2, 2, 3, 4, 5, 6, 7, 8, 9];
    let twice = |it: &mut JournalPublication| it.attempts = 2;
    JournalCase::plain_channel().sent(2, twice).receives(again).is_clean();
    JournalCase::history()
        .by(PublishPath::Function)
        .sent(2, twice)
        .receives(again)
        .has(Violation::Twice, 1);
    let elsewhere = JournalCase::history().by(PublishPath::Function).sent(2, twice).receives(1..=9);
    elsewhere.receives_at(2, Some(place(10))).has(Violation::Twice, 1);
}

#[test]
fn a_publication_out_of_order_is_found() {
    JournalCase::plain_channel().receives([1, 2, 4, 3, 5, 6, 7, 8, 9]).has(Violation::Disorder, 1);
    let finds = JournalCase::history().receives([1, 2, 4, 3, 5, 6, 7, 8, 9]).finds();
    assert!(finds.iter().any(|(kind, _)| *kind == Violation::Disorder), "{finds:?}");
}

#[test]
fn a_publication_outside_a_subscription_is_found() {
    for case in [JournalCase::plain_channel, JournalCase::history] {
        case().receives(1..=3).unsubscribed(3).receives([4]).has(Violation::Stray, 1);
    }
    let early = JournalCase::on(channels::HistoryKind::Plain).subscribes(0, None).receives([1]);
    early.subscribed(2, None, None).receives(2..=9).has(Violation::Stray, 1);
}

#[test]
fn an_older_publication_after_a_repeated_subscribe_is_found() {
    let again = |position| {
        let case = JournalCase::history().receives(1..=4).unsubscribed(4).subscribes(4, None);
        case.subscribed(4, Some(position), None)
    };
    again(4).receives(5..=9).is_clean();
    again(6).receives(7..=9).is_clean();
    // It was not subscribed when 5 and 6 were published, but receives them.
    again(6).receives(5..=9).has(Violation::Stale, 2);
    let finds = again(2).receives(3..=9).finds();
    assert_eq!(finds, [(Violation::Twice, 2), (Violation::Behind, 1)]);
    let plain = JournalCase::plain_channel().receives(1..=4).unsubscribed(4).subscribes(4, None);
    plain.subscribed(4, None, None).receives(4..=9).has(Violation::Twice, 1);
}

#[test]
fn a_resume_on_the_same_connection_repeats_only_publications_after_since() {
    let resumed = || {
        let case = JournalCase::history().receives(1..=6).unsubscribed(6).subscribes(6, Some(3));
        case.subscribed(6, Some(6), Some(true))
    };
    resumed().receives(4..=9).is_clean();
    resumed().receives(3..=9).has(Violation::Twice, 1);
}

#[test]
fn a_repeated_subscribe_with_an_older_position_is_found() {
    let again = |position| {
        JournalCase::history().receives(1..=4).subscribes(4, None).subscribed(
            4,
            Some(position),
            None,
        )
    };
    again(4).receives(5..=9).is_clean();
    again(3).receives(5..=9).has(Violation::Behind, 1);
    again(5).receives(5..=9).has(Violation::Stale, 1);
}

#[test]
fn a_new_epoch_without_a_gap_is_accepted_only_from_its_first_position() {
    let moved =
        |first: u64| {
            let case = JournalCase::on(channels::HistoryKind::Deleted)
                .subscribes(0, None)
                .subscribed(0, Some(0), None);
            let position = Some(elsewhere(first));
            let case =
                case.sent(9, |it| it.outcome = PublishOutcome::Accepted(position)).receives(1..=8);
            case.receives_at(9, position)
        };
    moved(1).is_clean();
    moved(3).has(Violation::Loss, 2);
}

#[test]
fn unknown_outcomes_and_plain_publish_into_history_may_be_lost_but_not_duplicated() {
    let without = [1, 2, 4, 5, 6, 7, 8, 9];
    JournalCase::plain_channel().unknown_outcome(3).receives(without).is_clean();
    JournalCase::plain_channel().unknown_outcome(3).receives(1..=9).is_clean();
    JournalCase::plain_channel()
        .unknown_outcome(3)
        .receives([1, 2, 3, 3, 4, 5, 6, 7, 8, 9])
        .has(Violation::Twice, 1);
    let relayed = || {
        let case = JournalCase::history().by(PublishPath::Publish);
        (1..=9).fold(case, |case, number| {
            case.sent(number, |it| it.outcome = PublishOutcome::Accepted(None))
        })
    };
    let gets = |case: JournalCase, numbers: &[u64]| {
        numbers.iter().fold(case, |case, number| case.receives_at(*number, None))
    };
    gets(relayed(), &without).is_clean();
    gets(relayed(), &[1, 2, 2, 3]).has(Violation::Twice, 1);
    gets(JournalCase::plain_channel().by(PublishPath::Publish), &without).has(Violation::Loss, 1);
}

#[test]
fn a_channel_with_toggled_history_loses_nothing_without_a_gap() {
    let case = || {
        JournalCase::on(channels::HistoryKind::Toggled)
            .subscribes(0, None)
            .subscribed(0, None, None)
    };
    case().receives(1..=9).is_clean();
    case().receives([1, 2, 5, 6, 7, 8, 9]).has(Violation::Loss, 2);
    case().receives(1..=2).gap(5).receives(5..=9).is_clean();
}

#[test]
fn a_session_without_echo_receives_all_publications_but_its_own() {
    let mut case = JournalCase::on(channels::HistoryKind::Long)
        .event(0, Entry::Subscribe { id: 1, channel: 0, since: None, echo: false });
    case.id = 1;
    case.ledgers[0].client = Some(0);
    let own = |case: JournalCase| {
        [2, 5]
            .into_iter()
            .fold(case, |case, number| case.sent(number, |it| it.connection = Some(0)))
    };
    let case = own(case.subscribed(0, Some(0), None));
    let (entries, ledgers) = (case.journal.entries.clone(), case.ledgers.clone());
    case.receives([1, 3, 4, 6, 7, 8, 9]).is_clean();
    let again = || {
        let mut case = JournalCase::on(channels::HistoryKind::Long);
        (case.journal.entries, case.ledgers) = (entries.clone(), ledgers.clone());
        case
    };
    again().receives(1..=9).has(Violation::Breach, 2);
    again().receives([1, 3, 6, 7, 8, 9]).has(Violation::Loss, 1);
}

#[test]
fn a_plain_client_loses_nothing_if_it_is_closed_at_gaps_or_no_gap_can_happen() {
    let lossy = [1, 2, 5, 6, 7, 8, 9];
    let on = |kind| JournalCase::on(kind);
    let gets = |case: JournalCase, numbers: &[u64]| {
        numbers.iter().fold(case, |case, number| case.receives_at(*number, None))
    };
    for kind in [channels::HistoryKind::Plain, channels::HistoryKind::Long] {
        gets(on(kind).opened_plain(None, None, false), &lossy).has(Violation::Loss, 2);
        let told_nothing = on(kind).interrupted().data_lost().opened_plain(None, None, false);
        gets(told_nothing, &lossy).is_clean();
        gets(on(kind).interrupted().data_lost().opened_plain(None, None, true), &lossy)
            .has(Violation::Loss, 2);
    }
    let resumed = on(channels::HistoryKind::Long).opened_plain(Some(2), Some(true), false);
    gets(resumed, &[3, 4, 5, 6, 7, 8, 9]).is_clean();
    let resumed = on(channels::HistoryKind::Long).opened_plain(Some(2), Some(true), false);
    gets(resumed, &[5, 6, 7, 8, 9]).has(Violation::FalseRecovery, 2);
    let twice = on(channels::HistoryKind::Long).data_lost().opened_plain(None, None, false);
    gets(twice, &[1, 2, 3, 2]).has(Violation::Twice, 1);
}

#[test]
fn each_position_has_one_publication_and_positions_follow_the_publishers_order() {
    let case =
        JournalCase::history().sent(3, |it| it.outcome = PublishOutcome::Accepted(Some(place(2))));
    let finds = case.ends_early().finds();
    assert!(finds.iter().any(|(kind, _)| *kind == Violation::Breach), "{finds:?}");
    let case =
        JournalCase::history().sent(3, |it| it.outcome = PublishOutcome::Accepted(Some(place(20))));
    let finds = case.ends_early().finds();
    assert!(finds.iter().any(|(kind, _)| *kind == Violation::Disorder), "{finds:?}");
}

#[test]
fn a_publication_without_position_on_a_channel_with_history_is_found() {
    let finds = JournalCase::history().receives(1..=8).receives_at(9, None).finds();
    assert!(finds.iter().any(|(kind, _)| *kind == Violation::Breach), "{finds:?}");
}

#[test]
fn a_reading_client_that_is_closed_as_slow_is_found() {
    let closed = |case: JournalCase| {
        let case = case.receives(1..=9).event(9, Entry::Closed { why: "4008 slow".to_owned() });
        case.ends_early()
    };
    closed(JournalCase::plain_channel()).has(Violation::Slow, 1);
    let large = |it: &mut JournalPublication| it.bytes = 1 << 20;
    closed(JournalCase::plain_channel().sent(8, large)).has(Violation::Slow, 1);
    closed(JournalCase::plain_channel().sent(7, large).sent(8, large)).is_clean();
    let many = (1..=9).fold(JournalCase::plain_channel(), |case, number| {
        case.sent(number, |it| it.bytes = 100_000)
    });
    closed(many).is_clean();
    closed(JournalCase::plain_channel().event(0, Entry::Paused(true))).is_clean();
}

#[test]
fn a_relayed_publication_with_a_position_is_found() {
    let relayed = || {
        let case = JournalCase::history().by(PublishPath::PublishForged);
        (1..=9).fold(case, |case, number| {
            case.sent(number, |it| it.outcome = PublishOutcome::Accepted(None))
        })
    };
    (1..=9).fold(relayed(), |case, number| case.receives_at(number, None)).is_clean();
    let finds = relayed().receives_at(1, Some(elsewhere(7))).ends_early().finds();
    assert!(finds.iter().any(|(kind, _)| *kind == Violation::Breach), "{finds:?}");
}

#[test]
fn a_history_reply_that_is_unordered_incomplete_or_falsely_recovered_is_found() {
    let answer = |since: Option<u64>, numbers: &[u64], recovered: Option<bool>| {
        let publications: Vec<_> = numbers.iter().map(|it| (place(*it), (0, *it))).collect();
        let position = publications.last().map(|it| it.0);
        let since = since.map(place);
        let ended = None;
        let excerpt = HistoryReply { channel: 0, since, publications, position, recovered, ended };
        JournalCase::history().receives(1..=9).event(10, Entry::History(Box::new(excerpt)))
    };
    answer(None, &[5, 6, 7, 8, 9], None).is_clean();
    answer(Some(6), &[7, 8, 9], Some(true)).is_clean();
    answer(Some(6), &[8, 9], Some(true)).has(Violation::FalseRecovery, 1);
    answer(Some(6), &[8, 9], Some(false)).has(Violation::NeedlessGap, 1);
    answer(None, &[5, 7, 8, 9], None).has(Violation::Loss, 1);
    answer(None, &[5, 6, 6], None).has(Violation::Disorder, 1);
    answer(Some(6), &[6, 7, 8, 9], Some(true)).has(Violation::Stale, 1);
}

#[test]
fn an_unsent_publication_or_unexplained_event_is_a_breach() {
    JournalCase::plain_channel().receives(1..=9).receives([10]).has(Violation::Breach, 1);
    JournalCase::plain_channel()
        .receives(1..=9)
        .event(10, Entry::Unexpected("?".to_owned()))
        .has(Violation::Breach, 1);
    let fault = JournalCase::plain_channel().receives(1..=9);
    fault.event(10, Entry::Closed { why: "1011 fault".to_owned() }).has(Violation::Breach, 1);
    let refused = Entry::Refused { id: None, channel: 0, why: "over".to_owned() };
    JournalCase::plain_channel()
        .receives(1..=3)
        .event(3, refused)
        .receives([4])
        .has(Violation::Stray, 1);
}

#[test]
fn publications_of_an_earlier_epoch_before_the_subscribe_are_missing_only_after_a_resume() {
    let case = || {
        let case = JournalCase::on(channels::HistoryKind::Expiring);
        let case = case.sent(2, |it| it.outcome = PublishOutcome::Accepted(Some(elsewhere(1))));
        (3..=9).fold(case, |case, number| {
            let position = Position { epoch: EPOCH + 2, seq: number - 2 };
            case.sent(number as usize, |it| it.outcome = PublishOutcome::Accepted(Some(position)))
        })
    };
    let later = |case: JournalCase| {
        (3..=9).fold(case, |case, number| {
            case.receives_at(number, Some(Position { epoch: EPOCH + 2, seq: number - 2 }))
        })
    };
    // The node is at position 1, although 2 was published before the client subscribed.
    let came = |at| case().subscribes(at, None).subscribed(at, Some(1), None);
    later(came(3)).is_clean();
    later(came(2)).has(Violation::Loss, 1);
    let resumed = case().subscribes(0, None).subscribed(0, Some(0), None).receives([1]);
    let resumed = resumed.reconnects(3).subscribes(3, Some(1)).subscribed(3, Some(1), Some(true));
    later(resumed).has(Violation::FalseRecovery, 1);
}

#[test]
fn a_received_publication_that_is_in_no_history_is_not_missing_after_a_resume() {
    let case = |numbers: &[u64]| {
        let case = JournalCase::on(channels::HistoryKind::Toggled).subscribes(0, None);
        let case = case.subscribed(0, Some(0), None).sent(1, |it| {
            it.outcome = PublishOutcome::Accepted(Some(place(1)));
        });
        let case = case.receives_at(1, Some(place(1)));
        let case = numbers.iter().fold(case, |case, number| case.receives_at(*number, None));
        let case = case.reconnects(5).subscribes(5, Some(1)).subscribed(5, Some(1), Some(true));
        (5..=9).fold(case, |case, number| case.receives_at(number, None))
    };
    case(&[2, 3, 4]).is_clean();
    case(&[2]).has(Violation::Loss, 2);
}
