//! The states of a queue under every order of events: which writer follows, that the end only advances, and
//! that the connection never sleeps while it has something to do.

use std::sync::atomic::AtomicUsize;
use std::task::Wake;

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use super::*;
use crate::outbound::end::End;

const BYTES_MAX: usize = 200;

#[derive(Clone, Debug)]
enum QueueEvent {
    /// A frame with this number of bytes.
    Push(usize),
    PushLatest(u64),
    PushBeyond,
    PushOwn,
    PushBacklog(usize),
    /// The flusher that has the queue reaches it, or returns to it.
    Flush,
    /// The socket takes this number of bytes of what a writer has taken.
    Written(usize),
    Take,
    Stuck,
    Ask,
    Close(Close),
    EndSubscription(u64),
}

fn event() -> impl Strategy<Value = QueueEvent> {
    prop_oneof![
        4 => (0..300usize).prop_map(QueueEvent::Push),
        4 => (1..4u64).prop_map(QueueEvent::PushLatest),
        1 => Just(QueueEvent::PushBeyond),
        1 => Just(QueueEvent::PushOwn),
        1 => (0..3usize).prop_map(QueueEvent::PushBacklog),
        6 => Just(QueueEvent::Flush),
        8 => (1..200usize).prop_map(QueueEvent::Written),
        6 => Just(QueueEvent::Take),
        3 => Just(QueueEvent::Stuck),
        1 => Just(QueueEvent::Ask),
        1 => prop_oneof![Just(Close::Slow), Just(Close::Expired)].prop_map(QueueEvent::Close),
        1 => (1..4u64).prop_map(QueueEvent::EndSubscription),
    ]
}

/// The observable effects of a step besides the states.
#[derive(Debug, Default)]
struct ObservedEffect {
    /// The caller must flush what a delivery pushed.
    flush: bool,
    /// The socket took less than it was given.
    blocked: bool,
    /// The connection has written some of what it took.
    advanced: bool,
    /// Nothing was left to write.
    rested: bool,
}

/// The table in `writer.rs`.
fn next(
    writer: QueueWriter,
    event: &QueueEvent,
    effect: &ObservedEffect,
    has_wire: bool,
) -> &'static [QueueWriter] {
    use QueueWriter::{Blocked, Connection, Flusher, Idle};
    match (event, writer) {
        (_, Connection | Blocked) if effect.rested => &[Idle],
        (_, Flusher) if effect.rested => &[Idle],
        (_, Flusher | Connection | Blocked) if effect.blocked => &[Blocked],
        (_, Blocked) if effect.advanced => &[Connection],
        // A frame that a closing queue drops needs no writer.
        (QueueEvent::Push(_) | QueueEvent::PushLatest(_), Idle) if has_wire => &[Flusher, Idle],
        (QueueEvent::Push(_) | QueueEvent::PushLatest(_), Idle) => &[Connection, Idle],
        (QueueEvent::PushBeyond | QueueEvent::PushOwn | QueueEvent::PushBacklog(_), Idle) => {
            &[Connection, Idle]
        }
        (_, Idle) => &[Idle],
        (_, Flusher) => &[Flusher],
        (_, Connection) => &[Connection],
        (_, Blocked) => &[Blocked],
    }
}

struct ConnectionCalls(AtomicUsize);

impl Wake for ConnectionCalls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A queue, its flusher, and its connection, whose task sleeps from a `Pending` until it is woken.
struct QueueModel {
    state: QueueState,
    has_wire: bool,
    is_with_flusher: bool,
    flusher: FrameBatch,
    connection: FrameBatch,
    /// The connection has written something that the queue has not yet accounted for.
    has_written: bool,
    calls: Arc<ConnectionCalls>,
    asleep_since: Option<usize>,
}

impl QueueModel {
    fn new(has_wire: bool, is_stamped: bool) -> Self {
        let mut state = QueueState::default();
        if is_stamped {
            // A frame of one byte is not written.
            let longer = |frame: Bytes| [&frame[..], b"stamp"].concat().into();
            state.stamp_with(Box::new(move |frame| (frame.len() != 1).then(|| longer(frame))));
        }
        Self {
            state,
            has_wire,
            is_with_flusher: false,
            flusher: FrameBatch::default(),
            connection: FrameBatch::default(),
            has_written: false,
            calls: Arc::new(ConnectionCalls(AtomicUsize::new(0))),
            asleep_since: None,
        }
    }

    fn calls(&self) -> usize {
        self.calls.0.load(Ordering::Relaxed)
    }

    fn pushed(&mut self, pushed: Pushed) -> ObservedEffect {
        self.is_with_flusher |= pushed == Pushed::Flush;
        ObservedEffect { flush: pushed == Pushed::Flush, ..ObservedEffect::default() }
    }

    /// Returns None if the event cannot happen now.
    fn step(&mut self, event: &QueueEvent) -> Option<ObservedEffect> {
        let (waker, has_wire) = (Waker::from(self.calls.clone()), self.has_wire);
        let cx = &mut Context::from_waker(&waker);
        let frame = |bytes| Bytes::from(vec![b'-'; bytes]);
        let mut effect = ObservedEffect::default();
        match *event {
            QueueEvent::Push(bytes) => {
                let is_full = self.state.push(frame(bytes), BYTES_MAX).is_err();
                assert!(!is_full || self.state.bytes() >= BYTES_MAX);
                let pushed = self.state.find_writer(|| has_wire);
                return Some(self.pushed(pushed));
            }
            QueueEvent::PushLatest(key) => {
                let latest = self.state.push_latest(key, frame(9), BYTES_MAX, || has_wire);
                return Some(self.pushed(latest.pushed));
            }
            QueueEvent::PushBeyond => {
                _ = self.state.queue_costed(frame(9));
                let pushed = self.state.find_writer(|| false);
                return Some(self.pushed(pushed));
            }
            QueueEvent::PushOwn => {
                self.asleep_since = None;
                let _ = self.state.push_own(frame(9), BYTES_MAX);
            }
            QueueEvent::PushBacklog(count) => {
                self.asleep_since = None;
                self.state.push_backlog((0..count).map(|_| frame(300)));
            }
            QueueEvent::Flush if self.is_with_flusher && self.flusher.frames.is_empty() => {
                if !self.state.hand_over(&mut self.flusher) {
                    self.state.flushed();
                    (self.is_with_flusher, effect.rested) = (false, true);
                }
            }
            QueueEvent::Written(bytes) if !self.flusher.frames.is_empty() => {
                write(&mut self.flusher, bytes);
                effect.blocked = self.state.take_back(&mut self.flusher);
                self.is_with_flusher = !effect.blocked;
            }
            QueueEvent::Written(bytes) if !self.connection.frames.is_empty() => {
                write(&mut self.connection, bytes);
                // The socket has woken it.
                (self.has_written, self.asleep_since) = (true, None);
            }
            QueueEvent::Take if self.connection.frames.is_empty() => {
                let is_flushers = self.state.writer == QueueWriter::Flusher;
                let taken = self.state.poll_take(cx, &mut self.connection);
                effect.advanced = std::mem::take(&mut self.has_written) && !is_flushers;
                effect.rested = !is_flushers && taken != Poll::Ready(Ok(()));
                self.asleep_since = taken.is_pending().then(|| self.calls());
            }
            QueueEvent::Stuck if !self.connection.frames.is_empty() => {
                let closing = self.state.poll_closing(cx);
                effect.blocked = true;
                self.asleep_since = closing.is_pending().then(|| self.calls());
            }
            QueueEvent::Ask => drop(self.state.end.ask(Close::Expired)),
            QueueEvent::Close(close) => drop(self.state.close(close)),
            QueueEvent::EndSubscription(key) => self.state.end_subscription(key),
            QueueEvent::Flush | QueueEvent::Written(_) | QueueEvent::Take | QueueEvent::Stuck => {
                return None;
            }
        }
        Some(effect)
    }

    /// A sleeping connection has nothing to do, unless it waits for its socket.
    fn check_sleep(&self) -> TestCaseResult {
        let is_asleep = self.asleep_since.is_some_and(|calls| calls == self.calls());
        let waits_for_socket = !self.connection.frames.is_empty();
        if is_asleep && !waits_for_socket {
            prop_assert!(!self.state.writer.is_connection(), "nothing writes what is queued");
            let is_left = self.state.end.is_closing() && self.state.writer == QueueWriter::Idle;
            prop_assert!(!is_left, "nothing closes the connection");
        }
        if is_asleep && waits_for_socket {
            prop_assert!(!self.state.end.is_closing(), "nothing gives the socket up");
        }
        Ok(())
    }
}

/// Writes this number of bytes, and at least one.
fn write(batch: &mut FrameBatch, bytes: usize) {
    batch.write_next(
        |slices| slices.iter().map(|slice| slice.len()).sum::<usize>().min(bytes),
        |written| *written,
    );
}

fn stage(end: End) -> u8 {
    match end {
        End::Open => 0,
        End::Asked(_) => 1,
        End::Closing(_) => 2,
    }
}

fn check(has_wire: bool, is_stamped: bool, events: &[QueueEvent]) -> TestCaseResult {
    let mut model = QueueModel::new(has_wire, is_stamped);
    for event in events {
        let (writer, end) = (model.state.writer, model.state.end);
        let Some(effect) = model.step(event) else { continue };
        let after = model.state.writer;
        let allowed = next(writer, event, &effect, has_wire);
        prop_assert!(allowed.contains(&after), "{writer:?} to {after:?} at {event:?}: {effect:?}");
        prop_assert_eq!(effect.flush, writer == QueueWriter::Idle && after == QueueWriter::Flusher);
        prop_assert!(stage(model.state.end) >= stage(end), "{:?} after {end:?}", model.state.end);
        if stage(model.state.end) == stage(end) {
            prop_assert_eq!(model.state.end, end, "the first reason counts");
        }
        if after == QueueWriter::Idle && !model.state.end.is_closing() {
            prop_assert_eq!((model.state.bytes(), model.state.has_backlog()), (0, false));
        }
        model.check_sleep()?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn each_queue_event_leads_to_the_documented_state_and_wakes_the_connection(
        has_wire in any::<bool>(),
        is_stamped in any::<bool>(),
        events in proptest::collection::vec(event(), 1..60),
    ) {
        check(has_wire, is_stamped, &events)?;
    }
}

#[test]
fn an_idle_outbound_takes_at_most_192_bytes() {
    assert!(size_of::<Outbound>() <= 192, "{} bytes", size_of::<Outbound>());
}
