//! A node with 1,000 subscribers of one kind, whose CPU for a delivery is compared with that of other kinds.

use std::time::Duration;

use anyhow::Result;

use crate::client::Clients;
use crate::connection::Request;
use crate::cores::Cores;
use crate::fanout::{PAYLOAD_BYTES, Reading, SUBSCRIBERS, median_ratio, range, round};
use crate::json;
use crate::node::Node;
use crate::redis::Redis;
use crate::table::{Goal, Length, Table, median};

/// A node with its 1,000 clients, and its results: CPU-seconds per million deliveries, one value a round.
pub struct Contender {
    pub name: &'static str,
    node: Node,
    clients: Clients,
    /// Publishes on the first channel, through the node if it keeps history.
    publisher: Clients,
    pub costs: Vec<f64>,
}

impl Contender {
    pub fn start(
        name: &'static str,
        redis: &Redis,
        request: &Request,
        settings: &[&str],
    ) -> Result<Self> {
        // A prefix of its own, so that no other node gets its publications.
        let prefix = format!("broker.prefix=bench-{}:", name.replace(' ', "-"));
        let settings = [&[prefix.as_str()], settings].concat();
        let mut node = Node::start_with(redis, Cores::Any, &settings)?;
        let mut clients = match request {
            Request::Json => {
                let mut sessions = json::sessions(node.address, SUBSCRIBERS)?;
                json::subscribe(&mut sessions, |_| vec!["bench".into()])?;
                sessions
            }
            request => {
                Clients::connected(node.address_for(request), &vec![request.clone(); SUBSCRIBERS])?
            }
        };
        let channels = match request {
            Request::EventStream(path) => path.matches("channel=").count().max(1),
            _ => 1,
        };
        node.wait_subscribed(SUBSCRIBERS * channels, channels)?;
        clients.discard_until_quiet()?;
        let publisher = json::sessions(node.address, 1)?;
        Ok(Self { name, node, clients, publisher, costs: Vec::new() })
    }

    /// The publisher's own messages cost the node a thousandth of a round.
    fn round(&mut self) -> Result<()> {
        let payload = "x".repeat(PAYLOAD_BYTES);
        let command =
            format!(r#"{{"type":"publish","id":1,"channel":"bench","data":"{payload}"}}"#);
        let publisher = &mut self.publisher;
        let publish = || {
            publisher.push(0, command.as_bytes());
            publisher.flush(0)?;
            publisher.turn(Duration::ZERO, |_, _| {})
        };
        let cost =
            round(&mut self.clients, Reading::EveryMillisecond, &self.node.process, publish)?;
        self.costs.push(cost);
        Ok(())
    }
}

/// Measures all, their rounds alternating, and compares each with the first. `goals`: the most times of the first's CPU, in
/// the order of the others.
pub fn compare(
    mut contenders: Vec<Contender>,
    goals: &[Goal],
    length: Length,
    table: &mut Table,
) -> Result<()> {
    for _ in 0..length.choose(20, 6) {
        for contender in &mut contenders {
            contender.round()?;
        }
    }
    let (first, others) = contenders.split_first().expect("there is one to compare with");
    println!("  {}: rounds {}", first.name, range(&first.costs));
    for (other, goal) in others.iter().zip(goals) {
        println!("  {}: rounds {}", other.name, range(&other.costs));
        table.add_with_floor(
            &format!("fanout, {}, to json", other.name),
            (median(&other.costs), median(&first.costs)),
            "CPU-s per million",
            median_ratio(&other.costs, &first.costs),
            *goal,
        );
    }
    Ok(())
}
