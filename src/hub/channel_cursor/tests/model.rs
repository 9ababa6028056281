//! Runs a cursor against a model of Redis, its connection and a subscriber, over all orders of events. The
//! test checks only the subscriber's log.

use std::collections::{HashMap, HashSet, VecDeque};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};

use super::*;
use crate::hub::recent_publications::{LoadRequest, LoadedHistory, Replay, ResumeCheck};
use crate::publication::ReplayStart;
use crate::rules::History;

#[derive(Clone, Debug)]
enum ModelStep {
    Publish,
    PublishPlain,
    /// The oldest entries are trimmed, as many as given.
    Trim(usize),
    /// The stream expires or is deleted.
    Expire,
    /// The node receives the next publication in transit.
    Arrive,
    /// The node's outstanding request is answered with the current state.
    Answer,
    Disconnect,
    Reconnect,
    /// A replica is promoted that lacks as many entries as `missing`. With `late` it receives them afterwards.
    Promote {
        missing: usize,
        late: bool,
    },
    /// The rule begins to keep history on this node.
    FollowRule,
    /// A client resumes that had everything up to as many deliveries before now as given.
    Resume(usize),
    /// A client asks for everything that is kept.
    ReplayAll,
}

fn step() -> impl Strategy<Value = ModelStep> {
    prop_oneof![
        8 => Just(ModelStep::Publish),
        2 => Just(ModelStep::PublishPlain),
        1 => (1..4usize).prop_map(ModelStep::Trim),
        1 => Just(ModelStep::Expire),
        8 => Just(ModelStep::Arrive),
        8 => Just(ModelStep::Answer),
        1 => Just(ModelStep::Disconnect),
        3 => Just(ModelStep::Reconnect),
        1 => (0..4usize, any::<bool>()).prop_map(|(missing, late)| ModelStep::Promote { missing, late }),
        2 => Just(ModelStep::FollowRule),
        3 => (0..6usize).prop_map(ModelStep::Resume),
        2 => Just(ModelStep::ReplayAll),
    ]
}

/// The node's outstanding request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum ModelWork {
    Open,
    CatchUp,
    Release,
}

#[derive(Default)]
struct ChannelModel {
    epoch: u64,
    /// None: the stream does not exist.
    stream: Option<Vec<Publication>>,
    end: Option<Position>,
    /// The next publication begins an epoch, and continues from `end`.
    promoted: bool,
    published: u64,
    in_transit: VecDeque<Publication>,
    connected: bool,
    cursor: Option<ChannelCursor>,
    last_position: Option<Position>,
    work: Option<(u64, ModelWork)>,
    log: Vec<ChannelEvent>,
    /// Lost by a promotion before the node received them.
    lost: HashSet<u64>,
    /// How many were published when the node first learned the history's end.
    published_at_first_end: u64,
    numbers: HashMap<Position, u64>,
}

const HISTORY: History = History { size: 1000, age: std::time::Duration::from_secs(60) };

/// Entries of one page: few, so that a read takes several.
const PAGE: usize = 2;

fn number(publication: &Publication) -> u64 {
    std::str::from_utf8(&publication.payload).unwrap().parse().unwrap()
}

fn numbers(replay: &Replay) -> Vec<u64> {
    replay.publications.iter().map(|recent| number(&recent.publication)).collect()
}

/// What the broker answers to a read of the history.
fn read(stream: &Option<Vec<Publication>>, request: LoadRequest) -> LoadedHistory {
    let all = || stream.iter().flatten();
    let first = all().next().and_then(|first| first.position);
    LoadedHistory {
        newest_first: all().rev().filter(|it| it.position <= request.start).cloned().collect(),
        is_all: true,
        kept_from: request.trim_up_to.map(|end| first.unwrap_or(at(end.epoch, end.seq + 1))),
    }
}

impl ChannelModel {
    /// `late`: the channel has subscribers before its rule keeps history.
    fn new(late: bool) -> Self {
        let mut model = Self { connected: true, ..Self::default() };
        if !late {
            model.cursor = Some(ChannelCursor::default());
            model.start_work(ModelWork::Open);
            while model.work.is_some() {
                model.answer();
            }
        }
        model
    }

    fn start_work(&mut self, work: ModelWork) {
        let cursor = self.cursor.as_mut().unwrap();
        if work == ModelWork::Open && !cursor.is_live() {
            cursor.open();
        }
        self.work = Some((cursor.read_number, work));
    }

    fn publish(&mut self, in_history: bool) {
        self.published += 1;
        let mut publication = Publication::bare(self.published.to_string().into());
        if in_history {
            let is_new = self.stream.is_none() || self.promoted;
            if is_new {
                publication.previous = self.end.filter(|_| self.stream.is_some());
                self.epoch += 1;
                self.promoted = false;
            }
            let seq = if is_new { 1 } else { self.end.map_or(0, |end| end.seq) + 1 };
            let position = at(self.epoch, seq);
            publication.position = Some(position);
            self.numbers.insert(position, self.published);
            self.end = Some(position);
            self.stream.get_or_insert_default().push(publication.clone());
        }
        if self.connected {
            self.in_transit.push_back(publication);
        }
    }

    fn arrive(&mut self) {
        let Some(publication) = self.in_transit.pop_front() else { return };
        let Some(cursor) = &mut self.cursor else {
            self.last_position = publication.position.or(self.last_position);
            return self.log.push(ChannelEvent::Publication(publication));
        };
        match cursor.receive(publication) {
            ArrivalOutcome::Deliver(publication) => {
                self.log.push(ChannelEvent::Publication(publication));
            }
            ArrivalOutcome::Nothing => {}
            ArrivalOutcome::Read(_) => self.start_work(ModelWork::CatchUp),
        }
    }

    /// Like `tidegate_position`: begins a history if none exists.
    fn position(&mut self) -> Option<Position> {
        if self.stream.is_none() {
            self.epoch += 1;
            (self.stream, self.end) = (Some(Vec::new()), Some(at(self.epoch, 0)));
            self.promoted = false;
        }
        self.end
    }

    fn answer(&mut self) {
        let Some((read_number, work)) = self.work.take() else { return };
        if self.cursor.as_ref().is_some_and(|cursor| cursor.last().is_none()) {
            self.published_at_first_end = self.published;
        }
        let end = (work == ModelWork::Open).then(|| self.position()).flatten();
        let cursor = self.cursor.as_mut().unwrap();
        if !cursor.is_current_read(read_number) {
            return;
        }
        let next = match work {
            ModelWork::Open => cursor.receive_end(end, &mut self.log),
            ModelWork::CatchUp => {
                let all = self.stream.iter().flatten();
                let after = all.filter(|entry| entry.position > cursor.last());
                let page: Vec<_> = after.take(PAGE).cloned().collect();
                let is_end = page.len() < PAGE;
                cursor.receive_page(page, is_end, &mut self.log)
            }
            ModelWork::Release => cursor.release(&mut self.log),
        };
        match next {
            RecoveryStep::Page(_) => self.start_work(ModelWork::CatchUp),
            RecoveryStep::AskAgain => self.start_work(ModelWork::Open),
            RecoveryStep::Release | RecoveryStep::Later => self.start_work(ModelWork::Release),
            RecoveryStep::Done => {}
        }
    }

    fn disconnect(&mut self) {
        self.connected = false;
        self.in_transit.clear();
    }

    fn reconnect(&mut self) {
        if std::mem::replace(&mut self.connected, true) {
            return;
        }
        match &mut self.cursor {
            Some(cursor) => {
                cursor.interrupt();
                self.start_work(ModelWork::Open);
            }
            None => {
                self.last_position = None;
                self.log.push(ChannelEvent::Gap("broker_reconnected"));
            }
        }
    }

    fn promote(&mut self, missing: usize, late: bool) {
        if self.cursor.as_ref().is_none_or(|cursor| cursor.last().is_none()) {
            // A cursor without a position cannot detect what was delivered before it and lost by Redis.
            return;
        }
        self.disconnect();
        self.reconnect();
        let Some(stream) = &mut self.stream else { return };
        // Excludes what was published before the cursor had a position, which it cannot detect.
        let known =
            stream.iter().filter(|entry| number(entry) > self.published_at_first_end).count();
        let missing = stream.split_off(stream.len() - missing.min(known));
        let before = |first: &Publication| {
            first.previous.or(first.position.map(|it| at(it.epoch, it.seq - 1)))
        };
        self.end = missing.first().map_or(self.end, before);
        self.promoted = true;
        if !late {
            let delivered = self.delivered();
            self.lost.extend(missing.iter().map(number).filter(|it| !delivered.contains(it)));
            return;
        }
        // The node asks before they have arrived.
        self.answer();
        self.end = missing.last().map_or(self.end, |last| last.position);
        self.stream.as_mut().unwrap().extend(missing.iter().cloned());
        self.in_transit.extend(missing);
    }

    fn delivered(&self) -> Vec<u64> {
        let numbers = self.log.iter().filter_map(|event| match event {
            ChannelEvent::Publication(publication) => Some(number(publication)),
            ChannelEvent::Gap(_) => None,
        });
        numbers.collect()
    }

    /// Resumes a client that had everything up to a position, and got every gap before it.
    fn resume(&mut self, back: usize) -> Result<(), TestCaseError> {
        let Some(cursor) = self.cursor.as_mut().filter(|cursor| cursor.is_live()) else {
            return Ok(());
        };
        let positions = self.log.iter().rev().filter_map(|event| match event {
            ChannelEvent::Publication(publication) => publication.position,
            ChannelEvent::Gap(_) => None,
        });
        let Some(since) = positions.clone().nth(back) else { return Ok(()) };
        let start = ReplayStart::After(since);
        if let ResumeCheck::Load(_) = cursor.positions.check_resume(start, HISTORY) {
            let recent = cursor.positions.recent().unwrap();
            let request = recent.load_request();
            recent.add_loaded(read(&self.stream, request));
        }
        let Some(backlog) = cursor.positions.replay(start) else { return Ok(()) };
        let resumed = numbers(&backlog);
        let is_kept = |it: &u64| self.numbers.values().any(|in_history| in_history == it);
        let after = self.delivered().into_iter().filter(|it| *it > self.numbers[&since]);
        let missing = after.filter(is_kept).find(|it| !resumed.contains(it));
        prop_assert_eq!(missing, None, "resumed from {}: {:?}: {:?}", since, resumed, self.log);
        prop_assert!(resumed.is_sorted_by(|a, b| a < b), "resumed from {}: {:?}", since, resumed);
        Ok(())
    }

    /// Adds a client that asks for everything that is kept.
    fn replay_all(&mut self) -> TestCaseResult {
        let Some(cursor) = self.cursor.as_mut().filter(|cursor| cursor.is_live()) else {
            return Ok(());
        };
        if let ResumeCheck::Load(_) = cursor.positions.check_resume(ReplayStart::First, HISTORY) {
            let recent = cursor.positions.recent().unwrap();
            let request = recent.load_request();
            recent.add_loaded(read(&self.stream, request));
        }
        let Some(replay) = cursor.positions.replay(ReplayStart::First) else { return Ok(()) };
        let replayed = numbers(&replay);
        prop_assert!(replayed.is_sorted_by(|a, b| a < b), "{:?}", replayed);
        if replay.recovered == Some(true) {
            let last = cursor.last().unwrap();
            let of_epoch = |at: &&Position| at.epoch == last.epoch && **at <= last;
            let published = self.numbers.keys().filter(of_epoch).map(|at| self.numbers[at]);
            let missing = published.clone().find(|it| !replayed.contains(it));
            prop_assert_eq!(missing, None, "{:?} of {:?}", replayed, self.log);
        }
        Ok(())
    }

    fn apply(&mut self, step: ModelStep) -> Result<(), TestCaseError> {
        match step {
            ModelStep::Publish => self.publish(true),
            ModelStep::PublishPlain => self.publish(false),
            ModelStep::Trim(count) => {
                if let Some(stream) = &mut self.stream {
                    stream.drain(..count.min(stream.len()));
                }
            }
            ModelStep::Expire => self.stream = None,
            ModelStep::Arrive => self.arrive(),
            ModelStep::Answer => self.answer(),
            ModelStep::Disconnect => self.disconnect(),
            ModelStep::Reconnect => self.reconnect(),
            ModelStep::Promote { missing, late } => self.promote(missing, late),
            ModelStep::FollowRule if self.cursor.is_none() => {
                self.cursor = Some(ChannelCursor::with_subscribers(self.last_position));
                self.start_work(ModelWork::Open);
            }
            ModelStep::FollowRule => {}
            ModelStep::Resume(back) => self.resume(back)?,
            ModelStep::ReplayAll => self.replay_all()?,
        }
        Ok(())
    }

    fn check_log(&self) -> TestCaseResult {
        let (mut last, mut gap) = (0, false);
        for event in &self.log {
            let ChannelEvent::Publication(publication) = event else {
                gap = true;
                continue;
            };
            let this = number(publication);
            if !self.numbers.values().any(|in_history| *in_history == this) {
                continue;
            }
            prop_assert!(this > last, "{this} after {last}: {:?}", self.log);
            let is_missed = |it: &u64| {
                self.numbers.values().any(|in_history| in_history == it) && !self.lost.contains(it)
            };
            let missed = (last + 1..this).find(is_missed);
            prop_assert!(gap || missed.is_none(), "{missed:?} without a gap: {:?}", self.log);
            (last, gap) = (this, false);
        }
        Ok(())
    }
}

/// Runs until nothing is in transit and no request is outstanding.
fn settle(model: &mut ChannelModel) {
    model.reconnect();
    for _ in 0..1000 {
        model.arrive();
        model.answer();
        if model.in_transit.is_empty() && model.work.is_none() {
            return;
        }
    }
    panic!("the cursor never becomes idle");
}

#[test]
fn under_any_order_of_faults_subscribers_get_all_publications_once_in_order_or_a_gap() {
    let some = (any::<bool>(), proptest::collection::vec(step(), 1..60));
    // `CASES=200000` tries more of them, which takes a minute in an optimised build.
    let cases = std::env::var("CASES").map_or(3000, |it| it.parse().expect("CASES is a number"));
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let run = TestRunner::new(config).run(&some, |(late, steps)| {
        let mut model = ChannelModel::new(late);
        for step in steps {
            model.apply(step)?;
        }
        settle(&mut model);
        model.publish(true);
        settle(&mut model);
        model.check_log()?;
        model.replay_all()?;
        (0..6).try_for_each(|back| model.resume(back))
    });
    run.unwrap();
}
