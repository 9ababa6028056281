//! Publications of another service that arrive through Redis on many channels: how many a second a node relays.
//!
//! Ten json sessions subscribe to a hundred channels each, so each of the 1,000 channels has one subscriber. The work is
//! reading from Redis, routing and encoding; writes are few and large. Redis, the publishing service and the
//! subscribers share the machine's cores with the node: on two cores, the result is that of all of them together.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::client::{Clients, Progress};
use crate::cores::Cores;
use crate::json;
use crate::node::Node;
use crate::redis::{Publisher, Redis, publish_command};
use crate::table::{Goal, Length, Table, number};

const SESSIONS: usize = 10;
const CHANNELS_EACH: usize = 100;
const CHANNELS: usize = SESSIONS * CHANNELS_EACH;
const PAYLOAD_BYTES: usize = 200;
const RATE_GOAL: f64 = 500_000.0;

/// Publications in flight at a time: about 4 MiB, less than the limits at which Redis closes a subscriber (8 MiB for a
/// minute) and a node closes a session (1 MiB each).
const WINDOW: u64 = 16_384;

/// In the open loop, no more is offered while this many bytes are queued for Redis: it bounds this process' memory.
const UNSENT_BYTES_MAX: usize = 8 * 1024 * 1024;

pub fn measure(length: Length, table: &mut Table) -> Result<()> {
    let duration = Duration::from_secs(length.choose(8, 3));
    let redis = Redis::start(Cores::Any)?;
    let node = Node::start(&redis, Cores::Any)?;
    let mut clients = json::sessions(node.address, SESSIONS)?;
    json::subscribe(&mut clients, |session| {
        (0..CHANNELS_EACH).map(|channel| channel_of(session, channel)).collect()
    })?;

    for (name, pace) in
        [("closed loop", Pace::Window(WINDOW)), ("offered 500,000/s", Pace::PerSecond(RATE_GOAL))]
    {
        let flood = flood(&redis, &node, &mut clients, pace, duration).context(name)?;
        let counts = &flood.counts;
        let rate = counts.delivered_in_time as f64 / counts.wall;
        let [before, during_max, after] =
            flood.rss.map(|bytes| format!("{:.1}", bytes as f64 / 1048576.0));
        println!(
            "  {name}: {} us of the node's CPU each, {} of Redis'; at most {} in flight; \
             RSS {before} MiB before, {during_max} at most, {after} after",
            number(flood.cpu / counts.published as f64 * 1e6),
            number(flood.redis_cpu / counts.published as f64 * 1e6),
            number(counts.in_flight_max as f64),
        );
        // In an open loop, the result can be at most the offered rate.
        let goal = match pace {
            Pace::Window(_) => RATE_GOAL,
            Pace::PerSecond(rate) => rate * 0.99,
        };
        table.add(&format!("receive, {name}"), rate, "publications/s", Goal::AtLeast(goal));
        let growth = (flood.rss[1] as f64 - flood.rss[0] as f64) / 1048576.0;
        // Publications in flight bound the queues, so memory must not grow with time.
        table.add(&format!("receive, {name}, RSS growth"), growth, "MiB", Goal::AtMost(16.0));
    }
    Ok(())
}

fn channel_of(session: usize, channel: usize) -> String {
    format!("receive:{session}:{channel}")
}

#[derive(Clone, Copy)]
enum Pace {
    /// As fast as they are delivered, with at most this many in flight.
    Window(u64),
    /// At this rate, whether or not they are delivered.
    PerSecond(f64),
}

struct Flood {
    counts: Counts,
    cpu: f64,
    redis_cpu: f64,
    /// In bytes: before, the maximum during, and after.
    rss: [u64; 3],
}

struct Counts {
    published: u64,
    /// Deliveries until publishing ended; later ones do not count in the rate.
    delivered_in_time: u64,
    /// How long publishing took, in seconds.
    wall: f64,
    in_flight_max: u64,
}

fn flood(
    redis: &Redis,
    node: &Node,
    clients: &mut Clients,
    pace: Pace,
    duration: Duration,
) -> Result<Flood> {
    let mut publisher = redis.publisher()?;
    let rss_before = node.process.rss_bytes()?;
    let mut rss = Sampler { next: Instant::now(), max: rss_before };
    let (before, redis_before) = (node.process.cpu()?, redis.process.cpu()?);
    let counts = pump(clients, &mut publisher, pace, duration, || rss.sample(node))?;
    let cpu = node.process.cpu_since(&before)?.as_secs_f64();
    let redis_cpu = redis.process.cpu_since(&redis_before)?.as_secs_f64();
    std::thread::sleep(Duration::from_secs(1));
    let rss = [rss_before, rss.max, node.process.rss_bytes()?];
    Ok(Flood { counts, cpu, redis_cpu, rss })
}

/// Publishes at this pace for `duration`, then waits for the remaining deliveries; calls `turned` at each turn.
fn pump(
    clients: &mut Clients,
    publisher: &mut Publisher,
    pace: Pace,
    duration: Duration,
    mut turned: impl FnMut() -> Result<()>,
) -> Result<Counts> {
    let commands = commands();
    let (mut published, mut delivered, mut in_flight_max, mut stray) = (0_u64, 0_u64, 0, None);
    let mut in_time = None;
    let mut progress = Progress::new();
    let start = Instant::now();
    loop {
        let elapsed = start.elapsed();
        if elapsed < duration {
            let wanted = match pace {
                Pace::Window(window) => delivered + window,
                Pace::PerSecond(rate) => (rate * elapsed.as_secs_f64()) as u64,
            };
            while published < wanted && publisher.unsent_bytes() < UNSENT_BYTES_MAX {
                publisher.push(&commands[published as usize % CHANNELS]);
                published += 1;
            }
        } else {
            let (delivered_in_time, wall) =
                *in_time.get_or_insert((delivered, elapsed.as_secs_f64()));
            if delivered == published {
                return Ok(Counts { published, delivered_in_time, wall, in_flight_max });
            }
        }
        publisher.turn()?;
        clients.turn(Duration::from_millis(1), |_, message| {
            if json::is(message, "publication") {
                delivered += 1;
            } else {
                stray = Some(String::from_utf8_lossy(message).into_owned());
            }
        })?;
        // Most likely a gap: Redis disconnects a node that reads too slowly, and publications are lost.
        if let Some(message) = stray {
            bail!("received {message} instead of a publication");
        }
        ensure!(delivered <= published, "{} deliveries arrived twice", delivered - published);
        in_flight_max = in_flight_max.max(published - delivered);
        turned()?;
        progress
            .record(delivered)
            .with_context(|| format!("{delivered} of {published} deliveries arrived"))?;
    }
}

/// One command for each channel, alternating between the sessions' channels.
fn commands() -> Vec<Vec<u8>> {
    let filling = "x".repeat(PAYLOAD_BYTES - r#"{"text":""}"#.len());
    let payload = format!(r#"{{"text":"{filling}"}}"#);
    (0..CHANNELS)
        .map(|number| {
            publish_command(&channel_of(number % SESSIONS, number / SESSIONS), payload.as_bytes())
        })
        .collect()
}

struct Sampler {
    next: Instant,
    max: u64,
}

impl Sampler {
    fn sample(&mut self, node: &Node) -> Result<()> {
        if Instant::now() >= self.next {
            self.max = self.max.max(node.process.rss_bytes()?);
            self.next = Instant::now() + Duration::from_millis(100);
        }
        Ok(())
    }
}
