//! The resident memory of an idle plain connection, before and after it has sent a large message, and of a waiting poll.
//!
//! Measures the proportional set size of the node's process: heap, stacks, and all pages that it loads meanwhile, so that
//! some start-up cost counts for the connections. The kernel's memory for their sockets is not part of any process.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::client::Clients;
use crate::connection::Request;
use crate::cores::Cores;
use crate::node::Node;
use crate::redis::Redis;
use crate::table::{Goal, Length, Table, number};

const CONNECTIONS: usize = 10_000;
const SHARED_CHANNELS: usize = 100;
const MESSAGE_BYTES: usize = 16 * 1024;

/// Messages sent before waiting until the node has read them; divides `CONNECTIONS`.
const BURST: usize = 200;

pub fn measure(_: Length, table: &mut Table) -> Result<()> {
    on_shared_channels(table)?;
    waiting_polls(table)?;
    on_own_channels(table)
}

fn on_shared_channels(table: &mut Table) -> Result<()> {
    let request = |number| Request::Plain(format!("/ws/mem-{number}"));
    idle("memory, idle, 100 channels", request, 1, Goal::AtMost(4096.0), table)
}

/// A hundred subscribers for each channel: the memory of the connections themselves. `request`: of a connection whose
/// channels, `channels` of them, have this number.
pub fn idle(
    measure: &str,
    request: impl Fn(usize) -> Request,
    channels: usize,
    goal: Goal,
    table: &mut Table,
) -> Result<()> {
    idle_with(measure, &[], request, channels, goal, table)
}

/// The same on a node with further settings.
pub fn idle_with(
    measure: &str,
    settings: &[&str],
    request: impl Fn(usize) -> Request,
    channels: usize,
    goal: Goal,
    table: &mut Table,
) -> Result<()> {
    let requests: Vec<Request> =
        (0..CONNECTIONS).map(|number| request(number % SHARED_CHANNELS)).collect();
    let redis = Redis::start(Cores::Any)?;
    let mut node = Node::start_with(&redis, Cores::Any, settings)?;
    let empty = stable_pss(&node, None)?;
    let mut clients = Clients::connected(node.address_for(&requests[0]), &requests)?;
    node.wait_subscribed(CONNECTIONS * channels, SHARED_CHANNELS * channels)?;
    let idle = stable_pss(&node, Some(&mut clients))?;
    println!("  the node alone: {} KiB", empty / 1024);
    table.add(measure, each(idle, empty), "B each", goal);
    Ok(())
}

/// Polls that wait for a publication, a hundred for each channel.
fn waiting_polls(table: &mut Table) -> Result<()> {
    let redis = Redis::start(Cores::Any)?;
    let mut node = Node::start(&redis, Cores::Any)?;
    let empty = stable_pss(&node, None)?;
    let mut polls = Vec::with_capacity(CONNECTIONS);
    for number in 0..CONNECTIONS {
        let channel = number % SHARED_CHANNELS;
        let request =
            format!("GET /poll/mem-{channel}?wait=60s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        let mut poll = TcpStream::connect(node.address)?;
        poll.write_all(request.as_bytes())?;
        polls.push(poll);
    }
    node.wait_subscribed(CONNECTIONS, SHARED_CHANNELS)?;
    let waiting = stable_pss(&node, None)?;
    // No poll was answered meanwhile.
    node.wait_subscribed(CONNECTIONS, SHARED_CHANNELS)?;
    table.add("memory, waiting polls", each(waiting, empty), "B each", Goal::AtMost(4096.0));
    Ok(())
}

/// A channel for each connection and no echo, so that the large messages have no recipient: the memory that remains after
/// reading them. The idle value here includes the memory of a channel for each connection.
fn on_own_channels(table: &mut Table) -> Result<()> {
    let requests: Vec<Request> = (0..CONNECTIONS)
        .map(|number| Request::Plain(format!("/ws/mem-{number}?echo=false")))
        .collect();
    let redis = Redis::start(Cores::Any)?;
    let mut node = Node::start(&redis, Cores::Any)?;
    let empty = stable_pss(&node, None)?;
    let mut clients = Clients::connected(node.address, &requests)?;
    node.wait_subscribed(CONNECTIONS, CONNECTIONS)?;
    let idle = stable_pss(&node, Some(&mut clients))?;
    table.add("memory, idle, own channels", each(idle, empty), "B each", Goal::None);

    let message = "x".repeat(MESSAGE_BYTES);
    let mut delivered = 0_u64;
    for client in 0..CONNECTIONS {
        clients.push(client, message.as_bytes());
        clients.flush(client)?;
        clients.turn(Duration::ZERO, |_, _| delivered += 1)?;
        // Not all 160 MiB at once: publishing faster than the broker accepts is not measured here.
        if (client + 1) % BURST == 0 {
            node.wait_received(client + 1)?;
        }
    }
    let sent = stable_pss(&node, Some(&mut clients))?;
    ensure!(delivered == 0, "{delivered} messages were echoed in spite of echo=false");
    // The goal is no growth; two per cent are allowed for the growth of the process as a whole.
    table.add(
        "memory, after 16 KiB sent",
        each(sent, empty),
        "B each",
        Goal::AtMost((each(idle, empty) * 1.02).ceil()),
    );

    drop(clients);
    node.wait_disconnected()?;
    let after = stable_pss(&node, None)?;
    println!(
        "  the node alone: {} KiB at first, {} KiB after all have disconnected",
        empty / 1024,
        after / 1024
    );
    table.add("memory, after all disconnected", each(after, empty), "B each", Goal::None);
    Ok(())
}

fn each(with: u64, without: u64) -> f64 {
    (with as f64 - without as f64) / CONNECTIONS as f64
}

/// The node's PSS once it has been stable for two seconds, or after twenty seconds.
///
/// Meanwhile the clients answer pings, as idle connections do.
fn stable_pss(node: &Node, mut clients: Option<&mut Clients>) -> Result<u64> {
    const STABLE: u32 = 8;
    const TOLERANCE_BYTES: u64 = 64 * 1024;
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut reference = node.process.pss_bytes()?;
    let mut still = 0;
    while still < STABLE && Instant::now() < deadline {
        let next = Instant::now() + Duration::from_millis(250);
        if let Some(clients) = &mut clients {
            while Instant::now() < next {
                clients.turn(Duration::from_millis(50), |_, _| {})?;
            }
        }
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        let pss = node.process.pss_bytes()?;
        if pss.abs_diff(reference) <= TOLERANCE_BYTES {
            still += 1;
        } else {
            (reference, still) = (pss, 0);
        }
    }
    if still < STABLE {
        println!("  memory still changes: {}", number(reference as f64));
    }
    node.process.pss_bytes()
}
