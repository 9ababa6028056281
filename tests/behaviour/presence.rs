//! Presence: the nodes count a channel's sessions across the fleet, as clients connect and disconnect.
//!
//! These tests use no tokens, so all sessions belong to one member, `null`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::client::{Client, publication};
use testkit::eventually;
use testkit::fleet::{Broker, Fleet, for_every_broker};
use testkit::node::Node;
use testkit::redis::{Redis, RedisSubscriber};

for_every_broker!(
    presence_counts_the_sessions_of_all_nodes_and_protocols,
    a_presence_answer_reflects_the_sessions_earlier_commands,
    only_the_first_session_of_a_member_causes_a_join_event,
    a_member_that_returns_within_the_grace_causes_no_leave_event,
    presence_of_a_channel_without_it_is_not_found_and_names_the_rule,
);

/// Channels `p:…` keep presence, all others none.
const RULES: &str = r#"rules=[{pattern="p:*",presence=true},{pattern="**"}]"#;

/// A member leaves when its last session ends.
const NO_GRACE: &str = "presence.grace=0s";

/// The members of a channel, by a session's `presence` command.
async fn members_by_command(client: &mut Client, channel: &str) -> Value {
    let mut answer = client.request(json!({"type": "presence", "id": 5, "channel": channel})).await;
    let members = answer["members"].take();
    let expected = json!({"type": "presence", "id": 5, "channel": channel, "members": null});
    assert_eq!(answer, expected);
    members
}

/// The members of a channel, by the API.
async fn members_by_api(node: &Node, channel: &str) -> Value {
    let response = node.get(&format!("/api/presence/{channel}")).await;
    assert_eq!(response.status, 200);
    let mut list = response.json();
    let members = list["members"].take();
    assert_eq!(list, json!({"channel": channel, "members": null}));
    members
}

/// The expected members for this number of anonymous sessions.
fn sessions(count: u32) -> Value {
    match count {
        0 => json!([]),
        count => json!([{"user": null, "sessions": count}]),
    }
}

/// Waits until all nodes report this number of sessions.
async fn wait_for_sessions(fleet: &Fleet, channel: &str, count: u32) {
    for node in fleet.nodes() {
        eventually(&format!("{count} sessions in {channel}"), async || {
            (members_by_api(node, channel).await == sessions(count)).then_some(())
        })
        .await;
    }
}

async fn presence_counts_the_sessions_of_all_nodes_and_protocols(broker: Broker) {
    let fleet = broker.fleet(&[RULES, NO_GRACE]).await;
    let [a, b] = fleet.nodes();
    wait_for_sessions(&fleet, "p:1", 0).await;
    let mut client_a = Client::subscribed(a, "p:1").await;
    let client_b = Client::subscribed(b, "p:1").await;
    let plain = Client::plain(b, "p:1").await;
    let other_channel = Client::subscribed(b, "p:2").await;
    wait_for_sessions(&fleet, "p:1", 3).await;
    assert_eq!(members_by_command(&mut client_a, "p:1").await, sessions(3));
    // The session that asks need not be subscribed.
    assert_eq!(members_by_command(&mut client_a, "p:2").await, sessions(1));

    plain.close().await;
    wait_for_sessions(&fleet, "p:1", 2).await;
    client_a.request(json!({"type": "unsubscribe", "id": 3, "channel": "p:1"})).await;
    wait_for_sessions(&fleet, "p:1", 1).await;
    // Without a close handshake, as a client that lost its network.
    drop(client_b);
    wait_for_sessions(&fleet, "p:1", 0).await;
    wait_for_sessions(&fleet, "p:2", 1).await;
    other_channel.close().await;
    wait_for_sessions(&fleet, "p:2", 0).await;
}

async fn a_presence_answer_reflects_the_sessions_earlier_commands(broker: Broker) {
    let fleet = broker.fleet(&[RULES, NO_GRACE]).await;
    let [a, _] = fleet.nodes();
    let mut client = Client::json(a).await;
    for _ in 0..20 {
        client.subscribe("p:1").await;
        assert_eq!(members_by_command(&mut client, "p:1").await, sessions(1));
        client.request(json!({"type": "unsubscribe", "id": 3, "channel": "p:1"})).await;
        assert_eq!(members_by_command(&mut client, "p:1").await, sessions(0));
    }
}

async fn only_the_first_session_of_a_member_causes_a_join_event(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut first = Client::subscribed(a, "p:1").await;
    // The session is subscribed before it joins, so it receives its own join.
    assert_eq!(first.event().await, json!({"type": "join", "channel": "p:1", "user": null}));
    let mut second = Client::subscribed(b, "p:1").await;
    wait_for_sessions(&fleet, "p:1", 2).await;
    second.request(json!({"type": "unsubscribe", "id": 3, "channel": "p:1"})).await;
    wait_for_sessions(&fleet, "p:1", 1).await;
    second.publish("p:1", json!("next")).await;
    assert_eq!(first.event().await, publication("p:1", "next"));
}

async fn a_member_that_returns_within_the_grace_causes_no_leave_event(broker: Broker) {
    let fleet = broker.fleet(&[RULES, "presence.grace=2s"]).await;
    for node in fleet.nodes() {
        let mut client = Client::subscribed(node, "p:1").await;
        assert_eq!(client.event().await["type"], "join");
        for node in fleet.nodes() {
            client.close().await;
            // During the grace, the closed session still counts for its node.
            assert_ne!(members_by_api(node, "p:1").await, sessions(0));
            client = Client::subscribed(node, "p:1").await;
        }
        wait_for_sessions(&fleet, "p:1", 1).await;
        client.publish("p:1", json!("next")).await;
        assert_eq!(client.event().await, publication("p:1", "next"));
        client.close().await;
        wait_for_sessions(&fleet, "p:1", 0).await;
    }
}

async fn presence_of_a_channel_without_it_is_not_found_and_names_the_rule(broker: Broker) {
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
    // Publications work on such a channel, and there is no join event.
    client.subscribe("news").await;
    client.publish("news", json!(1)).await;
    assert_eq!(client.event().await, publication("news", 1));
}

/// The joins and leaves of a channel, as the functions publish them on Redis.
async fn changes(redis: &Redis, channel: &str) -> RedisSubscriber {
    redis.subscriber(&format!("presence {{tidegate:{channel}}} {channel}")).await
}

async fn expect_change(listener: &mut RedisSubscriber, change: &str) {
    let message: Value = serde_json::from_slice(&listener.receive().await).expect("it is JSON");
    assert_eq!(message, json!({"change": change, "user": null}));
}

/// Asserts that there has been no change, by a message that must be the next one.
async fn expect_no_change(redis: &Redis, listener: &mut RedisSubscriber, channel: &str) {
    redis.publish(&format!("presence {{tidegate:{channel}}} {channel}"), "mark").await;
    assert_eq!(listener.receive().await, b"mark");
}

#[tokio::test]
async fn joins_and_leaves_of_the_fleet_are_published_once_on_redis() {
    let fleet = Fleet::redis(&[RULES, NO_GRACE]).await;
    let redis = fleet.server();
    let [a, b] = fleet.nodes();
    let mut changes = changes(redis, "p:1").await;
    let client_a = Client::subscribed(a, "p:1").await;
    expect_change(&mut changes, "join").await;
    let client_b = Client::subscribed(b, "p:1").await;
    wait_for_sessions(&fleet, "p:1", 2).await;
    client_a.close().await;
    wait_for_sessions(&fleet, "p:1", 1).await;
    expect_no_change(redis, &mut changes, "p:1").await;
    client_b.close().await;
    expect_change(&mut changes, "leave").await;
    wait_for_sessions(&fleet, "p:1", 0).await;
    expect_no_change(redis, &mut changes, "p:1").await;
}

#[tokio::test]
async fn a_leave_is_published_after_the_grace_unless_the_member_is_back() {
    let fleet = Fleet::redis(&[RULES, "presence.grace=1s"]).await;
    let redis = fleet.server();
    let [a, b] = fleet.nodes();
    for node in [a, b] {
        let (mut back, mut gone) = (changes(redis, "p:1").await, changes(redis, "p:2").await);
        let client = Client::subscribed(a, "p:1").await;
        expect_change(&mut back, "join").await;
        let other = Client::subscribed(a, "p:2").await;
        expect_change(&mut gone, "join").await;
        client.close().await;
        let client = Client::subscribed(node, "p:1").await;
        // This grace ends after that of the returned client, which must have caused no leave.
        let closed = Instant::now();
        other.close().await;
        expect_change(&mut gone, "leave").await;
        assert!(closed.elapsed() >= Duration::from_secs(1), "{:?}", closed.elapsed());
        expect_no_change(redis, &mut back, "p:1").await;
        client.close().await;
        expect_change(&mut back, "leave").await;
    }
}

#[tokio::test]
async fn the_sessions_of_a_crashed_node_are_gone_within_presence_ttl() {
    const TTL: Duration = Duration::from_secs(3);
    /// Tolerance for a busy machine.
    const SLACK: Duration = Duration::from_secs(3);
    let mut fleet = Fleet::redis(&[RULES, "presence.ttl=3s", "presence.grace=1s"]).await;
    let [a, b] = fleet.nodes();
    let redis = fleet.server();
    let (mut both, mut only) = (changes(redis, "p:1").await, changes(redis, "p:2").await);
    let _client_a = [Client::subscribed(a, "p:1").await, Client::subscribed(a, "p:2").await];
    let client_b = Client::subscribed(b, "p:1").await;
    wait_for_sessions(&fleet, "p:1", 2).await;
    wait_for_sessions(&fleet, "p:2", 1).await;
    expect_change(&mut both, "join").await;
    expect_change(&mut only, "join").await;

    fleet.kill_node();
    let crashed = Instant::now();
    wait_for_sessions(&fleet, "p:1", 1).await;
    wait_for_sessions(&fleet, "p:2", 0).await;
    assert!(crashed.elapsed() < TTL + SLACK, "{:?}", crashed.elapsed());
    // The member also has a session on the other node.
    let redis = fleet.server();
    expect_no_change(redis, &mut both, "p:1").await;
    client_b.close().await;
    expect_change(&mut both, "leave").await;
}
