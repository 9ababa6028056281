//! A publisher: sends numbered publications one at a time, each until it is acknowledged.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::backoff::Backoff;
use crate::log::{Channel, ChannelNumber, Position, Publication, PublisherLog, PublisherNumber};
use crate::server_message::Payload;

/// How long one number is retried. After that it counts as not acknowledged.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(40);

/// Bytes in addition to the numbers.
const PADDING: usize = 100;

/// The rate of all publishers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// The mean pause between two numbers; none: publishers send nothing.
    pub pause: Option<Duration>,
    /// How many numbers each publisher must send in addition to the paced ones.
    pub requested: u64,
}

/// How to publish: as a client of a node, or as a service on Redis.
pub trait Publish: Send + 'static {
    /// Returns the position that the channel's history gave it, if it keeps one.
    fn publish(
        &mut self,
        channel: &Channel,
        payload: &str,
        key: &str,
    ) -> impl Future<Output = Result<Option<Position>, Unacknowledged>> + Send;
}

/// Why a publication was not acknowledged. It may still have been published.
pub struct Unacknowledged(pub String);

pub struct Publisher {
    pub number: PublisherNumber,
    record: Arc<Mutex<Progress>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Progress {
    sent: PublisherLog,
    /// How many of the requested numbers are done.
    done: u64,
    /// The last failure.
    failure: String,
}

impl Publisher {
    pub fn start(
        number: PublisherNumber,
        channel: (ChannelNumber, Channel),
        path: impl Publish,
        pace: watch::Receiver<Pace>,
        seed: u64,
    ) -> Self {
        let sent = PublisherLog { channel: channel.0, publications: Vec::new() };
        let record = Arc::new(Mutex::new(Progress { sent, ..Progress::default() }));
        let random = StdRng::seed_from_u64(seed);
        let backoff = Backoff::default();
        let run = seed;
        let channel = channel.1;
        let author = PublisherTask {
            number,
            channel,
            way: path,
            pace,
            random,
            backoff,
            run,
            record: record.clone(),
        };
        Self { number, record, task: tokio::spawn(author.run()) }
    }

    pub fn sent(&self) -> PublisherLog {
        self.record().sent.clone()
    }

    pub fn channel(&self) -> ChannelNumber {
        self.record().sent.channel
    }

    /// Whether it has sent this many requested numbers.
    pub fn has_sent(&self, asked: u64) -> bool {
        self.record().done >= asked
    }

    /// The last number, if it was acknowledged.
    pub fn last(&self) -> Option<u64> {
        let record = self.record();
        let last = record.sent.publications.last()?;
        last.acknowledged?;
        Some(record.sent.publications.len() as u64)
    }

    /// When the first publication was acknowledged that was begun after `moment`.
    pub fn acknowledged_after(&self, moment: Instant) -> Option<Instant> {
        let record = self.record();
        let from = record.sent.publications.partition_point(|it| it.started < moment);
        // A publication that was started before and is acknowledged now counts as well.
        let from = from.saturating_sub(1);
        let acknowledged = record.sent.publications[from..].iter().filter_map(|it| it.acknowledged);
        acknowledged.filter(|it| *it >= moment).min()
    }

    pub fn failure(&self) -> String {
        self.record().failure.clone()
    }

    fn record(&self) -> MutexGuard<'_, Progress> {
        self.record.lock().expect("no panic while the lock is held")
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct PublisherTask<P> {
    number: PublisherNumber,
    channel: Channel,
    way: P,
    pace: watch::Receiver<Pace>,
    random: StdRng,
    backoff: Backoff,
    /// Makes the idempotency keys unique to this run.
    run: u64,
    record: Arc<Mutex<Progress>>,
}

impl<P: Publish> PublisherTask<P> {
    async fn run(mut self) {
        let mut done = 0;
        loop {
            let pace = *self.pace.borrow_and_update();
            if done < pace.requested {
                self.publish().await;
                done += 1;
                self.record().done = done;
            } else if let Some(pause) = pace.pause {
                let pause = self.random.random_range(pause / 2..pause * 3 / 2);
                tokio::select! {
                    () = sleep(pause) => self.publish().await,
                    changed = self.pace.changed() => if changed.is_err() { return },
                }
            } else if self.pace.changed().await.is_err() {
                return;
            }
        }
    }

    /// Sends the next number until it is acknowledged or given up.
    async fn publish(&mut self) {
        let begun = Instant::now();
        let number = {
            let publication =
                Publication { started: begun, attempts: 0, acknowledged: None, position: None };
            let mut record = self.record();
            record.sent.publications.push(publication);
            record.sent.publications.len() as u64
        };
        let payload = Payload { p: self.number, n: number }.text(PADDING);
        let key = format!("{:x}-{}-{number}", self.run, self.number);
        while begun.elapsed() < GIVEN_UP_AFTER {
            self.last(|it| it.attempts += 1);
            match self.way.publish(&self.channel, &payload, &key).await {
                Ok(position) => return self.acknowledge(position),
                Err(Unacknowledged(why)) => {
                    self.record().failure = why;
                    let pause = self.backoff.next(&mut self.random);
                    sleep(pause).await;
                }
            }
        }
    }

    fn acknowledge(&mut self, position: Option<Position>) {
        self.backoff.reset();
        self.last(|it| {
            it.acknowledged = Some(Instant::now());
            it.position = position;
        });
    }

    fn last(&self, change: impl FnOnce(&mut Publication)) {
        change(self.record().sent.publications.last_mut().expect("it was begun"));
    }

    fn record(&self) -> MutexGuard<'_, Progress> {
        self.record.lock().expect("no panic while the lock is held")
    }
}
