//! The states of a queue under every order of events: which writer is next, that the end only goes on, and that the
//! connection is never left asleep over something to do.

use std::sync::atomic::AtomicUsize;
use std::task::Wake;

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use super::*;
use crate::outbound::end::End;

const BYTES_MAX: usize = 200;

#[derive(Clone, Debug)]
enum Event {
    /// Of so many bytes.
    Push(usize),
    PushLatest(u64),
    PushBeyond,
    PushOwn,
    PushBacklog(usize),
    /// The flusher that has the queue in line comes to it, or comes back to it.
    Flush,
    /// The socket takes so many bytes of what a writer has taken.
    Written(usize),
    Take,
    Stuck,
    Ask,
    Close(Close),
    EndSubscription(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..300usize).prop_map(Event::Push),
        4 => (1..4u64).prop_map(Event::PushLatest),
        1 => Just(Event::PushBeyond),
        1 => Just(Event::PushOwn),
        1 => (0..3usize).prop_map(Event::PushBacklog),
        6 => Just(Event::Flush),
        8 => (1..200usize).prop_map(Event::Written),
        6 => Just(Event::Take),
        3 => Just(Event::Stuck),
        1 => Just(Event::Ask),
        1 => prop_oneof![Just(Close::Slow), Just(Close::Expired)].prop_map(Event::Close),
        1 => (1..4u64).prop_map(Event::EndSubscription),
    ]
}

/// What a step shows of itself, beside the states.
#[derive(Debug, Default)]
struct Seen {
    /// What a delivery pushed must be flushed by its caller.
    flush: bool,
    /// The socket took less than it was given.
    blocked: bool,
    /// The connection has written some of what it took.
    advanced: bool,
    /// Nothing was left to be written.
    rested: bool,
}

/// `writer.rs`' table.
fn next(writer: Writer, event: &Event, seen: &Seen, has_wire: bool) -> &'static [Writer] {
    use Writer::{Blocked, Connection, Flusher, Idle};
    match (event, writer) {
        (_, Connection | Blocked) if seen.rested => &[Idle],
        (_, Flusher) if seen.rested => &[Idle],
        (_, Flusher | Connection | Blocked) if seen.blocked => &[Blocked],
        (_, Blocked) if seen.advanced => &[Connection],
        // A frame that a closing queue drops needs no writer.
        (Event::Push(_) | Event::PushLatest(_), Idle) if has_wire => &[Flusher, Idle],
        (Event::Push(_) | Event::PushLatest(_), Idle) => &[Connection, Idle],
        (Event::PushBeyond | Event::PushOwn | Event::PushBacklog(_), Idle) => &[Connection, Idle],
        (_, Idle) => &[Idle],
        (_, Flusher) => &[Flusher],
        (_, Connection) => &[Connection],
        (_, Blocked) => &[Blocked],
    }
}

struct Calls(AtomicUsize);

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A queue, its flusher, and its connection, whose task sleeps from a `Pending` until it is woken.
struct World {
    state: State,
    has_wire: bool,
    in_line: bool,
    flusher: Batch,
    connection: Batch,
    /// The connection has written something that the queue does not know of yet.
    has_written: bool,
    calls: Arc<Calls>,
    asleep_since: Option<usize>,
}

impl World {
    fn new(has_wire: bool) -> Self {
        Self {
            state: State::default(),
            has_wire,
            in_line: false,
            flusher: Batch::default(),
            connection: Batch::default(),
            has_written: false,
            calls: Arc::new(Calls(AtomicUsize::new(0))),
            asleep_since: None,
        }
    }

    fn calls(&self) -> usize {
        self.calls.0.load(Ordering::Relaxed)
    }

    fn pushed(&mut self, pushed: Pushed) -> Seen {
        self.in_line |= pushed == Pushed::Flush;
        Seen { flush: pushed == Pushed::Flush, ..Seen::default() }
    }

    /// None: that cannot happen now.
    fn step(&mut self, event: &Event) -> Option<Seen> {
        let (waker, has_wire) = (Waker::from(self.calls.clone()), self.has_wire);
        let cx = &mut Context::from_waker(&waker);
        let frame = |bytes| Bytes::from(vec![b'-'; bytes]);
        let mut seen = Seen::default();
        match *event {
            Event::Push(bytes) => {
                let is_full = self.state.push(frame(bytes), BYTES_MAX).is_err();
                assert!(!is_full || self.state.bytes() >= BYTES_MAX);
                let pushed = self.state.find_writer(|| has_wire);
                return Some(self.pushed(pushed));
            }
            Event::PushLatest(key) => {
                let latest = self.state.push_latest(key, frame(9), BYTES_MAX, || has_wire);
                return Some(self.pushed(latest.pushed));
            }
            Event::PushBeyond => {
                self.state.queue(frame(9));
                let pushed = self.state.find_writer(|| false);
                return Some(self.pushed(pushed));
            }
            Event::PushOwn => {
                self.asleep_since = None;
                let _ = self.state.push_own(frame(9), BYTES_MAX);
            }
            Event::PushBacklog(count) => {
                self.asleep_since = None;
                self.state.push_backlog((0..count).map(|_| frame(300)));
            }
            Event::Flush if self.in_line && self.flusher.frames.is_empty() => {
                if !self.state.hand_over(&mut self.flusher) {
                    self.state.flushed();
                    (self.in_line, seen.rested) = (false, true);
                }
            }
            Event::Written(bytes) if !self.flusher.frames.is_empty() => {
                write(&mut self.flusher, bytes);
                seen.blocked = self.state.take_back(&mut self.flusher);
                self.in_line = !seen.blocked;
            }
            Event::Written(bytes) if !self.connection.frames.is_empty() => {
                write(&mut self.connection, bytes);
                // The socket has woken it.
                (self.has_written, self.asleep_since) = (true, None);
            }
            Event::Take if self.connection.frames.is_empty() => {
                let is_flushers = self.state.writer == Writer::Flusher;
                let taken = self.state.poll_take(cx, &mut self.connection);
                seen.advanced = std::mem::take(&mut self.has_written) && !is_flushers;
                seen.rested = !is_flushers && taken != Poll::Ready(Ok(()));
                self.asleep_since = taken.is_pending().then(|| self.calls());
            }
            Event::Stuck if !self.connection.frames.is_empty() => {
                let closing = self.state.poll_closing(cx);
                seen.blocked = true;
                self.asleep_since = closing.is_pending().then(|| self.calls());
            }
            Event::Ask => drop(self.state.end.ask(Close::Expired)),
            Event::Close(close) => drop(self.state.close(close)),
            Event::EndSubscription(key) => self.state.end_subscription(key),
            Event::Flush | Event::Written(_) | Event::Take | Event::Stuck => return None,
        }
        Some(seen)
    }

    /// A connection that sleeps has nothing to do, unless its socket is what it waits for.
    fn check_sleep(&self) -> TestCaseResult {
        let is_asleep = self.asleep_since.is_some_and(|calls| calls == self.calls());
        let waits_for_socket = !self.connection.frames.is_empty();
        if is_asleep && !waits_for_socket {
            prop_assert!(!self.state.writer.is_connection(), "nothing writes what is queued");
            let is_left = self.state.end.is_closing() && self.state.writer == Writer::Idle;
            prop_assert!(!is_left, "nothing closes the connection");
        }
        if is_asleep && waits_for_socket {
            prop_assert!(!self.state.end.is_closing(), "nothing gives the socket up");
        }
        Ok(())
    }
}

/// Writes so many bytes, and at least one.
fn write(batch: &mut Batch, bytes: usize) {
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

fn check(has_wire: bool, events: &[Event]) -> TestCaseResult {
    let mut world = World::new(has_wire);
    for event in events {
        let (writer, end) = (world.state.writer, world.state.end);
        let Some(seen) = world.step(event) else { continue };
        let after = world.state.writer;
        let allowed = next(writer, event, &seen, has_wire);
        prop_assert!(allowed.contains(&after), "{writer:?} to {after:?} at {event:?}: {seen:?}");
        prop_assert_eq!(seen.flush, writer == Writer::Idle && after == Writer::Flusher);
        prop_assert!(stage(world.state.end) >= stage(end), "{:?} after {end:?}", world.state.end);
        if stage(world.state.end) == stage(end) {
            prop_assert_eq!(world.state.end, end, "the first reason counts");
        }
        if after == Writer::Idle && !world.state.end.is_closing() {
            prop_assert_eq!((world.state.bytes(), world.state.has_backlog()), (0, false));
        }
        world.check_sleep()?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn each_event_leads_to_the_state_that_the_table_says_and_wakes_the_connection_in_time(
        has_wire in any::<bool>(),
        events in proptest::collection::vec(event(), 1..60),
    ) {
        check(has_wire, &events)?;
    }
}

#[test]
fn an_idle_connection_costs_no_more_than_it_did() {
    assert!(size_of::<Outbound>() <= 192, "{} bytes", size_of::<Outbound>());
}
