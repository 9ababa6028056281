//! Reloads that switch history and presence on and off.

use serde_json::json;
use testkit::client::{Client, publication};
use testkit::eventually;
use testkit::node::Node;
use testkit::redis::Redis;

use super::{ConfigFile, rules};

/// Switches history and presence on and off under a subscriber.
async fn switch_on_and_off(redis: Option<&Redis>) {
    let (before, after) = (
        rules(r#"{ pattern = "a" }"#),
        rules(r#"{ pattern = "a", history = { size = 10, age = "1m" }, presence = true }"#),
    );
    let file = ConfigFile::new(&before);
    let url = redis.map_or("memory:".to_owned(), Redis::url);
    let node = file.node(&[&format!("broker.url={url}")]).await;
    let mut client = Client::subscribed(&node, "a").await;
    client.publish("a", json!("before")).await;
    assert_eq!(client.event().await, publication("a", "before"));
    file.reload(&node, &after, "taken_up").await;
    // Publications during the reload may still have no position.
    let mut publish_until = 0;
    let position = eventually("a position", async || {
        publish_until += 1;
        let command = json!({"type": "publish", "id": 2, "channel": "a", "data": publish_until});
        client.request(command).await["position"].as_str().map(str::to_owned)
    })
    .await;
    let mut received = 0;
    while received < publish_until {
        let event = client.event().await;
        match event["type"].as_str() {
            Some("publication") => {
                received += 1;
                assert_eq!(event["data"], received, "out of order or missing");
            }
            Some("join") => {}
            _ => panic!("{event}"),
        }
    }
    let history = client.request(json!({"type": "history", "id": 3, "channel": "a"})).await;
    assert_eq!(history["position"], json!(position));
    let members = json!({"type": "presence", "id": 4, "channel": "a"});
    eventually("the session's presence", async || {
        let members = client.request(members.clone()).await;
        (members["members"] == json!([{"user": null, "sessions": 1}])).then_some(())
    })
    .await;
    // Switched off again: the subscription continues.
    file.reload(&node, &before, "taken_up").await;
    let answer = client.request(json!({"type": "history", "id": 5, "channel": "a"})).await;
    assert_eq!(answer["code"], "not_found");
    client.request(json!({"type": "publish", "id": 6, "channel": "a", "data": "after"})).await;
    loop {
        let event = client.event().await;
        if event["data"] == "after" {
            break;
        }
        assert_ne!(event["type"], "gap");
    }
}

#[tokio::test]
async fn a_subscriber_keeps_receiving_while_reloads_switch_history_on_and_off_in_memory() {
    switch_on_and_off(None).await;
}

#[tokio::test]
async fn a_subscriber_keeps_receiving_while_reloads_switch_history_on_and_off_on_redis() {
    let redis = Redis::start().await;
    switch_on_and_off(Some(&redis)).await;
}

/// Publishes until the answer has a position (`is_kept`) or has none, and returns it.
async fn publish_until(client: &mut Client, data: u64, is_kept: bool) -> Option<String> {
    let command = json!({"type": "publish", "id": 2, "channel": "a", "data": data});
    eventually("the rules to be in force", async || {
        let position =
            client.request(command.clone()).await["position"].as_str().map(str::to_owned);
        (position.is_some() == is_kept).then_some(position)
    })
    .await
}

/// The value of `recovered` for a client that resumes from this position.
async fn recovered(node: &Node, since: &str) -> serde_json::Value {
    let mut client = Client::json(node).await;
    let command = json!({"type": "subscribe", "id": 1, "channel": "a", "since": since});
    client.request(command).await["recovered"].clone()
}

/// Asserts that a client that resumes from before history was off is not recovered, with or without a subscriber.
async fn switch_off_for_a_while(redis: Option<&Redis>, has_subscriber: bool) {
    let kept = |size| {
        let kept = format!(r#"{{ pattern = "a", history = {{ size = {size}, age = "1m" }} }}"#);
        [kept, r#"{ pattern = "b" }"#.to_owned()]
    };
    let [a, b] = kept(10);
    let on = rules(&format!("{a}, {b}"));
    let off = rules(r#"{ pattern = "a" }, { pattern = "b" }"#);
    let file = ConfigFile::new(&on);
    let url = format!("broker.url={}", redis.map_or("memory:".to_owned(), Redis::url));
    let node = file.node(&[&url]).await;
    let mut client = Client::json(&node).await;
    let mut subscriber = Client::json(&node).await;
    if has_subscriber {
        subscriber.request(json!({"type": "subscribe", "id": 1, "channel": "a"})).await;
    }
    let first = publish_until(&mut client, 1, true).await.expect("a position");
    // A changed size and order of the rules keep the history.
    let [a, b] = kept(20);
    file.reload(&node, &rules(&format!("{b}, {a}")), "taken_up").await;
    assert_eq!(recovered(&node, &first).await, true);
    file.reload(&node, &off, "taken_up").await;
    publish_until(&mut client, 2, false).await;
    publish_until(&mut client, 3, false).await;
    assert_eq!(recovered(&node, &first).await, false);
    file.reload(&node, &on, "taken_up").await;
    assert_eq!(recovered(&node, &first).await, false);
    let last = publish_until(&mut client, 4, true).await.expect("a position");
    assert_eq!(recovered(&node, &first).await, false);
    assert_eq!(recovered(&node, &last).await, true);
    let answer = client.request(json!({"type": "history", "id": 3, "channel": "a"})).await;
    assert!(answer["publications"].as_array().expect("a list").iter().all(|it| it["data"] == 4));
    if has_subscriber {
        let mut received = Vec::new();
        while received.last() != Some(&json!(4)) {
            let event = subscriber.event().await;
            assert_eq!(event["type"], "publication", "the subscriber missed something: {event}");
            received.push(event["data"].clone());
        }
        received.dedup();
        assert_eq!(received, [1, 2, 3, 4]);
    }
}

#[tokio::test]
async fn a_client_that_was_disconnected_while_history_was_off_is_not_recovered_in_memory() {
    for has_subscriber in [false, true] {
        switch_off_for_a_while(None, has_subscriber).await;
    }
}

#[tokio::test]
async fn a_client_that_was_disconnected_while_history_was_off_is_not_recovered_on_redis() {
    for has_subscriber in [false, true] {
        let redis = Redis::start().await;
        switch_off_for_a_while(Some(&redis), has_subscriber).await;
    }
}

#[tokio::test]
async fn restarted_nodes_recover_a_client_only_if_their_history_was_never_off() {
    let redis = Redis::start().await;
    let (on, off) =
        (r#"rules=[{pattern="a",history={size=10,age="1m"}}]"#, r#"rules=[{pattern="a"}]"#);
    let node = Node::on(&redis, &[on]).await;
    let first = publish_until(&mut Client::json(&node).await, 1, true).await.expect("a position");
    drop(node);
    let node = Node::on(&redis, &[on]).await;
    assert_eq!(recovered(&node, &first).await, true);
    drop(node);
    let node = Node::on(&redis, &[off]).await;
    publish_until(&mut Client::json(&node).await, 2, false).await;
    drop(node);
    let node = Node::on(&redis, &[on]).await;
    // The first client begins the new history, whether it publishes or subscribes.
    assert_eq!(recovered(&node, &first).await, false);
    let second = publish_until(&mut Client::json(&node).await, 3, true).await.expect("a position");
    assert_ne!(second.split('-').next(), first.split('-').next());
    drop(node);
    let node = Node::on(&redis, &[on]).await;
    assert_eq!(recovered(&node, &second).await, true);
}

#[tokio::test]
async fn switching_history_off_and_on_delivers_no_publication_twice() {
    let (off, on) = (
        rules(r#"{ pattern = "a" }"#),
        rules(r#"{ pattern = "a", history = { size = 10, age = "1m" } }"#),
    );
    let redis = Redis::start().await;
    let (file, other) = (ConfigFile::new(&on), ConfigFile::new(&on));
    let url = format!("broker.url={}", redis.url());
    let (node, other_node) = (file.node(&[&url]).await, other.node(&[&url]).await);
    let mut client = Client::json(&node).await;
    client.request(json!({"type": "subscribe", "id": 1, "channel": "a"})).await;
    let mut publisher = Client::json(&other_node).await;
    let mut publish = async |data: u64| {
        let command = json!({"type": "publish", "id": data, "channel": "a", "data": data});
        assert_eq!(publisher.request(command).await["type"], "published");
    };
    publish(1).await;
    file.reload(&node, &off, "taken_up").await;
    other.reload(&other_node, &off, "taken_up").await;
    publish(2).await;
    other.reload(&other_node, &on, "taken_up").await;
    publish(3).await;
    publish(4).await;
    // These arrived without a position and must not arrive again with one.
    for data in 1..=4 {
        assert_eq!(next_publication(&mut client).await["data"], data);
    }
    file.reload(&node, &on, "taken_up").await;
    publish(5).await;
    let event = next_publication(&mut client).await;
    assert_eq!(event["data"], 5, "{event}");
}

/// The next event other than a gap: a node that finds rules in force that it did not know yet, as on a busy machine,
/// sends one.
async fn next_publication(client: &mut Client) -> serde_json::Value {
    loop {
        let event = client.event().await;
        match &event["type"] {
            kind if kind == "gap" => assert_eq!(event["reason"], "rules_changed", "{event}"),
            _ => return event,
        }
    }
}

#[tokio::test]
async fn rules_that_are_read_again_do_not_displace_newer_ones_in_redis() {
    let kept = |size: u32| {
        rules(&format!(r#"{{ pattern = "a", history = {{ size = {size}, age = "1m" }} }}"#))
    };
    let redis = Redis::start().await;
    let (old, new) = (ConfigFile::new(&kept(10)), ConfigFile::new(&kept(10)));
    let url = format!("broker.url={}", redis.url());
    let (behind, ahead) = (old.node(&[&url]).await, new.node(&[&url]).await);
    let library = async || {
        let list: redis::Value = redis.query(&["FUNCTION", "LIST", "WITHCODE"]).await;
        format!("{list:?}")
    };
    new.reload(&ahead, &kept(77), "taken_up").await;
    eventually("the new rules in Redis", async || library().await.contains(",77,").then_some(()))
        .await;
    old.reload(&behind, &kept(10), "taken_up").await;
    let mut client = Client::json(&behind).await;
    client.request(json!({"type": "publish", "id": 1, "channel": "a", "data": 1})).await;
    assert!(library().await.contains(",77,"), "the reloaded old rules replaced the newer ones");
}

#[tokio::test]
async fn a_reload_that_ends_the_joining_of_publications_gives_json_as_data_again() {
    let of_run = |run: &str| {
        rules(&format!(
            r#"{{ pattern = "a", history = {{ size = 100, age = "1m" }}, run = {{ lease = "1h"{run} }} }}"#
        ))
    };
    let (merged, single) = (of_run(r#", merge = "text", rollup = "5s""#), of_run(""));
    let file = ConfigFile::new(&merged);
    let node = file.node(&["broker.url=memory:"]).await;
    let mut client = Client::json(&node).await;
    client.request(json!({"type": "subscribe", "id": 1, "channel": "a"})).await;
    let publish = json!({"type": "publish", "id": 2, "channel": "a", "data": 12});
    client.request(publish.clone()).await;
    assert_eq!(client.event().await["text"], "12");
    // It waits for the interval's end during the reload.
    client.request(publish.clone()).await;
    file.reload(&node, &single, "taken_up").await;
    eventually("a publication with data", async || {
        client.request(publish.clone()).await;
        (client.event().await["data"] == 12).then_some(())
    })
    .await;
}
