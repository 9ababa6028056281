//! What `history` answered.

use super::Kind;
use super::reader::Reader;
use crate::audit::channels;
use crate::audit::journal::Excerpt;

impl Reader<'_> {
    /// In order, without a hole in an epoch, and with `recovered: true` nothing is missing after `since`.
    pub(super) fn history(&mut self, at: usize, excerpt: &Excerpt) {
        let places: Vec<_> = excerpt.publications.iter().map(|(position, _)| *position).collect();
        if excerpt.since.is_some() != excerpt.recovered.is_some() {
            let what = format!("history since {:?}: {:?}", excerpt.since, excerpt.recovered);
            self.find(Kind::Breach, at, 1, what);
        }
        for pair in places.windows(2) {
            let [before, after] = [pair[0], pair[1]];
            if after <= before {
                self.find(Kind::Disorder, at, 1, format!("history has {after} after {before}"));
            } else if after.epoch == before.epoch && after.seq != before.seq + 1 {
                self.find(Kind::Loss, at, 1, format!("history has {after} right after {before}"));
            }
        }
        let end = places.last().copied().or(excerpt.position);
        if excerpt.position < places.last().copied() {
            self.find(Kind::Behind, at, 1, "history reaches further than its position".to_owned());
        }
        let Some(since) = excerpt.since else { return };
        if places.first().is_some_and(|first| *first <= since) {
            self.find(Kind::Stale, at, 1, format!("history since {since} begins before it"));
        }
        if excerpt.recovered == Some(true) {
            let between = self.table.between(self.channel, since, end).map(|(place, _)| place);
            let last = end.filter(|it| *it > since && self.table.at(self.channel, *it).is_some());
            let due = between.chain(last);
            let missing = due.filter(|place| !places.contains(place)).count();
            if missing > 0 {
                let what = format!("history says that it misses nothing after {since}");
                self.find(Kind::FalseRecovery, at, missing, what);
            }
            return;
        }
        let needless = self.kind() == channels::Kind::Long && !self.run.amnesia;
        if needless && self.was_told(since) {
            let what = format!("history misses something since {since}, though Redis kept all");
            self.find(Kind::NeedlessGap, at, 1, what);
        }
    }
}
