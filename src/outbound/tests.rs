mod latest;
mod machine;

use std::io::{self, IoSlice};
use std::task::Waker;

use super::frames::cost;
use super::overflow::OVERSIZED_MAX;
use super::*;
use crate::publication::NodeId;

/// A wire that takes a given number of bytes, then blocks.
struct BoundedWire {
    room: Mutex<usize>,
    taken: Mutex<Vec<u8>>,
}

impl BoundedWire {
    fn with_room(bytes: usize) -> Arc<Self> {
        Arc::new(Self { room: Mutex::new(bytes), taken: Mutex::default() })
    }
}

impl Wire for BoundedWire {
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut room = self.room.lock().unwrap();
        let mut bytes = 0;
        for slice in slices {
            let some = slice.len().min(*room);
            self.taken.lock().unwrap().extend(&slice[..some]);
            *room -= some;
            bytes += some;
        }
        if bytes == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(bytes) }
    }
}

/// The subscription of frames for which it does not matter.
const ANY: u64 = 1000;

/// An outbound with the subscriptions 1 to 200, and [`ANY`].
fn outbound(bytes_max: usize) -> Outbound {
    let outbound = Outbound::new(SessionId { node: NodeId::random(), number: 1 }, bytes_max);
    (1..=200).chain([ANY]).for_each(|number| outbound.begin_subscription(number));
    outbound
}

/// Ends a subscription, and begins another one with its number.
fn restart_subscription(outbound: &Outbound, number: u64) {
    outbound.end_subscription(number);
    outbound.begin_subscription(number);
}

fn take(outbound: &Outbound, batch: &mut FrameBatch) -> Poll<Result<(), Close>> {
    outbound.poll_take(&mut Context::from_waker(Waker::noop()), batch)
}

/// Writes the whole batch, like a connection whose socket has room.
fn write(batch: &mut FrameBatch) {
    while !batch.frames.is_empty() {
        batch.write_next(|slices| slices.iter().map(|slice| slice.len()).sum(), |bytes| *bytes);
    }
}

fn frame(bytes: &'static [u8]) -> Bytes {
    Bytes::from_static(bytes)
}

#[test]
fn a_queue_is_bounded_in_bytes_until_they_are_written() {
    let frame = Bytes::from(vec![0; 100]);
    let outbound = outbound(2 * cost(&frame));
    let mut batch = FrameBatch::default();
    assert!(outbound.push(ANY, frame.clone()).is_ok());
    assert!(outbound.push(ANY, frame.clone()).is_ok());
    assert_eq!(outbound.push(ANY, frame.clone()), Err(QueueFull));
    assert!(take(&outbound, &mut batch).is_ready());
    assert_eq!(outbound.push(ANY, frame.clone()), Err(QueueFull), "taken is not yet written");
    write(&mut batch);
    assert!(take(&outbound, &mut batch).is_pending());
    assert_eq!(outbound.bytes(), 0);
    assert!(outbound.push(ANY, frame).is_ok());
}

#[test]
fn a_frame_for_which_a_queue_has_no_room_is_not_stamped() {
    let outbound = outbound(3 * cost(&frame(b"0")));
    let mut numbers = 0..;
    outbound.stamp_with(Box::new(move |_| Some(Bytes::from(numbers.next()?.to_string()))));
    for _ in 0..3 {
        assert!(outbound.push(ANY, frame(b"x")).is_ok());
    }
    assert_eq!(outbound.push(ANY, frame(b"x")), Err(QueueFull));
    let mut batch = FrameBatch::default();
    assert!(take(&outbound, &mut batch).is_ready());
    write(&mut batch);
    assert!(take(&outbound, &mut batch).is_pending());
    assert!(outbound.push(ANY, frame(b"x")).is_ok(), "the stamp remains once all is written");
    assert!(take(&outbound, &mut batch).is_ready());
    assert_eq!(batch.frames, ["3"]);
}

/// Until then it shares its bytes with other queues, and afterwards it has its place in the order.
#[test]
fn a_frame_is_stamped_once_when_a_writer_takes_it() {
    const SIZE: usize = 40 << 10;
    let outbound = outbound(1 << 20);
    let mut numbers = 0_u8..;
    outbound.stamp_with(Box::new(move |frame| {
        let mut stamped = frame.to_vec();
        stamped[0] = numbers.next()?;
        Some(stamped.into())
    }));
    outbound.attach(BoundedWire::with_room(SIZE / 2));
    for _ in 0..4 {
        assert!(outbound.push(ANY, Bytes::from(vec![0xFF; SIZE])).is_ok());
    }
    // The flusher takes two frames, and puts them back: the socket takes a half of the first.
    assert_eq!(outbound.flush(&mut FrameBatch::default()), SIZE / 2);
    let (mut batch, mut taken) = (FrameBatch::default(), Vec::new());
    while take(&outbound, &mut batch).is_ready() {
        assert!(batch.frames.len() <= 2, "a part of the queue at a time");
        taken.extend(batch.frames.iter().map(|frame| frame[0]));
        write(&mut batch);
    }
    assert_eq!((taken, outbound.bytes()), (vec![0, 1, 2, 3], 0));
}

#[test]
fn a_queue_may_exceed_its_bound_by_one_frame() {
    let outbound = outbound(100);
    let frame = Bytes::from(vec![0; 60]);
    assert!(outbound.push(ANY, frame.clone()).is_ok());
    assert!(outbound.push(ANY, frame).is_ok());
    assert_eq!(outbound.push(ANY, Bytes::new()), Err(QueueFull));
}

#[test]
fn frames_larger_than_the_bound_leave_room_for_later_frames() {
    let outbound = outbound(100);
    let (large, small) = (Bytes::from(vec![0; 1000]), Bytes::from(vec![0; 60]));
    for _ in 0..OVERSIZED_MAX {
        assert!(outbound.push(ANY, large.clone()).is_ok());
    }
    assert!(outbound.push(ANY, small.clone()).is_ok());
    assert!(outbound.push(ANY, small.clone()).is_ok());
    assert_eq!(outbound.push(ANY, small), Err(QueueFull), "later frames are bounded as usual");
    assert_eq!(outbound.push(ANY, large), Err(QueueFull), "and so is how many of them may wait");
}

#[test]
fn the_count_of_oversized_frames_restarts_once_everything_is_written() {
    let outbound = outbound(100);
    let large = Bytes::from(vec![0; 1000]);
    let mut batch = FrameBatch::default();
    for _ in 0..3 * OVERSIZED_MAX {
        assert!(outbound.push(ANY, large.clone()).is_ok());
        assert!(take(&outbound, &mut batch).is_ready());
        write(&mut batch);
        assert!(take(&outbound, &mut batch).is_pending());
    }
    for _ in 0..=OVERSIZED_MAX {
        assert!(outbound.push(ANY, large.clone()).is_ok(), "one may exceed the bound as usual");
    }
    assert_eq!(outbound.push(ANY, large), Err(QueueFull));
}

#[test]
fn the_count_of_oversized_frames_restarts_even_if_the_queue_never_runs_empty() {
    let outbound = outbound(100);
    let (large, small) = (Bytes::from(vec![0; 1000]), Bytes::from(vec![0; 60]));
    let mut batch = FrameBatch::default();
    assert!(outbound.push(ANY, large).is_ok());
    assert!(take(&outbound, &mut batch).is_ready());
    assert!(outbound.push(ANY, small.clone()).is_ok());
    write(&mut batch);
    // The large frame is written, and a small one is queued.
    assert!(take(&outbound, &mut batch).is_ready());
    assert!(outbound.push(ANY, small.clone()).is_ok());
    assert_eq!(outbound.push(ANY, small), Err(QueueFull), "a written frame gives no extra room");
}

#[test]
fn an_ended_subscription_accepts_no_frame_from_any_push() {
    let outbound = outbound(1000);
    outbound.end_subscription(2);
    assert_eq!(outbound.push(2, frame(b"late")), Ok(Pushed::Ended));
    assert_eq!(outbound.push_latest(2, frame(b"late")).pushed, Pushed::Ended);
    outbound.push_over_bound(2, frame(b"late"));
    assert_eq!(outbound.bytes(), 0);
    assert_eq!(outbound.push(3, frame(b"in time")), Ok(Pushed::Covered));
}

#[test]
fn the_first_close_reason_counts_and_a_slow_close_drops_the_queue() {
    let outbound = outbound(1000);
    outbound.push_own(frame(b"x")).unwrap();
    assert!(outbound.close(Close::Slow));
    assert!(!outbound.close(Close::Expired));
    let mut batch = FrameBatch::default();
    assert_eq!(take(&outbound, &mut batch), Poll::Ready(Err(Close::Slow)));
    assert!(batch.frames.is_empty());
}

#[test]
fn a_session_asked_to_end_still_gets_frames_and_any_close_overrides_the_request() {
    let (outbound, mut batch) = (outbound(1000), FrameBatch::default());
    assert!(outbound.ask_to_end(Close::Expired));
    assert!(!outbound.ask_to_end(Close::Revoked), "once is enough");
    assert!(outbound.take_notification(), "the session is to look");
    assert_eq!((outbound.asked_to_end(), outbound.closing()), (Some(Close::Expired), None));
    outbound.push_own(frame(b"x")).unwrap();
    assert_eq!(take(&outbound, &mut batch), Poll::Ready(Ok(())));
    write(&mut batch);
    assert!(take(&outbound, &mut batch).is_pending());
    assert!(outbound.close(Close::Slow));
    assert_eq!((outbound.asked_to_end(), outbound.closing()), (None, Some(Close::Slow)));
    assert!(outbound.is_ending() && !outbound.ask_to_end(Close::Revoked));
    assert_eq!(take(&outbound, &mut batch), Poll::Ready(Err(Close::Slow)));
}

#[test]
fn an_ordinary_close_writes_the_queue_first() {
    let outbound = outbound(1000);
    outbound.push_own(frame(b"x")).unwrap();
    outbound.close(Close::Expired);
    let mut batch = FrameBatch::default();
    assert_eq!(take(&outbound, &mut batch), Poll::Ready(Ok(())));
    write(&mut batch);
    assert_eq!(take(&outbound, &mut batch), Poll::Ready(Err(Close::Expired)));
}

#[test]
fn a_flusher_writes_what_fits_and_leaves_the_rest_in_order_to_the_connection() {
    let (outbound, tap) = (outbound(1000), BoundedWire::with_room(7));
    outbound.attach(tap.clone());
    assert_eq!(outbound.push(ANY, frame(b"first")), Ok(Pushed::Flush));
    assert_eq!(outbound.push(ANY, frame(b"second")), Ok(Pushed::Covered));
    let mut batch = FrameBatch::default();
    assert!(take(&outbound, &mut batch).is_pending(), "the flusher has it");
    assert_eq!(outbound.flush(&mut batch), 7);
    assert!(batch.frames.is_empty());
    assert_eq!(outbound.push(ANY, frame(b"third")), Ok(Pushed::Covered), "the connection has it");
    let mut own = FrameBatch::default();
    assert!(take(&outbound, &mut own).is_ready());
    *tap.room.lock().unwrap() = 100;
    own.write_to(&*tap);
    assert!(take(&outbound, &mut own).is_pending());
    assert_eq!(&tap.taken.lock().unwrap()[..], b"firstsecondthird");
    assert_eq!((outbound.bytes(), outbound.push(ANY, frame(b"more"))), (0, Ok(Pushed::Flush)));
}

#[test]
fn a_slow_close_completes_the_partly_written_frame() {
    let (outbound, tap) = (outbound(1000), BoundedWire::with_room(3));
    outbound.attach(tap.clone());
    let _ = outbound.push(ANY, frame(b"first")).unwrap();
    let _ = outbound.push(ANY, frame(b"second")).unwrap();
    outbound.flush(&mut FrameBatch::default());
    outbound.close(Close::Slow);
    let mut batch = FrameBatch::default();
    assert!(take(&outbound, &mut batch).is_ready());
    *tap.room.lock().unwrap() = 100;
    batch.write_to(&*tap);
    assert_eq!(&tap.taken.lock().unwrap()[..], b"first");
}

#[tokio::test]
async fn flushers_write_for_all_waiting_connections() {
    let flushers = Arc::new(Flushers::default());
    flushers.start(2);
    let taps: Vec<_> = (0..3 * 1024).map(|_| BoundedWire::with_room(1000)).collect();
    let all: Vec<_> = taps
        .iter()
        .map(|tap| {
            let outbound = Arc::new(outbound(1 << 20));
            outbound.attach(tap.clone());
            outbound
        })
        .collect();
    for _ in 0..300 {
        let ready = |o: &&Arc<Outbound>| o.push(ANY, frame(b"x")) == Ok(Pushed::Flush);
        flushers.flush(all.iter().take(3).filter(ready).cloned().collect(), 1);
    }
    flushers.flush(
        all.iter().filter(|o| o.push(ANY, frame(b"y")) == Ok(Pushed::Flush)).cloned().collect(),
        1,
    );
    while all.iter().any(|outbound| outbound.bytes() > 0) {
        tokio::task::yield_now().await;
    }
    assert_eq!(taps[0].taken.lock().unwrap().len(), 301);
    assert!(taps.iter().all(|tap| tap.taken.lock().unwrap().ends_with(b"y")));
}
