//! Random orders of events: every frame that must arrive does, in order, and the others are counted.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicBool;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

/// The frames `<key><number>` that arrived, each 8 bytes. Key `e` is for frames that every subscriber gets.
/// Each stamped frame has a number that is one more than that of the frame written before it.
fn arrived(client: &Client) -> HashMap<u8, Vec<usize>> {
    let mut arrived: HashMap<u8, Vec<usize>> = HashMap::new();
    let taken = client.tap.taken.lock().unwrap();
    let number = |text| str::from_utf8(text).unwrap().parse::<usize>().expect("a frame is whole");
    let stamp_bytes = if client.is_stamped { 8 } else { 0 };
    for (place, frame) in taken.chunks(8 + stamp_bytes).enumerate() {
        let (frame, stamp) = frame.split_at(8);
        arrived.entry(frame[0]).or_default().push(number(&frame[1..]));
        assert!(stamp.is_empty() || number(stamp) == place, "stamped out of order");
    }
    arrived
}

fn numbered(key: u8, number: usize) -> Bytes {
    Bytes::from(format!("{}{number:07}", char::from(key)))
}

/// What was pushed, and what was skipped or dropped.
#[derive(Default)]
struct PushCounts {
    pushed: HashMap<u8, usize>,
    /// Keys whose newest frame was dropped with the subscription.
    forgotten: HashSet<u8>,
    /// How many were skipped or dropped.
    gone: usize,
}

impl PushCounts {
    fn push(&mut self, client: &Client, key: u8) -> Pushed {
        let number = self.pushed.entry(key).or_default();
        let frame = numbered(key, *number);
        *number += 1;
        if key == b'e' {
            return client.outbound.push(ANY, frame).unwrap();
        }
        let latest = client.outbound.push_latest(u64::from(key), frame);
        self.gone += usize::from(latest.skipped);
        self.forgotten.remove(&key);
        latest.pushed
    }

    fn forget(&mut self, client: &Client, key: u8) {
        let before = client.outbound.bytes();
        restart_subscription(&client.outbound, u64::from(key));
        if client.outbound.bytes() < before {
            self.gone += 1;
            self.forgotten.insert(key);
        }
    }

    /// All frames of `e` have arrived; of each other key ever newer ones, the newest last, and each missing
    /// one was counted.
    fn check(&self, client: &Client, what: &str) {
        let arrived = arrived(client);
        let mut missing = 0;
        for (key, &pushed) in &self.pushed {
            let numbers = arrived.get(key).map_or(&[][..], Vec::as_slice);
            assert!(numbers.is_sorted_by(|a, b| a < b), "{what}: {numbers:?}");
            if !self.forgotten.contains(key) {
                assert_eq!(numbers.last(), Some(&(pushed - 1)), "{what}: the newest of {key}");
            }
            match key {
                b'e' => assert_eq!(numbers.len(), pushed, "{what}"),
                _ => missing += pushed - numbers.len(),
            }
        }
        assert_eq!(missing, self.gone, "{what}");
        assert_eq!(client.outbound.bytes(), 0, "{what}");
    }
}

#[test]
fn no_order_of_events_loses_a_frame_uncounted_or_stamps_one_out_of_order() {
    for (seed, is_stamped) in (0..1000).flat_map(|seed| [(seed, false), (seed, true)]) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut client = Client::new(1 << 20, 0);
        if is_stamped {
            client.stamp_with_numbers();
        }
        let mut counts = PushCounts::default();
        let mut with_flusher = false;
        for _ in 0..random.random_range(1..300) {
            match random.random_range(0..12) {
                0..=6 => {
                    let key = b"eeabcd"[random.random_range(0..6)];
                    if counts.push(&client, key) == Pushed::Flush {
                        assert!(!with_flusher, "seed {seed}: in line once at most");
                        with_flusher = true;
                    }
                }
                7 => counts.forget(&client, b"abcd"[random.random_range(0..4)]),
                8 if with_flusher => {
                    with_flusher = false;
                    client.flush();
                }
                9 => *client.tap.room.lock().unwrap() += random.random_range(0..60),
                _ if client.batch.frames.is_empty() => {
                    let _ = take(&client.outbound, &mut client.batch);
                }
                _ => {
                    write_batch(&client.outbound, &client.tap, &mut client.batch);
                }
            }
        }
        *client.tap.room.lock().unwrap() = 1 << 20;
        if with_flusher {
            client.flush();
        }
        client.write();
        counts.check(&client, &format!("seed {seed}, stamped: {is_stamped}"));
    }
}

#[test]
fn no_race_of_flusher_connection_and_publishers_loses_a_frame_uncounted() {
    race(Client::new(usize::MAX, 0));
}

#[test]
fn no_race_of_flusher_connection_and_publishers_stamps_a_frame_out_of_order() {
    let mut client = Client::new(usize::MAX, 0);
    client.stamp_with_numbers();
    race(client);
}

fn race(mut client: Client) {
    const EACH: usize = 3000;
    // The connection has a batch of its own; everything else is shared.
    let mut batch = std::mem::take(&mut client.batch);
    let (line, with_flusher) = std::sync::mpsc::channel();
    let published = AtomicBool::new(false);
    let all_counts: Vec<PushCounts> = std::thread::scope(|scope| {
        let (client, published) = (&client, &published);
        let publishers = [b'e', b'a', b'b'].map(|key| {
            let line = line.clone();
            scope.spawn(move || {
                let mut counts = PushCounts::default();
                for _ in 0..EACH {
                    if counts.push(client, key) == Pushed::Flush {
                        line.send(()).unwrap();
                    }
                }
                counts
            })
        });
        drop(line);
        scope.spawn(move || with_flusher.iter().for_each(|()| client.flush()));
        scope.spawn(move || {
            let mut random = StdRng::seed_from_u64(0);
            while !published.load(Ordering::Acquire) || client.outbound.bytes() > 0 {
                *client.tap.room.lock().unwrap() += random.random_range(0..100);
                if !batch.frames.is_empty() || take(&client.outbound, &mut batch).is_ready() {
                    write_batch(&client.outbound, &client.tap, &mut batch);
                }
            }
        });
        let all_counts = publishers.into_iter().map(|it| it.join().unwrap()).collect();
        published.store(true, Ordering::Release);
        all_counts
    });
    let mut all = PushCounts::default();
    for counts in all_counts {
        all.pushed.extend(counts.pushed);
        all.gone += counts.gone;
    }
    all.check(&client, "in the race");
}
