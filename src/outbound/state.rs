//! The content of an outbound queue, and its transitions. Plain data: the caller holds the lock.
//!
//! Two enums hold its state, and each owns its transitions: which task writes ([`QueueWriter`]), and how far
//! the connection's end has advanced ([`End`]).

use std::collections::VecDeque;
use std::mem::{swap, take};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::batch::FrameBatch;
use super::end::End;
use super::frames::{cost, drop_unwritten, free_if_empty};
use super::latest::LatestFrames;
use super::overflow::Overflow;
use super::pushed::{Latest, Pushed, QueueFull};
use super::subscriptions::Subscriptions;
use super::writer::QueueWriter;
use crate::close::Close;
use crate::protocol::Stamp;
use crate::publication::Position;

#[derive(Default)]
pub struct QueueState {
    pub subscriptions: Subscriptions,
    pub writer: QueueWriter,
    /// Separate from the queue, because a full queue must not delay its own end.
    pub end: End,
    frames: VecDeque<Bytes>,
    /// How many bytes of the first frame are written.
    front_written: usize,
    /// Cost of all frames that are queued and not yet written, those that a writer has taken included.
    bytes: usize,
    /// None while everything is written and no frame is stamped.
    overflow: Option<Box<Overflow>>,
    /// The waker of the connection, if it waits.
    waker: Option<Waker>,
}

/// Input.
impl QueueState {
    /// Stamps the frames that writers take from now on. For a queue that is empty.
    pub fn stamp_with(&mut self, stamp: Stamp) {
        self.overflow = Some(Overflow::stamped_by(stamp));
    }

    /// The same for a queue that may hold frames, unless it has a stamp already.
    pub fn stamp_from_now(&mut self, stamp: Stamp) {
        self.overflow.get_or_insert_default().stamp_from_now(stamp);
    }

    pub fn push(&mut self, frame: Bytes, bytes_max: usize) -> Result<(), QueueFull> {
        let is_plain =
            self.bytes < bytes_max && cost(&frame) <= bytes_max && self.overflow.is_none();
        if !is_plain {
            return self.push_checked(frame, bytes_max);
        }
        self.queue(frame);
        Ok(())
    }

    /// The cases in which the queue is full, something is queued beyond its bound, or the frame is larger
    /// than the bound.
    #[cold]
    fn push_checked(&mut self, frame: Bytes, bytes_max: usize) -> Result<(), QueueFull> {
        if let Some(overflow) = &mut self.overflow
            && self.bytes <= bytes_max
        {
            overflow.reset_oversized();
        }
        let size = self.queue_within(frame, bytes_max)?;
        if size > bytes_max {
            self.overflow.get_or_insert_default().add_oversized(size);
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
        if self.must_hold_latest(bytes_max) {
            return Latest { pushed: Pushed::Covered, skipped: self.hold_latest(key, frame) };
        }
        let cost = self.queue_costed(frame);
        self.latest().count_queued(cost);
        Latest { pushed: self.find_writer(has_wire), skipped: false }
    }

    pub fn push_backlog(&mut self, frames: impl Iterator<Item = Bytes>) {
        for frame in frames {
            let cost = self.queue_costed(frame);
            self.overflow.get_or_insert_default().add_backlog(cost);
        }
        self.own_queued();
    }

    pub fn push_own(&mut self, frame: Bytes, bytes_max: usize) -> Result<(), QueueFull> {
        self.queue_within(frame, bytes_max)?;
        self.own_queued();
        Ok(())
    }

    /// Queues a frame regardless of the bound. Returns its cost.
    pub fn queue_costed(&mut self, frame: Bytes) -> usize {
        let cost = cost(&frame);
        self.queue(frame);
        cost
    }

    /// The same. Inlined, because every delivery of the node runs through here.
    #[inline(always)]
    fn queue(&mut self, frame: Bytes) {
        if !self.end.is_closing() {
            self.bytes += cost(&frame);
            self.frames.push_back(frame);
        }
    }

    /// Ensures that the frame that was just queued has a writer.
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

    /// Returns the cost.
    fn queue_within(&mut self, frame: Bytes, bytes_max: usize) -> Result<usize, QueueFull> {
        if self.bytes >= bytes_max && self.is_full(bytes_max) {
            return Err(QueueFull);
        }
        Ok(self.queue_costed(frame))
    }

    /// Whether a queue with at least `bytes_max` accepts no more frames.
    fn is_full(&self, bytes_max: usize) -> bool {
        let is_full = || self.overflow.as_ref().is_none_or(|it| it.is_full(self.bytes, bytes_max));
        !self.end.is_closing() && is_full()
    }

    /// Under back-pressure, where the time goes to the socket anyway. Returns true if the frame replaced an
    /// older one.
    #[cold]
    fn hold_latest(&mut self, key: u64, frame: Bytes) -> bool {
        self.latest().replace(key, frame)
    }

    fn latest(&mut self) -> &mut LatestFrames {
        &mut self.overflow.get_or_insert_default().latest
    }

    /// Frames are kept outside the queue only while the connection writes, because flushers do not look
    /// there. While some are, all of their kind must be, so that no older one overtakes a newer one.
    fn must_hold_latest(&self, bytes_max: usize) -> bool {
        let others_wait =
            || self.overflow.as_ref().is_some_and(|overflow| overflow.latest.has_frames());
        match self.writer {
            QueueWriter::Idle | QueueWriter::Flusher => false,
            QueueWriter::Connection => self.bytes >= bytes_max || others_wait(),
            QueueWriter::Blocked => true,
        }
    }

    /// The session has queued a frame itself, and writes it at its next poll. Frames outside the queue must
    /// not overtake it: it may be the reply that precedes a channel's first publication.
    fn own_queued(&mut self) {
        if let Some(overflow) = &mut self.overflow {
            overflow.latest.clear_turn();
        }
        if !self.frames.is_empty() {
            self.writer.queued(|| false);
        }
    }
}

/// Output.
impl QueueState {
    /// For the connection: accounts for what `batch` has written, and moves the next frames into it.
    pub fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut FrameBatch,
    ) -> Poll<Result<(), Close>> {
        if self.settle(batch) > 0 {
            self.writer.advanced();
        }
        if self.writer == QueueWriter::Flusher {
            self.register_waker(cx);
            return Poll::Pending;
        }
        if self.hand_over_latest(batch) || self.hand_over(batch) {
            return Poll::Ready(Ok(()));
        }
        self.finish();
        batch.free_if_empty();
        match self.end.closing() {
            Some(close) => Poll::Ready(Err(close)),
            None => {
                self.register_waker(cx);
                Poll::Pending
            }
        }
    }

    /// Moves the queue into the empty `batch`, or a part of it if its frames are stamped. Returns false if nothing
    /// is to be written.
    pub fn hand_over(&mut self, batch: &mut FrameBatch) -> bool {
        if self.frames.is_empty() {
            return false;
        }
        match &mut self.overflow {
            Some(overflow) if overflow.has_stamp() => {
                let (before, after) = overflow.take_stamped(&mut self.frames, &mut batch.frames);
                self.bytes = (self.bytes + after).saturating_sub(before);
            }
            _ => swap(&mut self.frames, &mut batch.frames),
        }
        batch.front_written = take(&mut self.front_written);
        if self.frames.is_empty()
            && let Some(overflow) = &mut self.overflow
        {
            overflow.latest.queue_handed_over();
        }
        !batch.frames.is_empty()
    }

    /// Puts what a flusher could not write back in front of the newer frames, and leaves it to the
    /// connection. Returns false if the flusher has written everything.
    pub fn take_back(&mut self, batch: &mut FrameBatch) -> bool {
        self.settle(batch);
        let is_blocked = !batch.frames.is_empty();
        if let Some(overflow) = &mut self.overflow {
            overflow.put_back(batch.frames.len());
        }
        if self.frames.is_empty() {
            swap(&mut self.frames, &mut batch.frames);
        } else {
            while let Some(frame) = batch.frames.pop_back() {
                self.frames.push_front(frame);
            }
        }
        self.front_written = take(&mut batch.front_written);
        if let Some(overflow) = &mut self.overflow {
            overflow.latest.queue_taken_back(self.bytes);
        }
        if is_blocked {
            // The socket is full, or broken, which the connection will find.
            self.writer.blocked();
            self.wake_connection();
        }
        is_blocked
    }

    /// A flusher has written everything, and leaves the close to the connection.
    pub fn flushed(&mut self) {
        self.finish();
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
                self.register_waker(cx);
                Poll::Pending
            }
        }
    }

    /// Closes the connection. Returns false if it is closing already.
    pub fn close(&mut self, close: Close) -> bool {
        let is_first = self.end.close(close);
        if is_first && close.drops_queue() {
            // Only the partly written frame must be completed; the client was too slow for the rest.
            let dropped = drop_unwritten(&mut self.frames, self.front_written);
            self.bytes = self.bytes.saturating_sub(dropped);
            if let Some(overflow) = &mut self.overflow {
                overflow.latest = LatestFrames::default();
                overflow.cut(self.frames.len());
            }
        }
        if is_first {
            self.wake_connection();
        }
        is_first
    }

    /// Returns false if the subscription has ended or is behind already.
    pub fn fall_behind(&mut self, number: u64, after: Position) -> bool {
        let is_live = self.subscriptions.contains(number);
        if is_live {
            self.subscriptions.remove(number);
            self.overflow.get_or_insert_default().behind.push((number, Some(after)));
        }
        is_live
    }

    pub fn take_behind(&mut self) -> Vec<(u64, Position)> {
        let behind = self.overflow.iter_mut().flat_map(|overflow| &mut overflow.behind);
        behind.filter_map(|(number, after)| Some((*number, after.take()?))).collect()
    }

    pub fn is_behind(&self, number: u64) -> bool {
        let mut behind = self.overflow.iter().flat_map(|overflow| &overflow.behind);
        behind.any(|(other, _)| *other == number)
    }

    /// Accepts no more frames of the subscription. Drops its `latest` frame outside the queue, unless the
    /// connection is closing: the frames that a close leaves in the queue are still written.
    pub fn end_subscription(&mut self, number: u64) {
        self.subscriptions.remove(number);
        let Some(overflow) = &mut self.overflow else { return };
        overflow.behind.retain(|(other, _)| *other != number);
        if !self.end.is_closing() {
            overflow.latest.remove(number);
        }
    }

    /// Moves some of the frames outside the queue into the empty `batch`, if it is their turn. Returns false if
    /// there are none, or if they are in the queue now.
    fn hand_over_latest(&mut self, batch: &mut FrameBatch) -> bool {
        let Some(overflow) = &mut self.overflow else { return false };
        if !overflow.latest.has_turn() && !self.frames.is_empty() {
            return false;
        }
        self.bytes += overflow.take_latest(&mut self.frames, &mut batch.frames);
        !batch.frames.is_empty()
    }

    /// Subtracts what `batch` has written. Returns its cost.
    fn settle(&mut self, batch: &mut FrameBatch) -> usize {
        let written = batch.settle();
        self.bytes = self.bytes.saturating_sub(written);
        written
    }

    /// Everything is written.
    fn finish(&mut self) {
        if let Some(overflow) = self.overflow.take() {
            if overflow.has_backlog() || !overflow.behind.is_empty() {
                self.wake_connection();
            }
            self.overflow = overflow.emptied();
        }
        self.writer.finish();
        free_if_empty(&mut self.frames);
    }
}

impl QueueState {
    pub fn has_backlog(&self) -> bool {
        self.overflow.as_ref().is_some_and(|overflow| overflow.has_backlog())
    }

    /// Queued bytes, overhead included.
    pub fn bytes(&self) -> usize {
        self.bytes + self.overflow.as_ref().map_or(0, |overflow| overflow.latest.bytes())
    }

    pub fn register_waker(&mut self, cx: &Context<'_>) {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
    }

    pub fn wake_connection(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
