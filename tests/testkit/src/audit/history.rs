//! Checks the replies to `history`.

use super::Violation;
use super::reader::ChannelAudit;
use crate::audit::journal::HistoryReply;

impl ChannelAudit<'_> {
    /// In order, without a hole within an epoch, and with `recovered: true` nothing is missing after `since`.
    pub(super) fn check_history(&mut self, at: usize, excerpt: &HistoryReply) {
        let places: Vec<_> = excerpt.publications.iter().map(|(position, _)| *position).collect();
        if excerpt.since.is_some() != excerpt.recovered.is_some() {
            let what = format!("history since {:?}: {:?}", excerpt.since, excerpt.recovered);
            self.report(Violation::Breach, at, 1, what);
        }
        for pair in places.windows(2) {
            let [before, after] = [pair[0], pair[1]];
            if after <= before {
                self.report(
                    Violation::Disorder,
                    at,
                    1,
                    format!("history has {after} after {before}"),
                );
            } else if after.epoch == before.epoch && after.seq != before.seq + 1 {
                self.report(
                    Violation::Loss,
                    at,
                    1,
                    format!("history has {after} right after {before}"),
                );
            }
        }
        let end = places.last().copied().or(excerpt.position);
        if excerpt.position < places.last().copied() {
            self.report(
                Violation::Behind,
                at,
                1,
                "history contains publications after its position".to_owned(),
            );
        }
        self.check_history_end(at, excerpt);
        let Some(since) = excerpt.since else { return };
        if places.first().is_some_and(|first| *first <= since) {
            self.report(
                Violation::Stale,
                at,
                1,
                format!("history since {since} starts at or before it"),
            );
        }
        if excerpt.recovered == Some(true) {
            let between = self.table.between(self.channel, since, end).map(|(place, _)| place);
            let last = end.filter(|it| *it > since && self.table.at(self.channel, *it).is_some());
            let due = between.chain(last);
            let missing = due.filter(|place| !places.contains(place)).count();
            if missing > 0 {
                let what = format!("history has recovered: true since {since}, but is incomplete");
                self.report(Violation::FalseRecovery, at, missing, what);
            }
            return;
        }
        let needless = self.kind().keeps_everything() && !self.run.data_lost;
        if needless && self.was_told(since) {
            let what =
                format!("history has recovered: false since {since}, but Redis kept everything");
            self.report(Violation::NeedlessGap, at, 1, what);
        }
    }
}
