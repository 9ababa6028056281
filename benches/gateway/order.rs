//! Two nodes, 1,000 subscribers, 20,000 publications over 100 channels: none lost, none duplicated, all in order.
//!
//! Each publisher is a json session and numbers its publications on each channel. Each subscriber of a channel must receive
//! every publisher's numbers in order and without gaps, and all subscribers of a channel, on both nodes, the same sequence.

mod publishers;
mod subscribers;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Deserialize;

use self::publishers::Publishers;
use self::subscribers::Subscribers;
use crate::client::Progress;
use crate::cores::Cores;
use crate::node::Node;
use crate::redis::Redis;
use crate::table::{Goal, Length, Table, number};

const CHANNELS: usize = 100;
const PUBLICATIONS: usize = 20_000;

/// On each node: plain subscribers, one channel each, and json sessions with several.
const PLAIN: usize = 400;
const JSON: usize = 100;
const CHANNELS_EACH: usize = 5;

/// Publishing sessions on each node.
const PUBLISHERS: usize = 2;

/// How often a publisher publishes on each channel.
const REPEATS: usize = PUBLICATIONS / (2 * PUBLISHERS) / CHANNELS;

/// The content of a publication: its publisher, its channel, and its number among the publisher's publications there.
#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
struct Mark {
    publisher: usize,
    channel: usize,
    number: usize,
}

pub fn measure(_: Length, table: &mut Table) -> Result<()> {
    let redis = Redis::start(Cores::Any)?;
    let mut subscribers = Vec::new();
    let mut publishers = Vec::new();
    let mut nodes = Vec::new();
    for first_publisher in [0, PUBLISHERS] {
        let mut node = Node::start(&redis, Cores::Any)?;
        subscribers.push(Subscribers::plain(&node)?);
        subscribers.push(Subscribers::json(&node)?);
        node.wait_subscribed(PLAIN + JSON * CHANNELS_EACH, CHANNELS)?;
        publishers.push(Publishers::new(&node, first_publisher)?);
        nodes.push(node);
    }

    let start = Instant::now();
    let mut progress = Progress::new();
    loop {
        for publishers in &mut publishers {
            publishers.turn()?;
        }
        for subscribers in &mut subscribers {
            subscribers.turn()?;
        }
        let missing: usize = subscribers.iter().map(Subscribers::missing).sum();
        if missing == 0 && publishers.iter().all(Publishers::done) {
            break;
        }
        // Missing deliveries are reported below, stream by stream.
        if progress.record(missing as u64).is_err() {
            println!("  {missing} deliveries never arrived");
            break;
        }
    }
    let wall = start.elapsed().as_secs_f64();
    // Duplicates may arrive late.
    let settled = Instant::now() + Duration::from_millis(500);
    while Instant::now() < settled {
        for subscribers in &mut subscribers {
            subscribers.turn()?;
        }
    }

    let deliveries: usize = subscribers.iter().map(Subscribers::deliveries).sum();
    println!("  {deliveries} deliveries of {PUBLICATIONS} publications in {} s", number(wall));
    let faults = subscribers::faults(&subscribers);
    for fault in faults.iter().take(10) {
        println!("  {fault}");
    }
    table.add(
        "order, lost, duplicated or out of order",
        faults.len() as f64,
        "streams",
        Goal::AtMost(0.0),
    );
    ensure!(faults.is_empty(), "{} of the subscribers' streams are faulty", faults.len());
    Ok(())
}

fn name_of(channel: usize) -> String {
    format!("order:{channel}")
}
