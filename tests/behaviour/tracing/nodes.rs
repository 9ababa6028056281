//! One publication has one trace across all nodes that deliver it.

use serde_json::{Value, json};
use testkit::client::Client;
use testkit::collector::{CONSUMER, Collector, PRODUCER, Span};
use testkit::node::Node;
use testkit::redis::Redis;

use super::{SPAN, TRACE, publish, traceparent};

async fn fleet(redis: &Redis, collector: &Collector) -> [Node; 2] {
    let settings = collector.settings("0.0");
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    [Node::on(redis, &settings).await, Node::on(redis, &settings).await]
}

fn header(message: &[u8]) -> Value {
    let end = message.iter().position(|byte| *byte == b'\n').expect("a line");
    serde_json::from_slice(&message[1..end]).expect("a JSON object")
}

#[tokio::test]
async fn a_publication_is_traced_from_its_publisher_to_every_node_that_delivers_it() {
    let (redis, collector) = (Redis::start().await, Collector::start().await);
    let [a, b] = fleet(&redis, &collector).await;
    let mut service = redis.subscriber("news").await;
    let mut publisher = Client::subscribed(&a, "news").await;
    let mut subscribers =
        [Client::subscribed(&b, "news").await, Client::subscribed(&b, "news").await];

    assert_eq!(publish(&mut publisher, &traceparent("01")).await["type"], "published");
    for subscriber in &mut subscribers {
        assert_eq!(subscriber.event().await["data"], 1);
    }

    let [sent] = collector.wait_for_spans("publish").await;
    assert_eq!((&*sent.trace, &*sent.parent, sent.kind), (TRACE, SPAN, PRODUCER));
    assert_eq!(sent.node(), publisher.welcome["node"]);
    assert_eq!(sent.error, None);
    for (name, value) in [
        ("messaging.system", "tidegate"),
        ("messaging.operation.name", "publish"),
        ("messaging.operation.type", "send"),
        ("messaging.destination.name", "news"),
        ("messaging.message.body.size", "1"),
        ("tidegate.session", publisher.welcome["session"].as_str().expect("a session")),
    ] {
        assert_eq!(sent.attribute(name), value, "{name}");
    }
    assert_eq!(sent.resource["service.name"], "tidegate");
    assert_eq!(sent.resource["service.version"], env!("CARGO_PKG_VERSION"));

    let mut relays: [Span; 2] = collector.wait_for_spans("relay").await;
    relays.sort_by_key(|span| span.attribute("tidegate.subscribers").to_owned());
    for (relay, node, count) in
        [(&relays[0], &publisher.welcome, "1"), (&relays[1], &subscribers[0].welcome, "2")]
    {
        assert_eq!((&relay.trace, &relay.parent, relay.kind), (&sent.trace, &sent.id, CONSUMER));
        assert_eq!(relay.node(), node["node"]);
        assert_eq!(relay.attribute("tidegate.subscribers"), count);
        assert_eq!(relay.attribute("messaging.destination.name"), "news");
    }
    assert_ne!(relays[0].node(), relays[1].node());
    // The header line carries the node's own span as the parent for services.
    assert_eq!(header(&service.receive().await)["traceparent"], sent.traceparent());
}

#[tokio::test]
async fn a_services_trace_in_a_header_line_is_continued_on_every_node() {
    let (redis, collector) = (Redis::start().await, Collector::start().await);
    let nodes = fleet(&redis, &collector).await;
    let mut clients =
        [Client::plain(&nodes[0], "news").await, Client::plain(&nodes[1], "news").await];
    let line = json!({"traceparent": traceparent("01")});
    redis.publish("news", format!("\u{1e}{line}\nhello")).await;
    for client in &mut clients {
        assert_eq!(client.receive_text().await, "hello");
    }
    let relays: [Span; 2] = collector.wait_for_spans("relay").await;
    assert!(relays.iter().all(|it| it.trace == TRACE && it.parent == SPAN), "{relays:#?}");
    assert_ne!(relays[0].node(), relays[1].node());
    assert!(
        collector.spans_named("publish").is_empty(),
        "no node published, so there must be no publish span"
    );
}

#[tokio::test]
async fn history_keeps_the_trace_of_a_publication() {
    let (redis, collector) = (Redis::start().await, Collector::start().await);
    let settings = collector.settings("0.0");
    let rules = r#"rules=[{ pattern = "**", history = { size = 9, age = "1m" } }]"#;
    let node = Node::on(&redis, &[&settings[0], rules]).await;
    let mut client = Client::json(&node).await;
    client.request(json!({"type": "subscribe", "id": 1, "channel": "news"})).await;
    let answer = publish(&mut client, &traceparent("01")).await;
    let [sent] = collector.wait_for_spans("publish").await;
    assert_eq!(sent.attribute("messaging.message.id"), answer["position"]);
    let [relay] = collector.wait_for_spans("relay").await;
    assert_eq!(relay.parent, sent.id);
    assert_eq!(relay.attribute("messaging.message.id"), answer["position"]);
    let entries: Vec<(String, Vec<String>)> =
        redis.query(&["XRANGE", "tidegate:news", "-", "+"]).await;
    let entry: Value = serde_json::from_str(&entries[0].1[1]).expect("a header");
    assert_eq!(entry["traceparent"], sent.traceparent());
}
