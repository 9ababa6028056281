//! Publications of `latest` channels: a client that keeps up gets all, a slow one the newest.

mod chance;

use super::*;

/// An outbound, its socket, and the connection that writes what flushers leave.
struct Client {
    outbound: Outbound,
    tap: Arc<BoundedWire>,
    batch: FrameBatch,
    is_stamped: bool,
}

impl Client {
    fn new(bytes_max: usize, room: usize) -> Self {
        let client = Self::without_wire(bytes_max, room);
        client.outbound.attach(client.tap.clone());
        client
    }

    fn without_wire(bytes_max: usize, room: usize) -> Self {
        let (outbound, tap) = (outbound(bytes_max), BoundedWire::with_room(room));
        Self { outbound, tap, batch: FrameBatch::default(), is_stamped: false }
    }

    /// Each frame gets a number of 8 digits at its end, in the order of writing.
    fn stamp_with_numbers(&mut self) {
        let mut numbers = 0..;
        self.is_stamped = true;
        self.outbound.stamp_with(Box::new(move |frame| {
            let number = format!("{:08}", numbers.next()?);
            Some([&frame[..], number.as_bytes()].concat().into())
        }));
    }

    /// A client whose socket has refused the end of a first frame, which is `xx`.
    fn blocked(bytes_max: usize) -> Self {
        let mut client = Self::new(bytes_max, 1);
        assert_eq!(client.outbound.push(ANY, frame(b"xx")), Ok(Pushed::Flush));
        client.flush();
        client.write();
        client
    }

    fn flush(&self) {
        self.outbound.flush(&mut FrameBatch::default());
    }

    /// Writes like the connection's task, until the socket blocks or nothing is left.
    fn write(&mut self) -> Option<Close> {
        loop {
            if self.batch.frames.is_empty() {
                match take(&self.outbound, &mut self.batch) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(close)) => return Some(close),
                    Poll::Pending => return None,
                }
            }
            if let Some(closing) = write_batch(&self.outbound, &self.tap, &mut self.batch) {
                return closing;
            }
        }
    }

    fn write_with_room(&mut self, bytes: usize) -> Option<Close> {
        *self.tap.room.lock().unwrap() += bytes;
        self.write()
    }

    fn taken(&self) -> String {
        String::from_utf8(self.tap.taken.lock().unwrap().clone()).unwrap()
    }

    /// Pushes a frame that needs no flush. Returns whether one was skipped.
    fn skips(&self, key: u64, bytes: &'static [u8]) -> bool {
        let latest = self.outbound.push_latest(key, frame(bytes));
        assert_eq!(latest.pushed, Pushed::Covered);
        latest.skipped
    }
}

/// Some: the socket blocks, and the connection checks whether it must end.
fn write_batch(
    outbound: &Outbound,
    tap: &BoundedWire,
    batch: &mut FrameBatch,
) -> Option<Option<Close>> {
    batch.write_to(tap);
    if batch.frames.is_empty() {
        return None;
    }
    match outbound.poll_closing(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(close) => Some(Some(close)),
        Poll::Pending => Some(None),
    }
}

#[test]
fn a_client_that_keeps_up_gets_a_whole_latest_burst_whatever_its_queue_size() {
    let client = Client::new(10, 1 << 20);
    for burst in 0..3 {
        for number in 0..100 {
            let latest = client.outbound.push_latest(1, Bytes::from(format!("{number},")));
            let pushed = if number == 0 { Pushed::Flush } else { Pushed::Covered };
            assert_eq!(latest, Latest { pushed, skipped: false }, "burst {burst}");
        }
        client.flush();
        assert_eq!(client.outbound.bytes(), 0);
    }
    let burst: String = (0..100).map(|number| format!("{number},")).collect();
    assert_eq!(client.taken(), burst.repeat(3));
}

#[test]
fn a_blocked_client_gets_the_queue_and_then_the_newest_frame_of_each_key() {
    let mut client = Client::new(1000, 3);
    let _ = client.outbound.push_latest(1, frame(b"a1"));
    assert!(!client.skips(1, b"a2"), "in line for a flusher is not back-pressure");
    client.flush();
    let skipped = [
        client.skips(1, b"a3"),
        client.skips(2, b"b1"),
        client.skips(1, b"a4"),
        client.skips(1, b"a5"),
        client.skips(2, b"b2"),
    ];
    assert_eq!(skipped, [false, false, true, true, true]);
    assert_eq!(client.outbound.bytes(), 3 * cost(&frame(b"a5")), "a2 and one of each key");
    assert_eq!(client.write_with_room(100), None);
    assert_eq!(client.taken(), "a1a2a5b2");
    assert_eq!(client.outbound.bytes(), 0);
    let again = client.outbound.push_latest(1, frame(b"a6"));
    assert_eq!(again, Latest { pushed: Pushed::Flush, skipped: false }, "it keeps up again");
}

#[test]
fn without_a_wire_a_blocked_write_of_the_connection_is_the_back_pressure() {
    let mut client = Client::without_wire(1000, 4);
    assert!(!client.skips(1, b"a1"));
    assert!(!client.skips(1, b"a2"), "it has not been tried");
    assert!(!client.skips(1, b"a3"));
    client.write();
    assert!(!client.skips(1, b"a4"));
    assert!(client.skips(1, b"a5"));
    client.write_with_room(100);
    assert_eq!(client.taken(), "a1a2a3a5");
}

#[test]
fn a_connection_that_does_not_write_holds_bounded_memory() {
    let mut client = Client::without_wire(100, 1 << 20);
    let skipped = (0..1000).filter(|_| client.skips(1, b"a")).count();
    let each = cost(&frame(b"a"));
    assert_eq!(client.outbound.bytes(), (100_usize.div_ceil(each) + 1) * each);
    client.write();
    assert_eq!(client.taken().len() + skipped, 1000);
    assert_eq!(client.outbound.bytes(), 0);
}

#[test]
fn latest_frames_do_not_make_the_queue_full_for_other_frames() {
    let mut client = Client::new(100, 10);
    let large = |key| client.outbound.push_latest(key, Bytes::from(vec![b'-'; 5000]));
    assert_eq!(large(1).pushed, Pushed::Flush);
    assert!(client.outbound.push(ANY, frame(b"in line")).is_ok());
    client.flush();
    let waiting = (2..50).map(large).filter(|latest| !latest.skipped).count();
    assert_eq!(waiting, 48);
    assert!(client.outbound.push_own(frame(b"blocked")).is_ok());
    client.write_with_room(10_000);
    assert!(client.outbound.push(ANY, frame(b"taken")).is_ok(), "the connection has taken some");
    assert_eq!(client.outbound.push(ANY, Bytes::from(vec![b'-'; 60])), Ok(Pushed::Covered));
    assert_eq!(
        client.outbound.push(ANY, frame(b"more")),
        Err(QueueFull),
        "other frames are bounded as usual"
    );
    client.write_with_room(1 << 20);
    assert_eq!(client.outbound.bytes(), 0);
    assert_eq!(client.taken().len(), 49 * 5000 + "in lineblockedtaken".len() + 60);
}

#[test]
fn partly_written_frames_are_completed_and_all_other_frames_keep_their_order() {
    let mut client = Client::new(1000, 2);
    let _ = client.outbound.push(ANY, frame(b"<e1>")).unwrap();
    let _ = client.outbound.push(ANY, frame(b"<e2>")).unwrap();
    client.flush();
    client.skips(1, b"[a1]");
    let _ = client.outbound.push(ANY, frame(b"<e3>")).unwrap();
    client.skips(1, b"[a2]");
    for _ in 0..11 {
        client.write_with_room(1);
    }
    assert_eq!(client.taken(), "<e1><e2><e3>[");
    assert!(!client.skips(1, b"[a3]"), "a2 is half out");
    assert!(client.skips(1, b"[a4]"));
    client.write_with_room(100);
    assert_eq!(client.taken(), "<e1><e2><e3>[a2][a4]");
}

#[test]
fn the_queue_and_the_latest_frames_outside_it_take_turns() {
    let mut client = Client::blocked(1000);
    client.skips(1, b"a");
    let _ = client.outbound.push(ANY, frame(b"1")).unwrap();
    client.write_with_room(1);
    let _ = client.outbound.push(ANY, frame(b"2")).unwrap();
    client.write_with_room(1);
    let _ = client.outbound.push(ANY, frame(b"3")).unwrap();
    client.write_with_room(10);
    assert_eq!(client.taken(), "xx1a23", "what is pushed without end does not hold it back");
}

#[test]
fn frames_left_by_a_flusher_are_back_pressure_until_the_connection_writes_them() {
    let mut client = Client::new(1000, 1);
    let _ = client.outbound.push(ANY, frame(b"xx")).unwrap();
    client.flush();
    assert!(take(&client.outbound, &mut client.batch).is_ready());
    assert!(!client.skips(1, b"a1"));
    assert!(client.skips(1, b"a2"));
    client.write_with_room(1);
    assert!(!client.skips(1, b"a3"), "a2 is being written");
    client.write_with_room(100);
    assert_eq!(client.taken(), "xxa2a3");
}

#[test]
fn no_latest_frame_overtakes_an_older_one_outside_the_queue() {
    let mut client = Client::blocked(1000);
    client.skips(1, b"a1");
    let _ = client.outbound.push(ANY, frame(b"<e1>")).unwrap();
    *client.tap.room.lock().unwrap() += 1;
    assert_eq!(write_batch(&client.outbound, &client.tap, &mut client.batch), None);
    assert!(take(&client.outbound, &mut client.batch).is_ready());
    // The socket has taken everything, so there is no back-pressure, and yet a frame is kept outside the
    // queue.
    client.skips(2, b"b1");
    restart_subscription(&client.outbound, 1);
    restart_subscription(&client.outbound, 2);
    client.skips(3, b"c1");
    write_batch(&client.outbound, &client.tap, &mut client.batch);
    client.skips(3, b"c2");
    client.write_with_room(100);
    assert_eq!(client.taken(), "xx<e1>c1c2");
}

#[test]
fn latest_frames_that_the_connection_has_not_taken_can_be_replaced() {
    let mut client = Client::blocked(1000);
    let push = |key: u64, letter: u8| {
        let latest = client.outbound.push_latest(key, Bytes::from(vec![letter; 40 << 10]));
        latest.skipped
    };
    assert!(!push(1, b'a') && !push(2, b'b') && !push(3, b'c'));
    *client.tap.room.lock().unwrap() += 2;
    client.write();
    let push = |key: u64, letter: u8| {
        let latest = client.outbound.push_latest(key, Bytes::from(vec![letter; 40 << 10]));
        latest.skipped
    };
    assert!(!push(1, b'A') && !push(2, b'B') && push(3, b'C'));
    client.write_with_room(1 << 20);
    let mut order = client.taken().into_bytes();
    order.dedup();
    assert_eq!(order, b"xabCAB", "each key has its turn before one has its second");
}

#[test]
fn latest_frames_of_an_ended_subscription_are_not_sent() {
    let mut client = Client::blocked(1000);
    client.skips(1, b"a");
    client.skips(2, b"b");
    let before = client.outbound.bytes();
    restart_subscription(&client.outbound, 1);
    restart_subscription(&client.outbound, 3);
    assert_eq!(client.outbound.bytes(), before - cost(&frame(b"a")));
    client.write_with_room(100);
    assert_eq!(client.taken(), "xxb");
    restart_subscription(&client.outbound, 2);
    assert_eq!(client.outbound.bytes(), 0);
}

#[test]
fn a_slow_close_drops_latest_frames_and_accepts_no_more() {
    let mut client = Client::blocked(1000);
    client.skips(1, b"a1");
    client.outbound.close(Close::Slow);
    assert!(!client.skips(1, b"a2") && !client.skips(1, b"a3"), "dropped is not skipped");
    assert_eq!(client.write_with_room(1), Some(Close::Slow));
    assert_eq!((client.taken().as_str(), client.outbound.bytes()), ("xx", 0));
}

#[test]
fn an_ordinary_close_writes_latest_frames_even_of_ended_subscriptions() {
    let mut client = Client::blocked(1000);
    client.skips(1, b"a1");
    client.outbound.close(Close::Expired);
    client.skips(1, b"a2");
    restart_subscription(&client.outbound, 1);
    assert_eq!(client.write_with_room(100), Some(Close::Expired));
    assert_eq!(client.taken(), "xxa1");
}
