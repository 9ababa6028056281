//! What came: once, in order, and where a subscription says that it may.

use super::Kind;
use super::reader::Reader;
use crate::audit::channels;
use crate::audit::journal::{Name, Outcome, Publication, Way};
use crate::log::Position;

impl Reader<'_> {
    pub(super) fn publication(&mut self, at: usize, name: Name, told: Option<Position>) {
        self.verdict.deliveries += 1;
        let shown = format!("{}/{}", name.0, name.1);
        let Some(publication) = self.table.publication(self.channel, name) else {
            return self.find(Kind::Breach, at, 1, format!("{shown} came, and nobody sent it"));
        };
        let Some(subscription) = &self.subscription else {
            return self.find(Kind::Stray, at, 1, format!("{shown} came without a subscription"));
        };
        let ledger = &self.run.ledgers[name.0];
        let appended = self.kind().keeps_history() && ledger.way.appends();
        if appended && told.is_none() && !subscription.plain && !subscription.told_gap {
            self.find(Kind::Breach, at, 1, format!("{shown} came without its position"));
        }
        if told.is_some() && !ledger.way.appends() {
            self.find(Kind::Breach, at, 1, format!("{shown} was relayed and claims a position"));
        }
        let Some(subscription) = &self.subscription else { return };
        if !subscription.echo && self.is_own(ledger, publication) {
            return self.find(Kind::Breach, at, 1, format!("its own {shown} came"));
        }
        // A plain client is told none; where it was sent twice, which of the two came is not known.
        let inferred = subscription.plain && publication.attempts == 1;
        let position = told.or(self.table.position(name).filter(|_| inferred));
        if self.once(at, name, position, publication) {
            if let Some(position) = position {
                self.place(at, &shown, position, told.is_some());
            }
            self.number(at, name, publication);
        }
        let Some(subscription) = &mut self.subscription else { return };
        subscription.something_came = true;
        subscription.got.insert(name);
        self.ever.insert(name);
        let newest = subscription.newest.entry(name.0).or_default();
        *newest = (*newest).max(name.1);
    }

    /// Whether it came for the first time, or may come again.
    fn once(
        &mut self,
        at: usize,
        name: Name,
        position: Option<Position>,
        publication: &Publication,
    ) -> bool {
        let Some(before) = self.come.insert(name, position) else { return true };
        // What is sent again may come again where no history knows the key. Only services keep theirs over
        // connections.
        let is_known = self.kind() == channels::Kind::Long
            && self.run.ledgers[name.0].way == Way::Function
            && !self.run.amnesia;
        let same_place = before.is_some() && before == position;
        if publication.attempts > 1 && !is_known && !same_place {
            return true;
        }
        let place = |it: Option<Position>| it.map_or("-".to_owned(), |it| it.to_string());
        let what = format!(
            "{}/{} came at {} and again at {}",
            name.0,
            name.1,
            place(before),
            place(position)
        );
        self.find(Kind::Twice, at, 1, what);
        false
    }

    /// Positions grow, and by one.
    fn place(&mut self, at: usize, shown: &str, position: Position, told: bool) {
        let Some(subscription) = &mut self.subscription else { return };
        let (latest, floor) = (subscription.latest, subscription.floor);
        let (last, complete) = (subscription.last, subscription.complete);
        let recovered = subscription.recovered;
        if latest.is_none_or(|it| it < position) {
            subscription.latest = Some(position);
        }
        if last.is_none_or(|it| it < position) {
            subscription.last = Some(position);
        }
        self.furthest = self.furthest.max(Some(position));
        if let Some(latest) = latest.filter(|it| *it >= position) {
            let kind = if latest == position { Kind::Twice } else { Kind::Disorder };
            return self.find(kind, at, 1, format!("{shown} at {position} came after {latest}"));
        }
        if let Some(floor) = floor.filter(|it| *it >= position) {
            let what = format!("{shown} at {position} came, and {floor} was told before");
            return self.find(Kind::Stale, at, 1, what);
        }
        let comes_in = latest.is_none() && !recovered;
        if let Some(last) = last.filter(|_| complete) {
            self.follows(at, (last, position), told, comes_in);
        }
    }

    /// One publisher's publications come in their order.
    fn number(&mut self, at: usize, name: Name, publication: &Publication) {
        let newest = self.newest.entry(name.0).or_default();
        let before = *newest;
        *newest = before.max(name.1);
        let is_certain =
            |it: &Publication| it.attempts == 1 && matches!(it.outcome, Outcome::Taken(_));
        let after = self.table.publication(self.channel, (name.0, before));
        if name.1 < before && is_certain(publication) && after.is_some_and(is_certain) {
            let what = format!("{}/{} came after {}/{before}", name.0, name.1, name.0);
            self.find(Kind::Disorder, at, 1, what);
        }
    }
}
