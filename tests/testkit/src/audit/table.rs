//! Which publication is at which position, from all journals together.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Instant;

use super::{AuditFinding, AuditRun, Violation};
use crate::audit::channels::ChannelNumber;
use crate::audit::journal::{
    Entry, JournalPublication, PublicationId, PublishOutcome, PublisherJournal, RunCall,
};
use crate::log::{Position, PublisherNumber};

/// The end of a run, at its position in [`PositionTable`].
const END: PublicationId = (PublisherNumber::MAX, 0);

pub struct PositionTable<'a> {
    ledgers: &'a [PublisherJournal],
    /// By channel.
    places: Vec<BTreeMap<Position, PublicationId>>,
    positions: HashMap<PublicationId, Vec<Position>>,
    /// Epochs that a node or Redis reported for a channel.
    epochs: HashSet<(ChannelNumber, u64)>,
    /// Channels for which a client received a gap.
    gaps: HashSet<ChannelNumber>,
    /// The reasons of the ends of runs.
    reasons: HashMap<(ChannelNumber, Position), String>,
}

impl<'a> PositionTable<'a> {
    pub fn new(run: &AuditRun<'a>, findings: &mut Vec<AuditFinding>) -> Self {
        let mut table = Self {
            ledgers: run.ledgers,
            places: vec![BTreeMap::new(); run.channels.len()],
            positions: HashMap::new(),
            epochs: HashSet::new(),
            gaps: HashSet::new(),
            reasons: HashMap::new(),
        };
        for (publisher, ledger) in run.ledgers.iter().enumerate() {
            let mut last: Option<(u64, Position)> = None;
            for (index, publication) in ledger.publications.iter().enumerate() {
                let PublishOutcome::Accepted(Some(position)) = publication.outcome else {
                    continue;
                };
                let name = (publisher, index as u64 + 1);
                if let Err(what) = table.insert(ledger.channel, position, name) {
                    findings.push(fleet_finding(run, ledger.channel, Violation::Breach, what));
                }
                if publication.attempts > 1 {
                    continue;
                }
                if let Some((number, before)) = last.filter(|(_, it)| *it >= position) {
                    let what = format!(
                        "publisher {publisher} received {before} for {number} and then {position} for {}",
                        name.1
                    );
                    findings.push(fleet_finding(run, ledger.channel, Violation::Disorder, what));
                }
                last = Some((name.1, position));
            }
        }
        for call in run.calls {
            if let (RunCall::End(reason), PublishOutcome::Accepted(Some(position))) =
                (&call.call, call.outcome)
                && let Err(what) = table.insert_end(call.channel, position, reason)
            {
                findings.push(fleet_finding(run, call.channel, Violation::Breach, what));
            }
        }
        for (_, entry) in run.journals.iter().flat_map(|journal| &journal.entries) {
            table.record_entry(run, entry, findings);
        }
        table
    }

    /// Records the positions and gaps in a client's journal entry.
    fn record_entry(&mut self, run: &AuditRun, entry: &Entry, findings: &mut Vec<AuditFinding>) {
        let mut put = |channel, position, name| {
            if let Err(what) = self.insert(channel, position, name) {
                findings.push(fleet_finding(run, channel, Violation::Breach, what));
            }
        };
        match entry {
            Entry::Publication { channel, name, position: Some(position) } => {
                put(*channel, *position, *name);
            }
            Entry::History(excerpt) => {
                excerpt.publications.iter().for_each(|it| put(excerpt.channel, it.0, it.1));
            }
            Entry::Subscribed { channel, position: Some(position), .. } => {
                self.record_epoch(*channel, *position);
            }
            Entry::Ended { channel, reason, position: Some(position) } => {
                if let Err(what) = self.insert_end(*channel, *position, reason) {
                    findings.push(fleet_finding(run, *channel, Violation::Breach, what));
                }
            }
            Entry::Gap { channel, .. } => {
                self.gaps.insert(*channel);
            }
            _ => {}
        }
    }

    fn record_epoch(&mut self, channel: ChannelNumber, position: Position) {
        self.epochs.insert((channel, position.epoch));
    }

    /// Fails if another publication has the position.
    fn insert(
        &mut self,
        channel: ChannelNumber,
        position: Position,
        name: PublicationId,
    ) -> Result<(), String> {
        self.record_epoch(channel, position);
        let first = *self.places[channel].entry(position).or_insert(name);
        if first != name {
            return Err(format!("{position} is {}/{} and {}/{}", first.0, first.1, name.0, name.1));
        }
        if name == END {
            return Ok(());
        }
        let all = self.positions.entry(name).or_default();
        if !all.contains(&position) {
            all.push(position);
        }
        Ok(())
    }

    /// Fails if a publication or an end with another reason has the position.
    fn insert_end(
        &mut self,
        channel: ChannelNumber,
        position: Position,
        reason: &str,
    ) -> Result<(), String> {
        self.insert(channel, position, END)?;
        let first = self.reasons.entry((channel, position)).or_insert(reason.to_owned());
        match first == reason {
            true => Ok(()),
            false => Err(format!("the end at {position} has the reasons {first} and {reason}")),
        }
    }

    /// The ends of the channel's runs, each with its reason.
    pub fn ends(&self, channel: ChannelNumber) -> impl Iterator<Item = (Position, &str)> {
        let of_channel = self.reasons.iter().filter(move |((of, _), _)| *of == channel);
        of_channel.map(|((_, position), reason)| (*position, reason.as_str()))
    }

    pub fn publication(
        &self,
        channel: ChannelNumber,
        name: PublicationId,
    ) -> Option<&'a JournalPublication> {
        let ledger = self.ledgers.get(name.0).filter(|it| it.channel == channel)?;
        ledger.publications.get(usize::try_from(name.1).ok()?.checked_sub(1)?)
    }

    /// The publication's position, if it has exactly one.
    pub fn position(&self, name: PublicationId) -> Option<Position> {
        match self.positions.get(&name)?.as_slice() {
            [position] => Some(*position),
            _ => None,
        }
    }

    pub fn at(&self, channel: ChannelNumber, position: Position) -> Option<PublicationId> {
        self.places[channel].get(&position).copied().filter(|name| *name != END)
    }

    /// Publications between two positions, both excluded.
    pub fn between(
        &self,
        channel: ChannelNumber,
        after: Position,
        before: Option<Position>,
    ) -> impl Iterator<Item = (Position, PublicationId)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let end = before.map_or(Unbounded, Excluded);
        // The range is empty if the first position is not smaller.
        let is_empty = before.is_some_and(|before| before <= after);
        let start = if is_empty { Unbounded } else { Excluded(after) };
        let range = self.places[channel].range((start, if is_empty { Unbounded } else { end }));
        range
            .filter(move |(_, name)| !is_empty && **name != END)
            .map(|(position, name)| (*position, *name))
    }

    pub fn has_gap(&self, channel: ChannelNumber) -> bool {
        self.gaps.contains(&channel)
    }

    pub fn has_epoch(&self, channel: ChannelNumber, position: Position) -> bool {
        self.epochs.contains(&(channel, position.epoch))
    }

    /// When the publication at the position was confirmed to be in the history.
    pub fn stored_at(&self, channel: ChannelNumber, position: Position) -> Option<Instant> {
        let publication = self.publication(channel, self.at(channel, position)?)?;
        publication.ended.filter(|_| matches!(publication.outcome, PublishOutcome::Accepted(_)))
    }
}

pub(super) fn fleet_finding(
    run: &AuditRun,
    channel: ChannelNumber,
    kind: Violation,
    what: String,
) -> AuditFinding {
    AuditFinding {
        kind,
        client: "all".to_owned(),
        channel: run.channels[channel].name.clone(),
        count: 1,
        what,
        around: Vec::new(),
    }
}
