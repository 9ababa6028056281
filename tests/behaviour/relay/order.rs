//! Nothing lost, nothing twice, in order, and the same order for all.

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

async fn hear_all(mut client: Client, publishers: usize) -> Vec<String> {
    let mut heard = Vec::new();
    while heard.len() < publishers * PUBLICATIONS {
        heard.push(client.receive_text().await);
    }
    heard
}

/// Each publisher's numbers came whole and in order.
fn assert_whole(heard: &[String], publishers: usize) {
    let mut next: HashMap<&str, usize> = HashMap::new();
    for text in heard {
        let (publisher, number) = text.split_once(' ').expect("a name and a number");
        let due = next.entry(publisher).or_default();
        assert_eq!(number, due.to_string(), "of publisher {publisher}");
        *due += 1;
    }
    assert_eq!(next.len(), publishers);
}

async fn numbered_publications_on(nodes: &[Node]) {
    let publishers = nodes.len() * PUBLISHERS_PER_NODE;
    let mut hearing = Vec::new();
    for channel in 0..CHANNELS {
        for node in nodes {
            for _ in 0..SUBSCRIBERS_PER_NODE {
                let client = Client::plain(node, &format!("room:{channel}")).await;
                hearing.push((channel, tokio::spawn(hear_all(client, publishers))));
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
    for (channel, heard) in hearing {
        let heard = heard.await.expect("every publication arrives");
        assert_whole(&heard, publishers);
        let first = order.entry(channel).or_insert_with(|| heard.clone());
        assert_eq!(*first, heard, "subscribers of room:{channel} saw different orders");
    }
}

#[tokio::test]
async fn on_two_nodes() {
    let redis = Redis::start().await;
    numbered_publications_on(&[Node::on(&redis, &[]).await, Node::on(&redis, &[]).await]).await;
}

#[tokio::test]
async fn on_one_node_by_itself() {
    numbered_publications_on(&[Node::standalone(&[]).await]).await;
}

#[tokio::test]
async fn an_answered_publication_comes_before_a_later_one_of_anybody() {
    let redis = Redis::start().await;
    let (a, b) = (Node::on(&redis, &[]).await, Node::on(&redis, &[]).await);
    let mut subscriber = Client::plain(&a, "room").await;
    let (mut here, mut there) = (Client::json(&a).await, Client::json(&b).await);
    for turn in 0..50 {
        let publisher = if turn % 2 == 0 { &mut here } else { &mut there };
        publisher.publish("room", json!(turn)).await;
    }
    for turn in 0..50 {
        assert_eq!(subscriber.receive_text().await, turn.to_string());
    }
}
