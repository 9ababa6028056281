//! The bounded queue to one socket. Filled by the hub and by the session's own replies; never waits,
//! so one slow reader delays nobody.
//!
//! Two may empty it, never at once ([`Writer`](writer::QueueWriter)). What the hub delivers is written by a flusher
//! ([`Flushers`]), straight from the task that read the broker: to wake every connection's own task for it costs a
//! third more. What the socket does not take at once, and what the session itself says, is written
//! by the connection.

mod batch;
mod end;
mod flushers;
mod frames;
mod latest;
mod overflow;
mod pushed;
mod state;
mod subscriptions;
mod wire;
mod writer;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;

pub use self::batch::FrameBatch;
pub use self::flushers::{DirectWrites, Flushers};
pub use self::pushed::{Latest, Pushed, QueueFull};
use self::state::QueueState;
pub use self::wire::Wire;
use self::writer::QueueWriter;
use crate::close::Close;
use crate::publication::SessionId;
use crate::telemetry;

/// The queue of frames to one socket, bounded in bytes, and the word that ends the connection.
pub struct Outbound {
    session: SessionId,
    bytes_max: usize,
    /// None so far, or for good where only the connection can write, as over TLS.
    wire: OnceLock<Arc<dyn Wire>>,
    /// Publications of the session itself that came back to it.
    echoes: AtomicU32,
    nudged: AtomicBool,
    state: Mutex<QueueState>,
}

impl Outbound {
    /// `bytes_max`: most bytes that may wait, [`FRAME_OVERHEAD_BYTES`](frames::FRAME_OVERHEAD_BYTES) a frame
    /// included.
    pub fn new(session: SessionId, bytes_max: usize) -> Self {
        Self {
            session,
            bytes_max,
            wire: OnceLock::new(),
            echoes: AtomicU32::new(0),
            nudged: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// Whose socket this is.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// A publication of this very session was put in line for it.
    pub fn echoed(&self) {
        self.echoes.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were. Wraps around.
    pub fn echoes(&self) -> u32 {
        self.echoes.load(Ordering::Relaxed)
    }

    /// Has the session look at its settings, which have changed.
    pub fn notify(&self) {
        self.nudged.store(true, Ordering::Release);
        self.lock().wake_connection();
    }

    /// Was it notifyd since it was last asked? For the connection, before it waits.
    pub fn take_nudge(&self) -> bool {
        self.nudged.load(Ordering::Relaxed) && self.nudged.swap(false, Ordering::Acquire)
    }

    /// From here on flushers may write to the socket themselves.
    pub fn attach(&self, wire: Arc<dyn Wire>) {
        // A connection has one socket, attached once.
        let _ = self.wire.set(wire);
    }

    /// From here on frames of the subscription with this number, which is not 0, are taken.
    pub fn begin(&self, subscription: u64) {
        self.lock().subscriptions.add(subscription);
    }

    /// From here on no frame of the subscription is taken, also of a delivery that is under way. What waits of it
    /// beside the queue is dropped too, unless the connection is being closed: what a polite close leaves
    /// in the queue is still written.
    pub fn end(&self, subscription: u64) {
        self.lock().end_subscription(subscription);
    }

    /// Has the subscription begun, and not ended?
    pub fn has(&self, subscription: u64) -> bool {
        self.lock().subscriptions.contains(subscription)
    }

    /// Queues a frame of a subscription. Never waits.
    ///
    /// Fails with [`QueueFull`] once `bytes_max` wait. It may be exceeded by one frame; and
    /// [`OVERSIZED_MAX`](overflow::OVERSIZED_MAX) frames that are larger than the bound do not count, so that what a
    /// service published still arrives, and what follows it too. After [`Outbound::close`] frames are dropped: nothing
    /// follows a close frame.
    pub fn push(&self, subscription: u64, frame: Bytes) -> Result<Pushed, QueueFull> {
        let mut state = self.lock();
        if !state.subscriptions.contains(subscription) {
            return Ok(Pushed::Ended);
        }
        state.push(frame, self.bytes_max)?;
        Ok(state.find_writer(|| self.has_wire()))
    }

    /// Queues a publication of a `latest` channel. Never waits, is never refused, and makes the queue
    /// full for nobody else. After [`Outbound::close`] it is dropped.
    ///
    /// While the socket is under back-pressure, the frame waits beside the queue and replaces the one of its
    /// subscription there. The same where the connection has `bytes_max` to write already, because memory must be
    /// bounded. What is in line for a flusher bounds itself.
    pub fn push_latest(&self, subscription: u64, frame: Bytes) -> Latest {
        let mut state = self.lock();
        if !state.subscriptions.contains(subscription) {
            return Latest { pushed: Pushed::Ended, skipped: false };
        }
        state.push_latest(subscription, frame, self.bytes_max, || self.has_wire())
    }

    /// Is it a flusher's, which has not come to it? Then it is full because we are slow, not the
    /// client.
    pub fn is_in_line(&self) -> bool {
        self.lock().writer == QueueWriter::Flusher
    }

    /// Queues a frame beyond the bound, for an outbound that a flusher is writing right now.
    pub fn push_beyond(&self, subscription: u64, frame: Bytes) {
        let mut state = self.lock();
        if state.subscriptions.contains(subscription) {
            state.queue(frame);
            // Where the flusher is done by now, the connection writes it: no one gives the outbound to another.
            let _ = state.find_writer(|| false);
        }
    }

    /// Queues what a client that comes back has missed, from the connection's own task. It may be
    /// more than the bound: it is not slow for what it was not there to take. What it owes counts
    /// from when all of it is written.
    pub fn push_backlog(&self, frames: impl Iterator<Item = Bytes>) {
        self.lock().push_backlog(frames);
    }

    /// Resolves once no backlog waits. For the connection's own task, in one go with
    /// [`Outbound::poll_take`] and behind it.
    pub fn poll_backlog(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if !state.has_backlog() {
            return Poll::Ready(());
        }
        state.wait(cx);
        Poll::Pending
    }

    /// Does a backlog wait to be written?
    pub fn has_backlog(&self) -> bool {
        self.lock().has_backlog()
    }

    /// Queues a frame from the connection's own task, which writes it when it next looks.
    pub fn push_own(&self, frame: Bytes) -> Result<(), QueueFull> {
        self.lock().push_own(frame, self.bytes_max)
    }

    /// Queues a frame from the connection's own task that must not be left out: where there is no room for it, the
    /// connection is closed as slow.
    pub fn say(&self, frame: Bytes) {
        if self.push_own(frame) == Err(QueueFull) {
            self.close_slow();
        }
    }

    /// Ends the connection, as its client does not take what is sent.
    pub fn close_slow(&self) {
        if self.close(Close::Slow) {
            telemetry::slow_consumer_closed();
        }
    }

    /// Asks the session to end for this reason once it has answered what its client asked for. False:
    /// it was asked before, or ends already.
    pub fn ask_to_leave(&self, close: Close) -> bool {
        let mut state = self.lock();
        let is_first = state.end.ask(close);
        if is_first {
            self.nudged.store(true, Ordering::Release);
            state.wake_connection();
        }
        is_first
    }

    /// Why the session was asked to end. None: it was not, or ends already.
    pub fn asked_to_leave(&self) -> Option<Close> {
        self.lock().end.asked()
    }

    /// Was it asked to end, or does it end already?
    pub fn is_leaving(&self) -> bool {
        self.lock().end.has_begun()
    }

    /// Ends the connection; what waits in the queue is still written unless the close says the
    /// client cannot take it. The first reason counts, but for one that it was only asked to end for:
    /// false says that there was one already.
    pub fn close(&self, close: Close) -> bool {
        self.lock().close(close)
    }

    /// For the connection: moves what is to be written next into the empty `batch` and settles what
    /// `batch` has written before.
    ///
    /// Pending: nothing waits, or a flusher is writing; the task is woken when that changes. `Err`:
    /// nothing waits any more and the connection is to end.
    pub fn poll_take(
        &self,
        cx: &mut Context<'_>,
        batch: &mut FrameBatch,
    ) -> Poll<Result<(), Close>> {
        self.lock().poll_take(cx, batch)
    }

    /// The word that ends the connection, for one that is stuck in a write: its socket takes no more.
    /// Pending: it has not been said, and the task is woken when it is.
    pub fn poll_closing(&self, cx: &mut Context<'_>) -> Poll<Close> {
        self.lock().poll_closing(cx)
    }

    /// The word that ends the connection, once it has been said.
    pub fn closing(&self) -> Option<Close> {
        self.lock().end.closing()
    }

    /// Bytes that wait, overhead included.
    pub fn bytes(&self) -> usize {
        self.lock().bytes()
    }

    /// For a flusher that was given this outbound: writes all that is queued, and leaves to the
    /// connection what the socket does not take, and the end. Returns the bytes written. `batch` is
    /// the flusher's own, empty before and after.
    fn flush(&self, batch: &mut FrameBatch) -> usize {
        let mut written = 0;
        let mut state = self.lock();
        loop {
            let Some(wire) = self.wire.get().filter(|_| state.hand_over(batch)) else {
                state.flushed();
                return written;
            };
            drop(state);
            written += batch.write_to(&**wire);
            state = self.lock();
            if state.take_back(batch) {
                return written;
            }
        }
    }

    fn has_wire(&self) -> bool {
        self.wire.get().is_some()
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        // A session that panicked while it held the lock has harmed its own queue, which goes with
        // it; others, who deliver to it, go on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
