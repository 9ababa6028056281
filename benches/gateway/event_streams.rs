//! Server-Sent Events: the CPU of a delivery to 1,000 streams at a fixed rate, compared with json over WebSockets, and the
//! memory of idle streams.
//!
//! Each kind of client has its own node and channel, and their rounds alternate.

use anyhow::Result;

use crate::client::Clients;
use crate::connection::Request;
use crate::cores::Cores;
use crate::fanout::{PAYLOAD_BYTES, Reading, SUBSCRIBERS, median_ratio, range, round};
use crate::json;
use crate::memory::idle;
use crate::node::Node;
use crate::redis::Redis;
use crate::table::{Goal, Length, Table, median};

/// Channels of each stream of several.
const CHANNELS: usize = 5;

const HISTORY: &str = r#"rules=[{pattern="**",history={size=100,age="10m"}}]"#;

/// A node with its 1,000 clients, and its results: CPU-seconds per million deliveries, one value a round.
struct Contender {
    name: &'static str,
    node: Node,
    clients: Clients,
    /// Publishes on the first channel, through the node if it keeps history.
    publisher: Clients,
    costs: Vec<f64>,
}

pub fn measure(length: Length, table: &mut Table) -> Result<()> {
    let redis = Redis::start(Cores::Any)?;
    let several = path_of_several("bench");
    let mut contenders = [
        Contender::start("json over WebSockets", &redis, &Request::Json, &[])?,
        Contender::start("event streams", &redis, &Request::EventStream("/sse/bench".into()), &[])?,
        Contender::start(
            "event streams of 5 channels",
            &redis,
            &Request::EventStream(several.clone()),
            &[],
        )?,
        Contender::start(
            "the same with history",
            &redis,
            &Request::EventStream(several),
            &[HISTORY],
        )?,
    ];
    for _ in 0..length.choose(20, 6) {
        for contender in &mut contenders {
            contender.round()?;
        }
    }
    let [json, streams @ ..] = contenders;
    println!("  {}: rounds {}", json.name, range(&json.costs));
    for (stream, goal) in streams.iter().zip([Goal::AtMost(1.1), Goal::None, Goal::None]) {
        println!("  {}: rounds {}", stream.name, range(&stream.costs));
        table.add_with_floor(
            &format!("fanout, {}, to json", stream.name),
            (median(&stream.costs), median(&json.costs)),
            "CPU-s per million",
            median_ratio(&stream.costs, &json.costs),
            goal,
        );
    }
    drop((json, streams));
    memory(table)
}

impl Contender {
    fn start(
        name: &'static str,
        redis: &Redis,
        request: &Request,
        settings: &[&str],
    ) -> Result<Self> {
        // A prefix of its own, so that no other node gets its publications.
        let prefix = format!("broker.prefix=bench-{}:", name.replace(' ', "-"));
        let settings = [&[prefix.as_str()], settings].concat();
        let mut node = Node::start_with(redis, Cores::Any, &settings)?;
        let clients = match request {
            Request::Json => {
                let mut sessions = json::sessions(node.address, SUBSCRIBERS)?;
                json::subscribe(&mut sessions, |_| vec!["bench".into()])?;
                sessions
            }
            request => Clients::connected(node.address, &vec![request.clone(); SUBSCRIBERS])?,
        };
        let channels = match request {
            Request::EventStream(path) => path.matches("channel=").count().max(1),
            _ => 1,
        };
        node.wait_subscribed(SUBSCRIBERS * channels, channels)?;
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
            publisher.turn(std::time::Duration::ZERO, |_, _| {})
        };
        let cost =
            round(&mut self.clients, Reading::EveryMillisecond, &self.node.process, publish)?;
        self.costs.push(cost);
        Ok(())
    }
}

fn memory(table: &mut Table) -> Result<()> {
    let one = |number| Request::EventStream(format!("/sse/mem-{number}"));
    idle("memory, idle event streams", one, 1, Goal::AtMost(4096.0), table)?;
    let several = |number| Request::EventStream(path_of_several(&format!("mem-{number}")));
    idle("memory, idle event streams of 5 channels", several, CHANNELS, Goal::None, table)
}

fn path_of_several(first: &str) -> String {
    let others = (1..CHANNELS).map(|number| format!("&channel={first}-{number}"));
    format!("/sse?channel={first}{}", others.collect::<String>())
}
