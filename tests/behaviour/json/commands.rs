//! The commands of the json protocol and their answers.

use serde_json::{Value, json};
use testkit::client::{Client, Message, publication};
use testkit::node::Node;
use testkit::redis::Redis;

#[tokio::test]
async fn the_welcome_names_the_session_the_node_and_the_ping_interval() {
    let node = Node::standalone(&["session.ping_interval=7s"]).await;
    let (one, two) = (Client::json(&node).await, Client::json(&node).await);
    assert_eq!(one.welcome["type"], "welcome");
    assert_eq!(one.welcome["ping_interval_ms"], 7000);
    assert!(one.welcome["session"].is_string() && one.welcome["node"].is_string());
    assert_eq!(one.welcome["node"], two.welcome["node"]);
    assert_ne!(one.welcome["session"], two.welcome["session"]);
}

#[tokio::test]
async fn subscribe_is_answered_with_subscribed_and_publications_follow() {
    let node = Node::standalone(&[]).await;
    let mut client = Client::json(&node).await;
    let answer = client.request(json!({"type": "subscribe", "id": 9, "channel": "news"})).await;
    assert_eq!(answer, json!({"type": "subscribed", "id": 9, "channel": "news"}));
    client.publish("news", json!(1)).await;
    assert_eq!(client.event().await, publication("news", 1));
}

#[tokio::test]
async fn subscribe_to_several_channels_is_answered_for_each_channel() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let mut client = Client::json(&node).await;
    let channels = json!({"news": null, "sport": null, "no good": null, "chat:1": null});
    client.send_command(json!({"type": "subscribe", "id": 3, "channels": channels})).await;
    let mut subscribed = Vec::new();
    let mut refused = 0;
    for _ in 0..4 {
        let answer = client.answer(3).await;
        match answer["type"].as_str() {
            Some("subscribed") => subscribed.push(answer["channel"].as_str().unwrap().to_owned()),
            Some("error") => {
                assert_eq!(answer["code"], "bad_request");
                refused += 1;
            }
            _ => panic!("{answer}"),
        }
    }
    subscribed.sort();
    assert_eq!((subscribed, refused), (vec!["chat:1".into(), "news".into(), "sport".into()], 1));
    for channel in ["chat:1", "news", "sport"] {
        redis.publish(channel, "1").await;
        assert_eq!(client.event().await, publication(channel, 1));
    }
}

#[tokio::test]
async fn a_repeated_subscribe_is_answered_and_delivers_each_publication_once() {
    let node = Node::standalone(&[]).await;
    let mut client = Client::subscribed(&node, "news").await;
    client.subscribe("news").await;
    for number in 0..2 {
        client.publish("news", json!(number)).await;
        assert_eq!(client.event().await, publication("news", number));
    }
}

#[tokio::test]
async fn subscribe_with_since_on_a_channel_without_history_is_not_recovered() {
    let node = Node::standalone(&[]).await;
    let mut client = Client::json(&node).await;
    let since = json!({"type": "subscribe", "id": 1, "channel": "news", "since": "1763-41"});
    assert_eq!(client.request(since).await["recovered"], false);
    let channels = json!({"chat:1": "1763-41", "sport": null});
    client.send_command(json!({"type": "subscribe", "id": 2, "channels": channels})).await;
    for _ in 0..2 {
        let answer = client.answer(2).await;
        assert_eq!(answer["type"], "subscribed");
        let recovered = answer.get("recovered");
        match answer["channel"].as_str() {
            Some("chat:1") => assert_eq!(recovered, Some(&Value::Bool(false))),
            _ => assert_eq!(recovered, None, "there was no `since`"),
        }
    }
}

#[tokio::test]
async fn publish_sends_data_text_and_base64_as_matching_frames() {
    let node = Node::standalone(&[]).await;
    let mut plain = Client::plain(&node, "news").await;
    let mut client = Client::subscribed(&node, "news").await;
    for (payload, frame, received) in [
        (json!({"data": {"b": [1, null]}}), Message::text(r#"{"b":[1,null]}"#), None),
        (json!({"data": null}), Message::text("null"), None),
        (json!({"text": "say \"hi\"\n"}), Message::text("say \"hi\"\n"), None),
        (json!({"text": ""}), Message::text(""), None),
        (json!({"text": "{\"n\":1}"}), Message::text("{\"n\":1}"), Some(json!({"data": {"n": 1}}))),
        (json!({"base64": "/wD+"}), Message::binary(&b"\xff\x00\xfe"[..]), None),
    ] {
        let mut command = json!({"type": "publish", "id": 4, "channel": "news"});
        merge(&mut command, &payload);
        assert_eq!(client.request(command).await, json!({"type": "published", "id": 4}));
        assert_eq!(plain.receive().await, frame);
        let mut expected = json!({"type": "publication", "channel": "news"});
        merge(&mut expected, &received.unwrap_or(payload));
        assert_eq!(client.event().await, expected);
    }
}

fn merge(object: &mut Value, more: &Value) {
    let more = more.as_object().expect("an object").clone();
    object.as_object_mut().expect("an object").extend(more);
}

#[tokio::test]
async fn unsubscribe_ends_the_publications_of_that_channel_only() {
    let node = Node::standalone(&[]).await;
    let mut client = Client::subscribed(&node, "news").await;
    client.subscribe("sport").await;
    let answer = client.request(json!({"type": "unsubscribe", "id": 3, "channel": "news"})).await;
    assert_eq!(answer, json!({"type": "unsubscribed", "id": 3, "channel": "news"}));
    client.publish("news", json!("not delivered")).await;
    client.publish("sport", json!("1:0")).await;
    assert_eq!(client.event().await, publication("sport", "1:0"));
}

#[tokio::test]
async fn echo_false_omits_the_sessions_own_publications_on_that_channel_only() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let mut without_echo = Client::json(&node).await;
    let silent = json!({"type": "subscribe", "id": 1, "channel": "news", "echo": false});
    assert_eq!(without_echo.request(silent).await["type"], "subscribed");
    without_echo.subscribe("sport").await;
    let mut other = Client::subscribed(&node, "news").await;

    without_echo.publish("news", json!("own")).await;
    assert_eq!(other.event().await, publication("news", "own"));
    without_echo.publish("sport", json!("echoed")).await;
    assert_eq!(without_echo.event().await, publication("sport", "echoed"));
    other.publish("news", json!("other")).await;
    assert_eq!(without_echo.event().await, publication("news", "other"));
}

#[tokio::test]
async fn a_ping_command_is_answered_with_pong() {
    let node = Node::standalone(&[]).await;
    let mut client = Client::json(&node).await;
    assert_eq!(
        client.request(json!({"type": "ping", "id": 8})).await,
        json!({"type": "pong", "id": 8})
    );
    client.send_command(json!({"type": "ping"})).await;
    assert_eq!(client.event().await, json!({"type": "pong"}));
}

#[tokio::test]
async fn answers_carry_the_id_of_their_command_unchanged() {
    let node = Node::standalone(&[]).await;
    let mut client = Client::json(&node).await;
    for id in [0, -1, 1, i64::from(i32::MAX) + 1, (1 << 53) - 1] {
        assert_eq!(client.request(json!({"type": "ping", "id": id})).await["id"], id);
    }
}

#[tokio::test]
async fn unknown_fields_of_a_command_are_ignored() {
    let node = Node::standalone(&[]).await;
    let mut client = Client::json(&node).await;
    let newer = json!({"type": "subscribe", "id": 1, "channel": "news", "since_time": 5});
    assert_eq!(client.request(newer).await["type"], "subscribed");
}
