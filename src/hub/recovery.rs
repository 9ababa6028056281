//! Catching up from history without gap or repeat, and reading what resuming clients ask for.
//!
//! One task takes the work that the registry writes down; the reading itself is done by a bounded
//! number of tasks. A channel is read by one of them at a time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::{interval, sleep};

use super::recent::BACKLOG_BYTES_MAX;
use super::registry::Registry;
use super::tail::Next;
use crate::backoff::Backoff;
use crate::broker::{Broker, PAGE_MAX, Page};
use crate::publication::{Channel, Position, Publication};
use crate::vital;

/// Most channels in one question for positions.
const OPEN_BATCH_MAX: usize = 500;

/// Most questions for positions, and most channels that are read, at the same time.
const READS_MAX: usize = 8;

/// The pauses before a read that failed is tried again, for as long as it is wanted.
const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));

/// How soon it is looked again whether what went before has been told to all subscribers.
const TELLING_PAUSE: Duration = Duration::from_millis(5);

/// How often it is looked for what is no longer worth its memory.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// How often it was tried in vain.
type Tries = u32;

/// Something to be read. At most one of each kind for a channel at a time, by its tail.
#[derive(Clone, Debug)]
pub enum Work {
    /// Where does the history end? And then, what follows the last publication?
    Open(Channel, u64, Tries),
    /// What follows the last publication?
    CatchUp(Channel, u64, Tries),
    /// What was held may go.
    Release(Channel, u64),
    /// All that is there, for those who resume.
    Load(Channel),
}

/// What is still to be done. As long as there are channels at most, twice over.
#[derive(Default)]
pub struct Agenda {
    work: Mutex<VecDeque<Work>>,
    more: Notify,
}

impl Agenda {
    pub fn add(&self, work: Work) {
        self.lock().push_back(work);
        self.more.notify_one();
    }

    async fn next(&self) -> Vec<Work> {
        loop {
            let some: Vec<_> = {
                let mut work = self.lock();
                let count = work.len().min(OPEN_BATCH_MAX);
                work.drain(..count).collect()
            };
            if !some.is_empty() {
                return some;
            }
            self.more.notified().await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Work>> {
        self.work.lock().expect("no code panics while it holds the agenda's lock")
    }
}

/// Starts the task, which runs as long as the runtime.
pub fn start(registry: Arc<Registry>, broker: Arc<dyn Broker>) {
    let recovery = Arc::new(Recovery { registry: registry.clone(), broker });
    vital::spawn("recovery", async move {
        let reads = Arc::new(Semaphore::new(READS_MAX));
        loop {
            let mut open = Vec::new();
            for work in recovery.registry.agenda().next().await {
                if let Work::Open(channel, reading, tries) = work {
                    open.push((channel, reading, tries));
                    continue;
                }
                recovery.clone().spawn(&reads, async move |recovery| match work {
                    Work::Load(channel) => recovery.load(channel).await,
                    Work::CatchUp(channel, reading, tries) => {
                        recovery.catch_up(channel, reading, tries).await;
                    }
                    Work::Release(channel, reading) => recovery.release(channel, reading),
                    Work::Open(..) => {}
                });
            }
            if !open.is_empty() {
                recovery.clone().spawn(&reads, async move |recovery| recovery.open(open).await);
            }
        }
    });
    vital::spawn("history sweep", async move {
        let mut sweep = interval(SWEEP_INTERVAL);
        loop {
            sweep.tick().await;
            registry.sweep();
        }
    });
}

struct Recovery {
    registry: Arc<Registry>,
    broker: Arc<dyn Broker>,
}

impl Recovery {
    /// Runs a piece of work once fewer than [`READS_MAX`] run.
    fn spawn<F: Future<Output = ()> + Send>(
        self: Arc<Self>,
        reads: &Arc<Semaphore>,
        work: impl FnOnce(Arc<Self>) -> F + Send + 'static,
    ) {
        let reads = reads.clone();
        // A channel whose reading breaks off says nothing any more.
        vital::spawn("catching up", async move {
            let _permit = reads.acquire_owned().await.expect("the semaphore is never closed");
            work(self).await;
        });
    }

    /// Asks where the histories end, and catches up where something was missed.
    async fn open(self: Arc<Self>, channels: Vec<(Channel, u64, Tries)>) {
        let names = channels.iter().map(|(channel, ..)| channel.clone()).collect();
        let ends = self.broker.positions(names).await;
        for ((channel, reading, tries), end) in channels.into_iter().zip(ends) {
            match end {
                Ok(end) => match self.registry.ends_at(&channel, reading, end) {
                    Next::Done => {}
                    Next::Release => self.clone().release(channel, reading),
                    Next::Page(_) => {
                        self.registry.agenda().add(Work::CatchUp(channel, reading, 0));
                    }
                    Next::Later => {
                        self.clone().again(Work::Open(channel, reading, tries), TELLING_PAUSE);
                    }
                },
                Err(why) => {
                    self.registry.reading_failed(&channel, reading, why);
                    self.clone()
                        .again(Work::Open(channel, reading, tries + 1), RETRY.pause_after(tries));
                }
            }
        }
    }

    /// Reads page after page of what was missed. Whoever fails gives its turn to others.
    async fn catch_up(self: Arc<Self>, channel: Channel, reading: u64, tries: Tries) {
        while let Some(after) = self.registry.reads_after(&channel, reading) {
            match self.broker.history(channel.clone(), Page::After(after), PAGE_MAX).await {
                Ok(page) => {
                    let is_end = page.len() < PAGE_MAX;
                    match self.registry.page(&channel, reading, page, is_end) {
                        Next::Page(_) => {}
                        Next::Release => return self.release(channel, reading),
                        Next::Done => return,
                        Next::Later => {
                            return self.again(Work::CatchUp(channel, reading, 0), TELLING_PAUSE);
                        }
                    }
                }
                Err(why) => {
                    self.registry.reading_failed(&channel, reading, why);
                    return self.again(
                        Work::CatchUp(channel, reading, tries + 1),
                        RETRY.pause_after(tries),
                    );
                }
            }
        }
    }

    /// Lets go of what came meanwhile.
    fn release(self: Arc<Self>, channel: Channel, reading: u64) {
        loop {
            match self.registry.release(&channel, reading) {
                Next::Release => {}
                Next::Done => return,
                Next::Page(_) => {
                    return self.registry.agenda().add(Work::CatchUp(channel, reading, 0));
                }
                Next::Later => {
                    return self.again(Work::Release(channel, reading), TELLING_PAUSE);
                }
            }
        }
    }

    /// Reads a channel's history backwards, as far as those who resume it need.
    async fn load(self: Arc<Self>, channel: Channel) {
        let Some((start, wanted)) = self.registry.range(&channel) else {
            // It begins with what is there already.
            self.registry.loaded(&channel, Ok(Vec::new()), true);
            return;
        };
        let mut newest_first: Vec<Publication> = Vec::new();
        let mut bytes = 0;
        let mut page = Page::Before(Position { seq: start.seq.saturating_add(1), ..start });
        let is_all = loop {
            let some = match self.broker.history(channel.clone(), page, PAGE_MAX).await {
                Ok(some) => some,
                Err(why) => return self.registry.loaded(&channel, Err(why), false),
            };
            let is_end = some.len() < PAGE_MAX;
            bytes += some.iter().map(|publication| publication.payload.len()).sum::<usize>();
            newest_first.extend(some);
            let first = newest_first.last().and_then(|publication| publication.position);
            match first {
                _ if is_end || bytes > BACKLOG_BYTES_MAX => break true,
                // One more than is wanted, so that it is known where the chain begins.
                Some(first) if first <= wanted => break false,
                Some(first) => page = Page::Before(first),
                None => break true,
            }
        };
        self.registry.loaded(&channel, Ok(newest_first), is_all);
    }

    /// Puts a piece of work back on the agenda after a pause, if it is still wanted then.
    fn again(self: Arc<Self>, work: Work, pause: Duration) {
        tokio::spawn(async move {
            sleep(pause).await;
            let wanted = match &work {
                Work::Open(channel, reading, _)
                | Work::CatchUp(channel, reading, _)
                | Work::Release(channel, reading) => self.registry.is_reading(channel, *reading),
                Work::Load(_) => true,
            };
            if wanted {
                self.registry.agenda().add(work);
            }
        });
    }
}
