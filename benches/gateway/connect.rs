//! Connections at full speed: the CPU of each, and how many are refused or reset, which must be none.
//!
//! Measures the node's CPU from the first SYN until the last connection is subscribed: accept, HTTP request, upgrade,
//! session. All are on one channel, so the node subscribes only once in Redis.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::client::Clients;
use crate::connection::Request;
use crate::cores::Cores;
use crate::node::Node;
use crate::redis::Redis;
use crate::table::{Goal, Length, Table, median, number};

const CONNECTIONS: usize = 5000;

/// Connections in progress at a time: as many as the usual accept backlog of 1,024 can hold.
const AT_ONCE_MAX: usize = 1000;

pub fn measure(length: Length, table: &mut Table) -> Result<()> {
    let redis = Redis::start(Cores::Any)?;
    let mut node = Node::start(&redis, Cores::Any)?;
    let requests = vec![Request::Plain("/ws/bench".into()); CONNECTIONS];
    let (mut costs, mut rates, mut failed) = (Vec::new(), Vec::new(), 0);
    for round in 1..=length.choose(8, 3) {
        let before = node.process.cpu()?;
        let start = Instant::now();
        let mut clients = Clients::new()?;
        let failures = clients.connect(node.address, &requests, AT_ONCE_MAX)?;
        let wall = start.elapsed().as_secs_f64();
        node.wait_subscribed(CONNECTIONS - failures.len(), 1)?;
        let cpu = node.process.cpu_since(&before)?;
        costs.push(cpu.as_secs_f64() * 1e6 / CONNECTIONS as f64);
        rates.push(CONNECTIONS as f64 / wall);
        println!(
            "  round {round}: {} us of CPU each, {} connections/s",
            number(costs[round - 1]),
            number(rates[round - 1])
        );
        if let Some(first) = failures.first() {
            println!("  {} failed, the first: {first}", failures.len());
        }
        failed += failures.len();
        drop(clients);
        node.wait_disconnected()?;
        // The CPU for closing 5,000 connections must not count in the next round.
        std::thread::sleep(Duration::from_millis(300));
    }
    table.add("connect, CPU of the node", median(&costs), "us each", Goal::AtMost(30.0));
    table.add("connect, rate", median(&rates), "connections/s", Goal::None);
    table.add("connect, refused or reset", failed as f64, "", Goal::AtMost(0.0));
    Ok(())
}
