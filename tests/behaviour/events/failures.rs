//! Events while nodes and Redis fail.

use testkit::backend_event::{BackendEvent, SETTING, assert_alternating, events, expect_events};
use testkit::client::Client;
use testkit::eventually;
use testkit::fleet::Fleet;
use testkit::node::Node;
use testkit::process::Signal;
use testkit::redis::Redis;
use testkit::sentinel::Sentinel;

use super::{NO_GRACE, RULES, SHORT_TTL, unsubscribe};

/// Waits until the subjects that have begun and not ended are these, in alternating events.
async fn expect_open(redis: &Redis, expected: &[&str]) -> Vec<BackendEvent> {
    eventually(&format!("{expected:?} to be occupied"), async || {
        let mut all = events(redis).await;
        all.retain(|event| event.fields.contains_key("channel"));
        let open = assert_alternating(&all);
        open.iter().map(String::as_str).eq(expected.iter().copied()).then_some(all)
    })
    .await
}

#[tokio::test]
async fn a_dead_nodes_channels_are_vacated_unless_another_node_has_them() {
    let mut fleet = Fleet::redis(&[SETTING, RULES, SHORT_TTL, NO_GRACE]).await;
    let [a, b] = fleet.nodes();
    let _clients = [
        Client::subscribed(a, "e:1").await,
        Client::subscribed(a, "e:2").await,
        Client::subscribed(b, "e:2").await,
    ];
    expect_open(fleet.server(), &["e:1", "e:2"]).await;
    fleet.kill_node();
    let all = expect_open(fleet.server(), &["e:2"]).await;
    assert_eq!(all.last().unwrap().what(), ("vacated", "e:1"));
    let lost: Vec<_> = events(fleet.server()).await;
    let lost = lost.iter().filter(|event| event.field("reason") == "node_lost");
    assert_eq!(lost.count(), 2, "both sessions of the dead node");
}

#[tokio::test]
async fn the_first_node_of_a_restarted_fleet_vacates_what_the_dead_fleet_held() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[SETTING, RULES, SHORT_TTL, NO_GRACE]).await;
    let client = Client::subscribed(&node, "e:1").await;
    expect_open(&redis, &["e:1"]).await;
    // Dropping a node kills it.
    drop((node, client));
    let _node = Node::on(&redis, &[SETTING, RULES, SHORT_TTL, NO_GRACE]).await;
    let all = expect_open(&redis, &[]).await;
    assert_eq!(all.last().unwrap().what(), ("vacated", "e:1"));
}

#[tokio::test]
async fn a_node_that_counted_as_dead_occupies_its_channels_again() {
    let fleet = Fleet::redis(&[SETTING, RULES, SHORT_TTL, NO_GRACE]).await;
    let ([a, _], redis) = (fleet.nodes(), fleet.server());
    let mut client = Client::subscribed(a, "e:1").await;
    expect_open(redis, &["e:1"]).await;
    a.signal(Signal::STOP);
    expect_open(redis, &[]).await;
    a.signal(Signal::CONT);
    let all = expect_open(redis, &["e:1"]).await;
    assert_eq!(all.len(), 3);
    unsubscribe(&mut client, "e:1").await;
    expect_open(redis, &[]).await;
}

#[tokio::test]
async fn changes_during_an_outage_of_redis_are_told_after_it_and_delay_no_client() {
    let redis = Redis::start().await;
    let settings = [SETTING, RULES, SHORT_TTL, NO_GRACE];
    let nodes = [Node::on(&redis, &settings).await, Node::on(&redis, &settings).await];
    let mut leaving = Client::subscribed(&nodes[0], "e:left").await;
    let mut staying = Client::subscribed(&nodes[1], "e:stays").await;
    let hopping = Client::subscribed(&nodes[0], "e:hops").await;
    expect_open(&redis, &["e:hops", "e:left", "e:stays"]).await;
    redis.freeze();
    unsubscribe(&mut leaving, "e:left").await;
    hopping.close().await;
    let _hopped = Client::plain(&nodes[1], "e:hops").await;
    let _new = Client::plain(&nodes[0], "e:new").await;
    redis.thaw();
    expect_open(&redis, &["e:hops", "e:new", "e:stays"]).await;
    unsubscribe(&mut staying, "e:stays").await;
    expect_open(&redis, &["e:hops", "e:new"]).await;
}

#[tokio::test]
async fn a_redis_that_restarts_empty_gets_the_events_of_what_is_there() {
    let mut redis = Redis::start().await;
    let settings = [SETTING, RULES, SHORT_TTL, NO_GRACE];
    let nodes = [Node::on(&redis, &settings).await, Node::on(&redis, &settings).await];
    let _clients = [
        Client::subscribed(&nodes[0], "e:1").await,
        Client::subscribed(&nodes[1], "e:1").await,
        Client::subscribed(&nodes[1], "e:2").await,
    ];
    expect_open(&redis, &["e:1", "e:2"]).await;
    redis.kill();
    redis.run().await;
    let all = expect_events(&redis, &[("occupied", "e:1"), ("occupied", "e:2")]).await;
    assert_eq!(all.len(), 2);
    drop(nodes);
    let _node = Node::on(&redis, &settings).await;
    expect_open(&redis, &[]).await;
}

#[tokio::test]
async fn a_failover_of_redis_keeps_the_events_alternating() {
    let mut sentinel = Sentinel::start().await;
    let settings = [SETTING, RULES, SHORT_TTL, NO_GRACE];
    let nodes = [
        Node::start_at(&sentinel.url(), &settings).await,
        Node::start_at(&sentinel.url(), &settings).await,
    ];
    for node in &nodes {
        node.wait_until_ready().await;
    }
    let mut first = Client::subscribed(&nodes[0], "e:1").await;
    let _second = Client::subscribed(&nodes[1], "e:2").await;
    let old = sentinel.master().await;
    expect_open(&sentinel.servers[old], &["e:1", "e:2"]).await;
    sentinel.servers[old].kill();
    unsubscribe(&mut first, "e:1").await;
    let new = sentinel.wait_for_failover(old).await;
    expect_open(&sentinel.servers[new], &["e:2"]).await;
    first.subscribe("e:3").await;
    expect_open(&sentinel.servers[new], &["e:2", "e:3"]).await;
}
