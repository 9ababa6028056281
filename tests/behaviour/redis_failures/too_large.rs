//! Redis accepts less than clients may send: the publisher gets an error, and other clients are not affected.

use serde_json::json;
use testkit::client::Client;
use testkit::eventually;
use testkit::node::Node;
use testkit::redis::Redis;

/// The smallest value that Redis accepts for the limits.
const LIMIT: &str = "1048576";

const LARGE: [&str; 3] = [
    "session.message_bytes_max=4MiB",
    "session.queue_bytes_max=32MiB",
    "broker.publish_timeout=20s",
];

async fn redis_with_limit(setting: &str) -> Redis {
    let redis = Redis::start().await;
    let () = redis.query(&["CONFIG", "SET", setting, LIMIT]).await;
    redis
}

fn large() -> String {
    "x".repeat(2 << 20)
}

/// Asserts that publications too large for Redis are answered with an error, while another client loses nothing and the
/// node does not reconnect.
async fn assert_only_the_publisher_is_refused(redis: &Redis) {
    let node = Node::on(redis, &LARGE).await;
    let mut publisher = Client::json(&node).await;
    let mut other = Client::subscribed(&node, "news").await;
    let before = node.metric("tidegate_broker_reconnects_total").await;
    for number in 0..20 {
        publisher
            .send_command(json!({"type": "publish", "id": 7, "channel": "big", "data": large()}))
            .await;
        other.publish("news", number.into()).await;
        assert_eq!(other.event().await["data"], number);
        let error = publisher.answer(7).await;
        assert_eq!(error["code"], "too_large", "{error}");
        assert_eq!(error["temporary"], false, "{error}");
        assert!(error["message"].as_str().is_some_and(|it| it.contains("proto-max-bulk-len")));
    }
    assert_eq!(node.metric("tidegate_broker_reconnects_total").await, before);
    let log = node.process.wait_for_stderr(&["larger than redis accepts"]).await;
    assert_eq!(log.matches("larger than redis accepts").count(), 1);
}

#[tokio::test]
async fn a_publication_above_proto_max_bulk_len_is_refused_without_affecting_others() {
    assert_only_the_publisher_is_refused(&redis_with_limit("proto-max-bulk-len").await).await;
}

#[tokio::test]
async fn a_publication_above_client_query_buffer_limit_is_refused_without_affecting_others() {
    assert_only_the_publisher_is_refused(&redis_with_limit("client-query-buffer-limit").await)
        .await;
}

#[tokio::test]
async fn a_changed_proto_max_bulk_len_takes_effect_without_a_restart() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &LARGE).await;
    let mut client = Client::json(&node).await;
    let publish = json!({"type": "publish", "id": 7, "channel": "big", "data": large()});
    assert_eq!(client.request(publish.clone()).await["type"], "published");
    let () = redis.query(&["CONFIG", "SET", "proto-max-bulk-len", LIMIT]).await;
    eventually("the publication to be refused by the node", async || {
        (client.request(publish.clone()).await["code"] == "too_large").then_some(())
    })
    .await;
    let () = redis.query(&["CONFIG", "SET", "proto-max-bulk-len", "536870912"]).await;
    eventually("the publication to be accepted again", async || {
        (client.request(publish.clone()).await["type"] == "published").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_plain_frame_too_large_for_redis_closes_the_connection_with_1009() {
    let redis = redis_with_limit("proto-max-bulk-len").await;
    let node = Node::on(&redis, &LARGE).await;
    let mut client = Client::plain(&node, "big").await;
    client.send(large()).await;
    assert_eq!(u16::from(client.receive_close().await.code), 1009);
}
