//! The bounded queue to one socket. Filled by the hub and by the session's own replies; never waits,
//! so one slow reader delays nobody.
//!
//! Two may empty it, never at once. What the hub delivers is written by a flusher ([`Flushers`]),
//! straight from the task that read the broker: to wake every connection's own task for it costs a
//! third more. What the socket does not take at once, and what the session itself says, is written
//! by the connection.

mod batch;
mod flushers;
mod latest;
mod subscriptions;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

pub use self::batch::Batch;
pub use self::flushers::{AtOnce, Flushers};
pub use self::latest::Latest;
use self::latest::Newest;
use self::subscriptions::Subscriptions;
use crate::close::Close;
use crate::publication::SessionId;
use crate::telemetry;

/// What a queued frame costs beside its bytes, so that a flood of tiny frames is bounded too.
const FRAME_OVERHEAD_BYTES: usize = size_of::<Bytes>();

/// A queue that has room for more frames than this gives the room back when it runs empty.
const SPARE_FRAMES_MAX: usize = 4;

/// How many publications that are larger than the whole bound may wait beyond it. Their bytes are shared with
/// the other subscribers, and a prompt reader needs a while for them all the same.
const OVERSIZED_MAX: u8 = 4;

/// A socket that takes bytes at once or not at all.
pub trait Wire: Send + Sync {
    /// Writes what fits. `WouldBlock`: nothing does.
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;
}

/// The queue of frames to one socket, bounded in bytes, and the word that ends the connection.
pub struct Outbound {
    session: SessionId,
    bytes_max: usize,
    /// None so far, or for good where only the connection can write, as over TLS.
    wire: OnceLock<Arc<dyn Wire>>,
    /// Publications of the session itself that came back to it.
    echoes: AtomicU32,
    nudged: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    frames: VecDeque<Bytes>,
    /// Bytes of the first frame that are through.
    front_written: usize,
    /// Cost of all that was pushed and is not yet written, also of what a writer has taken.
    bytes: usize,
    /// How far `bytes` may exceed the bound, for a backlog that is not yet written.
    allowance: usize,
    /// The same for publications larger than the bound, and how many there were since the queue last held
    /// no more than the bound.
    oversized_bytes: usize,
    oversized: u8,
    subscriptions: Subscriptions,
    writer: Writer,
    /// Did the socket take less than it was given? Until the connection has written that, it is
    /// under back-pressure.
    refused: bool,
    /// None while all that `latest` channels brought is out.
    newest: Option<Box<Newest>>,
    /// Travels beside the queue, never through it: a full queue must not hold back its own end.
    close: Option<Close>,
    /// The connection is only asked to end: `close` is not its last word yet.
    is_asked: bool,
    /// The connection, when it has found nothing to do.
    waiting: Option<Waker>,
}

/// Who is to write what is queued, or is writing it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Writer {
    #[default]
    Nobody,
    Flusher,
    Connection,
}

/// The queue has no room for the frame; it was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// What is to follow a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "unflushed, the frame waits for the next one"]
pub enum Pushed {
    /// Somebody is about to write it.
    Covered,
    /// The outbound must be given to the [`Flushers`].
    Flush,
    /// The subscription has ended: the frame was dropped.
    Ended,
}

impl Outbound {
    /// `bytes_max`: most bytes that may wait, [`FRAME_OVERHEAD_BYTES`] a frame included.
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
    pub fn nudge(&self) {
        self.nudged.store(true, Ordering::Release);
        self.lock().wake_connection();
    }

    /// Was it nudged since it was last asked? For the connection, before it waits.
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
        let mut state = self.lock();
        state.subscriptions.remove(subscription);
        if state.closing().is_none()
            && let Some(newest) = &mut state.newest
        {
            newest.remove(subscription);
        }
    }

    /// Has the subscription begun, and not ended?
    pub fn has(&self, subscription: u64) -> bool {
        self.lock().subscriptions.contains(subscription)
    }

    /// Queues a frame of a subscription. Never waits.
    ///
    /// Fails with [`Full`] once `bytes_max` wait. It may be exceeded by one frame; and [`OVERSIZED_MAX`]
    /// frames that are larger than the bound do not count, so that what a service published still arrives,
    /// and what follows it too. After [`Outbound::close`] frames are dropped: nothing follows a close frame.
    pub fn push(&self, subscription: u64, frame: Bytes) -> Result<Pushed, Full> {
        let mut state = self.lock();
        if !state.subscriptions.contains(subscription) {
            return Ok(Pushed::Ended);
        }
        if state.bytes <= self.bytes_max {
            // None that is larger than the bound waits any more, also where the queue never runs empty.
            (state.oversized, state.oversized_bytes) = (0, 0);
        }
        let size = cost(&frame);
        state.queue(frame, self.bytes_max)?;
        if size > self.bytes_max && state.oversized < OVERSIZED_MAX {
            state.oversized += 1;
            state.oversized_bytes += size;
        }
        Ok(self.find_writer(&mut state))
    }

    /// Is it a flusher's, which has not come to it? Then it is full because we are slow, not the
    /// client.
    pub fn is_in_line(&self) -> bool {
        self.lock().writer == Writer::Flusher
    }

    /// Queues a frame beyond the bound, for an outbound that a flusher is writing right now.
    pub fn push_beyond(&self, subscription: u64, frame: Bytes) {
        let mut state = self.lock();
        if !state.subscriptions.contains(subscription) {
            return;
        }
        // Unbounded for this one frame it cannot fail.
        let _ = state.queue(frame, usize::MAX);
        if state.writer == Writer::Nobody {
            state.writer = Writer::Connection;
            state.wake_connection();
        }
    }

    /// Queues what a client that comes back has missed, from the connection's own task. It may be
    /// more than the bound: it is not slow for what it was not there to take. What it owes counts
    /// from when all of it is written.
    pub fn push_backlog(&self, frames: impl Iterator<Item = Bytes>) {
        let mut state = self.lock();
        for frame in frames {
            state.allowance += cost(&frame);
            // Unbounded for these it cannot fail.
            let _ = state.queue(frame, usize::MAX);
        }
        state.queue_first();
        if state.writer == Writer::Nobody && !state.frames.is_empty() {
            state.writer = Writer::Connection;
        }
    }

    /// Resolves once no backlog waits. For the connection's own task, in one go with
    /// [`Outbound::poll_take`] and behind it.
    pub fn poll_backlog(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        match state.allowance {
            0 => Poll::Ready(()),
            _ => {
                state.wait(cx);
                Poll::Pending
            }
        }
    }

    /// Does a backlog wait to be written?
    pub fn has_backlog(&self) -> bool {
        self.lock().allowance > 0
    }

    /// Queues a frame from the connection's own task, which writes it when it next looks.
    pub fn push_own(&self, frame: Bytes) -> Result<(), Full> {
        let mut state = self.lock();
        state.queue(frame, self.bytes_max)?;
        state.queue_first();
        if state.writer == Writer::Nobody {
            state.writer = Writer::Connection;
        }
        Ok(())
    }

    /// Queues a frame from the connection's own task that must not be left out: where there is no room for it, the
    /// connection is closed as slow.
    pub fn say(&self, frame: Bytes) {
        if self.push_own(frame) == Err(Full) {
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
        if state.close.is_some() {
            return false;
        }
        state.close = Some(close);
        state.is_asked = true;
        self.nudged.store(true, Ordering::Release);
        state.wake_connection();
        true
    }

    /// Why the session was asked to end. None: it was not, or ends already.
    pub fn asked_to_leave(&self) -> Option<Close> {
        let state = self.lock();
        state.close.filter(|_| state.is_asked)
    }

    /// Was it asked to end, or does it end already?
    pub fn is_leaving(&self) -> bool {
        self.lock().close.is_some()
    }

    /// Ends the connection; what waits in the queue is still written unless the close says the
    /// client cannot take it. The first reason counts, but for one that it was only asked to end for:
    /// false says that there was one already.
    pub fn close(&self, close: Close) -> bool {
        let mut state = self.lock();
        if state.closing().is_some() {
            return false;
        }
        state.close = Some(close);
        state.is_asked = false;
        if close.drops_queue() {
            // Only what is half out must be finished; the rest is what it was too slow for.
            let half_out = usize::from(state.front_written > 0);
            let dropped: usize = state.frames.drain(half_out..).map(|frame| cost(&frame)).sum();
            state.bytes = state.bytes.saturating_sub(dropped);
            state.newest = None;
        }
        state.wake_connection();
        true
    }

    /// For the connection: moves what is to be written next into the empty `batch` and settles what
    /// `batch` has written before.
    ///
    /// Pending: nothing waits, or a flusher is writing; the task is woken when that changes. `Err`:
    /// nothing waits any more and the connection is to end.
    pub fn poll_take(&self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<Result<(), Close>> {
        let mut state = self.lock();
        let written = batch.settle();
        state.bytes = state.bytes.saturating_sub(written);
        if state.writer == Writer::Flusher {
            state.wait(cx);
            return Poll::Pending;
        }
        // The connection has written all it took.
        state.refused &= written == 0;
        if state.hand_over_newest(batch) {
            return Poll::Ready(Ok(()));
        }
        if !state.frames.is_empty() {
            state.writer = Writer::Connection;
            state.hand_over(batch);
            return Poll::Ready(Ok(()));
        }
        state.become_idle();
        batch.give_back_room();
        if let Some(close) = state.closing() {
            return Poll::Ready(Err(close));
        }
        state.wait(cx);
        Poll::Pending
    }

    /// The word that ends the connection, for one that is stuck in a write: its socket takes no more.
    /// Pending: it has not been said, and the task is woken when it is.
    pub fn poll_closing(&self, cx: &mut Context<'_>) -> Poll<Close> {
        let mut state = self.lock();
        state.refused = true;
        match state.closing() {
            Some(close) => Poll::Ready(close),
            None => {
                state.wait(cx);
                Poll::Pending
            }
        }
    }

    /// The word that ends the connection, once it has been said.
    pub fn closing(&self) -> Option<Close> {
        self.lock().closing()
    }

    /// Bytes that wait, overhead included.
    pub fn bytes(&self) -> usize {
        let state = self.lock();
        state.bytes + state.newest.as_ref().map_or(0, |newest| newest.bytes())
    }

    /// For a flusher that was given this outbound: writes all that is queued, and leaves to the
    /// connection what the socket does not take, and the end. Returns the bytes written. `batch` is
    /// the flusher's own, empty before and after.
    fn flush(&self, batch: &mut Batch) -> usize {
        let mut written = 0;
        let mut state = self.lock();
        loop {
            let Some(wire) = self.wire.get().filter(|_| !state.frames.is_empty()) else {
                state.become_idle();
                if state.closing().is_some() {
                    state.wake_connection();
                }
                return written;
            };
            state.hand_over(batch);
            drop(state);
            written += batch.write_to(&**wire);
            let blocked = !batch.frames.is_empty();
            state = self.lock();
            state.bytes = state.bytes.saturating_sub(batch.settle());
            state.take_back(batch);
            if blocked {
                // The socket is full, or broken, as the connection will find.
                state.writer = Writer::Connection;
                state.refused = true;
                state.wake_connection();
                return written;
            }
        }
    }

    /// Sees to it that what was just queued has a writer.
    fn find_writer(&self, state: &mut State) -> Pushed {
        if state.writer != Writer::Nobody || state.frames.is_empty() {
            return Pushed::Covered;
        }
        if self.wire.get().is_some() {
            state.writer = Writer::Flusher;
            return Pushed::Flush;
        }
        state.writer = Writer::Connection;
        state.wake_connection();
        Pushed::Covered
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A session that panicked while it held the lock has harmed its own queue, which goes with
        // it; others, who deliver to it, go on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn closing(&self) -> Option<Close> {
        self.close.filter(|_| !self.is_asked)
    }

    fn queue(&mut self, frame: Bytes, bytes_max: usize) -> Result<(), Full> {
        if self.closing().is_some() {
            return Ok(());
        }
        let beyond = self.allowance + self.oversized_bytes;
        let bytes_max = bytes_max.saturating_add(beyond);
        if self.bytes >= bytes_max && self.bytes_bounded() >= bytes_max {
            return Err(Full);
        }
        self.bytes += cost(&frame);
        self.frames.push_back(frame);
        Ok(())
    }

    fn hand_over(&mut self, batch: &mut Batch) {
        std::mem::swap(&mut self.frames, &mut batch.frames);
        batch.front_written = std::mem::take(&mut self.front_written);
        if let Some(newest) = &mut self.newest {
            newest.queue_handed_over();
        }
    }

    /// Puts what a flusher could not write back in front of what came meanwhile.
    fn take_back(&mut self, batch: &mut Batch) {
        if self.frames.is_empty() {
            std::mem::swap(&mut self.frames, &mut batch.frames);
        } else {
            while let Some(frame) = batch.frames.pop_back() {
                self.frames.push_front(frame);
            }
        }
        self.front_written = std::mem::take(&mut batch.front_written);
        if let Some(newest) = &mut self.newest {
            newest.queue_taken_back(self.bytes);
        }
    }

    /// All is written.
    fn become_idle(&mut self) {
        if std::mem::take(&mut self.allowance) > 0 {
            self.wake_connection();
        }
        self.writer = Writer::Nobody;
        self.refused = false;
        (self.oversized, self.oversized_bytes) = (0, 0);
        self.newest = None;
        self.give_back_room();
    }

    fn give_back_room(&mut self) {
        if self.frames.capacity() > SPARE_FRAMES_MAX {
            self.frames = VecDeque::new();
        }
    }

    fn wait(&mut self, cx: &Context<'_>) {
        if !self.waiting.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waiting = Some(cx.waker().clone());
        }
    }

    fn wake_connection(&mut self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}

fn cost(frame: &Bytes) -> usize {
    frame.len() + FRAME_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests;
