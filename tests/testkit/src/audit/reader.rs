//! What one client saw of one channel, held against what was published.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::subscription::Subscription;
use super::table::Table;
use super::{Kind, Run, Verdict};
use crate::audit::channels::{self, ChannelNumber};
use crate::audit::journal::{Entry, Journal, Name, Plain};
use crate::log::{Position, PublisherNumber};

/// Reads one journal from its beginning to its end.
pub struct Reader<'a> {
    pub(super) run: &'a Run<'a>,
    pub(super) table: &'a Table<'a>,
    pub(super) client: usize,
    pub(super) journal: &'a Journal,
    pub(super) channel: ChannelNumber,
    pub(super) verdict: &'a mut Verdict,
    /// Connections so far.
    pub(super) connections: usize,
    /// Commands `subscribe` of this connection: since where, and with echo?
    asked: HashMap<u64, (Option<Position>, bool)>,
    pub(super) subscription: Option<Subscription>,
    /// All that came on this connection and may not come again.
    pub(super) come: HashMap<Name, Option<Position>>,
    /// All that came on any connection.
    pub(super) ever: HashSet<Name>,
    /// The furthest position that came on this connection.
    pub(super) furthest: Option<Position>,
    /// The highest number of each publisher on this connection.
    pub(super) newest: HashMap<PublisherNumber, u64>,
    /// The last position that the client was told, on any connection.
    told: Option<Position>,
}

impl<'a> Reader<'a> {
    pub fn new(
        run: &'a Run<'a>,
        table: &'a Table<'a>,
        client: usize,
        channel: ChannelNumber,
        verdict: &'a mut Verdict,
    ) -> Self {
        Self {
            run,
            table,
            client,
            journal: &run.journals[client],
            channel,
            verdict,
            connections: 0,
            asked: HashMap::new(),
            subscription: None,
            come: HashMap::new(),
            ever: HashSet::new(),
            furthest: None,
            newest: HashMap::new(),
            told: None,
        }
    }

    pub fn read(&mut self, at: usize, when: Instant, entry: &Entry) {
        self.judge(at, when, entry);
        if let Entry::Subscribed { position, .. } | Entry::Publication { position, .. } = entry {
            self.told = self.told.max(*position);
        }
    }

    fn judge(&mut self, at: usize, when: Instant, entry: &Entry) {
        match entry {
            Entry::Opened { .. } => self.connections += 1,
            Entry::OpenedPlain(plain) => {
                self.connections += 1;
                self.opened_plain(at, when, plain);
            }
            Entry::Subscribe { id, since, echo, .. } => {
                self.asked.insert(*id, (*since, *echo));
            }
            Entry::Subscribed { id, position, recovered, .. } => {
                let asked = id.and_then(|id| self.asked.get(&id).copied());
                self.subscribed(at, when, asked, *position, *recovered);
            }
            Entry::Unsubscribed { .. } | Entry::Refused { id: None, .. } => {
                self.finish(at, false);
                self.subscription = None;
            }
            Entry::Gap { .. } => self.gap(at, when),
            Entry::History(excerpt) => self.history(at, excerpt),
            Entry::Publication { name, position, .. } => self.publication(at, *name, *position),
            Entry::Closed { .. } => {
                self.finish(at, false);
                self.subscription = None;
                self.asked.clear();
                self.come.clear();
                self.furthest = None;
                self.newest.clear();
            }
            Entry::Unsubscribe { .. }
            | Entry::Refused { .. }
            | Entry::Paused(_)
            | Entry::Odd(_) => {}
        }
    }

    /// The journal is over, and if the client settled, it had time to get everything.
    pub fn end(&mut self) {
        self.finish(self.journal.entries.len(), self.journal.settled);
    }

    pub(super) fn kind(&self) -> channels::Kind {
        self.run.channels[self.channel].kind
    }

    fn opened_plain(&mut self, at: usize, when: Instant, plain: &Plain) {
        self.verdict.subscriptions += 1;
        let mut subscription = Subscription::new(when, plain.echo);
        subscription.plain = true;
        // A plain client is not told of a gap. Unless it is closed in its place, completeness is promised
        // only where no gap can be.
        subscription.complete = plain.closes_at_gap
            || match self.kind() {
                channels::Kind::Plain => !self.run.interrupted && !self.table.has_gap(self.channel),
                channels::Kind::Long => !self.run.amnesia,
                _ => false,
            };
        self.comes_in(at, &mut subscription, plain.since, plain.position, plain.recovered);
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
            return self.find(Kind::Breach, at, 1, "subscribed, and never asked for".to_owned());
        };
        if let Some(subscription) = &mut self.subscription {
            // Asked for again: it changes nothing, and tells where the channel stands, if it can.
            let latest = subscription.latest;
            subscription.floor = subscription.floor.max(position);
            if subscription.last.is_none() {
                subscription.last = position;
            }
            if let (Some(latest), Some(position)) = (latest, position)
                && position < latest
            {
                let what = format!("subscribed again at {position}, and {latest} had come before");
                self.find(Kind::Behind, at, 1, what);
            }
            return;
        }
        if self.kind().keeps_history() && position.is_none() {
            self.find(Kind::Breach, at, 1, "subscribed without a position".to_owned());
        }
        if since.is_some() != recovered.is_some() {
            let what = format!("subscribed since {since:?} and recovered is {recovered:?}");
            self.find(Kind::Breach, at, 1, what);
        }
        self.verdict.subscriptions += 1;
        let mut subscription = Subscription::new(when, echo);
        self.comes_in(at, &mut subscription, since, position, recovered);
        self.subscription = Some(subscription);
    }

    /// Where a new subscription begins, and what is promised for that.
    fn comes_in(
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
            let what = format!("subscribed at {position}, and {furthest} had come before");
            self.find(Kind::Behind, at, 1, what);
        }
        let Some(since) = since else {
            subscription.last = position;
            subscription.floor = position.max(self.furthest);
            return;
        };
        if recovered == Some(true) {
            self.verdict.resumed += 1;
            self.false_claim(at, since, position);
            subscription.recovered = true;
            subscription.last = Some(since);
            subscription.floor = Some(since);
            if let Some(stood) = self.table.stood_at(self.channel, since) {
                subscription.begun = stood;
            }
            // What follows `since` comes once more; what stands in no history does not.
            let table = self.table;
            self.come.retain(|name, position| {
                (*position).or(table.position(*name)).is_none_or(|it| it <= since)
            });
            self.newest.clear();
            return;
        }
        subscription.last = position;
        subscription.floor = position.max(self.furthest);
        self.verdict.gaps += 1;
        let needless = self.kind() == channels::Kind::Long && !self.run.amnesia;
        if needless && recovered == Some(false) && self.was_told(since) {
            let what = format!("not recovered since {since}, though Redis kept the history");
            self.find(Kind::NeedlessGap, at, 1, what);
        }
    }

    /// The client did not make the position up.
    pub(super) fn was_told(&self, position: Position) -> bool {
        self.told.is_some_and(|it| it.epoch == position.epoch && position <= it)
    }

    /// `recovered: true` of what never was a position, or of one that lies ahead.
    fn false_claim(&mut self, at: usize, since: Position, position: Option<Position>) {
        let what = match position {
            _ if !self.table.knows_epoch(self.channel, since) => {
                format!("recovered since {since}, which is no position of this channel")
            }
            None => format!("recovered since {since} without a position"),
            Some(position) if position < since => {
                format!("recovered since {since}, which lies after {position}")
            }
            Some(_) => return,
        };
        self.find(Kind::FalseRecovery, at, 1, what);
    }

    fn gap(&mut self, at: usize, when: Instant) {
        self.verdict.gaps += 1;
        self.finish(at, false);
        match &mut self.subscription {
            Some(subscription) => subscription.gap(when),
            None => {
                return self.find(Kind::Stray, at, 1, "a gap without a subscription".to_owned());
            }
        }
        // Where nothing is kept, a busy machine may interrupt by itself.
        let needless = self.kind() == channels::Kind::Long && !self.run.amnesia;
        if needless {
            self.find(Kind::NeedlessGap, at, 1, "a gap where nothing can be missing".to_owned());
        }
    }
}
