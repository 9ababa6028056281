//! Control: what viewers publish reaches the worker and no viewer.

use serde_json::{Value, json};
use testkit::client::Client;
use testkit::fleet::{Broker, for_every_broker};
use testkit::node::Node;
use testkit::redis::Redis;
use testkit::token::{self, KEYS};

use super::{RULES, end, ended, subscribe, work};

for_every_broker!(
    what_clients_publish_on_a_run_goes_to_its_control_channel_and_not_to_viewers,
    a_control_channel_with_history_keeps_what_clients_publish,
);

async fn what_clients_publish_on_a_run_goes_to_its_control_channel_and_not_to_viewers(
    broker: Broker,
) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let (mut worker, _) = subscribe(a, "control:ask:1", json!({})).await;
    let (mut viewer, _) = subscribe(b, "ask:1", json!({})).await;
    work(a, "ask:1", 1..=1).await;
    assert_eq!(viewer.event().await["data"], 1);
    let publish = json!({"type": "publish", "id": 2, "channel": "ask:1", "data": {"type": "stop"}});
    assert_eq!(viewer.request(publish).await, json!({"type": "published", "id": 2}));
    assert_eq!(worker.event().await["data"], json!({"type": "stop"}));
    let mut plain = Client::plain(b, "ask:1").await;
    plain.send("plain").await;
    assert_eq!(worker.event().await["text"], "plain");
    let posted = testkit::http::request(b.public, "POST", "/publish/ask:1", &[], b"posted").await;
    assert_eq!((posted.status, posted.json()), (202, json!({})));
    assert_eq!(worker.event().await["text"], "posted");
    // Only the worker's publications are part of the run.
    work(a, "ask:1", 2..=2).await;
    assert_eq!(viewer.event().await["data"], 2);
    assert_eq!(plain.receive_text().await, "2");
    let position = end(a, "ask:1", "stopped").await;
    assert_eq!(viewer.event().await, ended("ask:1", "stopped", &position));
}

async fn a_control_channel_with_history_keeps_what_clients_publish(broker: Broker) {
    let rules = r#"rules=[{pattern="ask:**",history={size=9,age="10m"},run={lease="1h",control="kept:{name}"}},
        {pattern="kept:**",history={size=10,age="10m"}},{pattern="**"}]"#;
    let fleet = broker.fleet(&[rules]).await;
    let [a, b] = fleet.nodes();
    let mut viewer = Client::json(b).await;
    let publish = json!({"type": "publish", "id": 2, "channel": "ask:1", "data": "stop"});
    // The answer has no position, which would be one of the other channel.
    assert_eq!(viewer.request(publish).await, json!({"type": "published", "id": 2}));
    let (mut worker, _) = subscribe(a, "kept:ask:1", json!({"since": "first"})).await;
    assert_eq!(worker.event().await["data"], "stop");
}

#[tokio::test]
async fn a_worker_reads_the_user_and_session_of_a_control_message_on_redis() {
    let redis = Redis::start().await;
    let rules = r#"rules=[{pattern="ask:*",subscribe="anyone",publish="token",history={size=9,age="10m"},
        run={lease="1h",control="control:{name}"}}]"#;
    let node = Node::on(&redis, &[KEYS, "auth.mode=token", rules]).await;
    let mut worker = redis.subscriber("control:ask:1").await;
    let token = token::for_user("ada", &["ask:*"]);
    let mut viewer = Client::open(&node, &format!("/ws?token={token}")).await.with_welcome().await;
    let publish = json!({"type": "publish", "id": 2, "channel": "ask:1", "data": "stop"});
    assert_eq!(viewer.request(publish.clone()).await["type"], "published");
    let message = worker.receive().await;
    let line = message.strip_prefix(b"\x1e").expect("a header line");
    let at = line.iter().position(|byte| *byte == b'\n').unwrap();
    let header: Value = serde_json::from_slice(&line[..at]).unwrap();
    assert_eq!((&header["user"], &line[at + 1..]), (&json!("ada"), &b"\"stop\""[..]));
    assert_eq!(header["session"], viewer.welcome["session"]);
    // The right is that of the run's rule.
    let mut other = Client::json(&node).await;
    let refused = other.request(publish).await;
    assert_eq!(refused["code"], "unauthorized", "{refused}");
}

#[tokio::test]
async fn a_control_channel_that_cannot_be_used_is_a_clear_error() {
    let node = Node::standalone(&[RULES]).await;
    let mut viewer = Client::json(&node).await;
    let long = format!("ask:{}", "x".repeat(250));
    let publish = json!({"type": "publish", "id": 2, "channel": long, "data": "stop"});
    let refused = viewer.request(publish).await;
    assert_eq!(refused["code"], "bad_request", "{refused}");
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("control channel would have too long a name"), "{message}");
}
