//! Commands that a client sends without waiting for answers.

use serde_json::{Value, json};
use testkit::client::{Client, publication, without_times};
use testkit::node::Node;
use testkit::raw::{FIN, RawClient, TEXT, text};
use testkit::redis::Redis;

async fn event(raw: &mut RawClient) -> Value {
    let frame = raw.frame().await;
    assert_eq!(frame.first, FIN | TEXT);
    without_times(serde_json::from_slice(&frame.payload).expect("JSON"))
}

#[tokio::test]
async fn a_client_that_pipelines_subscribe_and_publish_receives_its_own_publication() {
    let redis = Redis::start().await;
    for node in [Node::on(&redis, &[]).await, Node::standalone(&[]).await] {
        let mut raw = RawClient::open(&node, "/ws").await;
        assert_eq!(event(&mut raw).await["type"], "welcome");
        let subscribe = json!({"type": "subscribe", "id": 1, "channel": "news"});
        let publish = json!({"type": "publish", "id": 2, "channel": "news", "data": "mine"});
        raw.send([text(&subscribe.to_string()), text(&publish.to_string())].concat()).await;
        assert_eq!(event(&mut raw).await["type"], "subscribed");
        let both = [event(&mut raw).await, event(&mut raw).await];
        assert!(both.contains(&json!({"type": "published", "id": 2})), "{both:?}");
        assert!(both.contains(&publication("news", "mine")), "{both:?}");
    }
}

#[tokio::test]
async fn five_hundred_pipelined_publications_are_answered_in_order() {
    let redis = Redis::start().await;
    for node in [Node::on(&redis, &[]).await, Node::standalone(&[]).await] {
        let mut subscriber = Client::plain(&node, "news").await;
        let mut raw = RawClient::open(&node, "/ws").await;
        assert_eq!(event(&mut raw).await["type"], "welcome");
        let command = |id| json!({"type": "publish", "id": id, "channel": "news", "data": id});
        raw.send((0..500).flat_map(|id| text(&command(id).to_string())).collect::<Vec<u8>>()).await;
        for id in 0..500 {
            assert_eq!(event(&mut raw).await, json!({"type": "published", "id": id}));
            assert_eq!(subscriber.receive_text().await, id.to_string());
        }
    }
}

#[tokio::test]
async fn answers_to_pipelined_commands_keep_the_order_of_the_commands() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let mut raw = RawClient::open(&node, "/ws").await;
    assert_eq!(event(&mut raw).await["type"], "welcome");
    let commands: Vec<Value> = (0..30)
        .map(|id| match id % 3 {
            0 => json!({"type": "subscribe", "id": id, "channel": format!("room:{id}")}),
            1 => json!({"type": "publish", "id": id, "channel": "elsewhere", "data": id}),
            _ => json!({"type": "publish", "id": id, "channel": format!("room:{}", id - 2), "data": id}),
        })
        .collect();
    raw.send(commands.iter().flat_map(|it| text(&it.to_string())).collect::<Vec<u8>>()).await;
    let mut answered = Vec::new();
    let mut publications = Vec::new();
    while answered.len() < 30 || publications.len() < 10 {
        let event = event(&mut raw).await;
        match event["id"].as_i64() {
            Some(id) => answered.push(id),
            None => publications.push(event["data"].as_i64().expect("a number")),
        }
    }
    assert_eq!(answered, (0..30).collect::<Vec<_>>());
    assert_eq!(publications, (0..30).filter(|id| id % 3 == 2).collect::<Vec<_>>());
}
