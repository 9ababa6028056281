//! The bounded queue to one socket. The hub and the session fill it. It never waits, so that one slow reader
//! delays no other.
//!
//! There are two writers, never at the same time ([`QueueWriter`]). A flusher
//! ([`Flushers`]) writes what the hub delivers, directly from the task that reads from the broker: waking
//! every connection's own task for it would cost a third more. The connection writes what the socket does not
//! take at once, and what the session itself queues.

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
use crate::protocol::Stamp;
use crate::publication::{Position, SessionId};
use crate::telemetry;

/// The queue of frames to one socket, bounded in bytes, and the reason for which the connection ends.
pub struct Outbound {
    session: SessionId,
    bytes_max: usize,
    /// None before the attachment, and always if only the connection can write, as over TLS.
    wire: OnceLock<Arc<dyn Wire>>,
    /// How many of the session's own publications were delivered to it.
    echoes: AtomicU32,
    notified: AtomicBool,
    state: Mutex<QueueState>,
}

impl Outbound {
    /// `bytes_max`: most queued bytes, [`FRAME_OVERHEAD_BYTES`](frames::FRAME_OVERHEAD_BYTES) for each frame
    /// included.
    pub fn new(session: SessionId, bytes_max: usize) -> Self {
        Self {
            session,
            bytes_max,
            wire: OnceLock::new(),
            echoes: AtomicU32::new(0),
            notified: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// The session that owns the socket.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Counts a publication of this session that was queued for it.
    pub fn count_echo(&self) {
        self.echoes.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were counted. Wraps around.
    pub fn echoes(&self) -> u32 {
        self.echoes.load(Ordering::Relaxed)
    }

    /// Makes the session check its settings, which have changed.
    pub fn notify(&self) {
        self.notified.store(true, Ordering::Release);
        self.lock().wake_connection();
    }

    /// Whether the session was notified since the last call. For the connection, before it waits.
    pub fn take_notification(&self) -> bool {
        self.notified.load(Ordering::Relaxed) && self.notified.swap(false, Ordering::Acquire)
    }

    /// Lets flushers write to the socket.
    pub fn attach(&self, wire: Arc<dyn Wire>) {
        // A connection has one socket, attached once.
        let _ = self.wire.set(wire);
    }

    /// Passes each frame through `stamp` when a writer takes it. For a queue that is empty.
    pub fn stamp_with(&self, stamp: Stamp) {
        self.lock().stamp_with(stamp);
    }

    /// The same for a queue that may hold frames, unless it has a stamp already. `stamp`: returns the frames that are
    /// queued already as they are.
    pub fn stamp_from_now(&self, stamp: Stamp) {
        self.lock().stamp_from_now(stamp);
    }

    /// Accepts frames of the subscription with this number, which must not be 0.
    pub fn begin_subscription(&self, subscription: u64) {
        self.lock().subscriptions.add(subscription);
    }

    /// Accepts no more frames of the subscription, also not from a delivery in progress. Drops its `latest`
    /// frame outside the queue, unless the connection is closing: the frames that a close leaves in the queue
    /// are still written.
    pub fn end_subscription(&self, subscription: u64) {
        self.lock().end_subscription(subscription);
    }

    /// Whether the subscription has begun and not ended.
    pub fn has_subscription(&self, subscription: u64) -> bool {
        let state = self.lock();
        state.subscriptions.contains(subscription) || state.is_behind(subscription)
    }

    /// Queues a frame of a subscription. Never waits.
    ///
    /// Fails with [`QueueFull`] once `bytes_max` are queued. One frame may exceed that; and
    /// [`OVERSIZED_MAX`](overflow::OVERSIZED_MAX) frames larger than the bound do not count, so that a
    /// service's large publication and those after it still arrive. After [`Outbound::close`] frames are
    /// dropped, because nothing may follow a close frame.
    pub fn push(&self, subscription: u64, frame: Bytes) -> Result<Pushed, QueueFull> {
        let mut state = self.lock();
        if !state.subscriptions.contains(subscription) {
            return Ok(Pushed::Ended);
        }
        state.push(frame, self.bytes_max)?;
        Ok(state.find_writer(|| self.has_wire()))
    }

    /// Queues the last frame of a subscription and closes the connection, so that no frame comes between. Fails as
    /// [`Outbound::push`].
    pub fn push_last(
        &self,
        subscription: u64,
        frame: Bytes,
        close: Close,
    ) -> Result<Pushed, QueueFull> {
        let mut state = self.lock();
        if !state.subscriptions.contains(subscription) {
            return Ok(Pushed::Ended);
        }
        state.push(frame, self.bytes_max)?;
        let pushed = state.find_writer(|| self.has_wire());
        state.close(close);
        Ok(pushed)
    }

    /// Accepts no more frames of the subscription, whose queue is full, and makes the session catch up later with
    /// what follows the position.
    pub fn fall_behind(&self, subscription: u64, after: Position) {
        let mut state = self.lock();
        if state.fall_behind(subscription, after) {
            self.notified.store(true, Ordering::Release);
            state.wake_connection();
        }
    }

    /// The subscriptions that have fallen behind since the last call, and the positions after which they continue.
    pub fn take_behind(&self) -> Vec<(u64, Position)> {
        self.lock().take_behind()
    }

    /// Whether the subscription has fallen behind and has not ended.
    pub fn is_behind(&self, subscription: u64) -> bool {
        self.lock().is_behind(subscription)
    }

    /// Resolves once all queued frames are written. For the connection's own task, polled together with
    /// [`Outbound::poll_take`] and after it.
    pub fn poll_written(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.bytes() == 0 {
            return Poll::Ready(());
        }
        state.register_waker(cx);
        Poll::Pending
    }

    /// Queues a publication of a `latest` channel. Never waits, never fails, and does not make the queue full
    /// for other frames. After [`Outbound::close`] it is dropped.
    ///
    /// Under back-pressure of the socket the frame is kept outside the queue and replaces the previous one of
    /// its subscription. The same if the connection has `bytes_max` to write already, because memory must be
    /// bounded. Frames that a flusher is about to write need no such bound.
    pub fn push_latest(&self, subscription: u64, frame: Bytes) -> Latest {
        let mut state = self.lock();
        if !state.subscriptions.contains(subscription) {
            return Latest { pushed: Pushed::Ended, skipped: false };
        }
        state.push_latest(subscription, frame, self.bytes_max, || self.has_wire())
    }

    /// Whether a flusher has the queue and has not written it yet. A full queue is then the node's delay, not
    /// the client's.
    pub fn is_with_flusher(&self) -> bool {
        self.lock().writer == QueueWriter::Flusher
    }

    /// Queues a frame beyond the bound, because a flusher is writing the queue at the moment.
    pub fn push_over_bound(&self, subscription: u64, frame: Bytes) {
        let mut state = self.lock();
        if state.subscriptions.contains(subscription) {
            _ = state.queue_costed(frame);
            // If the flusher has finished meanwhile, the connection writes it: the caller passes the outbound
            // to no flusher.
            let _ = state.find_writer(|| false);
        }
    }

    /// Queues the backlog of a resuming client, from the connection's own task. It may exceed the bound: the
    /// backlog does not count against the slow-consumer limit, because the client was offline when it was
    /// published. The limit applies again once all of it is written.
    pub fn push_backlog(&self, frames: impl Iterator<Item = Bytes>) {
        self.lock().push_backlog(frames);
    }

    /// Resolves once the backlog is written. For the connection's own task, polled together with
    /// [`Outbound::poll_take`] and after it.
    pub fn poll_backlog(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if !state.has_backlog() {
            return Poll::Ready(());
        }
        state.register_waker(cx);
        Poll::Pending
    }

    /// Whether a backlog is not yet written.
    pub fn has_backlog(&self) -> bool {
        self.lock().has_backlog()
    }

    /// Queues a frame from the connection's own task, which writes it at its next poll.
    pub fn push_own(&self, frame: Bytes) -> Result<(), QueueFull> {
        self.lock().push_own(frame, self.bytes_max)
    }

    /// Queues a frame that must not be dropped, from the connection's own task. If there is no room, the
    /// connection is closed as slow.
    pub fn push_own_or_close(&self, frame: Bytes) {
        if self.push_own(frame) == Err(QueueFull) {
            self.close_slow();
        }
    }

    /// Closes the connection of a client that is too slow.
    pub fn close_slow(&self) {
        if self.close(Close::Slow) {
            telemetry::slow_consumer_closed();
        }
    }

    /// Asks the session to end for this reason after it has answered the commands in flight. Returns false if
    /// it was asked before or is closing.
    pub fn ask_to_end(&self, close: Close) -> bool {
        let mut state = self.lock();
        let is_first = state.end.ask(close);
        if is_first {
            self.notified.store(true, Ordering::Release);
            state.wake_connection();
        }
        is_first
    }

    /// Why the session was asked to end. None: it was not asked, or is closing.
    pub fn asked_to_end(&self) -> Option<Close> {
        self.lock().end.asked()
    }

    /// Whether the session was asked to end or is closing.
    pub fn is_ending(&self) -> bool {
        self.lock().end.has_begun()
    }

    /// Closes the connection. Queued frames are still written, unless the reason is that the client cannot
    /// take them. The first reason counts, but replaces one with which the session was only asked to end.
    /// Returns false if the connection was closing already.
    pub fn close(&self, close: Close) -> bool {
        self.lock().close(close)
    }

    /// For the connection: accounts for what `batch` has written, and moves the next frames into the empty
    /// `batch`.
    ///
    /// Pending: nothing is queued, or a flusher is writing; the task is woken when that changes. `Err`:
    /// nothing is queued any more and the connection must end.
    pub fn poll_take(
        &self,
        cx: &mut Context<'_>,
        batch: &mut FrameBatch,
    ) -> Poll<Result<(), Close>> {
        self.lock().poll_take(cx, batch)
    }

    /// The close reason, for a connection that is blocked in a write. Pending: the connection is not closing;
    /// the task is woken when it is.
    pub fn poll_closing(&self, cx: &mut Context<'_>) -> Poll<Close> {
        self.lock().poll_closing(cx)
    }

    /// The close reason, once the connection is closing.
    pub fn closing(&self) -> Option<Close> {
        self.lock().end.closing()
    }

    /// Queued bytes, overhead included.
    pub fn bytes(&self) -> usize {
        self.lock().bytes()
    }

    /// For a flusher that got this outbound: writes all queued frames. Leaves to the connection what the
    /// socket does not take, and the close. Returns the bytes written. `batch` is the flusher's own, empty
    /// before and after.
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
        // A session that panicked while it held the lock has damaged only its own queue, which is dropped
        // with it; the tasks that deliver to it continue.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
