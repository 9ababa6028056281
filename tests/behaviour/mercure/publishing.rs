//! Section *Publication*.

use serde_json::json;
use testkit::client::{Client, Message};
use testkit::event_stream::SseEvent;
use testkit::fleet::{Broker, for_simple_brokers};
use testkit::http::request;
use testkit::node::Node;

use super::{
    HISTORY, HUB, MERCURE, code, follow, form, next, next_data, post, post_with, publish, published,
};

for_simple_brokers!(
    an_update_arrives_with_its_type_and_id_at_subscribers_of_each_topic_once,
    a_publication_of_another_protocol_is_an_update_and_an_update_is_a_publication,
    an_update_repeated_with_an_idempotency_key_is_published_once,
);

async fn an_update_arrives_with_its_type_and_id_at_subscribers_of_each_topic_once(broker: Broker) {
    let fleet = broker.fleet(&[MERCURE]).await;
    let [a, b] = fleet.nodes();
    let (first, second) = ("https://example.com/books/1", "chat:1");
    let mut of_first = follow(a, &[first]).await;
    let mut of_second = follow(b, &[second]).await;
    let mut of_both = follow(b, &[second, first]).await;
    let fields =
        [("topic", first), ("topic", second), ("data", "1\n2"), ("type", "price"), ("id", "urn:1")];
    assert_eq!(published(post(a, &fields).await), "urn:1");
    publish(a, second, "end").await;
    for stream in [&mut of_first, &mut of_second, &mut of_both] {
        let SseEvent { name, data, id } = stream.event().await;
        assert_eq!((name.as_str(), data.as_str(), id.as_str()), ("price", "1\n2", "urn:1"));
    }
    assert_eq!(next_data(&mut of_second).await, "end");
    assert_eq!(next_data(&mut of_both).await, "end");
    assert!(of_both.last_id.starts_with("urn:uuid:"), "every event has an id");
    let retry = published(post(b, &[("topic", first), ("retry", "12345")]).await);
    assert_eq!(next_data(&mut of_first).await, "");
    assert_eq!((of_first.retry, of_first.last_id), (Some(12345), retry));
}

async fn a_publication_of_another_protocol_is_an_update_and_an_update_is_a_publication(
    broker: Broker,
) {
    let fleet = broker.fleet(&[MERCURE, HISTORY]).await;
    let [a, b] = fleet.nodes();
    let topic = "https://kept.test/1";
    let mut updates = follow(a, &[topic]).await;
    let mut json = Client::json(b).await;
    let answer = json.request(json!({"type": "subscribe", "id": 1, "channel": topic})).await;
    assert_eq!(answer["type"], "subscribed", "{answer}");
    let id = publish(b, topic, r#"{"a":1}"#).await;
    let publication = json.event().await;
    assert_eq!((&publication["data"], &publication["position"]), (&json!({"a": 1}), &json!(id)));
    assert_eq!((next_data(&mut updates).await.as_str(), &updates.last_id), (r#"{"a":1}"#, &id));
    let command = json!({"type": "publish", "id": 2, "channel": topic, "text": "hello"});
    let answer = json.request(command).await;
    assert_eq!(next_data(&mut updates).await, "hello");
    assert_eq!(json!(updates.last_id), answer["position"]);
    let plain = "https%3A%2F%2Fplain.test%2F1";
    let mut frames = Client::plain(a, plain).await;
    publish(b, "https://plain.test/1", "to plain").await;
    assert_eq!(frames.receive().await, Message::text("to plain"));
    if !fleet.servers().is_empty() {
        let mut updates = follow(b, &["https://plain.test/2"]).await;
        fleet.server().publish("https://plain.test/2", "bare").await;
        assert_eq!(next_data(&mut updates).await, "bare");
        let line = "\u{1e}{\"event\":\"price\",\"event_id\":\"urn:9\"}\nwith a header";
        fleet.server().publish("https://plain.test/2", line).await;
        assert_eq!(next(&mut updates).await, ("price".to_owned(), "with a header".to_owned()));
        assert_eq!(updates.last_id, "urn:9");
    }
}

async fn an_update_repeated_with_an_idempotency_key_is_published_once(broker: Broker) {
    let fleet = broker.fleet(&[MERCURE, HISTORY]).await;
    let [a, b] = fleet.nodes();
    let topic = "https://kept.test/1";
    let mut updates = follow(a, &[topic]).await;
    let key = [("Idempotency-Key", "k1")];
    let fields = [("topic", topic), ("data", "once")];
    let first = published(post_with(a, &fields, &key).await);
    assert_eq!(published(post_with(b, &fields, &key).await), first);
    publish(a, topic, "end").await;
    assert_eq!(next_data(&mut updates).await, "once");
    assert_eq!(next_data(&mut updates).await, "end");
}

#[tokio::test]
async fn a_form_that_breaks_a_rule_gets_400_or_413_with_the_reason() {
    let node = Node::standalone(&[MERCURE, "session.message_bytes_max=2KiB"]).await;
    let (large, many) = ("x".repeat(3000), [("topic", "a"); 300]);
    for (fields, status, what) in [
        (&[("data", "1")][..], 400, "topic"),
        (&[("topic", "*")], 400, "topic"),
        (&[("topic", "/.well-known/mercure/subscriptions/x")], 400, "reserved"),
        (&[("topic", "https://hub.test/.well-known/%6dercure")], 400, "reserved"),
        (&[("topic", "a\u{7}b")], 400, "control"),
        (&[("topic", &large[..300])], 400, "255"),
        (&[("topic", "a"), ("id", "#1")], 400, "id"),
        (&[("topic", "a"), ("type", "mercure")], 400, "type"),
        (&[("topic", "a"), ("retry", "soon")], 400, "retry"),
        (&[("topic", "a"), ("data", &large)], 413, "message_bytes_max"),
        (&many, 413, "fields"),
    ] {
        let answer = post(&node, fields).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.text().contains(what), "{what}: {}", answer.text());
    }
    let json = [("Content-Type", "application/json")];
    let answer = request(node.public, "POST", HUB, &json, br#"{"topic":"a"}"#).await;
    assert_eq!((answer.status, code(&answer).as_str()), (400, "bad_request"));
    let other = request(node.public, "DELETE", HUB, &[], b"").await;
    assert_eq!((other.status, other.header("allow")), (405, Some("GET, POST, OPTIONS")));
    let unknown = form(&[("topic", "a"), ("later", "1")]);
    assert_eq!(request(node.public, "POST", HUB, &[], unknown.as_bytes()).await.status, 200);
}

#[tokio::test]
async fn a_node_without_mercure_enabled_answers_404() {
    let node = Node::standalone(&[]).await;
    let answer = post(&node, &[("topic", "a")]).await;
    assert_eq!((answer.status, code(&answer).as_str()), (404, "not_found"));
    assert!(answer.text().contains("mercure.enabled"), "{}", answer.text());
    assert_eq!(super::refused(&node, &super::path(&["a"]), "").await.status, 404);
}
