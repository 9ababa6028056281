//! History and presence are switched on and off while the node runs.

use serde_json::json;
use testkit::client::{Client, publication};
use testkit::eventually;
use testkit::node::Node;
use testkit::redis::Redis;

use super::{File, rules};

/// Two nodes whose file says this; the second may have another.
async fn switched_on(redis: Option<&Redis>) {
    let (before, after) = (
        rules(r#"{ pattern = "a" }"#),
        rules(r#"{ pattern = "a", history = { size = 10, age = "1m" }, presence = true }"#),
    );
    let file = File::new(&before);
    let url = redis.map_or("memory:".to_owned(), Redis::url);
    let node = file.node(&[&format!("broker.url={url}")]).await;
    let mut client = Client::subscribed(&node, "a").await;
    client.publish("a", json!("before")).await;
    assert_eq!(client.event().await, publication("a", "before"));
    file.reload(&node, &after, "taken_up").await;
    // What is published while it is switched on may still have no position.
    let mut published = 0;
    let position = eventually("a position", async || {
        published += 1;
        let command = json!({"type": "publish", "id": 2, "channel": "a", "data": published});
        client.request(command).await["position"].as_str().map(str::to_owned)
    })
    .await;
    let mut heard = 0;
    while heard < published {
        let event = client.event().await;
        match event["type"].as_str() {
            Some("publication") => {
                heard += 1;
                assert_eq!(event["data"], heard, "in order, and none is missing");
            }
            Some("join") => {}
            _ => panic!("{event}"),
        }
    }
    let history = client.request(json!({"type": "history", "id": 3, "channel": "a"})).await;
    assert_eq!(history["position"], json!(position));
    let members = json!({"type": "presence", "id": 4, "channel": "a"});
    eventually("its presence", async || {
        let members = client.request(members.clone()).await;
        (members["members"] == json!([{"user": null, "sessions": 1}])).then_some(())
    })
    .await;
    // And off again: it goes on.
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
async fn history_and_presence_are_switched_on_and_off_under_a_subscriber_of_a_node_alone() {
    switched_on(None).await;
}

#[tokio::test]
async fn history_and_presence_are_switched_on_and_off_under_a_subscriber_on_redis() {
    let redis = Redis::start().await;
    switched_on(Some(&redis)).await;
}

/// A publication, once the node publishes it with a position, or without one.
async fn published(client: &mut Client, data: u64, is_kept: bool) -> Option<String> {
    let command = json!({"type": "publish", "id": 2, "channel": "a", "data": data});
    eventually("what is published to be kept, or not", async || {
        let position =
            client.request(command.clone()).await["position"].as_str().map(str::to_owned);
        (position.is_some() == is_kept).then_some(position)
    })
    .await
}

/// What somebody is told who comes back with this position.
async fn recovered(node: &Node, since: &str) -> serde_json::Value {
    let mut client = Client::json(node).await;
    let command = json!({"type": "subscribe", "id": 1, "channel": "a", "since": since});
    client.request(command).await["recovered"].clone()
}

/// Who was away while nothing was kept is told so, whether somebody else listened or not.
async fn switched_off_for_a_while(redis: Option<&Redis>, is_heard: bool) {
    let kept = |size| {
        let kept = format!(r#"{{ pattern = "a", history = {{ size = {size}, age = "1m" }} }}"#);
        [kept, r#"{ pattern = "b" }"#.to_owned()]
    };
    let [a, b] = kept(10);
    let on = rules(&format!("{a}, {b}"));
    let off = rules(r#"{ pattern = "a" }, { pattern = "b" }"#);
    let file = File::new(&on);
    let url = format!("broker.url={}", redis.map_or("memory:".to_owned(), Redis::url));
    let node = file.node(&[&url]).await;
    let mut client = Client::json(&node).await;
    let mut listener = Client::json(&node).await;
    if is_heard {
        listener.request(json!({"type": "subscribe", "id": 1, "channel": "a"})).await;
    }
    let first = published(&mut client, 1, true).await.expect("a position");
    // Another size and another order are the same history.
    let [a, b] = kept(20);
    file.reload(&node, &rules(&format!("{b}, {a}")), "taken_up").await;
    assert_eq!(recovered(&node, &first).await, true);
    file.reload(&node, &off, "taken_up").await;
    published(&mut client, 2, false).await;
    published(&mut client, 3, false).await;
    assert_eq!(recovered(&node, &first).await, false);
    file.reload(&node, &on, "taken_up").await;
    assert_eq!(recovered(&node, &first).await, false);
    let last = published(&mut client, 4, true).await.expect("a position");
    assert_eq!(recovered(&node, &first).await, false);
    assert_eq!(recovered(&node, &last).await, true);
    let answer = client.request(json!({"type": "history", "id": 3, "channel": "a"})).await;
    assert!(answer["publications"].as_array().expect("a list").iter().all(|it| it["data"] == 4));
    if is_heard {
        let mut heard = Vec::new();
        while heard.last() != Some(&json!(4)) {
            let event = listener.event().await;
            assert_eq!(event["type"], "publication", "whoever listened missed nothing: {event}");
            heard.push(event["data"].clone());
        }
        heard.dedup();
        assert_eq!(heard, [1, 2, 3, 4]);
    }
}

#[tokio::test]
async fn a_client_that_was_away_while_history_was_off_is_not_recovered_by_a_node_alone() {
    for is_heard in [false, true] {
        switched_off_for_a_while(None, is_heard).await;
    }
}

#[tokio::test]
async fn a_client_that_was_away_while_history_was_off_is_not_recovered_on_redis() {
    for is_heard in [false, true] {
        let redis = Redis::start().await;
        switched_off_for_a_while(Some(&redis), is_heard).await;
    }
}

#[tokio::test]
async fn restarted_nodes_recover_a_client_only_if_their_history_was_never_off() {
    let redis = Redis::start().await;
    let (on, off) =
        (r#"rules=[{pattern="a",history={size=10,age="1m"}}]"#, r#"rules=[{pattern="a"}]"#);
    let node = Node::on(&redis, &[on]).await;
    let first = published(&mut Client::json(&node).await, 1, true).await.expect("a position");
    drop(node);
    let node = Node::on(&redis, &[on]).await;
    assert_eq!(recovered(&node, &first).await, true);
    drop(node);
    let node = Node::on(&redis, &[off]).await;
    published(&mut Client::json(&node).await, 2, false).await;
    drop(node);
    let node = Node::on(&redis, &[on]).await;
    // Whoever comes first begins it, whether it publishes or listens.
    assert_eq!(recovered(&node, &first).await, false);
    let second = published(&mut Client::json(&node).await, 3, true).await.expect("a position");
    assert_ne!(second.split('-').next(), first.split('-').next());
    drop(node);
    let node = Node::on(&redis, &[on]).await;
    assert_eq!(recovered(&node, &second).await, true);
}

#[tokio::test]
async fn history_that_is_switched_off_and_on_repeats_no_publication() {
    let (off, on) = (
        rules(r#"{ pattern = "a" }"#),
        rules(r#"{ pattern = "a", history = { size = 10, age = "1m" } }"#),
    );
    let redis = Redis::start().await;
    let (file, other) = (File::new(&on), File::new(&on));
    let url = format!("broker.url={}", redis.url());
    let (node, elsewhere) = (file.node(&[&url]).await, other.node(&[&url]).await);
    let mut client = Client::json(&node).await;
    client.request(json!({"type": "subscribe", "id": 1, "channel": "a"})).await;
    let mut publisher = Client::json(&elsewhere).await;
    let mut publish = async |data: u64| {
        let command = json!({"type": "publish", "id": data, "channel": "a", "data": data});
        assert_eq!(publisher.request(command).await["type"], "published");
    };
    publish(1).await;
    file.reload(&node, &off, "taken_up").await;
    other.reload(&elsewhere, &off, "taken_up").await;
    publish(2).await;
    other.reload(&elsewhere, &on, "taken_up").await;
    publish(3).await;
    publish(4).await;
    // Until here they came without a position, and are not to come again with one.
    for data in 1..=4 {
        assert_eq!(next_publication(&mut client).await["data"], data);
    }
    file.reload(&node, &on, "taken_up").await;
    publish(5).await;
    let event = next_publication(&mut client).await;
    assert_eq!(event["data"], 5, "{event}");
}

/// A node that finds rules in force before it knew them says that something may be missing: on a busy machine it does.
async fn next_publication(client: &mut Client) -> serde_json::Value {
    loop {
        let event = client.event().await;
        match &event["type"] {
            told if told == "gap" => assert_eq!(event["reason"], "rules_changed", "{event}"),
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
    let (old, new) = (File::new(&kept(10)), File::new(&kept(10)));
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
    assert!(library().await.contains(",77,"), "the same rules again are no newer ones");
}
