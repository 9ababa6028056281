//! Audits one client's journal for one channel against the publications.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::subscription::Subscription;
use super::table::PositionTable;
use super::{AuditReport, AuditRun, Violation};
use crate::audit::channels::{self, ChannelNumber};
use crate::audit::journal::{ClientJournal, Entry, FIRST, Plain, PublicationId};
use crate::log::{Position, PublisherNumber};

/// Reads one journal from start to end.
pub struct ChannelAudit<'a> {
    pub(super) run: &'a AuditRun<'a>,
    pub(super) table: &'a PositionTable<'a>,
    pub(super) client: usize,
    pub(super) journal: &'a ClientJournal,
    pub(super) channel: ChannelNumber,
    pub(super) report: &'a mut AuditReport,
    /// Connections so far.
    pub(super) connections: usize,
    /// The `subscribe` commands of this connection by id: `since` and `echo`.
    requested: HashMap<u64, (Option<Position>, bool)>,
    pub(super) subscription: Option<Subscription>,
    /// Publications received on this connection, which must not arrive again.
    pub(super) received: HashMap<PublicationId, Option<Position>>,
    /// Publications received on any connection.
    pub(super) ever_received: HashSet<PublicationId>,
    /// The highest position received on this connection.
    pub(super) furthest: Option<Position>,
    /// The highest number of each publisher on this connection.
    pub(super) newest: HashMap<PublisherNumber, u64>,
    /// The highest position that the client received, on any connection.
    last_known: Option<Position>,
}

impl<'a> ChannelAudit<'a> {
    pub fn new(
        run: &'a AuditRun<'a>,
        table: &'a PositionTable<'a>,
        client: usize,
        channel: ChannelNumber,
        report: &'a mut AuditReport,
    ) -> Self {
        Self {
            run,
            table,
            client,
            journal: &run.journals[client],
            channel,
            report,
            connections: 0,
            requested: HashMap::new(),
            subscription: None,
            received: HashMap::new(),
            ever_received: HashSet::new(),
            furthest: None,
            newest: HashMap::new(),
            last_known: None,
        }
    }

    pub fn read(&mut self, at: usize, when: Instant, entry: &Entry) {
        self.audit_entry(at, when, entry);
        if let Entry::Subscribed { position, .. } | Entry::Publication { position, .. } = entry {
            self.last_known = self.last_known.max(*position);
        }
    }

    fn audit_entry(&mut self, at: usize, when: Instant, entry: &Entry) {
        match entry {
            Entry::Opened { .. } => self.connections += 1,
            Entry::OpenedPlain(plain) => {
                self.connections += 1;
                self.opened_plain(at, when, plain);
            }
            Entry::Subscribe { id, since, echo, .. } => {
                self.requested.insert(*id, (*since, *echo));
            }
            Entry::Subscribed { id, position, recovered, .. } => {
                let asked = id.and_then(|id| self.requested.get(&id).copied());
                self.subscribed(at, when, asked, *position, *recovered);
            }
            Entry::Unsubscribed { .. } | Entry::Refused { id: None, .. } => {
                self.end_segment(at, false);
                self.subscription = None;
            }
            Entry::Gap { .. } => self.gap(at, when),
            Entry::Ended { position, .. } => self.ended(at, *position),
            Entry::History(excerpt) => self.check_history(at, excerpt),
            Entry::Publication { name, position, .. } => {
                self.check_publication(at, *name, *position);
            }
            Entry::Closed { .. } => {
                self.end_segment(at, false);
                self.subscription = None;
                self.requested.clear();
                self.received.clear();
                self.furthest = None;
                self.newest.clear();
            }
            Entry::Unsubscribe { .. }
            | Entry::Refused { .. }
            | Entry::Paused(_)
            | Entry::Unexpected(_) => {}
        }
    }

    /// Ends the journal. If the client settled, it had time to receive everything.
    pub fn end(&mut self) {
        self.end_segment(self.journal.entries.len(), self.journal.settled);
        self.check_has_ended();
    }

    pub(super) fn kind(&self) -> channels::HistoryKind {
        self.run.channels[self.channel].kind
    }

    fn opened_plain(&mut self, at: usize, when: Instant, plain: &Plain) {
        self.report.subscriptions += 1;
        let mut subscription = Subscription::new(when, plain.echo);
        subscription.plain = true;
        // A plain client receives no `gap`. Unless it is closed instead, completeness is guaranteed
        // only where no gap can happen.
        subscription.complete = plain.closes_at_gap
            || match self.kind() {
                channels::HistoryKind::Plain => {
                    !self.run.interrupted && !self.table.has_gap(self.channel)
                }
                kind => kind.keeps_everything() && !self.run.data_lost,
            };
        self.begin_subscription(
            at,
            &mut subscription,
            plain.since,
            plain.position,
            plain.recovered,
        );
        self.subscription = Some(subscription);
    }

    fn subscribed(
        &mut self,
        at: usize,
        when: Instant,
        asked: Option<(Option<Position>, bool)>,
        position: Option<Position>,
        recovered: Option<bool>,
    ) {
        let Some((since, echo)) = asked else {
            return self.report(
                Violation::Breach,
                at,
                1,
                "subscribed without a subscribe command".to_owned(),
            );
        };
        if let Some(subscription) = &mut self.subscription {
            // A repeated subscribe changes nothing and returns the channel's position, if there is one.
            let latest = subscription.latest;
            subscription.end_may_repeat = true;
            subscription.floor = subscription.floor.max(position);
            if subscription.last.is_none() {
                subscription.last = position;
            }
            if let (Some(latest), Some(position)) = (latest, position)
                && position < latest
            {
                let what =
                    format!("subscribed again at {position}, but had received {latest} before");
                self.report(Violation::Behind, at, 1, what);
            }
            return;
        }
        if self.kind().keeps_history() && position.is_none() {
            self.report(Violation::Breach, at, 1, "subscribed without a position".to_owned());
        }
        if since.is_some() != recovered.is_some() {
            let what = format!("subscribed since {since:?} and recovered is {recovered:?}");
            self.report(Violation::Breach, at, 1, what);
        }
        self.report.subscriptions += 1;
        let mut subscription = Subscription::new(when, echo);
        self.begin_subscription(at, &mut subscription, since, position, recovered);
        self.subscription = Some(subscription);
    }

    /// Sets where a new subscription starts, and which guarantees hold.
    fn begin_subscription(
        &mut self,
        at: usize,
        subscription: &mut Subscription,
        since: Option<Position>,
        position: Option<Position>,
        recovered: Option<bool>,
    ) {
        if let (Some(furthest), Some(position)) = (self.furthest, position)
            && position < furthest
        {
            let what = format!("subscribed at {position}, but had received {furthest} before");
            self.report(Violation::Behind, at, 1, what);
        }
        let Some(since) = since else {
            subscription.last = position;
            subscription.floor = position.max(self.furthest);
            return;
        };
        if since == FIRST {
            return self.begin_at_first(at, subscription, recovered);
        }
        if recovered == Some(true) {
            self.report.resumed += 1;
            self.false_claim(at, since, position);
            subscription.recovered = true;
            subscription.last = Some(since);
            subscription.floor = Some(since);
            if let Some(stood) = self.table.stored_at(self.channel, since) {
                subscription.started = stood;
            }
            // Publications after `since` arrive again; publications that are in no history do not.
            let table = self.table;
            self.received.retain(|name, position| {
                (*position).or(table.position(*name)).is_none_or(|it| it <= since)
            });
            self.newest.clear();
            return;
        }
        subscription.last = position;
        subscription.floor = position.max(self.furthest);
        self.report.gaps += 1;
        let needless = self.kind().keeps_everything() && !self.run.data_lost;
        if needless && recovered == Some(false) && self.was_told(since) {
            let what = format!("not recovered since {since}, though Redis kept the history");
            self.report(Violation::NeedlessGap, at, 1, what);
        }
    }

    /// The client did not make the position up.
    pub(super) fn was_told(&self, position: Position) -> bool {
        self.last_known.is_some_and(|it| it.epoch == position.epoch && position <= it)
    }

    /// `recovered: true` of what never was a position, or of one that lies ahead.
    fn false_claim(&mut self, at: usize, since: Position, position: Option<Position>) {
        let what = match position {
            _ if !self.table.has_epoch(self.channel, since) => {
                format!("recovered since {since}, which is no position of this channel")
            }
            None => format!("recovered since {since} without a position"),
            Some(position) if position < since => {
                format!("recovered since {since}, which lies after {position}")
            }
            Some(_) => return,
        };
        self.report(Violation::FalseRecovery, at, 1, what);
    }

    fn gap(&mut self, at: usize, when: Instant) {
        self.report.gaps += 1;
        self.end_segment(at, false);
        match &mut self.subscription {
            Some(subscription) => subscription.on_gap(when),
            None => {
                return self.report(
                    Violation::Stray,
                    at,
                    1,
                    "a gap without a subscription".to_owned(),
                );
            }
        }
        // Without history, a busy machine may cause an interruption.
        let needless = self.kind().keeps_everything() && !self.run.data_lost;
        if needless {
            self.report(
                Violation::NeedlessGap,
                at,
                1,
                "a gap where nothing can be missing".to_owned(),
            );
        }
    }
}
