//! The audit finds what it is there for: fed journals with one fault each, it names each; and it finds
//! nothing where less is promised.

mod case;

use super::journal::{Entry, Excerpt, Outcome, Publication, Way};
use super::{Kind, channels};
use crate::log::Position;
use case::{Case, EPOCH, elsewhere, place};

#[test]
fn all_in_order_is_clean() {
    Case::plain_channel().gets(1..=9).is_clean();
    Case::history().gets(1..=9).is_clean();
}

#[test]
fn a_loss_is_found_in_the_middle_and_at_the_end_and_at_the_beginning() {
    for case in [Case::plain_channel, Case::history] {
        case().gets([1, 2, 3, 6, 7, 8, 9]).has(Kind::Loss, 2);
        case().gets(1..=7).has(Kind::Loss, 2);
        case().gets(3..=9).has(Kind::Loss, 2);
        case().has(Kind::Loss, 9);
    }
}

#[test]
fn of_a_subscription_that_ended_nothing_is_known_after_what_came_last() {
    for case in [Case::plain_channel, Case::history] {
        case().gets(1..=5).ends_early().is_clean();
        case().gets(1..=5).unsubscribed(6).is_clean();
        case().gets([1, 2, 5]).unsubscribed(6).has(Kind::Loss, 2);
    }
}

#[test]
fn a_gap_explains_what_lies_before_it_and_nothing_after() {
    let plain = || Case::plain_channel().interrupted();
    plain().gets(1..=3).gap(6).gets(6..=9).is_clean();
    plain().gets(1..=3).gap(6).gets(8..=9).has(Kind::Loss, 2);
    plain().gets([1, 4]).gap(5).gets(5..=9).has(Kind::Loss, 2);
    Case::history().amnesia().gets(1..=3).gap(6).gets(6..=9).is_clean();
}

#[test]
fn a_gap_where_nothing_can_be_missing_is_found() {
    Case::history().interrupted().gets(1..=3).gap(4).gets(4..=9).has(Kind::NeedlessGap, 1);
    let told = Case::history().gets(1..=3).back(4).subscribes(4, Some(3));
    told.subscribed(4, Some(3), Some(false)).gets(4..=9).has(Kind::NeedlessGap, 1);
}

#[test]
fn a_short_history_may_have_gaps() {
    let case = Case::on(channels::Kind::Short).subscribes(0, None).subscribed(0, Some(0), None);
    let case = case.gets(1..=3).back(6).subscribes(6, Some(3)).subscribed(6, Some(6), Some(false));
    case.gets(7..=9).is_clean();
}

#[test]
fn recovered_is_true_only_if_all_that_follows_comes() {
    let resumed = || {
        let case = Case::history().gets(1..=3).back(6).subscribes(6, Some(3));
        case.subscribed(6, Some(6), Some(true))
    };
    resumed().gets(4..=9).is_clean();
    resumed().gets(6..=9).has(Kind::FalseRecovery, 2);
    resumed().gets([4, 6, 7, 8, 9]).has(Kind::Loss, 1);
    resumed().has(Kind::FalseRecovery, 6);
}

#[test]
fn recovered_over_a_history_that_came_and_went_is_found() {
    // The stream of number 4 is gone when the client comes back, and number 5 begins another.
    let case = || {
        let case =
            Case::on(channels::Kind::Expiring).subscribes(0, None).subscribed(0, Some(0), None);
        let case = case.sent(4, |it| it.outcome = Outcome::Taken(Some(elsewhere(1))));
        (5..=9).fold(case, |case, number| {
            let position = Position { epoch: EPOCH + 2, seq: number - 4 };
            case.sent(number as usize, |it| it.outcome = Outcome::Taken(Some(position)))
        })
    };
    let later = |case: Case| {
        (5..=9).fold(case, |case, number| {
            case.gets_at(number, Some(Position { epoch: EPOCH + 2, seq: number - 4 }))
        })
    };
    let told = case().gets(1..=3).back(5).subscribes(5, Some(3)).subscribed(5, Some(3), Some(true));
    later(told).has(Kind::FalseRecovery, 1);
    let connected = case().gets(1..=3);
    later(connected).has(Kind::Loss, 1);
    later(case().gets(1..=3).gap(5)).is_clean();
}

#[test]
fn recovered_since_what_never_was_a_position_is_found() {
    let case = Case::history()
        .gets(1..=3)
        .back(4)
        .event(4, Entry::Subscribe { id: 9, channel: 0, since: Some(elsewhere(3)), echo: true });
    let answer = Entry::Subscribed {
        id: Some(9),
        channel: 0,
        position: Some(place(3)),
        recovered: Some(true),
    };
    let finds = case.event(4, answer).gets(4..=9).finds();
    assert!(finds.iter().any(|(kind, _)| *kind == Kind::FalseRecovery), "{finds:?}");
    let ahead = Case::history().gets(1..=3).back(4).subscribes(4, Some(7));
    let finds = ahead.subscribed(4, Some(3), Some(true)).gets(8..=9).finds();
    assert!(finds.iter().any(|(kind, _)| *kind == Kind::FalseRecovery), "{finds:?}");
}

#[test]
fn a_publication_that_comes_twice_is_found() {
    for case in [Case::plain_channel, Case::history] {
        case().gets([1, 2, 3, 2]).gets(4..=9).has(Kind::Twice, 1);
    }
    Case::history().gets(1..=3).gets_at(3, None).gets(4..=9).finds();
    let again = Case::history().amnesia().gets(1..=3).gap(3).gets_at(3, None).gets(4..=9);
    again.has(Kind::Twice, 1);
}

#[test]
fn a_position_that_comes_twice_is_found_whatever_its_publication() {
    let case = Case::history().doubtful(4).gets(1..=3).gets_at(4, Some(place(3))).gets(5..=9);
    let finds = case.finds();
    assert!(finds.iter().any(|(kind, _)| *kind == Kind::Breach), "{finds:?}");
}

#[test]
fn what_was_sent_again_may_come_again_only_without_history() {
    let again = [1, 2, 2, 3, 4, 5, 6, 7, 8, 9];
    let twice = |it: &mut Publication| it.attempts = 2;
    Case::plain_channel().sent(2, twice).gets(again).is_clean();
    Case::history().by(Way::Function).sent(2, twice).gets(again).has(Kind::Twice, 1);
    let elsewhere = Case::history().by(Way::Function).sent(2, twice).gets(1..=9);
    elsewhere.gets_at(2, Some(place(10))).has(Kind::Twice, 1);
}

#[test]
fn a_disorder_is_found() {
    Case::plain_channel().gets([1, 2, 4, 3, 5, 6, 7, 8, 9]).has(Kind::Disorder, 1);
    let finds = Case::history().gets([1, 2, 4, 3, 5, 6, 7, 8, 9]).finds();
    assert!(finds.iter().any(|(kind, _)| *kind == Kind::Disorder), "{finds:?}");
}

#[test]
fn what_comes_outside_a_subscription_is_found() {
    for case in [Case::plain_channel, Case::history] {
        case().gets(1..=3).unsubscribed(3).gets([4]).has(Kind::Stray, 1);
    }
    let early = Case::on(channels::Kind::Plain).subscribes(0, None).gets([1]);
    early.subscribed(2, None, None).gets(2..=9).has(Kind::Stray, 1);
}

#[test]
fn after_subscribing_again_on_the_connection_nothing_older_comes() {
    let again = |position| {
        let case = Case::history().gets(1..=4).unsubscribed(4).subscribes(4, None);
        case.subscribed(4, Some(position), None)
    };
    again(4).gets(5..=9).is_clean();
    again(6).gets(7..=9).is_clean();
    // It was not there when 5 and 6 were published, and they come all the same.
    again(6).gets(5..=9).has(Kind::Stale, 2);
    let finds = again(2).gets(3..=9).finds();
    assert_eq!(finds, [(Kind::Twice, 2), (Kind::Behind, 1)]);
    let plain = Case::plain_channel().gets(1..=4).unsubscribed(4).subscribes(4, None);
    plain.subscribed(4, None, None).gets(4..=9).has(Kind::Twice, 1);
}

#[test]
fn what_is_resumed_on_the_connection_comes_again_from_there_only() {
    let resumed = || {
        let case = Case::history().gets(1..=6).unsubscribed(6).subscribes(6, Some(3));
        case.subscribed(6, Some(6), Some(true))
    };
    resumed().gets(4..=9).is_clean();
    resumed().gets(3..=9).has(Kind::Twice, 1);
}

#[test]
fn the_position_of_a_repeated_subscribe_is_never_behind_what_came() {
    let again = |position| {
        Case::history().gets(1..=4).subscribes(4, None).subscribed(4, Some(position), None)
    };
    again(4).gets(5..=9).is_clean();
    again(3).gets(5..=9).has(Kind::Behind, 1);
    again(5).gets(5..=9).has(Kind::Stale, 1);
}

#[test]
fn another_history_without_a_gap_is_clean_only_from_its_beginning() {
    let moved = |first: u64| {
        let case =
            Case::on(channels::Kind::Deleted).subscribes(0, None).subscribed(0, Some(0), None);
        let position = Some(elsewhere(first));
        let case = case.sent(9, |it| it.outcome = Outcome::Taken(position)).gets(1..=8);
        case.gets_at(9, position)
    };
    moved(1).is_clean();
    moved(3).has(Kind::Loss, 2);
}

#[test]
fn less_is_promised_of_what_is_doubtful_and_of_plain_publish_into_history() {
    let without = [1, 2, 4, 5, 6, 7, 8, 9];
    Case::plain_channel().doubtful(3).gets(without).is_clean();
    Case::plain_channel().doubtful(3).gets(1..=9).is_clean();
    Case::plain_channel().doubtful(3).gets([1, 2, 3, 3, 4, 5, 6, 7, 8, 9]).has(Kind::Twice, 1);
    let relayed = || {
        let case = Case::history().by(Way::Publish);
        (1..=9).fold(case, |case, number| case.sent(number, |it| it.outcome = Outcome::Taken(None)))
    };
    let gets = |case: Case, numbers: &[u64]| {
        numbers.iter().fold(case, |case, number| case.gets_at(*number, None))
    };
    gets(relayed(), &without).is_clean();
    gets(relayed(), &[1, 2, 2, 3]).has(Kind::Twice, 1);
    gets(Case::plain_channel().by(Way::Publish), &without).has(Kind::Loss, 1);
}

#[test]
fn a_channel_whose_history_is_switched_loses_nothing_without_a_gap() {
    let case = || Case::on(channels::Kind::Toggled).subscribes(0, None).subscribed(0, None, None);
    case().gets(1..=9).is_clean();
    case().gets([1, 2, 5, 6, 7, 8, 9]).has(Kind::Loss, 2);
    case().gets(1..=2).gap(5).gets(5..=9).is_clean();
}

#[test]
fn a_session_without_echo_gets_all_but_its_own() {
    let mut case = Case::on(channels::Kind::Long)
        .event(0, Entry::Subscribe { id: 1, channel: 0, since: None, echo: false });
    case.id = 1;
    case.ledgers[0].client = Some(0);
    let own = |case: Case| {
        [2, 5]
            .into_iter()
            .fold(case, |case, number| case.sent(number, |it| it.connection = Some(0)))
    };
    let case = own(case.subscribed(0, Some(0), None));
    let (entries, ledgers) = (case.journal.entries.clone(), case.ledgers.clone());
    case.gets([1, 3, 4, 6, 7, 8, 9]).is_clean();
    let again = || {
        let mut case = Case::on(channels::Kind::Long);
        (case.journal.entries, case.ledgers) = (entries.clone(), ledgers.clone());
        case
    };
    again().gets(1..=9).has(Kind::Breach, 2);
    again().gets([1, 3, 6, 7, 8, 9]).has(Kind::Loss, 1);
}

#[test]
fn a_plain_client_is_promised_all_where_it_is_closed_at_gaps_or_none_can_be() {
    let lossy = [1, 2, 5, 6, 7, 8, 9];
    let on = |kind| Case::on(kind);
    let gets = |case: Case, numbers: &[u64]| {
        numbers.iter().fold(case, |case, number| case.gets_at(*number, None))
    };
    for kind in [channels::Kind::Plain, channels::Kind::Long] {
        gets(on(kind).opened_plain(None, None, false), &lossy).has(Kind::Loss, 2);
        let told_nothing = on(kind).interrupted().amnesia().opened_plain(None, None, false);
        gets(told_nothing, &lossy).is_clean();
        gets(on(kind).interrupted().amnesia().opened_plain(None, None, true), &lossy)
            .has(Kind::Loss, 2);
    }
    let resumed = on(channels::Kind::Long).opened_plain(Some(2), Some(true), false);
    gets(resumed, &[3, 4, 5, 6, 7, 8, 9]).is_clean();
    let resumed = on(channels::Kind::Long).opened_plain(Some(2), Some(true), false);
    gets(resumed, &[5, 6, 7, 8, 9]).has(Kind::FalseRecovery, 2);
    let twice = on(channels::Kind::Long).amnesia().opened_plain(None, None, false);
    gets(twice, &[1, 2, 3, 2]).has(Kind::Twice, 1);
}

#[test]
fn one_position_is_one_publication_and_positions_follow_the_publisher() {
    let case = Case::history().sent(3, |it| it.outcome = Outcome::Taken(Some(place(2))));
    let finds = case.ends_early().finds();
    assert!(finds.iter().any(|(kind, _)| *kind == Kind::Breach), "{finds:?}");
    let case = Case::history().sent(3, |it| it.outcome = Outcome::Taken(Some(place(20))));
    let finds = case.ends_early().finds();
    assert!(finds.iter().any(|(kind, _)| *kind == Kind::Disorder), "{finds:?}");
}

#[test]
fn a_publication_of_a_history_comes_with_its_position() {
    let finds = Case::history().gets(1..=8).gets_at(9, None).finds();
    assert!(finds.iter().any(|(kind, _)| *kind == Kind::Breach), "{finds:?}");
}

#[test]
fn a_client_that_reads_is_never_too_slow() {
    let closed = |case: Case| {
        let case = case.gets(1..=9).event(9, Entry::Closed { why: "4008 slow".to_owned() });
        case.ends_early()
    };
    closed(Case::plain_channel()).has(Kind::Slow, 1);
    let large = |it: &mut Publication| it.bytes = 1 << 20;
    closed(Case::plain_channel().sent(8, large)).has(Kind::Slow, 1);
    closed(Case::plain_channel().sent(7, large).sent(8, large)).is_clean();
    let many = (1..=9)
        .fold(Case::plain_channel(), |case, number| case.sent(number, |it| it.bytes = 100_000));
    closed(many).is_clean();
    closed(Case::plain_channel().event(0, Entry::Paused(true))).is_clean();
}

#[test]
fn what_was_relayed_claims_no_position() {
    let relayed = || {
        let case = Case::history().by(Way::PublishForged);
        (1..=9).fold(case, |case, number| case.sent(number, |it| it.outcome = Outcome::Taken(None)))
    };
    (1..=9).fold(relayed(), |case, number| case.gets_at(number, None)).is_clean();
    let finds = relayed().gets_at(1, Some(elsewhere(7))).ends_early().finds();
    assert!(finds.iter().any(|(kind, _)| *kind == Kind::Breach), "{finds:?}");
}

#[test]
fn a_history_is_in_order_whole_and_says_whether_something_is_missing() {
    let answer = |since: Option<u64>, numbers: &[u64], recovered: Option<bool>| {
        let publications: Vec<_> = numbers.iter().map(|it| (place(*it), (0, *it))).collect();
        let position = publications.last().map(|it| it.0);
        let since = since.map(place);
        let excerpt = Excerpt { channel: 0, since, publications, position, recovered };
        Case::history().gets(1..=9).event(10, Entry::History(Box::new(excerpt)))
    };
    answer(None, &[5, 6, 7, 8, 9], None).is_clean();
    answer(Some(6), &[7, 8, 9], Some(true)).is_clean();
    answer(Some(6), &[8, 9], Some(true)).has(Kind::FalseRecovery, 1);
    answer(Some(6), &[8, 9], Some(false)).has(Kind::NeedlessGap, 1);
    answer(None, &[5, 7, 8, 9], None).has(Kind::Loss, 1);
    answer(None, &[5, 6, 6], None).has(Kind::Disorder, 1);
    answer(Some(6), &[6, 7, 8, 9], Some(true)).has(Kind::Stale, 1);
}

#[test]
fn what_nobody_sent_or_no_operation_explains_is_a_breach() {
    Case::plain_channel().gets(1..=9).gets([10]).has(Kind::Breach, 1);
    Case::plain_channel().gets(1..=9).event(10, Entry::Odd("?".to_owned())).has(Kind::Breach, 1);
    let fault = Case::plain_channel().gets(1..=9);
    fault.event(10, Entry::Closed { why: "1011 fault".to_owned() }).has(Kind::Breach, 1);
    let refused = Entry::Refused { id: None, channel: 0, why: "over".to_owned() };
    Case::plain_channel().gets(1..=3).event(3, refused).gets([4]).has(Kind::Stray, 1);
}

#[test]
fn what_an_earlier_epoch_had_before_a_client_came_is_not_missing_unless_it_resumed() {
    let case = || {
        let case = Case::on(channels::Kind::Expiring);
        let case = case.sent(2, |it| it.outcome = Outcome::Taken(Some(elsewhere(1))));
        (3..=9).fold(case, |case, number| {
            let position = Position { epoch: EPOCH + 2, seq: number - 2 };
            case.sent(number as usize, |it| it.outcome = Outcome::Taken(Some(position)))
        })
    };
    let later = |case: Case| {
        (3..=9).fold(case, |case, number| {
            case.gets_at(number, Some(Position { epoch: EPOCH + 2, seq: number - 2 }))
        })
    };
    // The node stands at 1, though 2 was there before the client came.
    let came = |at| case().subscribes(at, None).subscribed(at, Some(1), None);
    later(came(3)).is_clean();
    later(came(2)).has(Kind::Loss, 1);
    let resumed = case().subscribes(0, None).subscribed(0, Some(0), None).gets([1]);
    let resumed = resumed.back(3).subscribes(3, Some(1)).subscribed(3, Some(1), Some(true));
    later(resumed).has(Kind::FalseRecovery, 1);
}

#[test]
fn what_stands_in_no_history_is_not_missing_after_a_resume_if_it_came_before() {
    let case = |numbers: &[u64]| {
        let case = Case::on(channels::Kind::Toggled).subscribes(0, None);
        let case = case.subscribed(0, Some(0), None).sent(1, |it| {
            it.outcome = Outcome::Taken(Some(place(1)));
        });
        let case = case.gets_at(1, Some(place(1)));
        let case = numbers.iter().fold(case, |case, number| case.gets_at(*number, None));
        let case = case.back(5).subscribes(5, Some(1)).subscribed(5, Some(1), Some(true));
        (5..=9).fold(case, |case, number| case.gets_at(number, None))
    };
    case(&[2, 3, 4]).is_clean();
    case(&[2]).has(Kind::Loss, 2);
}
