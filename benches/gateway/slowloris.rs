//! The effect of 15,000 handshakes that never end on a well-behaved client.
//!
//! Two nodes run at the same time. On one of them, slow connections send a byte of their request now and then. A publisher
//! and a subscriber on each node measure round trips, alternating, so that other load of the machine affects both.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::client::Clients;
use crate::connection::Request;
use crate::cores::Cores;
use crate::node::Node;
use crate::redis::Redis;
use crate::table::{Goal, Length, Table, median, number};

const SLOW_HANDSHAKES: usize = 15_000;

/// Between two bytes of one slow handshake.
const BYTE_INTERVAL: Duration = Duration::from_secs(1);

/// Long enough that the node closes none of them during the measurement.
const HANDSHAKE_TIMEOUT: &str = "server.handshake_timeout=10m";

/// Round trips in one turn, and turns in one round.
const ROUND_TRIPS: usize = 200;
const TURNS: usize = 10;

/// A publisher and a subscriber of one channel.
struct Pair {
    clients: Clients,
    published: u64,
}

pub fn measure(length: Length, table: &mut Table) -> Result<()> {
    let redis = Redis::start(Cores::Any)?;
    let idle_node = Node::start(&redis, Cores::Any)?;
    let loaded_node = Node::start_with(&redis, Cores::Any, &[HANDSHAKE_TIMEOUT])?;
    let mut idle_pair = Pair::new(&idle_node, "/ws/idle")?;
    let mut loaded_pair = Pair::new(&loaded_node, "/ws/loaded")?;
    let mut slow = SlowHandshakes::new(&loaded_node)?;
    println!("  {} handshakes are open", slow.streams.len());
    let (mut ratios, mut p99s) = (Vec::new(), Vec::new());
    for round in 1..=length.choose(7, 3) {
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            slow.send_byte()?;
            without.extend(idle_pair.round_trips(&mut slow)?);
            with.extend(loaded_pair.round_trips(&mut slow)?);
        }
        let (without, with) = (p99(&mut without), p99(&mut with));
        println!("  round {round}: p99 {} us without, {} us with", number(without), number(with));
        ratios.push(with / without);
        p99s.push(with);
    }
    ensure!(
        slow.are_all_open(&loaded_node)?,
        "the node closed some handshakes during the measurement"
    );
    table.add("slowloris, p99 of a round trip", median(&p99s), "us", Goal::None);
    table.add("slowloris, ratio to a node without", median(&ratios), "times", Goal::AtMost(2.0));
    Ok(())
}

impl Pair {
    fn new(node: &Node, path: &str) -> Result<Self> {
        let requests = vec![Request::Plain(path.into()); 2];
        Ok(Self { clients: Clients::connected(node.address, &requests)?, published: 0 })
    }

    /// Times from the publisher's frame to the subscriber's, in microseconds.
    fn round_trips(&mut self, slow: &mut SlowHandshakes) -> Result<Vec<f64>> {
        let mut all = Vec::with_capacity(ROUND_TRIPS);
        for _ in 0..ROUND_TRIPS {
            // Spread over the measurement, not all at once between two round trips.
            slow.send_due_bytes()?;
            self.published += 1;
            let text = self.published.to_string();
            let start = Instant::now();
            self.clients.push(0, text.as_bytes());
            self.clients.flush(0)?;
            let (mut received, mut took) = (0, None);
            while received < 2 {
                self.clients.turn(Duration::from_secs(1), |number, payload| {
                    received += usize::from(payload == text.as_bytes());
                    if number == 1 {
                        took = Some(start.elapsed());
                    }
                })?;
                ensure!(start.elapsed() < Duration::from_secs(20), "a message did not arrive");
            }
            all.push(took.context("the subscriber received it")?.as_secs_f64() * 1e6);
        }
        Ok(all)
    }
}

/// Connections that have sent only a part of their request.
struct SlowHandshakes {
    streams: Vec<TcpStream>,
    next: usize,
    last: Instant,
}

impl SlowHandshakes {
    fn new(node: &Node) -> Result<Self> {
        let mut streams = Vec::with_capacity(SLOW_HANDSHAKES);
        for _ in 0..SLOW_HANDSHAKES {
            let mut stream = TcpStream::connect(node.address).context("connecting")?;
            stream.set_nodelay(true).context("TCP_NODELAY")?;
            stream
                .write_all(b"GET /ws/slow HTTP/1.1\r\nX-Slow: ")
                .context("sending the first part of a request")?;
            streams.push(stream);
        }
        Ok(Self { streams, next: 0, last: Instant::now() })
    }

    /// Sends the bytes that are due: one byte of each handshake, spread over [`BYTE_INTERVAL`].
    fn send_due_bytes(&mut self) -> Result<()> {
        let each = BYTE_INTERVAL / SLOW_HANDSHAKES as u32;
        // Limited, so that a long pause is not followed by a burst.
        let due = (self.last.elapsed().as_nanos() / each.as_nanos()).min(64);
        for _ in 0..due {
            self.send_byte()?;
        }
        if due > 0 {
            self.last = Instant::now();
        }
        Ok(())
    }

    fn send_byte(&mut self) -> Result<()> {
        self.next = (self.next + 1) % self.streams.len();
        self.streams[self.next].write_all(b"x").context("a byte of a handshake")
    }

    fn are_all_open(&self, node: &Node) -> Result<bool> {
        Ok(node.metric("process_open_fds")? >= SLOW_HANDSHAKES as f64)
    }
}

fn p99(all: &mut [f64]) -> f64 {
    all.sort_unstable_by(f64::total_cmp);
    all[all.len() * 99 / 100]
}
