//! Channel names: millions of them, and names that are special elsewhere.

use serde_json::{Value, json};
use testkit::client::{Client, publication};

use super::attack_size;
use super::victim::Victim;

/// The channels of one command, and the publications before their replies are read.
const BATCH: usize = 100;

#[tokio::test]
async fn the_node_survives_subscribing_to_each_of_many_names_once() {
    let mut victim = Victim::on_redis(&[]).await;
    let mut client = Client::json(&victim.node).await;
    for batch in 0..attack_size(200) {
        let names: Vec<String> = (0..BATCH).map(|it| format!("flood:{batch}:{it}")).collect();
        let channels: Value = names.iter().map(|name| (name.clone(), Value::Null)).collect();
        client.send_command(json!({"type": "subscribe", "id": 1, "channels": channels})).await;
        for name in &names {
            client.send_command(json!({"type": "unsubscribe", "id": 2, "channel": name})).await;
        }
        for _ in 0..2 * BATCH {
            let reply = client.event().await;
            assert!(reply["type"] == "subscribed" || reply["type"] == "unsubscribed", "{reply}");
        }
        if batch % 20 == 0 {
            victim.assert_served().await;
        }
    }
    client.close().await;
    victim.assert_recovered().await;
}

#[tokio::test]
async fn the_node_survives_many_clients_that_subscribe_to_the_same_names_repeatedly() {
    let mut victim = Victim::on_redis(&[]).await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let mut client = Client::json(&victim.node).await;
        clients.spawn(async move {
            for round in 0..attack_size(300) {
                let name = format!("storm:{}", round % 8);
                client.request(json!({"type": "subscribe", "id": 1, "channel": name})).await;
                client.request(json!({"type": "unsubscribe", "id": 2, "channel": name})).await;
            }
            client.close().await;
        });
    }
    while !clients.is_empty() {
        victim.assert_served().await;
        while let Some(ended) = clients.try_join_next() {
            ended.expect("the client's task does not panic");
        }
    }
    victim.assert_recovered().await;
}

#[tokio::test]
async fn the_node_survives_publishing_to_each_of_many_names_once() {
    let mut victim = Victim::on_redis(&[]).await;
    let mut client = Client::json(&victim.node).await;
    for batch in 0..attack_size(300) {
        for number in 0..BATCH {
            let channel = format!("flood:{batch}:{number}");
            client
                .send_command(json!({"type": "publish", "id": 1, "channel": channel, "data": 1}))
                .await;
        }
        for _ in 0..BATCH {
            assert_eq!(client.answer(1).await["type"], "published");
        }
        if batch % 30 == 0 {
            victim.assert_served().await;
        }
    }
    client.close().await;
    victim.assert_recovered().await;
}

/// Names that are special to Redis, to a format string, to a shell or to a pattern.
const SPECIAL: [&str; 14] = [
    "{}",
    "a{b}c",
    "{",
    "}{",
    "*",
    "?",
    "[a-z]",
    "%s%n%x",
    "$(reboot)",
    "`reboot`",
    "';--",
    "__keyspace@0__:x",
    "\u{202e}abc",
    "../../etc/passwd",
];

#[tokio::test]
async fn names_with_special_characters_are_ordinary_channels() {
    let mut victim = Victim::on_redis(&[]).await;
    let mut other_client = Client::subscribed(&victim.node, "a").await;
    let mut client = Client::json(&victim.node).await;
    for name in SPECIAL {
        client.subscribe(name).await;
        client.publish(name, json!(1)).await;
        assert_eq!(client.event().await, publication(name, 1));
    }
    for name in
        ["", " ", "a b", "a\nb", "a\r\nPUBLISH x y", "a\0b", "\u{1b}[2J", "\u{85}", "\u{2028}"]
    {
        for kind in ["subscribe", "publish", "history", "presence", "unsubscribe"] {
            let command = json!({"type": kind, "id": 3, "channel": name, "data": 1});
            assert_eq!(client.request(command).await["code"], "bad_request", "{kind} {name:?}");
        }
    }
    let redis = victim.redis.as_ref().expect("the node uses Redis");
    for name in SPECIAL {
        redis.publish(name, "2").await;
        assert_eq!(client.event().await, publication(name, 2));
    }
    redis.publish("a", "3").await;
    assert_eq!(
        other_client.event().await,
        publication("a", 3),
        "the client received nothing before this publication"
    );
    client.close().await;
    other_client.close().await;
    victim.assert_served().await;
    victim.assert_recovered().await;
}
