//! No publication is lost or duplicated, and all subscribers see the same order.

use std::collections::HashMap;

use serde_json::json;
use testkit::client::Client;
use testkit::node::Node;
use testkit::redis::Redis;

const CHANNELS: usize = 10;
const PUBLISHERS_PER_NODE: usize = 2;
const PUBLICATIONS: usize = 100;
const SUBSCRIBERS_PER_NODE: usize = 2;

/// Publishes its numbers on every channel in turn, without waiting in between.
async fn publish(mut client: Client, name: usize) {
    for number in 0..PUBLICATIONS {
        for channel in 0..CHANNELS {
            let channel = format!("room:{channel}");
            let text = format!("{name} {number}");
            let id = number as i64;
            client
                .send_command(
                    json!({"type": "publish", "id": id, "channel": channel, "text": text}),
                )
                .await;
        }
    }
    for number in 0..PUBLICATIONS {
        for _ in 0..CHANNELS {
            let answer = client.event().await;
            assert_eq!(answer, json!({"type": "published", "id": number}));
        }
    }
}

async fn receive_all(mut client: Client, publishers: usize) -> Vec<String> {
    let mut received = Vec::new();
    while received.len() < publishers * PUBLICATIONS {
        received.push(client.receive_text().await);
    }
    received
}

/// Asserts that each publisher's numbers are complete and in order.
fn assert_complete(received: &[String], publishers: usize) {
    let mut next: HashMap<&str, usize> = HashMap::new();
    for text in received {
        let (publisher, number) = text.split_once(' ').expect("a name and a number");
        let expected = next.entry(publisher).or_default();
        assert_eq!(number, expected.to_string(), "of publisher {publisher}");
        *expected += 1;
    }
    assert_eq!(next.len(), publishers);
}

async fn assert_one_order_on(nodes: &[Node]) {
    let publishers = nodes.len() * PUBLISHERS_PER_NODE;
    let mut receiving = Vec::new();
    for channel in 0..CHANNELS {
        for node in nodes {
            for _ in 0..SUBSCRIBERS_PER_NODE {
                let client = Client::plain(node, &format!("room:{channel}")).await;
                receiving.push((channel, tokio::spawn(receive_all(client, publishers))));
            }
        }
    }
    let mut publishing = Vec::new();
    for name in 0..publishers {
        let client = Client::json(&nodes[name % nodes.len()]).await;
        publishing.push(tokio::spawn(publish(client, name)));
    }
    for done in publishing {
        done.await.expect("every publication is answered");
    }
    let mut order: HashMap<usize, Vec<String>> = HashMap::new();
    for (channel, received) in receiving {
        let received = received.await.expect("every publication arrives");
        assert_complete(&received, publishers);
        let first = order.entry(channel).or_insert_with(|| received.clone());
        assert_eq!(*first, received, "subscribers of room:{channel} saw different orders");
    }
}

#[tokio::test]
async fn all_subscribers_of_two_nodes_receive_all_publications_in_the_same_order() {
    let redis = Redis::start().await;
    assert_one_order_on(&[Node::on(&redis, &[]).await, Node::on(&redis, &[]).await]).await;
}

#[tokio::test]
async fn all_subscribers_of_one_node_receive_all_publications_in_the_same_order() {
    assert_one_order_on(&[Node::standalone(&[]).await]).await;
}

#[tokio::test]
async fn an_acknowledged_publication_arrives_before_later_ones_of_other_publishers() {
    let redis = Redis::start().await;
    let (a, b) = (Node::on(&redis, &[]).await, Node::on(&redis, &[]).await);
    let mut subscriber = Client::plain(&a, "room").await;
    let (mut client_a, mut client_b) = (Client::json(&a).await, Client::json(&b).await);
    for turn in 0..50 {
        let publisher = if turn % 2 == 0 { &mut client_a } else { &mut client_b };
        publisher.publish("room", json!(turn)).await;
    }
    for turn in 0..50 {
        assert_eq!(subscriber.receive_text().await, turn.to_string());
    }
}
