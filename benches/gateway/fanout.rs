//! Publications to 1,000 subscribers at a fixed rate: the CPU of a delivery, compared with the floor's.
//!
//! The node's CPU covers everything from Redis' socket to the clients' sockets, including system calls. Over loopback, the
//! kernel also charges the writer for the receiving half of TCP; this applies to the floor as well.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::client::{Clients, Progress};
use crate::connection::Request;
use crate::cores::Cores;
use crate::floor::Floor;
use crate::node::Node;
use crate::process::Process;
use crate::redis::{Redis, publish_command};
use crate::table::{Goal, Length, Table, median, number};

pub const SUBSCRIBERS: usize = 1000;
pub const PAYLOAD_BYTES: usize = 128;

/// A fixed rate, so that floor and node get the same work in the same time and sleep about equally often. If each next
/// publication were sent when all subscribers have the last one, the faster of the two would be busier. At 100 a second,
/// both finish a publication within half of the interval; a late one delays the next, so none pile up.
const INTERVAL: Duration = Duration::from_millis(10);

/// When the clients read, for both the floor and the node. The results differ, so both ways are measured.
#[derive(Clone, Copy)]
pub enum Reading {
    /// As most programs do: they wait in `epoll_wait`. Nearly every frame wakes them up, and over loopback the kernel charges
    /// this to the writer: a large part of the cost of a delivery here.
    AsItComes,
    /// Once a millisecond; until then, frames stay in the sockets' buffers. A write wakes no client, as with clients on other
    /// hosts: the result is nearly the writer's own cost, and shows an overhead more clearly.
    EveryMillisecond,
}

impl Reading {
    const ALL: [Self; 2] = [Self::AsItComes, Self::EveryMillisecond];

    fn name(self) -> &'static str {
        match self {
            Self::AsItComes => "fanout, paced, clients waiting",
            Self::EveryMillisecond => "fanout, paced, clients resting",
        }
    }
}

/// Publications in one round of one server.
const PUBLICATIONS: usize = 100;

/// Publications before a round that are not measured, because the other server's round has displaced the CPU caches.
const WARM_UP: usize = 10;

/// CPU-seconds per million deliveries, one value a round.
#[derive(Default)]
struct Costs {
    floor: Vec<f64>,
    node: Vec<f64>,
}

impl Costs {
    fn ratio(&self) -> f64 {
        median_ratio(&self.node, &self.floor)
    }
}

/// The median of the rounds' ratios, not the ratio of the medians: the load of other programs changes from second to second,
/// and affects rounds of both that follow each other about equally.
pub fn median_ratio(values: &[f64], compared: &[f64]) -> f64 {
    let ratios: Vec<f64> = values.iter().zip(compared).map(|(value, to)| value / to).collect();
    median(&ratios)
}

pub fn measure(length: Length, table: &mut Table) -> Result<()> {
    let payload = "x".repeat(PAYLOAD_BYTES);
    let mut floor = Floor::start(&payload, Cores::Any)?;
    let mut floor_clients = Clients::connected(floor.address, &requests())?;

    let redis = Redis::start(Cores::Any)?;
    let mut node = Node::start(&redis, Cores::Any)?;
    let mut node_clients = Clients::connected(node.address, &requests())?;
    node.wait_subscribed(SUBSCRIBERS, 1)?;
    let mut publisher = redis.publisher()?;
    let command = publish_command("bench", payload.as_bytes());

    let mut costs = Reading::ALL.map(|reading| (reading, Costs::default()));
    for _ in 0..length.choose(20, 6) {
        for (reading, costs) in &mut costs {
            let cost =
                round(&mut floor_clients, *reading, &floor.process, || floor.control.publish(1))?;
            costs.floor.push(cost);
            let cost = round(&mut node_clients, *reading, &node.process, || {
                publisher.push(&command);
                publisher.turn()
            })?;
            costs.node.push(cost);
        }
    }
    for (reading, costs) in &costs {
        println!("  {}: the floor's rounds {}", reading.name(), range(&costs.floor));
        println!("  {}: the node's rounds {}", reading.name(), range(&costs.node));
        let (node, floor) = (median(&costs.node), median(&costs.floor));
        table.add_with_floor(
            reading.name(),
            (node, floor),
            "CPU-s per million",
            costs.ratio(),
            Goal::AtMost(1.15),
        );
    }
    Ok(())
}

/// Minimum, maximum and median.
pub fn range(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    format!("{} to {}, median {}", number(least), number(most), number(median(values)))
}

pub fn requests() -> Vec<Request> {
    vec![Request::Plain("/ws/bench".into()); SUBSCRIBERS]
}

/// CPU-seconds of `process` per million deliveries, over one round.
pub fn round(
    clients: &mut Clients,
    reading: Reading,
    process: &Process,
    mut publish: impl FnMut() -> Result<()>,
) -> Result<f64> {
    publish_paced(clients, reading, WARM_UP, &mut publish)?;
    let before = process.cpu()?;
    publish_paced(clients, reading, PUBLICATIONS, &mut publish)?;
    Ok(process.cpu_since(&before)?.as_secs_f64() / (PUBLICATIONS * SUBSCRIBERS) as f64 * 1e6)
}

/// Publishes at the fixed rate and returns when each client has received all publications.
fn publish_paced(
    clients: &mut Clients,
    reading: Reading,
    publications: usize,
    mut publish: impl FnMut() -> Result<()>,
) -> Result<()> {
    let mut received = vec![0_usize; clients.len()];
    let mut delivered = 0;
    let start = Instant::now();
    for publication in 0..publications {
        let due = start + INTERVAL * publication as u32;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        publish()?;
        let mut progress = Progress::new();
        while delivered < (publication + 1) * clients.len() {
            let wait = match reading {
                Reading::AsItComes => Duration::from_millis(100),
                Reading::EveryMillisecond => {
                    std::thread::sleep(Duration::from_millis(1));
                    Duration::ZERO
                }
            };
            clients.turn(wait, |client, _| {
                received[client] += 1;
                delivered += 1;
            })?;
            progress.record(delivered as u64)?;
        }
    }
    ensure!(
        received.iter().all(|&count| count == publications),
        "some subscribers received more and some fewer than the {publications} publications"
    );
    Ok(())
}
