//! Events for the backend: what a fleet appends to its stream of events.

mod failures;
mod kinds;
mod seeded;

use serde_json::json;
use testkit::backend_event::{SETTING, STREAM, assert_alternating, events, expect_events};
use testkit::client::Client;
use testkit::cluster::Cluster;
use testkit::eventually;
use testkit::fleet::Fleet;
use testkit::node::Node;
use testkit::process::Signal;
use testkit::redis::Redis;

const RULES: &str = r#"rules=[{pattern="e:*",events=true},{pattern="p:*",events=true,presence=true},{pattern="one:*",events=["occupied"]},{pattern="**"}]"#;

/// A channel is vacated when its last subscriber leaves.
const NO_GRACE: &str = "presence.grace=0s";

/// The shortest: a dead node's channels are vacated within it.
const SHORT_TTL: &str = "presence.ttl=3s";

async fn unsubscribe(client: &mut Client, channel: &str) {
    client.request(json!({"type": "unsubscribe", "id": 3, "channel": channel})).await;
}

#[tokio::test]
async fn a_channel_is_occupied_by_the_fleets_first_subscriber_and_vacated_by_its_last() {
    let fleet = Fleet::redis(&[SETTING, RULES, NO_GRACE]).await;
    let ([a, b], redis) = (fleet.nodes(), fleet.server());
    let mut first = Client::subscribed(a, "e:1").await;
    expect_events(redis, &[("occupied", "e:1")]).await;
    let second = Client::plain(b, "e:1").await;
    let mut other = Client::subscribed(b, "e:2").await;
    let mut expected = vec![("occupied", "e:1"), ("occupied", "e:2")];
    expect_events(redis, &expected).await;
    unsubscribe(&mut first, "e:1").await;
    let without_events = Client::subscribed(a, "news").await;
    first.subscribe("e:3").await;
    expected.push(("occupied", "e:3"));
    expect_events(redis, &expected).await;
    second.close().await;
    expected.push(("vacated", "e:1"));
    expect_events(redis, &expected).await;
    // Without a close handshake, as a client that lost its network.
    drop(without_events);
    unsubscribe(&mut other, "e:2").await;
    expected.push(("vacated", "e:2"));
    let all = expect_events(redis, &expected).await;
    for event in &all {
        assert!(event.field("time").parse::<u64>().unwrap() > 1_700_000_000_000, "{event:?}");
        assert_eq!(event.field("node").len(), 12, "{event:?}");
        assert!(event.field("id").starts_with(event.field("node")), "{event:?}");
    }
    assert_alternating(&all);
}

#[tokio::test]
async fn a_rule_with_a_list_of_events_causes_those_only() {
    let fleet = Fleet::redis(&[SETTING, RULES, NO_GRACE]).await;
    let ([a, _], redis) = (fleet.nodes(), fleet.server());
    let mut expected = Vec::new();
    for _ in 0..2 {
        let mut client = Client::subscribed(a, "one:1").await;
        client.subscribe("e:1").await;
        expected.extend([("occupied", "one:1"), ("occupied", "e:1")]);
        expect_events(redis, &expected).await;
        client.close().await;
        expected.push(("vacated", "e:1"));
        expect_events(redis, &expected).await;
    }
}

#[tokio::test]
async fn a_client_that_returns_within_the_grace_to_any_node_vacates_nothing() {
    let fleet = Fleet::redis(&[SETTING, RULES, "presence.grace=2s"]).await;
    let ([a, b], redis) = (fleet.nodes(), fleet.server());
    for node in [a, a, b, a, b] {
        Client::subscribed(node, "e:1").await.close().await;
    }
    expect_events(redis, &[("occupied", "e:1"), ("vacated", "e:1")]).await;
}

#[tokio::test]
async fn events_of_a_cluster_are_in_one_stream() {
    let cluster = Cluster::without_replicas().await;
    let settings = [SETTING, RULES, NO_GRACE];
    let node = Node::start_at(&cluster.url(), &settings).await;
    node.wait_until_ready().await;
    let server = &cluster.servers[cluster.master_of("events").await];
    let mut client = Client::json(&node).await;
    let channels: Vec<String> = (0..8).map(|number| format!("e:{number}")).collect();
    for channel in &channels {
        client.subscribe(channel).await;
    }
    let occupied: Vec<_> = channels.iter().map(|it| ("occupied", it.as_str())).collect();
    expect_events(server, &occupied).await;
    client.close().await;
    eventually("all channels to be vacated", async || {
        assert_alternating(&events(server).await).is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_stream_of_events_keeps_about_as_many_as_configured() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[SETTING, "events.size=100"]).await;
    for _ in 0..200 {
        Client::plain(&node, "news").await.close().await;
    }
    node.wait_for_metric("tidegate_event_changes_written_total", 400.).await;
    let length: usize = redis.query(&["XLEN", STREAM]).await;
    assert!((100..=200).contains(&length), "{length}");
}

#[tokio::test]
async fn the_last_node_of_a_fleet_vacates_its_channels_when_it_stops() {
    let redis = Redis::start().await;
    let settings = [SETTING, RULES, "drain.delay=0s", "drain.period=0s"];
    let mut node = Node::on(&redis, &settings).await;
    let _client = Client::subscribed(&node, "e:1").await;
    expect_events(&redis, &[("occupied", "e:1")]).await;
    node.signal(Signal::TERM);
    node.process.exit_code().await;
    let all = expect_events(&redis, &[("occupied", "e:1"), ("vacated", "e:1")]).await;
    assert!(assert_alternating(&all).is_empty());
    let keys: Vec<String> = redis.query(&["KEYS", "*events*node*"]).await;
    assert!(keys.is_empty(), "{keys:?}");
}

#[tokio::test]
async fn clients_of_a_stopping_node_that_reconnect_elsewhere_vacate_nothing() {
    let redis = Redis::start().await;
    let settings =
        [SETTING, RULES, SHORT_TTL, "presence.grace=2s", "drain.delay=0s", "drain.period=0s"];
    let mut first = Node::on(&redis, &settings).await;
    let second = Node::on(&redis, &settings).await;
    let mut client = Client::subscribed(&first, "e:1").await;
    let left = Client::subscribed(&first, "e:left").await;
    expect_events(&redis, &[("occupied", "e:1"), ("occupied", "e:left")]).await;
    first.signal(Signal::TERM);
    client.receive_close().await;
    let _returned = Client::subscribed(&second, "e:1").await;
    first.process.exit_code().await;
    drop((client, left));
    let expected = [("occupied", "e:1"), ("occupied", "e:left"), ("vacated", "e:left")];
    expect_events(&redis, &expected).await;
}
