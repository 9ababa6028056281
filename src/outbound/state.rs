//! What an outbound queue holds, and what happens to it. Plain data: the caller holds the lock.
//!
//! Two enums say what state it is in, and each owns its transitions: which task writes ([`QueueWriter`]), and how far
//! the connection's end has come ([`End`]).

use std::collections::VecDeque;
use std::mem::{swap, take};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::batch::FrameBatch;
use super::end::End;
use super::frames::{cost, drop_unbegun, give_back_room};
use super::latest::LatestFrames;
use super::overflow::Overflow;
use super::pushed::{Latest, Pushed, QueueFull};
use super::subscriptions::Subscriptions;
use super::writer::QueueWriter;
use crate::close::Close;

#[derive(Default)]
pub struct QueueState {
    pub subscriptions: Subscriptions,
    pub writer: QueueWriter,
    /// Travels beside the queue, never through it: a full queue must not hold back its own end.
    pub end: End,
    frames: VecDeque<Bytes>,
    /// Bytes of the first frame that are through.
    front_written: usize,
    /// Cost of all that was queued and is not yet written, also of what a writer has taken.
    bytes: usize,
    /// None while all of it is written.
    beyond: Option<Box<Overflow>>,
    /// The connection, when it has found nothing to do.
    waiting: Option<Waker>,
}

/// What goes in.
impl QueueState {
    pub fn push(&mut self, frame: Bytes, bytes_max: usize) -> Result<(), QueueFull> {
        let is_plain = self.bytes < bytes_max && cost(&frame) <= bytes_max && self.beyond.is_none();
        if !is_plain {
            return self.push_unusual(frame, bytes_max);
        }
        self.queue(frame);
        Ok(())
    }

    /// Where the queue is full, something waits beyond its bound, or the frame is larger than that.
    #[cold]
    fn push_unusual(&mut self, frame: Bytes, bytes_max: usize) -> Result<(), QueueFull> {
        if let Some(beyond) = &mut self.beyond
            && self.bytes <= bytes_max
        {
            beyond.forget_oversized();
        }
        let size = cost(&frame);
        self.queue_within(frame, bytes_max)?;
        if size > bytes_max {
            self.beyond.get_or_insert_default().add_oversized(size);
        }
        Ok(())
    }

    /// `key`: the number of the subscription.
    pub fn push_latest(
        &mut self,
        key: u64,
        frame: Bytes,
        bytes_max: usize,
        has_wire: impl FnOnce() -> bool,
    ) -> Latest {
        if self.end.is_closing() {
            return Latest { pushed: Pushed::Covered, skipped: false };
        }
        if self.must_latest_wait(bytes_max) {
            return Latest { pushed: Pushed::Covered, skipped: self.put_beside(key, frame) };
        }
        self.newest().queue(cost(&frame));
        self.queue(frame);
        Latest { pushed: self.find_writer(has_wire), skipped: false }
    }

    pub fn push_backlog(&mut self, frames: impl Iterator<Item = Bytes>) {
        for frame in frames {
            self.beyond.get_or_insert_default().add_backlog(cost(&frame));
            self.queue(frame);
        }
        self.said();
    }

    pub fn push_own(&mut self, frame: Bytes, bytes_max: usize) -> Result<(), QueueFull> {
        self.queue_within(frame, bytes_max)?;
        self.said();
        Ok(())
    }

    /// Queues a frame whatever waits. Inlined because each delivery of the node comes through here.
    #[inline(always)]
    pub fn queue(&mut self, frame: Bytes) {
        if !self.end.is_closing() {
            self.bytes += cost(&frame);
            self.frames.push_back(frame);
        }
    }

    /// Sees to it that what was just queued has a writer.
    pub fn find_writer(&mut self, has_wire: impl FnOnce() -> bool) -> Pushed {
        if self.writer != QueueWriter::Idle || self.frames.is_empty() {
            return Pushed::Covered;
        }
        match self.writer.queued(has_wire) {
            Some(QueueWriter::Flusher) => Pushed::Flush,
            Some(_) => {
                self.wake_connection();
                Pushed::Covered
            }
            None => Pushed::Covered,
        }
    }

    fn queue_within(&mut self, frame: Bytes, bytes_max: usize) -> Result<(), QueueFull> {
        if self.bytes >= bytes_max && self.is_full(bytes_max) {
            return Err(QueueFull);
        }
        self.queue(frame);
        Ok(())
    }

    /// At least `bytes_max` wait: does the queue take nothing more for it?
    fn is_full(&self, bytes_max: usize) -> bool {
        let is_full = || self.beyond.as_ref().is_none_or(|it| it.is_full(self.bytes, bytes_max));
        !self.end.is_closing() && is_full()
    }

    /// Under back-pressure, where the time is the socket's. True: it replaced an older one.
    #[cold]
    fn put_beside(&mut self, key: u64, frame: Bytes) -> bool {
        self.newest().put(key, frame)
    }

    fn newest(&mut self) -> &mut LatestFrames {
        &mut self.beyond.get_or_insert_default().newest
    }

    /// Only what the connection writes ever waits beside the queue: no flusher looks there. While
    /// something does, all of its kind must, or an older one might overtake it.
    fn must_latest_wait(&self, bytes_max: usize) -> bool {
        let others_wait = || self.beyond.as_ref().is_some_and(|beyond| beyond.newest.waits());
        match self.writer {
            QueueWriter::Idle | QueueWriter::Flusher => false,
            QueueWriter::Connection => self.bytes >= bytes_max || others_wait(),
            QueueWriter::Blocked => true,
        }
    }

    /// The session has queued something itself, and writes it when it next looks. That is not overtaken: it may be
    /// the answer that comes before a channel's first publication.
    fn said(&mut self) {
        if let Some(beyond) = &mut self.beyond {
            beyond.newest.give_up_turn();
        }
        if !self.frames.is_empty() {
            self.writer.queued(|| false);
        }
    }
}

/// What comes out.
impl QueueState {
    /// For the connection: settles what `batch` has written, and moves what is to be written next into it.
    pub fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut FrameBatch,
    ) -> Poll<Result<(), Close>> {
        if self.settle(batch) > 0 {
            self.writer.advanced();
        }
        if self.writer == QueueWriter::Flusher {
            self.wait(cx);
            return Poll::Pending;
        }
        if self.hand_over_newest(batch) || self.hand_over(batch) {
            return Poll::Ready(Ok(()));
        }
        self.rest();
        batch.give_back_room();
        match self.end.closing() {
            Some(close) => Poll::Ready(Err(close)),
            None => {
                self.wait(cx);
                Poll::Pending
            }
        }
    }

    /// Moves the queue into the empty `batch`. False: it is empty.
    pub fn hand_over(&mut self, batch: &mut FrameBatch) -> bool {
        if self.frames.is_empty() {
            return false;
        }
        swap(&mut self.frames, &mut batch.frames);
        batch.front_written = take(&mut self.front_written);
        if let Some(beyond) = &mut self.beyond {
            beyond.newest.queue_handed_over();
        }
        true
    }

    /// Puts what a flusher could not write back in front of what came meanwhile, and leaves it to the connection.
    /// False: there is no such thing.
    pub fn take_back(&mut self, batch: &mut FrameBatch) -> bool {
        self.settle(batch);
        let is_blocked = !batch.frames.is_empty();
        if self.frames.is_empty() {
            swap(&mut self.frames, &mut batch.frames);
        } else {
            while let Some(frame) = batch.frames.pop_back() {
                self.frames.push_front(frame);
            }
        }
        self.front_written = take(&mut batch.front_written);
        if let Some(beyond) = &mut self.beyond {
            beyond.newest.queue_taken_back(self.bytes);
        }
        if is_blocked {
            // The socket is full, or broken, as the connection will find.
            self.writer.blocked();
            self.wake_connection();
        }
        is_blocked
    }

    /// A flusher has written all, and leaves the end to the connection.
    pub fn flushed(&mut self) {
        self.rest();
        if self.end.is_closing() {
            self.wake_connection();
        }
    }

    /// For the connection, whose socket takes no more.
    pub fn poll_closing(&mut self, cx: &mut Context<'_>) -> Poll<Close> {
        if self.writer.is_connection() {
            self.writer.blocked();
        }
        match self.end.closing() {
            Some(close) => Poll::Ready(close),
            None => {
                self.wait(cx);
                Poll::Pending
            }
        }
    }

    /// Ends the connection. False: it ends already.
    pub fn close(&mut self, close: Close) -> bool {
        let is_first = self.end.close(close);
        if is_first && close.drops_queue() {
            // Only what is half out must be finished; the rest is what the client was too slow for.
            let dropped = drop_unbegun(&mut self.frames, self.front_written);
            self.bytes = self.bytes.saturating_sub(dropped);
            if let Some(beyond) = &mut self.beyond {
                beyond.newest = LatestFrames::default();
            }
        }
        if is_first {
            self.wake_connection();
        }
        is_first
    }

    /// From here on no frame of the subscription is taken. What waits of it beside the queue is dropped too, unless
    /// the connection is being closed: what a polite close leaves in the queue is still written.
    pub fn end_subscription(&mut self, number: u64) {
        self.subscriptions.remove(number);
        if let Some(beyond) = &mut self.beyond
            && !self.end.is_closing()
        {
            beyond.newest.remove(number);
        }
    }

    /// Moves some of what waits beside the queue into the empty `batch`, if it is its turn.
    fn hand_over_newest(&mut self, batch: &mut FrameBatch) -> bool {
        let Some(beyond) = &mut self.beyond else { return false };
        let newest = &mut beyond.newest;
        if !newest.has_turn() && !self.frames.is_empty() {
            return false;
        }
        self.bytes += newest.take_portion(&mut batch.frames);
        !batch.frames.is_empty()
    }

    /// Takes what `batch` has written off the books. Returns its cost.
    fn settle(&mut self, batch: &mut FrameBatch) -> usize {
        let written = batch.settle();
        self.bytes = self.bytes.saturating_sub(written);
        written
    }

    /// All is written.
    fn rest(&mut self) {
        if self.beyond.take().is_some_and(|beyond| beyond.has_backlog()) {
            self.wake_connection();
        }
        self.writer.rest();
        give_back_room(&mut self.frames);
    }
}

impl QueueState {
    pub fn has_backlog(&self) -> bool {
        self.beyond.as_ref().is_some_and(|beyond| beyond.has_backlog())
    }

    /// Bytes that wait, overhead included.
    pub fn bytes(&self) -> usize {
        self.bytes + self.beyond.as_ref().map_or(0, |beyond| beyond.newest.bytes())
    }

    pub fn wait(&mut self, cx: &Context<'_>) {
        if !self.waiting.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waiting = Some(cx.waker().clone());
        }
    }

    pub fn wake_connection(&mut self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}
