//! `/api/top`: the busiest channels of a node.

use serde_json::{Value, json};
use testkit::client::Client;
use testkit::fleet::{Broker, for_simple_brokers};
use testkit::node::Node;

for_simple_brokers!(top_lists_the_busiest_channels_of_the_node_first);

/// A channel, the number of its publications, the bytes of each payload, and the number of its subscribers.
const CHANNELS: [(&str, usize, usize, usize); 3] =
    [("quiet", 2, 10, 3), ("chatty", 9, 1, 1), ("weighty", 4, 1000, 2)];

async fn top(node: &Node, query: &str) -> Value {
    let response = node.get(&format!("/api/top?{query}")).await;
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()
}

fn list(expected: &[(&str, u64)]) -> Value {
    let channel =
        |(channel, count): &(&str, u64)| json!({"channel": channel, "count": count, "error": 0});
    expected.iter().map(channel).collect::<Vec<_>>().into()
}

async fn top_lists_the_busiest_channels_of_the_node_first(broker: Broker) {
    let fleet = broker.fleet(&[]).await;
    let [node, other] = fleet.nodes();
    let mut kept = Vec::new();
    for (channel, publications, bytes, subscribers) in CHANNELS {
        let mut clients = Vec::new();
        for _ in 0..subscribers {
            clients.push(Client::subscribed(node, channel).await);
        }
        let path = format!("/api/publish/{channel}");
        for _ in 0..publications {
            assert_eq!(other.post(&path, &[], &vec![b'x'; bytes]).await.status, 202);
            for client in &mut clients {
                client.event().await;
            }
        }
        kept.push(clients);
    }
    // No session of this node is subscribed, so the node does not count this publication.
    assert_eq!(other.post("/api/publish/unsubscribed", &[], b"x").await.status, 202);

    let answer = top(node, "by=publications").await;
    assert_eq!(answer["channels"], list(&[("chatty", 9), ("weighty", 4), ("quiet", 2)]));
    assert_eq!((&answer["by"], &answer["total"]), (&json!("publications"), &json!(15)));
    let seconds = answer["seconds"].as_f64().expect("the time that is covered");
    assert!(seconds > 0. && seconds <= 60., "{seconds}");

    let answer = top(node, "by=bytes").await;
    assert_eq!(answer["channels"], list(&[("weighty", 8000), ("quiet", 60), ("chatty", 9)]));
    assert_eq!(answer["total"], 8069);

    let answer = top(node, "by=subscribers&limit=2").await;
    assert_eq!(answer["channels"], list(&[("quiet", 3), ("weighty", 2)]));
    assert_eq!(answer["total"], 6);
    kept.remove(0);
    node.wait_for_metric("tidegate_subscriptions", 3.).await;
    let answer = top(node, "by=subscribers").await;
    assert_eq!(answer["channels"], list(&[("weighty", 2), ("chatty", 1)]));
    let answer = top(node, "by=publications&limit=3").await;
    assert_eq!(
        answer["channels"][2]["channel"], "quiet",
        "a channel without subscribers still counts for its publications"
    );
}

#[tokio::test]
async fn top_reports_the_error_of_its_counts_where_channels_share_counters() {
    let node = Node::standalone(&["telemetry.top_channels=1"]).await;
    let mut client = Client::json(&node).await;
    // One counter for each of the 64 shards, so some of the 100 channels share one.
    for number in 0..100 {
        let channel = format!("c:{number}");
        client.subscribe(&channel).await;
        for _ in 0..if number == 0 { 40 } else { 1 } {
            client.publish(&channel, json!(number)).await;
            client.event().await;
        }
    }
    let answer = top(&node, "by=publications&limit=1000").await;
    assert_eq!(answer["total"], 139);
    let channels = answer["channels"].as_array().expect("channels");
    assert!(channels.len() <= 64, "{}", channels.len());
    let number = |it: &Value, key: &str| it[key].as_u64().expect("a number");
    assert!(channels.iter().any(|it| number(it, "error") > 0), "no channel shared a counter");
    for it in channels {
        let truth = if it["channel"] == "c:0" { 40 } else { 1 };
        let (count, error) = (number(it, "count"), number(it, "error"));
        assert!(count - error <= truth && truth <= count, "{it}");
    }
}

#[tokio::test]
async fn an_invalid_query_of_top_is_refused_with_the_allowed_values() {
    let node = Node::standalone(&[]).await;
    for (query, allowed) in [
        ("", "publications, bytes, subscribers"),
        ("?by=noise", "publications, bytes, subscribers"),
        ("?by=bytes&limit=0", "1 to 1000"),
        ("?by=bytes&limit=x", "1 to 1000"),
    ] {
        let response = node.get(&format!("/api/top{query}")).await;
        assert_eq!(response.status, 400, "{query}");
        let error = &response.json()["error"];
        assert_eq!(error["code"], "bad_request");
        assert!(error["message"].as_str().expect("a message").contains(allowed), "{error}");
    }
    assert_eq!(node.post("/api/top?by=bytes", &[], b"").await.status, 405);
}

#[tokio::test]
async fn top_can_be_switched_off_and_requires_the_api_key() {
    let node = Node::standalone(&["telemetry.top_channels=0", "internal.api_key=hush"]).await;
    assert_eq!(node.get("/api/top?by=bytes").await.status, 401);
    let key = [("Authorization", "Bearer hush")];
    let ask = async |by: &str| {
        let path = format!("/api/top?by={by}");
        testkit::http::request(node.internal, "GET", &path, &key, b"").await
    };
    let response = ask("bytes").await;
    assert_eq!(response.status, 404);
    assert!(response.text().contains("telemetry.top_channels"), "{}", response.text());
    assert_eq!(ask("subscribers").await.status, 200, "the list by subscribers needs no counters");
}
