//! Publications at full speed to 1,000 subscribers, with the node on one core and all other processes on another.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::client::{Clients, Progress};
use crate::cores::{Cores, Pinned};
use crate::fanout::{PAYLOAD_BYTES, requests};
use crate::floor::Floor;
use crate::node::Node;
use crate::redis::{Redis, publish_command};
use crate::table::{Goal, Length, Table};

/// Publications in flight at a time. Without a bound, the node would close the slowest subscriber at 1 MiB of queued data,
/// about 8,000 publications. The bound is large, because a node is faster when it can write many at once.
const NODE_WINDOW: u64 = 1024;

/// The floor has no queues: publications in flight must fit into the sockets' buffers.
const FLOOR_WINDOW: u64 = 64;

const SERVER_CORE: usize = 0;
const OTHER_CORE: usize = 1;

pub fn measure(length: Length, table: &mut Table) -> Result<()> {
    let duration = Duration::from_secs(length.choose(8, 3));
    let payload = "x".repeat(PAYLOAD_BYTES);
    let _pinned = Pinned::to(OTHER_CORE)?;
    measure_floor(&payload, duration, table)?;
    measure_node(&payload, duration, table)
}

/// The result with one write for each publication and socket: that of a node that never combines two.
fn measure_floor(payload: &str, duration: Duration, table: &mut Table) -> Result<()> {
    let mut floor = Floor::start(payload, Cores::Only(SERVER_CORE))?;
    let mut clients = Clients::connected(floor.address, &requests())?;
    let before = floor.process.cpu()?;
    let flood = flood(&mut clients, FLOOR_WINDOW, duration, |publications| {
        floor.control.publish(publications)
    })?;
    let cpu = floor.process.cpu_since(&before)?.as_secs_f64();
    println!("  the floor used {:.0} % of its core", cpu / flood.wall * 100.0);
    table.add("flood, the floor, per CPU-second", flood.deliveries / cpu, "deliveries", Goal::None);
    Ok(())
}

fn measure_node(payload: &str, duration: Duration, table: &mut Table) -> Result<()> {
    let redis = Redis::start(Cores::Only(OTHER_CORE))?;
    let mut node = Node::start(&redis, Cores::Only(SERVER_CORE))?;
    let mut clients = Clients::connected(node.address, &requests())?;
    node.wait_subscribed(clients.len(), 1)?;
    let mut publisher = redis.publisher()?;
    let command = publish_command("bench", payload.as_bytes());
    let before = node.process.cpu()?;
    let flood = flood(&mut clients, NODE_WINDOW, duration, |publications| {
        for _ in 0..publications {
            publisher.push(&command);
        }
        publisher.turn()
    })?;
    let cpu = node.process.cpu_since(&before)?.as_secs_f64();
    println!("  the node used {:.0} % of its core", cpu / flood.wall * 100.0);
    table.add("flood, per CPU-second", flood.deliveries / cpu, "deliveries", Goal::AtLeast(2e6));
    table.add("flood, per second", flood.deliveries / flood.wall, "deliveries", Goal::None);
    Ok(())
}

struct Flood {
    deliveries: f64,
    wall: f64,
}

/// Keeps `window` publications in flight for `duration`, then waits until each client has received all. Calls `publish`
/// with the number of further publications, often 0.
fn flood(
    clients: &mut Clients,
    window: u64,
    duration: Duration,
    mut publish: impl FnMut(u64) -> Result<()>,
) -> Result<Flood> {
    let subscribers = clients.len() as u64;
    let mut received = vec![0_u64; clients.len()];
    let (mut published, mut delivered) = (0, 0);
    let mut progress = Progress::new();
    let start = Instant::now();
    loop {
        let flooding = start.elapsed() < duration;
        // A publication counts as in flight until the number of its deliveries has arrived.
        let more = if flooding { window - (published - delivered / subscribers) } else { 0 };
        published += more;
        publish(more)?;
        if !flooding && delivered == published * subscribers {
            break;
        }
        clients.turn(Duration::from_millis(1), |client, _| {
            received[client] += 1;
            delivered += 1;
        })?;
        let expected = published * subscribers;
        ensure!(delivered <= expected, "{} deliveries arrived twice", delivered - expected);
        progress
            .record(delivered)
            .with_context(|| format!("{delivered} of {expected} deliveries arrived"))?;
    }
    let wall = start.elapsed().as_secs_f64();
    ensure!(
        received.iter().all(|&count| count == published),
        "deliveries were lost or arrived twice"
    );
    Ok(Flood { deliveries: delivered as f64, wall })
}
