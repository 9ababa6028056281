//! The bounded queue to one socket. Filled by the hub and by the session's own replies, emptied by
//! the connection; never waits, so one slow reader delays nobody.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::close::Close;
use crate::publication::SessionId;

/// What a queued frame costs beside its bytes, so that a flood of tiny frames is bounded too.
const FRAME_OVERHEAD_BYTES: usize = size_of::<Bytes>();

/// A queue that kept more room than this many frames gives it back when it runs empty.
const SPARE_FRAMES_MAX: usize = 16;

/// The queue of frames to one socket, bounded in bytes, and the word that ends the connection.
#[derive(Debug)]
pub struct Outbound {
    session: SessionId,
    bytes_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Bytes>,
    /// Cost of all that was pushed and is not yet written, also of what the connection has taken.
    bytes: usize,
    /// Travels beside the queue, never through it: a full queue must not hold back its own end.
    close: Option<Close>,
    /// The connection, when it has found nothing to do.
    waiting: Option<Waker>,
}

impl State {
    fn wait(&mut self, cx: &Context<'_>) {
        if !self.waiting.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waiting = Some(cx.waker().clone());
        }
    }
}

/// The queue has no room for the frame; it was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// The frames a connection is writing, and how much of the first one is through.
#[derive(Debug, Default)]
pub struct Batch {
    pub frames: VecDeque<Bytes>,
    /// Cost of the frames that were written since the last [`Outbound::poll_take`].
    written: usize,
}

impl Batch {
    /// Drops the front frame, which has gone out whole.
    pub fn pop_written(&mut self) {
        if let Some(frame) = self.frames.pop_front() {
            self.written += cost(&frame);
        }
    }
}

impl Outbound {
    /// `bytes_max`: most bytes that may wait, [`FRAME_OVERHEAD_BYTES`] a frame included.
    pub fn new(session: SessionId, bytes_max: usize) -> Self {
        Self { session, bytes_max, state: Mutex::default() }
    }

    /// Whose socket this is.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Queues a frame for the socket. Never waits.
    ///
    /// Fails with [`Full`] beyond `bytes_max`. An empty queue takes one frame of any size: what a
    /// service published larger than the bound still arrives. After [`Outbound::close`] frames are
    /// dropped: nothing follows a close frame.
    pub fn push(&self, frame: Bytes) -> Result<(), Full> {
        let mut state = self.lock();
        if state.close.is_some() {
            return Ok(());
        }
        let bytes = state.bytes + cost(&frame);
        if bytes > self.bytes_max && state.bytes > 0 {
            return Err(Full);
        }
        state.bytes = bytes;
        state.frames.push_back(frame);
        let waiting = state.waiting.take();
        drop(state);
        if let Some(waker) = waiting {
            waker.wake();
        }
        Ok(())
    }

    /// Ends the connection; what waits in the queue is still written unless the close says the
    /// client cannot take it. The first reason counts: false says that there was one already.
    pub fn close(&self, close: Close) -> bool {
        let mut state = self.lock();
        if state.close.is_some() {
            return false;
        }
        state.close = Some(close);
        if close == Close::Slow {
            state.frames = VecDeque::new();
        }
        let waiting = state.waiting.take();
        drop(state);
        if let Some(waker) = waiting {
            waker.wake();
        }
        true
    }

    /// Moves all that waits into the empty `batch` and settles what `batch` has written before.
    ///
    /// Pending: nothing waits, and the task is woken by the next push or close. `Err`: nothing
    /// waits any more and the connection is to end.
    pub fn poll_take(&self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<Result<(), Close>> {
        debug_assert!(batch.frames.is_empty(), "a batch is written whole before the next");
        let mut state = self.lock();
        state.bytes -= std::mem::take(&mut batch.written);
        if !state.frames.is_empty() {
            std::mem::swap(&mut state.frames, &mut batch.frames);
            return Poll::Ready(Ok(()));
        }
        if let Some(close) = state.close {
            return Poll::Ready(Err(close));
        }
        if state.frames.capacity() > SPARE_FRAMES_MAX {
            state.frames = VecDeque::new();
        }
        state.wait(cx);
        drop(state);
        if batch.frames.capacity() > SPARE_FRAMES_MAX {
            batch.frames = VecDeque::new();
        }
        Poll::Pending
    }

    /// The word that ends the connection, for one that is stuck in a write. Pending: it has not been
    /// said, and the task is woken when it is.
    pub fn poll_closing(&self, cx: &mut Context<'_>) -> Poll<Close> {
        let mut state = self.lock();
        match state.close {
            Some(close) => Poll::Ready(close),
            None => {
                state.wait(cx);
                Poll::Pending
            }
        }
    }

    /// The word that ends the connection, once it has been said.
    pub fn closing(&self) -> Option<Close> {
        self.lock().close
    }

    /// Bytes that wait, overhead included.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the outbound lock")
    }
}

fn cost(frame: &Bytes) -> usize {
    frame.len() + FRAME_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publication::NodeId;
    use std::task::Waker;

    fn outbound(bytes_max: usize) -> Outbound {
        Outbound::new(SessionId { node: NodeId::random(), number: 1 }, bytes_max)
    }

    fn take(outbound: &Outbound, batch: &mut Batch) -> Poll<Result<(), Close>> {
        outbound.poll_take(&mut Context::from_waker(Waker::noop()), batch)
    }

    #[test]
    fn is_bounded_in_bytes_until_they_are_written() {
        let frame = Bytes::from(vec![0; 100]);
        let outbound = outbound(2 * cost(&frame));
        let mut batch = Batch::default();
        assert_eq!(outbound.push(frame.clone()), Ok(()));
        assert_eq!(outbound.push(frame.clone()), Ok(()));
        assert_eq!(outbound.push(frame.clone()), Err(Full));
        assert!(take(&outbound, &mut batch).is_ready());
        assert_eq!(outbound.push(frame.clone()), Err(Full), "taken is not yet written");
        batch.pop_written();
        batch.pop_written();
        assert!(take(&outbound, &mut batch).is_pending());
        assert_eq!(outbound.bytes(), 0);
        assert_eq!(outbound.push(frame), Ok(()));
    }

    #[test]
    fn an_empty_queue_takes_one_frame_of_any_size() {
        let outbound = outbound(10);
        assert_eq!(outbound.push(Bytes::from(vec![0; 100])), Ok(()));
        assert_eq!(outbound.push(Bytes::new()), Err(Full));
    }

    #[test]
    fn the_first_close_counts_and_a_slow_one_drops_the_queue() {
        let outbound = outbound(1000);
        outbound.push(Bytes::from_static(b"x")).unwrap();
        assert!(outbound.close(Close::Slow));
        assert!(!outbound.close(Close::Drain));
        let mut batch = Batch::default();
        assert_eq!(take(&outbound, &mut batch), Poll::Ready(Err(Close::Slow)));
        assert!(batch.frames.is_empty());
    }

    #[test]
    fn a_polite_close_lets_the_queue_out_first() {
        let outbound = outbound(1000);
        outbound.push(Bytes::from_static(b"x")).unwrap();
        outbound.close(Close::Drain);
        let mut batch = Batch::default();
        assert_eq!(take(&outbound, &mut batch), Poll::Ready(Ok(())));
        batch.pop_written();
        assert_eq!(take(&outbound, &mut batch), Poll::Ready(Err(Close::Drain)));
    }
}
