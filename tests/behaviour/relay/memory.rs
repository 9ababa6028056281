//! The memory broker, for one node without Redis, keeps the same contract.

use serde_json::json;
use testkit::client::{Client, Message, publication};
use testkit::node::Node;

#[tokio::test]
async fn frames_arrive_unchanged_through_the_memory_broker() {
    let node = Node::standalone(&[]).await;
    let mut sender = Client::plain(&node, "news").await;
    let mut other = Client::plain(&node, "news").await;
    let mut without_echo = Client::plain(&node, "news?echo=false").await;
    for payload in [
        Message::text("Grüße"),
        Message::text(""),
        Message::text("\u{1e}{\"user\":\"root\"}\npayload"),
        Message::binary(vec![0xFF; 60_000]),
    ] {
        sender.send(payload.clone()).await;
        for client in [&mut sender, &mut other, &mut without_echo] {
            assert_eq!(client.receive().await, payload);
        }
    }
    without_echo.send("own").await;
    assert_eq!(other.receive_text().await, "own");
    other.send("next").await;
    assert_eq!(without_echo.receive_text().await, "next");
}

#[tokio::test]
async fn a_json_session_receives_its_own_publication_through_the_memory_broker() {
    let node = Node::standalone(&[]).await;
    let mut client = Client::subscribed(&node, "news").await;
    client.publish("news", json!({"n": 1})).await;
    assert_eq!(client.event().await, publication("news", json!({"n": 1})));
}

#[tokio::test]
async fn nodes_with_memory_brokers_share_no_publications() {
    let (a, b) = (Node::standalone(&[]).await, Node::standalone(&[]).await);
    let mut client_a = Client::plain(&a, "news").await;
    let mut client_b = Client::plain(&b, "news").await;
    client_a.send("here").await;
    assert_eq!(client_a.receive_text().await, "here");
    client_b.send("there").await;
    assert_eq!(client_b.receive_text().await, "there");
}
