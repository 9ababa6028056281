//! Who is in a channel: sessions are counted over all nodes, and come and go as clients do.
//!
//! As long as there are no tokens, all sessions are of one member, `null`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::client::{Client, publication};
use testkit::eventually;
use testkit::fleet::{Broker, Fleet, for_every_broker};
use testkit::node::Node;
use testkit::redis::{Redis, RedisSubscriber};

for_every_broker!(
    sessions_of_all_nodes_and_protocols_are_counted,
    what_it_did_before_is_in_the_answer,
    only_the_first_session_joins,
    one_that_is_back_within_the_grace_was_never_gone,
    where_none_is_kept_it_is_not_found,
);

/// Channels `p:…` keep presence, all others none.
const RULES: &str = r#"rules=[{pattern="p:*",presence=true},{pattern="**"}]"#;

/// Who closes its last session has left.
const NO_GRACE: &str = "presence.grace=0s";

/// The members of a channel, as a session asks.
async fn asked(client: &mut Client, channel: &str) -> Value {
    let mut answer = client.request(json!({"type": "presence", "id": 5, "channel": channel})).await;
    let members = answer["members"].take();
    let due = json!({"type": "presence", "id": 5, "channel": channel, "members": null});
    assert_eq!(answer, due);
    members
}

/// The members of a channel, as an operator asks.
async fn listed(node: &Node, channel: &str) -> Value {
    let response = node.get(&format!("/api/presence/{channel}")).await;
    assert_eq!(response.status, 200);
    let mut list = response.json();
    let members = list["members"].take();
    assert_eq!(list, json!({"channel": channel, "members": null}));
    members
}

/// What is answered where there are so many sessions.
fn sessions(count: u32) -> Value {
    match count {
        0 => json!([]),
        count => json!([{"user": null, "sessions": count}]),
    }
}

/// All nodes say that there are so many.
async fn becomes(fleet: &Fleet, channel: &str, count: u32) {
    for node in fleet.nodes() {
        eventually(&format!("{count} sessions in {channel}"), async || {
            (listed(node, channel).await == sessions(count)).then_some(())
        })
        .await;
    }
}

async fn sessions_of_all_nodes_and_protocols_are_counted(broker: Broker) {
    let fleet = broker.fleet(&[RULES, NO_GRACE]).await;
    let [a, b] = fleet.nodes();
    becomes(&fleet, "p:1", 0).await;
    let mut here = Client::subscribed(a, "p:1").await;
    let there = Client::subscribed(b, "p:1").await;
    let plain = Client::plain(b, "p:1").await;
    let elsewhere = Client::subscribed(b, "p:2").await;
    becomes(&fleet, "p:1", 3).await;
    assert_eq!(asked(&mut here, "p:1").await, sessions(3));
    // Whoever asks need not be there.
    assert_eq!(asked(&mut here, "p:2").await, sessions(1));

    plain.close().await;
    becomes(&fleet, "p:1", 2).await;
    here.request(json!({"type": "unsubscribe", "id": 3, "channel": "p:1"})).await;
    becomes(&fleet, "p:1", 1).await;
    // As one that lost its network, not as one that says good-bye.
    drop(there);
    becomes(&fleet, "p:1", 0).await;
    becomes(&fleet, "p:2", 1).await;
    elsewhere.close().await;
    becomes(&fleet, "p:2", 0).await;
}

async fn what_it_did_before_is_in_the_answer(broker: Broker) {
    let fleet = broker.fleet(&[RULES, NO_GRACE]).await;
    let [a, _] = fleet.nodes();
    let mut client = Client::json(a).await;
    for _ in 0..20 {
        client.subscribe("p:1").await;
        assert_eq!(asked(&mut client, "p:1").await, sessions(1));
        client.request(json!({"type": "unsubscribe", "id": 3, "channel": "p:1"})).await;
        assert_eq!(asked(&mut client, "p:1").await, sessions(0));
    }
}

async fn only_the_first_session_joins(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut first = Client::subscribed(a, "p:1").await;
    // It is there itself when it joins.
    assert_eq!(first.event().await, json!({"type": "join", "channel": "p:1", "user": null}));
    let mut second = Client::subscribed(b, "p:1").await;
    becomes(&fleet, "p:1", 2).await;
    second.request(json!({"type": "unsubscribe", "id": 3, "channel": "p:1"})).await;
    becomes(&fleet, "p:1", 1).await;
    second.publish("p:1", json!("next")).await;
    assert_eq!(first.event().await, publication("p:1", "next"));
}

async fn one_that_is_back_within_the_grace_was_never_gone(broker: Broker) {
    let fleet = broker.fleet(&[RULES, "presence.grace=2s"]).await;
    for node in fleet.nodes() {
        let mut client = Client::subscribed(node, "p:1").await;
        assert_eq!(client.event().await["type"], "join");
        for node in fleet.nodes() {
            client.close().await;
            // Whoever lingers counts as a session of the node it left.
            assert_ne!(listed(node, "p:1").await, sessions(0));
            client = Client::subscribed(node, "p:1").await;
        }
        becomes(&fleet, "p:1", 1).await;
        client.publish("p:1", json!("next")).await;
        assert_eq!(client.event().await, publication("p:1", "next"));
        client.close().await;
        becomes(&fleet, "p:1", 0).await;
    }
}

async fn where_none_is_kept_it_is_not_found(broker: Broker) {
    let rules = r#"rules=[{pattern="p:*",presence=true},{pattern="h:*",history={size=50,age="10m"}},{pattern="news"}]"#;
    let fleet = broker.fleet(&[rules]).await;
    let [a, _] = fleet.nodes();
    let mut client = Client::json(a).await;
    for (channel, why) in [("h:1", r#"the rule "h:*""#), ("news", r#"the rule "news""#)] {
        let answer = client.request(json!({"type": "presence", "id": 5, "channel": channel})).await;
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!("not_found")));
        assert_eq!((&answer["channel"], &answer["temporary"]), (&json!(channel), &json!(false)));
        let response = a.get(&format!("/api/presence/{channel}")).await;
        assert_eq!(response.status, 404);
        let error = &response.json()["error"];
        assert_eq!(error["code"], "not_found");
        for message in [&answer["message"], &error["message"]] {
            assert!(message.as_str().is_some_and(|it| it.contains(why)), "{message}");
        }
    }
    // Such a channel works all the same, and nobody joins it.
    client.subscribe("news").await;
    client.publish("news", json!(1)).await;
    assert_eq!(client.event().await, publication("news", 1));
}

/// The joins and leaves of a channel, as they are on Redis.
async fn told(redis: &Redis, channel: &str) -> RedisSubscriber {
    redis.subscriber(&format!("presence {{tidegate:{channel}}} {channel}")).await
}

async fn hears(listener: &mut RedisSubscriber, change: &str) {
    let message: Value = serde_json::from_slice(&listener.receive().await).expect("it is JSON");
    assert_eq!(message, json!({"change": change, "user": null}));
}

/// The next to be told is this, and nothing was before.
async fn hears_nothing(redis: &Redis, listener: &mut RedisSubscriber, channel: &str) {
    redis.publish(&format!("presence {{tidegate:{channel}}} {channel}"), "mark").await;
    assert_eq!(listener.receive().await, b"mark");
}

#[tokio::test]
async fn joins_and_leaves_are_the_fleets_and_told_on_redis() {
    let fleet = Fleet::redis(&[RULES, NO_GRACE]).await;
    let redis = fleet.server();
    let [a, b] = fleet.nodes();
    let mut told = told(redis, "p:1").await;
    let here = Client::subscribed(a, "p:1").await;
    hears(&mut told, "join").await;
    let there = Client::subscribed(b, "p:1").await;
    becomes(&fleet, "p:1", 2).await;
    here.close().await;
    becomes(&fleet, "p:1", 1).await;
    hears_nothing(redis, &mut told, "p:1").await;
    there.close().await;
    hears(&mut told, "leave").await;
    becomes(&fleet, "p:1", 0).await;
    hears_nothing(redis, &mut told, "p:1").await;
}

#[tokio::test]
async fn a_leave_is_told_after_the_grace_unless_somebody_is_back() {
    let fleet = Fleet::redis(&[RULES, "presence.grace=1s"]).await;
    let redis = fleet.server();
    let [a, b] = fleet.nodes();
    for node in [a, b] {
        let (mut back, mut gone) = (told(redis, "p:1").await, told(redis, "p:2").await);
        let client = Client::subscribed(a, "p:1").await;
        hears(&mut back, "join").await;
        let other = Client::subscribed(a, "p:2").await;
        hears(&mut gone, "join").await;
        client.close().await;
        let client = Client::subscribed(node, "p:1").await;
        // Its grace ends after the one that was not needed.
        let closed = Instant::now();
        other.close().await;
        hears(&mut gone, "leave").await;
        assert!(closed.elapsed() >= Duration::from_secs(1), "{:?}", closed.elapsed());
        hears_nothing(redis, &mut back, "p:1").await;
        client.close().await;
        hears(&mut back, "leave").await;
    }
}

#[tokio::test]
async fn the_sessions_of_a_node_that_crashed_are_gone_within_the_ttl() {
    const TTL: Duration = Duration::from_secs(3);
    /// What a busy machine adds to it.
    const SLACK: Duration = Duration::from_secs(3);
    let mut fleet = Fleet::redis(&[RULES, "presence.ttl=3s", "presence.grace=1s"]).await;
    let [a, b] = fleet.nodes();
    let redis = fleet.server();
    let (mut both, mut only) = (told(redis, "p:1").await, told(redis, "p:2").await);
    let _here = [Client::subscribed(a, "p:1").await, Client::subscribed(a, "p:2").await];
    let there = Client::subscribed(b, "p:1").await;
    becomes(&fleet, "p:1", 2).await;
    becomes(&fleet, "p:2", 1).await;
    hears(&mut both, "join").await;
    hears(&mut only, "join").await;

    fleet.kill_node();
    let crashed = Instant::now();
    becomes(&fleet, "p:1", 1).await;
    becomes(&fleet, "p:2", 0).await;
    assert!(crashed.elapsed() < TTL + SLACK, "{:?}", crashed.elapsed());
    // The member is on the other node too.
    let redis = fleet.server();
    hears_nothing(redis, &mut both, "p:1").await;
    there.close().await;
    hears(&mut both, "leave").await;
}
