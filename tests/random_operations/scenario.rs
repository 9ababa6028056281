//! One run: clients, publishers and faults operate, the faults are removed, all clients catch up, and the
//! journals are audited.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use testkit::audit::channels::{self, AuditChannel, ChannelNumber, HistoryKind};
use testkit::audit::journal::{ClientJournal, PublishPath, PublisherJournal};
use testkit::audit::{AuditFinding, AuditReport, AuditRun, Violation, audit};
use testkit::wait_until;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::{Client, PublisherSlot};
use crate::plan::{Broker, PartKind, Plan, Role};
use crate::publisher::Publisher;
use crate::record::{CallRecord, ClientRecord, PublisherRecord};
use crate::stage::Stage;
use crate::worker::{CallOutcome, Worker};

/// The longest that clients may take to be subscribed again after all faults are removed.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(15);

/// The longest wait for every client to receive a final publication, before another one is sent.
const FINAL_ROUND_TIME_MAX: Duration = Duration::from_millis(1500);

/// How many rounds a run with a short lease has to end by itself.
const LEASE_ROUNDS: u32 = 3;

/// The most final publications of a channel. A client may be disconnected during one of them.
const FINAL_ROUNDS_MAX: u32 = 8;

type ClientRecords = Vec<Arc<Mutex<ClientRecord>>>;

/// The clients and publishers of a run, and their records.
struct Participants {
    channels: Arc<[AuditChannel]>,
    publisher_records: Vec<PublisherRecord>,
    client_records: ClientRecords,
    /// The names of the clients, in the order of `client_records`.
    names: Vec<String>,
    /// The channels of the clients, in the same order.
    assigned: Vec<Vec<ChannelNumber>>,
    /// One publisher for each channel that is no run; it publishes after all others have ended.
    final_publishers: Vec<(ChannelNumber, Publisher)>,
    /// One worker for each run; it ends the run after all others have ended.
    final_workers: Vec<Worker>,
    calls: CallRecord,
    publishers: JoinSet<()>,
    clients: JoinSet<()>,
    stop: watch::Sender<bool>,
    settle: watch::Sender<bool>,
}

pub struct Outcome {
    pub report: AuditReport,
    /// The folder of the logs, if anything was found.
    pub logs: Option<PathBuf>,
}

pub async fn run_plan(plan: &Plan) -> Outcome {
    let started = Instant::now();
    let mut stage = Stage::start(plan).await;
    let mut participants = Participants::of(plan, &stage);
    stage.inject_faults(plan).await;
    let unsettled = participants.settle(plan).await;
    let settled_at = Instant::now();
    let (ledgers, journals) = participants.close(unsettled.is_empty());
    let calls = participants.calls.lock().expect("no panic while the lock is held").clone();
    let run = AuditRun {
        channels: &participants.channels,
        ledgers: &ledgers,
        journals: &journals,
        calls: &calls,
        started,
        data_lost: plan.loses_data(),
        interrupted: plan.interrupts(),
    };
    let mut report = audit(&run);
    let broken = stage.broken_node();
    for what in unsettled.into_iter().chain(broken) {
        let (client, channel) = ("all".to_owned(), "no channel".to_owned());
        let kind = Violation::Unsettled;
        report.findings.push(AuditFinding {
            kind,
            client,
            channel,
            count: 1,
            what,
            around: Vec::new(),
        });
    }
    let found = !report.findings.is_empty();
    let logs = found.then(|| save_logs(plan, &stage, &run, &report, settled_at));
    Outcome { report, logs }
}

impl Participants {
    fn of(plan: &Plan, stage: &Stage) -> Self {
        let (stop, stop_receiver) = watch::channel(false);
        let (settle, settle_receiver) = watch::channel(false);
        let mut participants = Self {
            channels: channels::all().into(),
            publisher_records: Vec::new(),
            client_records: Vec::new(),
            names: Vec::new(),
            assigned: Vec::new(),
            final_publishers: Vec::new(),
            final_workers: Vec::new(),
            calls: CallRecord::default(),
            publishers: JoinSet::new(),
            clients: JoinSet::new(),
            stop,
            settle,
        };
        let directory = stage.directory.clone();
        for (part, publisher) in plan.publishers() {
            let publisher = participants.publisher(publisher, part.seed, stage);
            participants.publishers.spawn(publisher.run(stop_receiver.clone()));
        }
        for (part, worker) in plan.workers() {
            let worker = participants.worker(worker, part.seed, stage);
            participants.publishers.spawn(worker.run(stop_receiver.clone()));
        }
        for (part, client) in plan.clients() {
            let number = participants.client_records.len();
            let path = match client.role {
                Role::PublishingSubscriber => Some(PublishPath::Json),
                Role::Plain { publishes: true } => Some(PublishPath::Plain),
                _ => None,
            };
            let publisher = path.map(|path| {
                let channel = client.channels[0];
                let record = PublisherRecord::new(channel, path, Some(number));
                participants.publisher_records.push(record.clone());
                PublisherSlot { number: participants.publisher_records.len() - 1, channel, record }
            });
            let record: Arc<Mutex<ClientRecord>> = Arc::default();
            participants.client_records.push(record.clone());
            participants.names.push(format!("{:?} of part {}", client.role, part.number));
            participants.assigned.push(client.channels.clone());
            let environment = (directory.clone(), settle_receiver.clone());
            let client = Client::new(
                client,
                part.seed,
                participants.channels.clone(),
                environment,
                record,
                publisher,
            );
            participants.clients.spawn(client.run());
        }
        let path =
            if plan.broker == Broker::Memory { PublishPath::Api } else { PublishPath::Function };
        for channel in 0..participants.channels.len() {
            let pause = Duration::ZERO;
            let last = crate::plan::Publisher {
                channel,
                path,
                pause,
                burst: None,
                keyed: true,
                large: false,
            };
            if participants.channels[channel].kind.is_run() {
                let last = crate::plan::Worker {
                    publisher: last,
                    calls_redis: plan.broker != Broker::Memory,
                    ends_at: Duration::ZERO,
                    has_last: true,
                    dies: false,
                };
                let last = participants.worker(&last, plan.seed, stage);
                participants.final_workers.push(last);
                continue;
            }
            let last = participants.publisher(&last, plan.seed, stage);
            participants.final_publishers.push((channel, last));
        }
        participants
    }

    fn publisher(&mut self, plan: &crate::plan::Publisher, seed: u64, stage: &Stage) -> Publisher {
        let record = PublisherRecord::new(plan.channel, plan.path, None);
        self.publisher_records.push(record.clone());
        let name = &self.channels[plan.channel].name;
        let environment = (stage.directory.clone(), stage.redis_url());
        Publisher::new(self.publisher_records.len() - 1, (plan, seed), name, environment, record)
    }

    fn worker(&mut self, plan: &crate::plan::Worker, seed: u64, stage: &Stage) -> Worker {
        let publisher = self.publisher(&plan.publisher, seed, stage);
        let (channel, calls) = (plan.publisher.channel, self.calls.clone());
        Worker { publisher, channel, plan: *plan, calls }
    }

    /// Ends the runs that have not ended. Those with a short lease only in later rounds: their lease ends them, unless
    /// Redis has lost them. Returns the failures.
    async fn end_runs(&mut self, round: u32) -> Vec<String> {
        let mut failures = Vec::new();
        for worker in &mut self.final_workers {
            let audited = &self.channels[worker.channel];
            if audited.kind == HistoryKind::Leased && round < LEASE_ROUNDS {
                continue;
            }
            let mut outcome = worker.end().await;
            if outcome == CallOutcome::NoRun {
                worker.publisher.publish().await;
                outcome = worker.end().await;
            }
            if !matches!(outcome, CallOutcome::Accepted(_) | CallOutcome::Ended) {
                failures.push(format!("{} did not end: {outcome:?}", audited.name));
            }
        }
        failures
    }

    /// Stops publishing, and waits until every client has received everything. Returns the failures.
    async fn settle(&mut self, plan: &Plan) -> Vec<String> {
        self.settle.send_replace(true);
        self.stop.send_replace(true);
        while self.publishers.join_next().await.is_some() {}
        let mut newest: HashMap<ChannelNumber, (usize, u64)> = HashMap::new();
        for round in 0..FINAL_ROUNDS_MAX {
            if !wait_until(SETTLE_TIME_MAX, || self.unsubscribed().is_empty()).await {
                return self
                    .unsubscribed()
                    .iter()
                    .map(|it| format!("{it} did not subscribe again"))
                    .collect();
            }
            let failures = self.end_runs(round).await;
            if !failures.is_empty() {
                return failures;
            }
            for (channel, publisher) in &mut self.final_publishers {
                let (number, accepted) = publisher.publish().await;
                if !accepted {
                    let name = &self.channels[*channel].name;
                    return vec![format!(
                        "no publication on {name} was accepted (seed {})",
                        plan.seed
                    )];
                }
                newest.insert(*channel, (publisher.number, number));
            }
            if wait_until(FINAL_ROUND_TIME_MAX, || self.behind(&newest).is_empty()).await {
                return Vec::new();
            }
        }
        let behind = self.behind(&newest);
        behind.iter().map(|it| format!("{it} did not receive the final publications")).collect()
    }

    /// The clients that are not subscribed now, with the channels.
    fn unsubscribed(&self) -> Vec<String> {
        self.unsatisfied(|record, channel| record.subscribed.contains(&channel))
    }

    /// The clients that have not received the newest publications, with the channels.
    fn behind(&self, newest: &HashMap<ChannelNumber, (usize, u64)>) -> Vec<String> {
        self.unsatisfied(|record, channel| {
            let Some((publisher, number)) = newest.get(&channel).copied() else {
                return record.ended.contains(&channel);
            };
            record.newest.get(&publisher).is_some_and(|it| *it >= number)
        })
    }

    /// The clients with channels for which the condition is false.
    fn unsatisfied(&self, condition: impl Fn(&ClientRecord, ChannelNumber) -> bool) -> Vec<String> {
        let mut all = Vec::new();
        for (client, record) in self.client_records.iter().enumerate() {
            let record = record.lock().expect("no panic while the lock is held");
            let channels = self.assigned[client].iter().filter(|it| !condition(&record, **it));
            let names: Vec<&str> = channels.map(|it| self.channels[*it].name.as_str()).collect();
            if !names.is_empty() {
                all.push(format!("{} ({})", self.names[client], names.join(" ")));
            }
        }
        all
    }

    /// Ends the clients; returns all journals.
    fn close(&mut self, settled: bool) -> (Vec<PublisherJournal>, Vec<ClientJournal>) {
        let journals = self.client_records.iter().enumerate().map(|(client, record)| {
            let record = record.lock().expect("no panic while the lock is held");
            let client = self.names[client].clone();
            ClientJournal { client, settled, ..record.journal.clone() }
        });
        let journals = journals.collect();
        self.clients.abort_all();
        (self.publisher_records.iter().map(PublisherRecord::copy).collect(), journals)
    }
}

/// Saves the plan, the nodes' logs, and the journals concerned; returns the folder.
fn save_logs(
    plan: &Plan,
    stage: &Stage,
    run: &AuditRun,
    report: &AuditReport,
    end: Instant,
) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("random_operations/seed-{}", plan.seed));
    // Removes the logs of an earlier run of the seed.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder for logs");
    let write = |name: String, text: String| {
        fs::write(folder.join(name), text).expect("a log is written");
    };
    write("plan.txt".to_owned(), plan.to_string());
    let findings = report.findings.iter().map(|it| format!("{it}\n"));
    write("findings.txt".to_owned(), findings.collect());
    for (index, (node, lines)) in stage.logs().into_iter().enumerate() {
        write(format!("{index}-node-{node}.log"), lines.join("\n"));
    }
    // If the clients did not catch up, any journal may show the reason.
    let all = report.count(Violation::Unsettled) > 0;
    for journal in run.journals {
        if all || report.findings.iter().any(|it| it.client == journal.client) {
            let since = |at: &Instant| at.duration_since(run.started);
            let lines =
                journal.entries.iter().map(|(at, it)| it.line(since(at), run.channels) + "\n");
            write(format!("{}.log", journal.client.replace(' ', "-")), lines.collect());
        }
    }
    for (publisher, record) in run.ledgers.iter().enumerate() {
        let mut text = format!("{:?} on {}\n", record.path, run.channels[record.channel].name);
        for (index, it) in record.publications.iter().enumerate() {
            let started = it.started.duration_since(run.started).as_secs_f64();
            let ended = it.ended.unwrap_or(end).duration_since(run.started).as_secs_f64();
            let (number, attempts, outcome) = (index + 1, it.attempts, it.outcome);
            text += &format!(
                "{publisher}/{number} {started:9.4} to {ended:9.4} sent {attempts} times: {outcome:?}\n"
            );
        }
        write(format!("publisher-{publisher}.log"), text);
    }
    folder
}

/// The plan without the parts whose numbers `left_out` selects.
pub fn without(plan: &Plan, left_out: impl Fn(usize) -> bool) -> Plan {
    let mut plan = plan.clone();
    plan.parts.retain(|part| !left_out(part.number));
    // Without clients a run has no journals to audit.
    debug_assert!(plan.parts.iter().any(|part| matches!(part.kind, PartKind::Client(_))));
    plan
}
