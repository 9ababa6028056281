//! Redis takes less than clients may send: who sends too much is told, and nobody else notices.

use serde_json::json;
use testkit::client::Client;
use testkit::eventually;
use testkit::node::Node;
use testkit::redis::Redis;

/// The least that Redis lets itself be set to.
const LIMIT: &str = "1048576";

const LARGE: [&str; 3] = [
    "session.message_bytes_max=4MiB",
    "session.queue_bytes_max=32MiB",
    "broker.publish_timeout=20s",
];

async fn limited(setting: &str) -> Redis {
    let redis = Redis::start().await;
    let () = redis.query(&["CONFIG", "SET", setting, LIMIT]).await;
    redis
}

fn large() -> String {
    "x".repeat(2 << 20)
}

/// While one client publishes what is too large, others lose nothing, and no connection is made again.
async fn harms_nobody_else(redis: &Redis) {
    let node = Node::on(redis, &LARGE).await;
    let mut greedy = Client::json(&node).await;
    let mut others = Client::subscribed(&node, "news").await;
    let before = node.metric("tidegate_broker_reconnects_total").await;
    for number in 0..20 {
        greedy
            .send_command(json!({"type": "publish", "id": 7, "channel": "big", "data": large()}))
            .await;
        others.publish("news", number.into()).await;
        assert_eq!(others.event().await["data"], number);
        let error = greedy.answer(7).await;
        assert_eq!(error["code"], "too_large", "{error}");
        assert_eq!(error["temporary"], false, "{error}");
        assert!(error["message"].as_str().is_some_and(|it| it.contains("proto-max-bulk-len")));
    }
    assert_eq!(node.metric("tidegate_broker_reconnects_total").await, before);
    let told: Vec<_> = node.process.stderr();
    assert_eq!(told.iter().filter(|line| line.contains("larger than redis takes")).count(), 1);
}

#[tokio::test]
async fn an_argument_beyond_its_limit() {
    harms_nobody_else(&limited("proto-max-bulk-len").await).await;
}

#[tokio::test]
async fn a_command_beyond_its_buffer() {
    harms_nobody_else(&limited("client-query-buffer-limit").await).await;
}

#[tokio::test]
async fn a_limit_that_is_changed_counts_from_then_on() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &LARGE).await;
    let mut client = Client::json(&node).await;
    let publish = json!({"type": "publish", "id": 7, "channel": "big", "data": large()});
    assert_eq!(client.request(publish.clone()).await["type"], "published");
    let () = redis.query(&["CONFIG", "SET", "proto-max-bulk-len", LIMIT]).await;
    eventually("it to be refused by the node", async || {
        (client.request(publish.clone()).await["code"] == "too_large").then_some(())
    })
    .await;
    let () = redis.query(&["CONFIG", "SET", "proto-max-bulk-len", "536870912"]).await;
    eventually("it to be taken again", async || {
        (client.request(publish.clone()).await["type"] == "published").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_plain_client_is_closed_as_for_any_message_that_is_too_large() {
    let redis = limited("proto-max-bulk-len").await;
    let node = Node::on(&redis, &LARGE).await;
    let mut client = Client::plain(&node, "big").await;
    client.send(large()).await;
    assert_eq!(u16::from(client.receive_close().await.code), 1009);
}
