//! Logs with one fault each: the checker finds each fault.

use std::time::{Duration, Instant};

use super::{CheckReport, LogViolation, Logs, check};
use crate::log::{Channel, LogEvent, Position, Publication, PublisherLog, SubscriberLog};

/// Publisher 0 sends 1 to 9 on channel 0, one each second, all acknowledged at once.
struct LogCase {
    channel: Channel,
    begun: Instant,
    sent: PublisherLog,
    seen: SubscriberLog,
    history_lost: bool,
}

impl LogCase {
    fn new(history: bool) -> Self {
        let begun = Instant::now();
        let publications = (1..=9).map(|number| Publication {
            started: begun + Duration::from_secs(number),
            attempts: 1,
            acknowledged: Some(begun + Duration::from_secs(number)),
            position: history.then_some(Position { epoch: 5, seq: number }),
        });
        Self {
            channel: Channel {
                name: "news".to_owned(),
                history,
                short_history: false,
                flooded: false,
            },
            begun,
            sent: PublisherLog { channel: 0, publications: publications.collect() },
            seen: SubscriberLog { name: "subscriber".to_owned(), events: Vec::new() },
            history_lost: false,
        }
    }

    fn plain() -> Self {
        Self::new(false).subscribed_at(0)
    }

    /// Subscribed before the first publication.
    fn with_history() -> Self {
        Self::new(true).resumed(0, None, Some(0), None)
    }

    fn event(mut self, at: u64, event: LogEvent) -> Self {
        self.seen.events.push((self.begun + Duration::from_secs(at), event));
        self
    }

    fn subscribed_at(self, at: u64) -> Self {
        self.resumed(at, None, None, None)
    }

    fn resumed(
        self,
        at: u64,
        since: Option<u64>,
        position: Option<u64>,
        recovered: Option<bool>,
    ) -> Self {
        let (since, position) = (since.map(place), position.map(place));
        self.event(at, LogEvent::Subscribed { channel: 0, since, position, recovered })
    }

    fn receives(mut self, numbers: impl IntoIterator<Item = u64>) -> Self {
        for number in numbers {
            let position = self.channel.history.then(|| place(number));
            self = self.receives_at(number, position);
        }
        self
    }

    fn receives_at(self, number: u64, position: Option<Position>) -> Self {
        self.event(number, LogEvent::Publication { channel: 0, publisher: 0, number, position })
    }

    fn gap(self, at: u64) -> Self {
        self.event(at, LogEvent::Gap { channel: 0, reason: "a reason".to_owned() })
    }

    fn closed(self, at: u64) -> Self {
        self.event(at, LogEvent::Closed { why: "a reason".to_owned() })
    }

    /// The number was sent more than once.
    fn retried(mut self, number: usize) -> Self {
        self.sent.publications[number - 1].attempts = 2;
        self
    }

    fn unacknowledged(mut self, number: usize) -> Self {
        self.sent.publications[number - 1].acknowledged = None;
        self.sent.publications[number - 1].position = None;
        self
    }

    fn history_lost(mut self) -> Self {
        self.history_lost = true;
        self
    }

    fn report(&self) -> CheckReport {
        check(&Logs {
            channels: std::slice::from_ref(&self.channel),
            sent: std::slice::from_ref(&self.sent),
            seen: std::slice::from_ref(&self.seen),
            started: self.begun,
            history_lost: self.history_lost,
        })
    }

    /// Losses, duplicates, disorders, breaches.
    fn counts(&self) -> [usize; 4] {
        let report = self.report();
        [LogViolation::Loss, LogViolation::Duplicate, LogViolation::Disorder, LogViolation::Breach]
            .map(|it| report.count(it))
    }
}

fn place(seq: u64) -> Position {
    Position { epoch: 5, seq }
}

const CLEAN: [usize; 4] = [0, 0, 0, 0];

#[test]
fn a_log_with_every_publication_in_order_has_no_findings() {
    for case in [LogCase::plain(), LogCase::with_history()] {
        let case = case.receives(1..=9);
        assert_eq!(case.counts(), CLEAN);
        assert_eq!(case.report().deliveries, 9);
        assert_eq!(case.report().acknowledged, 9);
    }
}

#[test]
fn a_loss_is_found_in_the_middle_and_at_the_end() {
    assert_eq!(LogCase::plain().receives([1, 2, 3, 6, 7, 8, 9]).counts(), [2, 0, 0, 0]);
    assert_eq!(LogCase::plain().receives(1..=7).counts(), [2, 0, 0, 0]);
    assert_eq!(LogCase::with_history().receives([1, 2, 3, 6, 7, 8, 9]).counts(), [2, 0, 0, 0]);
    assert_eq!(LogCase::plain().counts(), [9, 0, 0, 0]);
}

#[test]
fn a_loss_right_after_the_subscribe_is_found() {
    assert_eq!(LogCase::plain().receives(3..=9).counts(), [2, 0, 0, 0]);
    let late = LogCase::new(false).subscribed_at(3);
    assert_eq!(late.receives(3..=9).counts(), CLEAN);
}

#[test]
fn a_finding_names_client_channel_numbers_and_context() {
    let report = LogCase::plain().receives([1, 2, 3, 6, 7, 8, 9]).report();
    let [finding] = report.findings.as_slice() else { panic!("{report:?}") };
    assert_eq!((finding.client.as_str(), finding.channel.as_str()), ("subscriber", "news"));
    assert!(finding.what.contains("0/[4 5]"), "{}", finding.what);
    let around = finding.around.join("\n");
    assert!(around.contains("publication 0/3") && around.contains("publication 0/6"), "{around}");
}

#[test]
fn a_gap_explains_missing_publications_before_it_and_none_after() {
    assert_eq!(LogCase::plain().receives(1..=3).gap(6).receives(6..=9).counts(), CLEAN);
    assert_eq!(LogCase::plain().receives(1..=3).gap(6).receives(8..=9).counts(), [2, 0, 0, 0]);
    assert_eq!(LogCase::plain().receives([1, 4]).gap(5).receives(5..=9).counts(), [2, 0, 0, 0]);
    assert_eq!(LogCase::plain().receives(1..=9).gap(10).report().gaps, 1);
}

#[test]
fn without_history_a_disconnection_explains_missing_publications() {
    let away = LogCase::plain().receives(1..=3).closed(4).subscribed_at(6);
    assert_eq!(away.receives(6..=9).counts(), CLEAN);
    let away = LogCase::plain().receives(1..=3).closed(4).subscribed_at(6);
    assert_eq!(away.receives(8..=9).counts(), [2, 0, 0, 0]);
}

#[test]
fn with_history_a_disconnection_explains_nothing() {
    let resumed = || {
        LogCase::with_history().receives(1..=3).closed(4).resumed(6, Some(3), Some(5), Some(true))
    };
    assert_eq!(resumed().receives(4..=9).counts(), CLEAN);
    assert_eq!(resumed().receives(6..=9).counts(), [2, 0, 0, 0]);
    assert_eq!(resumed().receives(3..=9).counts(), [0, 1, 0, 0]);
}

#[test]
fn with_history_a_reconnect_without_since_is_a_loss() {
    let anew = LogCase::with_history().receives(1..=3).closed(4).resumed(6, None, Some(5), None);
    assert_eq!(anew.receives(6..=9).counts(), [2, 0, 0, 0]);
}

#[test]
fn recovered_false_is_a_gap() {
    let told =
        LogCase::with_history().receives(1..=3).closed(4).resumed(6, Some(3), Some(5), Some(false));
    let told = told.receives(6..=9).history_lost();
    assert_eq!((told.counts(), told.report().history_gaps), (CLEAN, 1));
}

#[test]
fn a_gap_without_possible_loss_is_a_breach() {
    assert_eq!(
        LogCase::with_history().receives(1..=3).gap(4).receives(4..=9).counts(),
        [0, 0, 0, 1]
    );
}

#[test]
fn a_channel_with_short_history_may_have_gaps_and_must_report_them() {
    let told = || {
        let mut case = LogCase::with_history().receives(1..=3).closed(4);
        case.channel.short_history = true;
        case.resumed(8, Some(3), Some(7), Some(false))
    };
    assert_eq!(told().receives(8..=9).counts(), CLEAN);
    assert_eq!(told().receives([9]).counts(), [1, 0, 0, 0]);
}

#[test]
fn a_duplicate_is_found() {
    assert_eq!(LogCase::plain().receives([1, 2, 2, 3, 4, 5, 6, 7, 8, 9]).counts(), [0, 1, 0, 0]);
    assert_eq!(LogCase::plain().receives(1..=9).gap(10).receives([9]).counts(), [0, 1, 0, 0]);
    assert_eq!(
        LogCase::with_history().receives([1, 2, 3, 2, 4, 5, 6, 7, 8, 9]).counts(),
        [0, 1, 0, 0]
    );
}

#[test]
fn a_repeated_publication_may_arrive_twice_only_without_history() {
    let again = [1, 2, 2, 3, 4, 5, 6, 7, 8, 9];
    let plain = LogCase::plain().retried(2).receives(again);
    assert_eq!((plain.counts(), plain.report().allowed_repeats), (CLEAN, 1));
    assert_eq!(LogCase::with_history().retried(2).receives(again).counts(), [0, 1, 0, 0]);
}

#[test]
fn a_publication_out_of_order_is_found() {
    let turned = [1, 2, 4, 3, 5, 6, 7, 8, 9];
    assert_eq!(LogCase::plain().receives(turned).counts(), [0, 0, 1, 0]);
    assert!(LogCase::with_history().receives(turned).counts()[2] > 0);
}

#[test]
fn a_jump_in_positions_is_a_loss_even_if_all_numbers_arrived() {
    let case = LogCase::with_history().retried(2).receives([1]).receives_at(2, Some(place(3)));
    assert_eq!(case.counts()[0], 1 + 7);
}

#[test]
fn another_history_without_a_gap_is_a_loss() {
    let elsewhere = Position { epoch: 6, seq: 1 };
    let case = LogCase::with_history().retried(9).receives(1..=8).receives_at(9, Some(elsewhere));
    assert_eq!(case.counts(), [1, 0, 0, 0]);
    let case =
        LogCase::with_history().retried(9).receives(1..=8).gap(8).receives_at(9, Some(elsewhere));
    assert_eq!(case.history_lost().counts(), CLEAN);
}

#[test]
fn each_position_has_one_publication_and_matches_the_acknowledgement() {
    let told_otherwise = LogCase::with_history().receives(1..=8).receives_at(9, Some(place(10)));
    assert!(told_otherwise.counts()[3] > 0);
    let twice = LogCase::with_history().retried(3).receives(1..=2).receives_at(3, Some(place(2)));
    assert!(twice.counts()[3] > 0);
}

#[test]
fn an_unacknowledged_publication_may_be_missing_but_not_duplicated() {
    let without = [1, 2, 4, 5, 6, 7, 8, 9];
    assert_eq!(LogCase::plain().unacknowledged(3).receives(without).counts(), CLEAN);
    assert_eq!(LogCase::plain().unacknowledged(3).receives(1..=9).counts(), CLEAN);
    let twice = LogCase::plain().unacknowledged(3).receives([1, 2, 3, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(twice.counts(), [0, 1, 0, 0]);
}

#[test]
fn an_unsent_publication_or_one_without_subscription_is_a_breach() {
    assert_eq!(LogCase::plain().receives(1..=9).receives([10]).counts(), [0, 0, 0, 1]);
    assert_eq!(LogCase::new(false).receives([1]).counts(), [0, 0, 0, 1]);
}

#[test]
fn an_event_that_no_fault_explains_is_a_breach() {
    let odd = LogCase::plain().receives(1..=9).event(10, LogEvent::Unexpected("?".to_owned()));
    assert_eq!(odd.counts(), [0, 0, 0, 1]);
    let fault = LogCase::plain()
        .receives(1..=9)
        .event(10, LogEvent::Closed { why: "1011 fault".to_owned() });
    assert_eq!(fault.counts(), [0, 0, 0, 1]);
}
