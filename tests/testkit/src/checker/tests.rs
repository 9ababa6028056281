//! The checker finds what it is there for: fed logs with one fault each, it names each.

use std::time::{Duration, Instant};

use super::{Kind, Logs, Verdict, check};
use crate::log::{Channel, LogEvent, Position, Publication, PublisherLog, SubscriberLog};

/// Publisher 0 sends 1 to 9 on channel 0, one each second, all acknowledged at once.
struct Case {
    channel: Channel,
    begun: Instant,
    sent: PublisherLog,
    seen: SubscriberLog,
    history_lost: bool,
}

impl Case {
    fn new(history: bool) -> Self {
        let begun = Instant::now();
        let publications = (1..=9).map(|number| Publication {
            begun: begun + Duration::from_secs(number),
            attempts: 1,
            acknowledged: Some(begun + Duration::from_secs(number)),
            position: history.then_some(Position { epoch: 5, seq: number }),
        });
        Self {
            channel: Channel { name: "news".to_owned(), history, forgetful: false, flooded: false },
            begun,
            sent: PublisherLog { channel: 0, publications: publications.collect() },
            seen: SubscriberLog { name: "she".to_owned(), events: Vec::new() },
            history_lost: false,
        }
    }

    fn plain() -> Self {
        Self::new(false).subscribed_at(0)
    }

    /// Subscribed before anything was published.
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

    fn gets(mut self, numbers: impl IntoIterator<Item = u64>) -> Self {
        for number in numbers {
            let position = self.channel.history.then(|| place(number));
            self = self.gets_at(number, position);
        }
        self
    }

    fn gets_at(self, number: u64, position: Option<Position>) -> Self {
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

    fn verdict(&self) -> Verdict {
        check(&Logs {
            channels: std::slice::from_ref(&self.channel),
            sent: std::slice::from_ref(&self.sent),
            seen: std::slice::from_ref(&self.seen),
            begun: self.begun,
            history_lost: self.history_lost,
        })
    }

    /// Losses, duplicates, disorders, breaches.
    fn counts(&self) -> [usize; 4] {
        let verdict = self.verdict();
        [Kind::Loss, Kind::Duplicate, Kind::Disorder, Kind::Breach].map(|it| verdict.count(it))
    }
}

fn place(seq: u64) -> Position {
    Position { epoch: 5, seq }
}

const CLEAN: [usize; 4] = [0, 0, 0, 0];

#[test]
fn all_in_order_is_clean() {
    for case in [Case::plain(), Case::with_history()] {
        let case = case.gets(1..=9);
        assert_eq!(case.counts(), CLEAN);
        assert_eq!(case.verdict().deliveries, 9);
        assert_eq!(case.verdict().acknowledged, 9);
    }
}

#[test]
fn a_loss_is_found_in_the_middle_and_at_the_end() {
    assert_eq!(Case::plain().gets([1, 2, 3, 6, 7, 8, 9]).counts(), [2, 0, 0, 0]);
    assert_eq!(Case::plain().gets(1..=7).counts(), [2, 0, 0, 0]);
    assert_eq!(Case::with_history().gets([1, 2, 3, 6, 7, 8, 9]).counts(), [2, 0, 0, 0]);
    assert_eq!(Case::plain().counts(), [9, 0, 0, 0]);
}

#[test]
fn the_first_ones_after_subscribing_are_missed_too() {
    assert_eq!(Case::plain().gets(3..=9).counts(), [2, 0, 0, 0]);
    let late = Case::new(false).subscribed_at(3);
    assert_eq!(late.gets(3..=9).counts(), CLEAN);
}

#[test]
fn a_finding_says_who_what_and_where() {
    let verdict = Case::plain().gets([1, 2, 3, 6, 7, 8, 9]).verdict();
    let [finding] = verdict.findings.as_slice() else { panic!("{verdict:?}") };
    assert_eq!((finding.client.as_str(), finding.channel.as_str()), ("she", "news"));
    assert!(finding.what.contains("0/[4 5]"), "{}", finding.what);
    let around = finding.around.join("\n");
    assert!(around.contains("publication 0/3") && around.contains("publication 0/6"), "{around}");
}

#[test]
fn a_gap_explains_what_lies_before_it_and_nothing_after() {
    assert_eq!(Case::plain().gets(1..=3).gap(6).gets(6..=9).counts(), CLEAN);
    assert_eq!(Case::plain().gets(1..=3).gap(6).gets(8..=9).counts(), [2, 0, 0, 0]);
    assert_eq!(Case::plain().gets([1, 4]).gap(5).gets(5..=9).counts(), [2, 0, 0, 0]);
    assert_eq!(Case::plain().gets(1..=9).gap(10).verdict().gaps, 1);
}

#[test]
fn without_history_a_disconnection_explains_too() {
    let away = Case::plain().gets(1..=3).closed(4).subscribed_at(6);
    assert_eq!(away.gets(6..=9).counts(), CLEAN);
    let away = Case::plain().gets(1..=3).closed(4).subscribed_at(6);
    assert_eq!(away.gets(8..=9).counts(), [2, 0, 0, 0]);
}

#[test]
fn with_history_a_disconnection_explains_nothing() {
    let resumed =
        || Case::with_history().gets(1..=3).closed(4).resumed(6, Some(3), Some(5), Some(true));
    assert_eq!(resumed().gets(4..=9).counts(), CLEAN);
    assert_eq!(resumed().gets(6..=9).counts(), [2, 0, 0, 0]);
    assert_eq!(resumed().gets(3..=9).counts(), [0, 1, 0, 0]);
}

#[test]
fn with_history_who_comes_back_and_asks_for_nothing_loses() {
    let anew = Case::with_history().gets(1..=3).closed(4).resumed(6, None, Some(5), None);
    assert_eq!(anew.gets(6..=9).counts(), [2, 0, 0, 0]);
}

#[test]
fn what_was_not_recovered_is_a_gap() {
    let told = Case::with_history().gets(1..=3).closed(4).resumed(6, Some(3), Some(5), Some(false));
    let told = told.gets(6..=9).history_lost();
    assert_eq!((told.counts(), told.verdict().history_gaps), (CLEAN, 1));
}

#[test]
fn a_gap_that_need_not_be_is_a_breach() {
    assert_eq!(Case::with_history().gets(1..=3).gap(4).gets(4..=9).counts(), [0, 0, 0, 1]);
}

#[test]
fn a_forgetful_channel_may_have_gaps_and_must_tell() {
    let told = || {
        let mut case = Case::with_history().gets(1..=3).closed(4);
        case.channel.forgetful = true;
        case.resumed(8, Some(3), Some(7), Some(false))
    };
    assert_eq!(told().gets(8..=9).counts(), CLEAN);
    assert_eq!(told().gets([9]).counts(), [1, 0, 0, 0]);
}

#[test]
fn a_duplicate_is_found() {
    assert_eq!(Case::plain().gets([1, 2, 2, 3, 4, 5, 6, 7, 8, 9]).counts(), [0, 1, 0, 0]);
    assert_eq!(Case::plain().gets(1..=9).gap(10).gets([9]).counts(), [0, 1, 0, 0]);
    assert_eq!(Case::with_history().gets([1, 2, 3, 2, 4, 5, 6, 7, 8, 9]).counts(), [0, 1, 0, 0]);
}

#[test]
fn what_was_sent_again_may_come_again_only_without_history() {
    let again = [1, 2, 2, 3, 4, 5, 6, 7, 8, 9];
    let plain = Case::plain().retried(2).gets(again);
    assert_eq!((plain.counts(), plain.verdict().repeats), (CLEAN, 1));
    assert_eq!(Case::with_history().retried(2).gets(again).counts(), [0, 1, 0, 0]);
}

#[test]
fn a_disorder_is_found() {
    let turned = [1, 2, 4, 3, 5, 6, 7, 8, 9];
    assert_eq!(Case::plain().gets(turned).counts(), [0, 0, 1, 0]);
    assert!(Case::with_history().gets(turned).counts()[2] > 0);
}

#[test]
fn positions_that_jump_are_a_loss_even_where_all_numbers_came() {
    let case = Case::with_history().retried(2).gets([1]).gets_at(2, Some(place(3)));
    assert_eq!(case.counts()[0], 1 + 7);
}

#[test]
fn another_history_without_a_gap_is_a_loss() {
    let elsewhere = Position { epoch: 6, seq: 1 };
    let case = Case::with_history().retried(9).gets(1..=8).gets_at(9, Some(elsewhere));
    assert_eq!(case.counts(), [1, 0, 0, 0]);
    let case = Case::with_history().retried(9).gets(1..=8).gap(8).gets_at(9, Some(elsewhere));
    assert_eq!(case.history_lost().counts(), CLEAN);
}

#[test]
fn one_position_is_one_publication_and_the_one_that_was_acknowledged() {
    let told_otherwise = Case::with_history().gets(1..=8).gets_at(9, Some(place(10)));
    assert!(told_otherwise.counts()[3] > 0);
    let twice = Case::with_history().retried(3).gets(1..=2).gets_at(3, Some(place(2)));
    assert!(twice.counts()[3] > 0);
}

#[test]
fn what_was_not_acknowledged_may_be_missing_but_not_come_twice() {
    let without = [1, 2, 4, 5, 6, 7, 8, 9];
    assert_eq!(Case::plain().unacknowledged(3).gets(without).counts(), CLEAN);
    assert_eq!(Case::plain().unacknowledged(3).gets(1..=9).counts(), CLEAN);
    let twice = Case::plain().unacknowledged(3).gets([1, 2, 3, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(twice.counts(), [0, 1, 0, 0]);
}

#[test]
fn what_nobody_sent_or_asked_for_is_a_breach() {
    assert_eq!(Case::plain().gets(1..=9).gets([10]).counts(), [0, 0, 0, 1]);
    assert_eq!(Case::new(false).gets([1]).counts(), [0, 0, 0, 1]);
}

#[test]
fn what_no_fault_explains_is_a_breach() {
    let odd = Case::plain().gets(1..=9).event(10, LogEvent::Odd("?".to_owned()));
    assert_eq!(odd.counts(), [0, 0, 0, 1]);
    let fault =
        Case::plain().gets(1..=9).event(10, LogEvent::Closed { why: "1011 fault".to_owned() });
    assert_eq!(fault.counts(), [0, 0, 0, 1]);
}
