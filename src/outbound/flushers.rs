//! Tasks that write for many connections.
//!
//! A burst of publications is queued for all its subscribers before the first write, because a flusher runs
//! after the task that woke it. So under load one write carries more publications.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use super::Outbound;
use super::batch::FrameBatch;
use crate::{critical_tasks, telemetry};

/// Connections that a flusher writes to before other tasks get a turn: a few milliseconds. While more are
/// waiting, another flusher helps; with fewer, one core writes with less CPU time than two.
const TURN: usize = 1024;

/// Queued, unwritten publications beyond which the delivering task writes them itself: so the queues stay
/// short, and TCP flow control slows the broker down. A flusher cannot do that, because it runs only when the
/// task that woke it yields, and that task may have megabytes to read.
const BURST_MAX: usize = 128;

/// The same for the bytes of those publications.
const BURST_BYTES_MAX: usize = 256 << 10;

/// The connections that have something to write, and the tasks that write it.
#[derive(Default)]
pub struct Flushers {
    /// Each outbound is in this list at most once: it belongs to the flushers until it is written.
    waiting: Mutex<VecDeque<Arc<Outbound>>>,
    /// Publications delivered since `waiting` was last empty, and their bytes.
    burst: AtomicUsize,
    burst_bytes: AtomicUsize,
    work: Notify,
}

impl Flushers {
    /// Starts `count` flushers, which run as long as the runtime.
    pub fn start(self: &Arc<Self>, count: usize) {
        for _ in 0..count.max(1) {
            let flushers = self.clone();
            critical_tasks::spawn("flusher", async move {
                let mut batch = FrameBatch::default();
                loop {
                    flushers.work.notified().await;
                    while flushers.write_some(&mut batch) {
                        tokio::task::yield_now().await;
                    }
                }
            });
        }
    }

    /// Takes the outbounds that need a flush after a publication of `bytes`. Never waits; writes here if a
    /// burst becomes too long.
    pub fn flush(&self, outbounds: Vec<Arc<Outbound>>, bytes: usize) {
        let wake = !outbounds.is_empty();
        let waiting = {
            let mut waiting = self.lock();
            waiting.extend(outbounds);
            waiting.len()
        };
        let burst = self.burst.fetch_add(1, Ordering::Relaxed) + 1;
        let burst_bytes = self.burst_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if burst >= BURST_MAX || burst_bytes >= BURST_BYTES_MAX {
            self.write_all();
            return;
        }
        if wake {
            self.work.notify_one();
            if waiting > TURN {
                self.work.notify_one();
            }
        }
    }

    /// Writes for all waiting connections, in the caller's task.
    pub fn write_all(&self) {
        let mut batch = FrameBatch::default();
        while self.write_some(&mut batch) {}
    }

    /// Writes for some of the connections. Returns true if more are waiting.
    fn write_some(&self, batch: &mut FrameBatch) -> bool {
        let (turn, more): (Vec<Arc<Outbound>>, bool) = {
            let mut waiting = self.lock();
            let some = waiting.len().min(TURN);
            let turn = waiting.drain(..some).collect();
            if waiting.is_empty() {
                self.burst.store(0, Ordering::Relaxed);
                self.burst_bytes.store(0, Ordering::Relaxed);
            }
            (turn, !waiting.is_empty())
        };
        let bytes = turn.iter().map(|outbound| outbound.flush(batch)).sum();
        telemetry::sent_bytes(bytes);
        more
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Outbound>>> {
        self.waiting.lock().expect("no code panics while it holds the flushers' lock")
    }
}

/// Writes in the task that delivers, without a flusher.
#[derive(Default)]
pub struct DirectWrites {
    batch: FrameBatch,
    bytes: usize,
}

impl DirectWrites {
    /// Writes an outbound whose push returned [`Pushed::Flush`](super::Pushed::Flush).
    pub fn write(&mut self, outbound: &Outbound) {
        self.bytes += outbound.flush(&mut self.batch);
    }
}

impl Drop for DirectWrites {
    fn drop(&mut self) {
        telemetry::sent_bytes(self.bytes);
    }
}
