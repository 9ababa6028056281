//! Checks each delivery: once, in order, and within a subscription.

use super::Violation;
use super::reader::ChannelAudit;
use crate::audit::journal::{JournalPublication, PublicationId, PublishOutcome, PublishPath};
use crate::log::Position;

impl ChannelAudit<'_> {
    pub(super) fn check_publication(
        &mut self,
        at: usize,
        name: PublicationId,
        told: Option<Position>,
    ) {
        self.report.deliveries += 1;
        let shown = format!("{}/{}", name.0, name.1);
        let Some(publication) = self.table.publication(self.channel, name) else {
            return self.report(
                Violation::Breach,
                at,
                1,
                format!("received {shown}, which was never sent"),
            );
        };
        let Some(subscription) = &self.subscription else {
            return self.report(
                Violation::Stray,
                at,
                1,
                format!("received {shown} without a subscription"),
            );
        };
        if subscription.has_ended {
            let what = format!("received {shown} after the end of the run");
            self.report(Violation::End, at, 1, what);
        }
        if publication.outcome == PublishOutcome::Refused {
            self.report(Violation::Breach, at, 1, format!("received {shown}, which was refused"));
        }
        let Some(subscription) = &self.subscription else { return };
        let ledger = &self.run.ledgers[name.0];
        let appended = self.kind().keeps_history() && ledger.path.appends();
        if appended && told.is_none() && !subscription.plain && !subscription.has_gap {
            self.report(Violation::Breach, at, 1, format!("received {shown} without its position"));
        }
        if told.is_some() && !ledger.path.appends() {
            self.report(
                Violation::Breach,
                at,
                1,
                format!("{shown} was relayed but has a position"),
            );
        }
        let Some(subscription) = &self.subscription else { return };
        if !subscription.echo && self.is_own(ledger, publication) {
            return self.report(Violation::Breach, at, 1, format!("received its own {shown}"));
        }
        // A plain client receives no positions; of a publication sent twice, it is unknown which copy arrived.
        let inferred = subscription.plain && publication.attempts == 1;
        let position = told.or(self.table.position(name).filter(|_| inferred));
        if self.is_first_or_allowed(at, name, position, publication) {
            if let Some(position) = position {
                self.check_position(at, &shown, position, told.is_some());
            }
            self.check_number(at, name, publication);
        }
        let Some(subscription) = &mut self.subscription else { return };
        subscription.has_received = true;
        subscription.received.insert(name);
        self.ever_received.insert(name);
        let newest = subscription.newest.entry(name.0).or_default();
        *newest = (*newest).max(name.1);
    }

    /// Whether it arrived for the first time, or is allowed to arrive again.
    fn is_first_or_allowed(
        &mut self,
        at: usize,
        name: PublicationId,
        position: Option<Position>,
        publication: &JournalPublication,
    ) -> bool {
        let Some(before) = self.received.insert(name, position) else { return true };
        // A repeated publication may arrive again if no history has its idempotency key. Only services keep
        // their key across connections.
        let is_known = self.kind().keeps_everything()
            && self.run.ledgers[name.0].path == PublishPath::Function
            && !self.run.data_lost;
        let same_place = before.is_some() && before == position;
        if publication.attempts > 1 && !is_known && !same_place {
            return true;
        }
        let place = |it: Option<Position>| it.map_or("-".to_owned(), |it| it.to_string());
        let what = format!(
            "{}/{} arrived at {} and again at {}",
            name.0,
            name.1,
            place(before),
            place(position)
        );
        self.report(Violation::Twice, at, 1, what);
        false
    }

    /// Checks that positions increase by one.
    fn check_position(&mut self, at: usize, shown: &str, position: Position, told: bool) {
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
            let kind = if latest == position { Violation::Twice } else { Violation::Disorder };
            return self.report(
                kind,
                at,
                1,
                format!("{shown} at {position} arrived after {latest}"),
            );
        }
        if let Some(floor) = floor.filter(|it| *it >= position) {
            let what = format!("{shown} at {position} arrived after the reported position {floor}");
            return self.report(Violation::Stale, at, 1, what);
        }
        let comes_in = latest.is_none() && !recovered;
        if let Some(last) = last.filter(|_| complete) {
            self.check_between(at, (last, position), told, comes_in);
        }
    }

    /// Checks that one publisher's publications arrive in order.
    fn check_number(&mut self, at: usize, name: PublicationId, publication: &JournalPublication) {
        let newest = self.newest.entry(name.0).or_default();
        let before = *newest;
        *newest = before.max(name.1);
        let is_certain = |it: &JournalPublication| {
            it.attempts == 1 && matches!(it.outcome, PublishOutcome::Accepted(_))
        };
        let after = self.table.publication(self.channel, (name.0, before));
        if name.1 < before && is_certain(publication) && after.is_some_and(is_certain) {
            let what = format!("{}/{} arrived after {}/{before}", name.0, name.1, name.0);
            self.report(Violation::Disorder, at, 1, what);
        }
    }
}
