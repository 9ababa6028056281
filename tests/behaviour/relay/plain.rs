//! Publications of plain and json clients on two nodes.

use testkit::client::{Client, Message};
use testkit::node::Node;
use testkit::redis::Redis;

fn payloads() -> Vec<Message> {
    vec![
        Message::text("hello"),
        Message::text(r#"{"any": "json"}"#),
        Message::text("Grüße, 世界 🌊"),
        Message::text(""),
        Message::text("x".repeat(60_000)),
        Message::binary(vec![0x00, 0xFF, 0x1E, b'\n']),
        Message::binary(Vec::new()),
        Message::binary(vec![0x80; 60_000]),
    ]
}

#[tokio::test]
async fn every_plain_frame_arrives_unchanged_on_both_nodes_and_at_its_sender() {
    let redis = Redis::start().await;
    let (a, b) = (Node::on(&redis, &[]).await, Node::on(&redis, &[]).await);
    let mut sender = Client::plain(&a, "news").await;
    let mut same_node = Client::plain(&a, "news").await;
    let mut other_node = Client::plain(&b, "news").await;
    for payload in payloads() {
        sender.send(payload.clone()).await;
        for client in [&mut sender, &mut same_node, &mut other_node] {
            assert_eq!(client.receive().await, payload);
        }
    }
}

#[tokio::test]
async fn a_json_session_and_a_plain_session_receive_each_others_publications() {
    let redis = Redis::start().await;
    let (a, b) = (Node::on(&redis, &[]).await, Node::on(&redis, &[]).await);
    let mut plain = Client::plain(&a, "news").await;
    let mut json = Client::subscribed(&b, "news").await;

    plain.send("not json").await;
    let event = json.event().await;
    assert_eq!((&event["text"], &event["data"]), (&"not json".into(), &().into()));
    plain.receive().await;

    json.publish("news", serde_json::json!({"any": "json"})).await;
    assert_eq!(plain.receive_text().await, r#"{"any":"json"}"#);
}

#[tokio::test]
async fn a_plain_client_with_echo_false_receives_all_publications_but_its_own() {
    let redis = Redis::start().await;
    let (a, b) = (Node::on(&redis, &[]).await, Node::on(&redis, &[]).await);
    let mut without_echo = Client::plain(&a, "news?echo=false").await;
    let mut other = Client::plain(&b, "news").await;
    without_echo.send("own").await;
    assert_eq!(other.receive_text().await, "own");
    other.send("other").await;
    assert_eq!(without_echo.receive_text().await, "other");
}

#[tokio::test]
async fn a_client_receives_publications_of_its_channel_only() {
    let redis = Redis::start().await;
    let (a, b) = (Node::on(&redis, &[]).await, Node::on(&redis, &[]).await);
    let mut news = Client::plain(&a, "news").await;
    let mut newsletter = Client::plain(&b, "news:letter").await;
    news.send("for news").await;
    assert_eq!(news.receive_text().await, "for news");
    newsletter.send("for news:letter").await;
    assert_eq!(newsletter.receive_text().await, "for news:letter");
}
