//! A constructed run of one client and one publisher.

use std::time::{Duration, Instant};

use crate::audit::channels::{self, AuditChannel};
use crate::audit::journal::{
    ClientJournal, Entry, JournalPublication, Plain, PublishOutcome, PublishPath, PublisherJournal,
    RunCall, RunCallJournal,
};
use crate::audit::{AuditRun, Violation, audit};
use crate::log::Position;

pub const EPOCH: u64 = 5;

/// Publisher 0 sends 1 to 9 on channel 0, one each second, all accepted at once; on a channel with history
/// number n has position n.
pub struct JournalCase {
    channel: AuditChannel,
    begun: Instant,
    pub ledgers: Vec<PublisherJournal>,
    pub journal: ClientJournal,
    pub calls: Vec<RunCallJournal>,
    amnesia: bool,
    interrupted: bool,
    settled: bool,
    pub id: u64,
}

impl JournalCase {
    pub fn on(kind: channels::HistoryKind) -> Self {
        let begun = Instant::now();
        let keeps = kind.keeps_history();
        let publications = (1..=9).map(|number| JournalPublication {
            started: begun + Duration::from_secs(number),
            ended: Some(begun + Duration::from_secs(number)),
            bytes: 100,
            attempts: 1,
            outcome: PublishOutcome::Accepted(keeps.then(|| place(number))),
            connection: None,
        });
        let publications = publications.collect();
        let ledger =
            PublisherJournal { channel: 0, path: PublishPath::Json, client: None, publications };
        Self {
            channel: AuditChannel { name: "news".to_owned(), kind },
            begun,
            ledgers: vec![ledger],
            journal: ClientJournal { client: "client".to_owned(), ..ClientJournal::default() },
            calls: Vec::new(),
            amnesia: false,
            interrupted: false,
            settled: true,
            id: 0,
        }
        .event(0, Entry::Opened { node: "a node".to_owned() })
    }

    pub fn plain_channel() -> Self {
        Self::on(channels::HistoryKind::Plain).subscribes(0, None).subscribed(0, None, None)
    }

    /// Subscribed before the first publication.
    pub fn history() -> Self {
        Self::on(channels::HistoryKind::Long).subscribes(0, None).subscribed(0, Some(0), None)
    }

    /// A run that its worker ended as `done` after the ninth publication.
    pub fn run() -> Self {
        let case = Self::on(channels::HistoryKind::Run).calls(10, RunCall::End("done".to_owned()));
        case.subscribes(0, None).subscribed(0, Some(0), None)
    }

    /// A call that is accepted.
    pub fn calls(mut self, at: u64, call: RunCall) -> Self {
        let (started, outcome) = match call {
            RunCall::End(_) => (at - 1, PublishOutcome::Accepted(Some(place(at)))),
            RunCall::Renew => (at, PublishOutcome::Accepted(None)),
        };
        let [started, ended] = [started, at].map(|at| self.begun + Duration::from_secs(at));
        self.calls.push(RunCallJournal { channel: 0, call, started, ended, outcome });
        self
    }

    pub fn ended(self, at: u64, reason: &str) -> Self {
        let (reason, position) = (reason.to_owned(), Some(place(10)));
        self.event(at, Entry::Ended { channel: 0, reason, position })
    }

    pub fn event(mut self, at: u64, entry: Entry) -> Self {
        self.journal.entries.push((self.begun + Duration::from_secs(at), entry));
        self
    }

    pub fn subscribes(mut self, at: u64, since: Option<u64>) -> Self {
        self.id += 1;
        let (id, since) = (self.id, since.map(place));
        self.event(at, Entry::Subscribe { id, channel: 0, since, echo: true })
    }

    /// The reply to the last `subscribe`.
    pub fn subscribed(self, at: u64, position: Option<u64>, recovered: Option<bool>) -> Self {
        self.subscribed_at(at, position.map(place), recovered)
    }

    pub fn subscribed_at(
        self,
        at: u64,
        position: Option<Position>,
        recovered: Option<bool>,
    ) -> Self {
        let id = Some(self.id);
        self.event(at, Entry::Subscribed { id, channel: 0, position, recovered })
    }

    pub fn unsubscribed(mut self, at: u64) -> Self {
        self.id += 1;
        let id = self.id;
        self.event(at, Entry::Unsubscribe { id, channel: 0 })
            .event(at, Entry::Unsubscribed { id: Some(id), channel: 0 })
    }

    pub fn receives(mut self, numbers: impl IntoIterator<Item = u64>) -> Self {
        for number in numbers {
            let position = self.channel.kind.keeps_history().then(|| place(number));
            self = self.receives_at(number, position);
        }
        self
    }

    pub fn receives_at(self, number: u64, position: Option<Position>) -> Self {
        self.event(number, Entry::Publication { channel: 0, name: (0, number), position })
    }

    pub fn gap(self, at: u64) -> Self {
        self.event(at, Entry::Gap { channel: 0, reason: "a reason".to_owned() })
    }

    /// Reconnects on another connection.
    pub fn reconnects(self, at: u64) -> Self {
        self.event(at, Entry::Closed { why: "a reason".to_owned() })
            .event(at, Entry::Opened { node: "a node".to_owned() })
    }

    pub fn opened_plain(
        mut self,
        since: Option<u64>,
        recovered: Option<bool>,
        closes: bool,
    ) -> Self {
        self.journal.entries.clear();
        let plain = Plain {
            node: "a node".to_owned(),
            channel: 0,
            since: since.map(place),
            echo: true,
            closes_at_gap: closes,
            position: since.map(place),
            recovered,
        };
        self.event(0, Entry::OpenedPlain(Box::new(plain)))
    }

    pub fn sent(mut self, number: usize, change: impl FnOnce(&mut JournalPublication)) -> Self {
        change(&mut self.ledgers[0].publications[number - 1]);
        self
    }

    pub fn unknown_outcome(self, number: usize) -> Self {
        self.sent(number, |it| it.outcome = PublishOutcome::Unknown)
    }

    pub fn by(mut self, way: PublishPath) -> Self {
        self.ledgers[0].path = way;
        self
    }

    pub fn data_lost(mut self) -> Self {
        self.amnesia = true;
        self
    }

    pub fn interrupted(mut self) -> Self {
        self.interrupted = true;
        self
    }

    pub fn ends_early(mut self) -> Self {
        self.settled = false;
        self
    }

    /// The violations found, each with its count.
    pub fn finds(&self) -> Vec<(Violation, usize)> {
        let journal = ClientJournal { settled: self.settled, ..self.journal.clone() };
        let report = audit(&AuditRun {
            channels: std::slice::from_ref(&self.channel),
            ledgers: &self.ledgers,
            journals: std::slice::from_ref(&journal),
            calls: &self.calls,
            started: self.begun,
            data_lost: self.amnesia,
            interrupted: self.interrupted,
        });
        let mut kinds: Vec<Violation> = report.findings.iter().map(|it| it.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds.into_iter().map(|kind| (kind, report.count(kind))).collect()
    }

    #[track_caller]
    pub fn is_clean(&self) {
        assert_eq!(self.finds(), []);
    }

    #[track_caller]
    pub fn has(&self, kind: Violation, count: usize) {
        assert_eq!(self.finds(), [(kind, count)]);
    }
}

pub fn place(seq: u64) -> Position {
    Position { epoch: EPOCH, seq }
}

pub fn elsewhere(seq: u64) -> Position {
    Position { epoch: EPOCH + 1, seq }
}
