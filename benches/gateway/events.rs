//! What events for the backend cost a connection: the CPU of the node and of Redis from its handshake to its end, without events, with
//! those of connections, and with those of its channel and member too.
//!
//! Each connection is on a channel of its own, the most expensive case: it is occupied and vacated, and its member joins and leaves.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::client::Clients;
use crate::connection::Request;
use crate::cores::Cores;
use crate::node::Node;
use crate::redis::Redis;
use crate::table::{Goal, Length, Table, median, number};

const CONNECTIONS: usize = 5000;
const AT_ONCE_MAX: usize = 500;

/// A name, settings, and how many changes a connection writes from its beginning to its end.
type Variant = (&'static str, &'static [&'static str], f64);

const STREAM: &str = "events.stream=tidegate:events";
const NO_GRACE: &str = "presence.grace=0s";

const VARIANTS: [Variant; 3] = [
    ("without events", &[NO_GRACE], 0.0),
    ("with connected, disconnected", &[NO_GRACE, STREAM], 2.0),
    (
        "with occupied, vacated too",
        &[NO_GRACE, STREAM, r#"rules=[{pattern="**",events=true}]"#],
        4.0,
    ),
];

pub fn measure(length: Length, table: &mut Table) -> Result<()> {
    let requests: Vec<Request> =
        (0..CONNECTIONS).map(|number| Request::Plain(format!("/ws/bench:{number}"))).collect();
    for (name, settings, changes) in VARIANTS {
        let redis = Redis::start(Cores::Any)?;
        let mut node = Node::start_with(&redis, Cores::Any, settings)?;
        let (mut of_node, mut of_redis) = (Vec::new(), Vec::new());
        for round in 1..=length.choose(6, 3) {
            let before = (node.process.cpu()?, redis.process.cpu()?);
            let mut clients = Clients::new()?;
            let failures = clients.connect(node.address, &requests, AT_ONCE_MAX)?;
            ensure!(failures.is_empty(), "{} connections failed: {}", failures.len(), failures[0]);
            node.wait_subscribed(CONNECTIONS, CONNECTIONS)?;
            // A channel that is vacated before `occupied` is written has no event at all.
            let earlier = changes * ((round - 1) * CONNECTIONS) as f64;
            wait_written(&node, earlier + changes / 2.0 * CONNECTIONS as f64)?;
            drop(clients);
            node.wait_disconnected()?;
            wait_written(&node, earlier + changes * CONNECTIONS as f64)?;
            let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / CONNECTIONS as f64;
            of_node.push(each(node.process.cpu_since(&before.0)?));
            of_redis.push(each(redis.process.cpu_since(&before.1)?));
            println!(
                "  {name}, round {round}: node {} us, redis {} us each",
                number(of_node[round - 1]),
                number(of_redis[round - 1])
            );
            // Unsubscribing from the channels must not count in the next round.
            std::thread::sleep(Duration::from_millis(500));
        }
        table.add(
            &format!("events, CPU of the node {name}"),
            median(&of_node),
            "us each",
            Goal::None,
        );
        table.add(
            &format!("events, CPU of redis {name}"),
            median(&of_redis),
            "us each",
            Goal::None,
        );
    }
    Ok(())
}

fn wait_written(node: &Node, changes: f64) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let written = node.metric("tidegate_event_changes_written_total")?;
        if written >= changes {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{written} of {changes} changes are written");
        std::thread::sleep(Duration::from_millis(20));
    }
}
