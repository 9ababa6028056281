//! The plain protocol has no gap event: a session is caught up from the history, or closed if it set `gap=close`.

use testkit::client::Client;
use testkit::eventually;
use testkit::node::Node;
use testkit::redis::Redis;

use super::super::{LONG, RULES, publish, subscribe};
use super::answer;

const TIMEOUT: &str = "broker.publish_timeout=300ms";

const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

/// Publications in each round.
const PER_ROUND: u64 = 100;

/// Publishes the numbers as a service does, and retries each until Redis accepts it.
async fn fcall(redis: &Redis, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let (payload, header) = (number.to_string(), format!(r#"{{"id":"{number}"}}"#));
        let command = ["FCALL", "tidegate_publish", "1", "tidegate:h:1", &payload, &header];
        eventually("a publication to be accepted", async || {
            answer::<String>(redis, &command).await.ok()
        })
        .await;
    }
}

#[tokio::test]
async fn plain_sessions_are_caught_up_in_order_and_once_after_redis_interruptions() {
    let mut redis = Redis::stopped_with(&DURABLE);
    redis.run().await;
    let node = Node::on(&redis, &[LONG, TIMEOUT]).await;
    let mut clients =
        [Client::plain(&node, "h:1").await, Client::plain(&node, "h:1?gap=close").await];
    let mut next = 0;
    for round in 0..6 {
        match round % 3 {
            0 => _ = redis.kill_subscribers().await,
            1 => {
                redis.freeze();
                node.wait_until_unready().await;
                redis.thaw();
            }
            _ => {
                redis.kill();
                redis.run().await;
            }
        }
        // The node may not have reconnected yet, so it has to catch up on these.
        fcall(&redis, next..next + PER_ROUND).await;
        for number in next..next + PER_ROUND {
            for client in &mut clients {
                assert_eq!(client.receive_text().await, number.to_string());
            }
        }
        next += PER_ROUND;
        node.wait_until_ready().await;
    }
    assert_eq!(node.metric("tidegate_connections_closed_total").await, 0.);
}

#[tokio::test]
async fn lost_history_closes_plain_sessions_with_gap_close_and_no_others() {
    let mut redis = Redis::start().await;
    let node = Node::on(&redis, &[RULES, TIMEOUT]).await;
    let mut json = Client::json(&node).await;
    subscribe(&mut json, "h:1").await;
    let mut closing = Client::plain(&node, "h:1?gap=close").await;
    let mut open = Client::plain(&node, "h:1").await;
    publish(&mut json, "h:1", "before").await;
    for client in [&mut closing, &mut open] {
        assert_eq!(client.receive_text().await, r#""before""#);
    }
    json.event().await;
    redis.kill();
    node.wait_until_unready().await;
    redis.run().await;
    let gap = json.event().await;
    assert_eq!((&gap["type"], &gap["reason"]), (&"gap".into(), &"history_lost".into()));
    let close = closing.receive_close().await;
    assert_eq!(u16::from(close.code), 1013);
    assert!(close.reason.contains("missing"), "{}", close.reason);
    node.wait_for_metric("tidegate_connections_closed_total{reason=\"gap\"}", 1.).await;
    node.wait_until_ready().await;
    publish(&mut json, "h:1", "after").await;
    assert_eq!(open.receive_text().await, r#""after""#);
}
