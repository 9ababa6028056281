//! One run: everybody operates, everything is healed, all come to rest, and the journals are audited.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use testkit::audit::channels::{self, AuditChannel, ChannelNumber};
use testkit::audit::journal::{ClientJournal, PublishPath, PublisherJournal};
use testkit::audit::{AuditFinding, AuditReport, AuditRun, Violation, audit};
use testkit::wait_until;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::{Client, Pen};
use crate::plan::{Broker, Plan, Role, What};
use crate::publisher::Publisher;
use crate::record::{OpenLedger, Record};
use crate::stage::Stage;

/// The longest that clients may take to be subscribed again after everything was healed.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(15);

/// The longest that a last publication may take to every client, before another is tried.
const LAST_TIME_MAX: Duration = Duration::from_millis(1500);

/// Last publications of a channel. One may come while a client is away for a moment.
const LAST_MAX: u32 = 8;

type Records = Vec<Arc<Mutex<Record>>>;

/// Everything of a run but the stage.
struct Cast {
    channels: Arc<[AuditChannel]>,
    ledgers: Vec<OpenLedger>,
    records: Records,
    names: Vec<String>,
    wanted: Vec<Vec<ChannelNumber>>,
    /// One for each channel; they publish when all others have ended.
    last: Vec<Publisher>,
    publishers: JoinSet<()>,
    clients: JoinSet<()>,
    stop: watch::Sender<bool>,
    settle: watch::Sender<bool>,
}

pub struct Outcome {
    pub verdict: AuditReport,
    /// Where the logs are, if anything was found.
    pub logs: Option<PathBuf>,
}

pub async fn play(plan: &Plan) -> Outcome {
    let begun = Instant::now();
    let mut stage = Stage::set(plan).await;
    let mut cast = Cast::of(plan, &stage);
    stage.suffer(plan).await;
    let unsettled = cast.settle(plan).await;
    let settled_at = Instant::now();
    let (ledgers, journals) = cast.close(unsettled.is_empty());
    let run = AuditRun {
        channels: &cast.channels,
        ledgers: &ledgers,
        journals: &journals,
        started: begun,
        data_lost: plan.has_amnesia(),
        interrupted: plan.interrupts(),
    };
    let mut verdict = audit(&run);
    let broken = stage.broken_node();
    for what in unsettled.into_iter().chain(broken) {
        let (client, channel) = ("all".to_owned(), "no channel".to_owned());
        let kind = Violation::Unsettled;
        verdict.findings.push(AuditFinding {
            kind,
            client,
            channel,
            count: 1,
            what,
            around: Vec::new(),
        });
    }
    let found = !verdict.findings.is_empty();
    let logs = found.then(|| keep(plan, &stage, &run, &verdict, settled_at));
    Outcome { verdict, logs }
}

impl Cast {
    fn of(plan: &Plan, stage: &Stage) -> Self {
        let (stop, stops) = watch::channel(false);
        let (settle, settles) = watch::channel(false);
        let mut cast = Self {
            channels: channels::all().into(),
            ledgers: Vec::new(),
            records: Vec::new(),
            names: Vec::new(),
            wanted: Vec::new(),
            last: Vec::new(),
            publishers: JoinSet::new(),
            clients: JoinSet::new(),
            stop,
            settle,
        };
        let doors = stage.doors.clone();
        for (part, publisher) in plan.publishers() {
            let publisher = cast.publisher(publisher, part.seed, stage);
            cast.publishers.spawn(publisher.run(stops.clone()));
        }
        for (part, client) in plan.clients() {
            let number = cast.records.len();
            let way = match client.role {
                Role::Talker => Some(PublishPath::Json),
                Role::Plain { publishes: true } => Some(PublishPath::Plain),
                _ => None,
            };
            let pen = way.map(|way| {
                let channel = client.channels[0];
                let ledger = OpenLedger::new(channel, way, Some(number));
                cast.ledgers.push(ledger.clone());
                Pen { publisher: cast.ledgers.len() - 1, channel, ledger }
            });
            let record: Arc<Mutex<Record>> = Arc::default();
            cast.records.push(record.clone());
            cast.names.push(format!("{:?} of part {}", client.role, part.number));
            cast.wanted.push(client.channels.clone());
            let world = (doors.clone(), settles.clone());
            let client = Client::new(client, part.seed, cast.channels.clone(), world, record, pen);
            cast.clients.spawn(client.run());
        }
        let way =
            if plan.broker == Broker::Memory { PublishPath::Api } else { PublishPath::Function };
        for channel in 0..cast.channels.len() {
            let pause = Duration::ZERO;
            let last = crate::plan::Publisher {
                channel,
                way,
                pause,
                burst: None,
                keyed: true,
                large: false,
            };
            let last = cast.publisher(&last, plan.seed, stage);
            cast.last.push(last);
        }
        cast
    }

    fn publisher(&mut self, plan: &crate::plan::Publisher, seed: u64, stage: &Stage) -> Publisher {
        let ledger = OpenLedger::new(plan.channel, plan.way, None);
        self.ledgers.push(ledger.clone());
        let name = &self.channels[plan.channel].name;
        let world = (stage.doors.clone(), stage.redis_url());
        Publisher::new(self.ledgers.len() - 1, (plan, seed), name, world, ledger)
    }

    /// Ends publishing, and waits for every client to have everything. Returns what did not come to be.
    async fn settle(&mut self, plan: &Plan) -> Vec<String> {
        self.settle.send_replace(true);
        self.stop.send_replace(true);
        while self.publishers.join_next().await.is_some() {}
        let mut newest: HashMap<ChannelNumber, (usize, u64)> = HashMap::new();
        for _ in 0..LAST_MAX {
            if !wait_until(SETTLE_TIME_MAX, || self.away().is_empty()).await {
                return self
                    .away()
                    .iter()
                    .map(|it| format!("{it} is not subscribed again"))
                    .collect();
            }
            for (channel, publisher) in self.last.iter_mut().enumerate() {
                let (number, taken) = publisher.publish().await;
                if !taken {
                    let name = &self.channels[channel].name;
                    return vec![format!(
                        "nothing can be published on {name} (seed {})",
                        plan.seed
                    )];
                }
                newest.insert(channel, (publisher.number, number));
            }
            if wait_until(LAST_TIME_MAX, || self.behind(&newest).is_empty()).await {
                return Vec::new();
            }
        }
        let behind = self.behind(&newest);
        behind.iter().map(|it| format!("{it} did not get the last publications")).collect()
    }

    /// Clients and channels that are not subscribed now.
    fn away(&self) -> Vec<String> {
        self.each(|record, channel| record.live.contains(&channel))
    }

    fn behind(&self, newest: &HashMap<ChannelNumber, (usize, u64)>) -> Vec<String> {
        self.each(|record, channel| {
            let (publisher, number) = newest[&channel];
            record.newest.get(&publisher).is_some_and(|it| *it >= number)
        })
    }

    fn each(&self, is_well: impl Fn(&Record, ChannelNumber) -> bool) -> Vec<String> {
        let mut all = Vec::new();
        for (client, record) in self.records.iter().enumerate() {
            let record = record.lock().expect("no code panics with a record");
            let channels = self.wanted[client].iter().filter(|it| !is_well(&record, **it));
            let names: Vec<&str> = channels.map(|it| self.channels[*it].name.as_str()).collect();
            if !names.is_empty() {
                all.push(format!("{} ({})", self.names[client], names.join(" ")));
            }
        }
        all
    }

    /// Ends the clients; returns what all have written.
    fn close(&mut self, settled: bool) -> (Vec<PublisherJournal>, Vec<ClientJournal>) {
        let journals = self.records.iter().enumerate().map(|(client, record)| {
            let record = record.lock().expect("no code panics with a record");
            let client = self.names[client].clone();
            ClientJournal { client, settled, ..record.journal.clone() }
        });
        let journals = journals.collect();
        self.clients.abort_all();
        (self.ledgers.iter().map(OpenLedger::copy).collect(), journals)
    }
}

/// Writes down the plan, what nodes logged, and the journals in question; returns where.
fn keep(
    plan: &Plan,
    stage: &Stage,
    run: &AuditRun,
    verdict: &AuditReport,
    end: Instant,
) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("random_operations/seed-{}", plan.seed));
    // What is left of an earlier run of the seed says nothing of this one.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder for logs");
    let write = |name: String, text: String| {
        fs::write(folder.join(name), text).expect("a log is written");
    };
    write("plan.txt".to_owned(), plan.to_string());
    let findings = verdict.findings.iter().map(|it| format!("{it}\n"));
    write("findings.txt".to_owned(), findings.collect());
    for (place, (node, lines)) in stage.logs().into_iter().enumerate() {
        write(format!("{place}-node-{node}.log"), lines.join("\n"));
    }
    // Of a run that does not come to rest, everything may tell why.
    let all = verdict.count(Violation::Unsettled) > 0;
    for journal in run.journals {
        if all || verdict.findings.iter().any(|it| it.client == journal.client) {
            let since = |at: &Instant| at.duration_since(run.started);
            let lines =
                journal.entries.iter().map(|(at, it)| it.line(since(at), run.channels) + "\n");
            write(format!("{}.log", journal.client.replace(' ', "-")), lines.collect());
        }
    }
    for (publisher, ledger) in run.ledgers.iter().enumerate() {
        let mut text = format!("{:?} on {}\n", ledger.path, run.channels[ledger.channel].name);
        for (index, it) in ledger.publications.iter().enumerate() {
            let begun = it.started.duration_since(run.started).as_secs_f64();
            let ended = it.ended.unwrap_or(end).duration_since(run.started).as_secs_f64();
            let (number, attempts, outcome) = (index + 1, it.attempts, it.outcome);
            text += &format!(
                "{publisher}/{number} {begun:9.4} to {ended:9.4} sent {attempts} times: {outcome:?}\n"
            );
        }
        write(format!("publisher-{publisher}.log"), text);
    }
    folder
}

/// The plan without some of its parts.
pub fn without(plan: &Plan, left_out: impl Fn(usize) -> bool) -> Plan {
    let mut plan = plan.clone();
    plan.parts.retain(|part| !left_out(part.number));
    // A run without clients shows nothing.
    debug_assert!(plan.parts.iter().any(|part| matches!(part.what, What::Client(_))));
    plan
}
