//! Clients that misuse the protocol: each ends only its own request.

use serde_json::json;
use testkit::event_stream::EventStream;
use testkit::http::request;
use testkit::node::Node;
use testkit::token::{self, KEYS};

use super::{HUB, MERCURE, follow, next_data, path, post_with, publish};

#[tokio::test]
async fn too_many_or_too_long_topics_get_400_and_other_subscribers_go_on() {
    let node = Node::standalone(&[MERCURE]).await;
    let mut victim = follow(&node, &["a"]).await;
    let many: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let long = "x".repeat(300);
    for (topics, what) in [(&many[..], "at most"), (&[long.as_str()], "255")] {
        let answer = super::refused(&node, &path(topics), "").await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.text().contains(what), "{}", answer.text());
    }
    let thousands: Vec<String> = (0..5000).map(|number| number.to_string()).collect();
    let thousands: Vec<&str> = thousands.iter().map(String::as_str).collect();
    let answer = super::refused(&node, &path(&thousands), "").await;
    assert!(matches!(answer.status, 400 | 414 | 431), "{answer:?}");
    publish(&node, "a", "still here").await;
    assert_eq!(next_data(&mut victim).await, "still here");
}

#[tokio::test]
async fn a_giant_form_gets_413_and_a_flood_of_topics_does_not_multiply() {
    let node = Node::standalone(&[MERCURE, "session.message_bytes_max=2KiB"]).await;
    let mut victim = follow(&node, &["a"]).await;
    let giant = format!("topic=a&data={}", "x".repeat(1 << 20));
    assert_eq!(request(node.public, "POST", HUB, &[], giant.as_bytes()).await.status, 413);
    let topics: Vec<String> = (0..1000).map(|number| format!("topic={number}")).collect();
    let answer = request(node.public, "POST", HUB, &[], topics.join("&").as_bytes()).await;
    assert_eq!(answer.status, 413, "{answer:?}");
    for form in [&b"topic=%"[..], b"topic=a&data=%ff", b"=&=&topic", b"\xff\xfe", b""] {
        let answer = request(node.public, "POST", HUB, &[], form).await;
        assert!(matches!(answer.status, 200 | 400), "{answer:?}");
    }
    publish(&node, "a", "still here").await;
    assert_eq!(next_data(&mut victim).await, "still here");
}

#[tokio::test]
async fn a_token_with_huge_selectors_gets_401_and_expensive_ones_are_matched_in_time() {
    let open = r#"rules=[{pattern="**",subscribe="anyone",publish="token"}]"#;
    let node = Node::standalone(&[MERCURE, KEYS, open]).await;
    let publish = |selectors: Vec<String>| {
        let token = token::token(3600., json!({"mercure": {"publish": selectors}}));
        let node = &node;
        async move {
            let header = format!("Bearer {token}");
            let topic = "a".repeat(255);
            post_with(node, &[("topic", &topic)], &[("Authorization", &header)]).await.status
        }
    };
    assert_eq!(publish(vec!["x".repeat(1025)]).await, 401);
    assert_eq!(publish(vec!["x".to_owned(); 201]).await, 401);
    let loops = format!("{}b", "{+a}".repeat(100));
    assert_eq!(publish(vec![loops; 10]).await, 403);
}

#[tokio::test]
async fn strange_ids_of_last_events_begin_a_stream_as_unknown_ones_do() {
    let node = Node::standalone(&[MERCURE]).await;
    for id in ["\u{e9}", "x y", &"A".repeat(9000), "7-", "-7", "18446744073709551615-1"] {
        let header = format!("Last-Event-ID: {id}\r\n");
        let opened = EventStream::request(node.public, &path(&["a"]), &header).await;
        let stream = opened.unwrap_or_else(|refused| panic!("{id}: {refused:?}"));
        assert_eq!(stream.header("last-event-id"), Some("earliest"));
    }
}
