//! Handshakes that never end: what fifteen thousand of them take from a client that behaves.
//!
//! Two nodes, one beside the other; on one, connections send a byte of their request now and then. A healthy pair
//! of clients on each measures round trips, in turns, so that whatever else the machine does falls on both.

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

const DAWDLING: usize = 15_000;

/// Between two bytes of one of them.
const BYTE_INTERVAL: Duration = Duration::from_secs(1);

/// Long enough that none is cut off while it is measured.
const HANDSHAKE_TIMEOUT: &str = "server.handshake_timeout=10m";

/// Round trips of one turn, and turns of a round.
const ROUND_TRIPS: usize = 200;
const TURNS: usize = 10;

struct Pair {
    clients: Clients,
    said: u64,
}

pub fn measure(length: Length, table: &mut Table) -> Result<()> {
    let redis = Redis::start(Cores::Any)?;
    let quiet = Node::start(&redis, Cores::Any)?;
    let besieged = Node::start_with(&redis, Cores::Any, &[HANDSHAKE_TIMEOUT])?;
    let mut calm = Pair::new(&quiet, "/ws/calm")?;
    let mut storm = Pair::new(&besieged, "/ws/storm")?;
    let mut dawdling = Dawdling::new(&besieged)?;
    println!("  {} handshakes are open", dawdling.streams.len());
    let (mut ratios, mut p99s) = (Vec::new(), Vec::new());
    for round in 1..=length.choose(7, 3) {
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            dawdling.say_a_byte()?;
            without.extend(calm.round_trips(&mut dawdling)?);
            with.extend(storm.round_trips(&mut dawdling)?);
        }
        let (without, with) = (p99(&mut without), p99(&mut with));
        println!("  round {round}: p99 {} us without, {} us with", number(without), number(with));
        ratios.push(with / without);
        p99s.push(with);
    }
    ensure!(dawdling.are_all_open(&besieged)?, "some were cut off while it was measured");
    table.add("slowloris, p99 of a round trip", median(&p99s), "us", Goal::None);
    table.add("slowloris, beside a node without", median(&ratios), "times", Goal::AtMost(2.0));
    Ok(())
}

impl Pair {
    fn new(node: &Node, path: &str) -> Result<Self> {
        let requests = vec![Request::Plain(path.into()); 2];
        Ok(Self { clients: Clients::connected(node.address, &requests)?, said: 0 })
    }

    /// Each in microseconds, from the publisher's frame to the subscriber's.
    fn round_trips(&mut self, dawdling: &mut Dawdling) -> Result<Vec<f64>> {
        let mut all = Vec::with_capacity(ROUND_TRIPS);
        for _ in 0..ROUND_TRIPS {
            // As they come, and not all at once between two measurements.
            dawdling.say_what_is_due()?;
            self.said += 1;
            let text = self.said.to_string();
            let start = Instant::now();
            self.clients.push(0, text.as_bytes());
            self.clients.flush(0)?;
            let (mut heard, mut took) = (0, None);
            while heard < 2 {
                self.clients.turn(Duration::from_secs(1), |number, payload| {
                    heard += usize::from(payload == text.as_bytes());
                    if number == 1 {
                        took = Some(start.elapsed());
                    }
                })?;
                ensure!(start.elapsed() < Duration::from_secs(20), "a message does not arrive");
            }
            all.push(took.context("the subscriber heard it")?.as_secs_f64() * 1e6);
        }
        Ok(all)
    }
}

/// Connections that are still asking.
struct Dawdling {
    streams: Vec<TcpStream>,
    next: usize,
    last: Instant,
}

impl Dawdling {
    fn new(node: &Node) -> Result<Self> {
        let mut streams = Vec::with_capacity(DAWDLING);
        for _ in 0..DAWDLING {
            let mut stream = TcpStream::connect(node.address).context("connecting")?;
            stream.set_nodelay(true).context("TCP_NODELAY")?;
            stream.write_all(b"GET /ws/slow HTTP/1.1\r\nX-Slow: ").context("asking")?;
            streams.push(stream);
        }
        Ok(Self { streams, next: 0, last: Instant::now() })
    }

    /// One byte of each, spread over [`BYTE_INTERVAL`].
    fn say_what_is_due(&mut self) -> Result<()> {
        let each = BYTE_INTERVAL / DAWDLING as u32;
        // A long pause is not made up for by a flood.
        let due = (self.last.elapsed().as_nanos() / each.as_nanos()).min(64);
        for _ in 0..due {
            self.say_a_byte()?;
        }
        if due > 0 {
            self.last = Instant::now();
        }
        Ok(())
    }

    fn say_a_byte(&mut self) -> Result<()> {
        self.next = (self.next + 1) % self.streams.len();
        self.streams[self.next].write_all(b"x").context("a byte of a handshake")
    }

    fn are_all_open(&self, node: &Node) -> Result<bool> {
        Ok(node.metric("process_open_fds")? >= DAWDLING as f64)
    }
}

fn p99(all: &mut [f64]) -> f64 {
    all.sort_unstable_by(f64::total_cmp);
    all[all.len() * 99 / 100]
}
