//! Traces that real nodes export to a collector.

mod export;
mod nodes;
mod outcomes;
mod parents;
mod sampling;

use serde_json::{Value, json};
use testkit::client::Client;
use testkit::collector::Collector;
use testkit::node::Node;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

/// A `traceparent` of `TRACE` and `SPAN`.
fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{SPAN}-{flags}")
}

/// A standalone node that exports to the collector.
async fn node(collector: &Collector, ratio: &str, more: &[&str]) -> Node {
    let settings = collector.settings(ratio);
    let settings: Vec<&str> =
        settings.iter().map(String::as_str).chain(more.iter().copied()).collect();
    Node::standalone(&settings).await
}

/// Publishes on `news` with this `traceparent`.
async fn publish(client: &mut Client, traceparent: &str) -> Value {
    let command = json!({
        "type": "publish", "id": 3, "channel": "news", "data": 1, "traceparent": traceparent,
    });
    client.request(command).await
}
