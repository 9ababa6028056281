//! Section *Authorization*, *Subscribers*: private updates.

use serde_json::json;
use testkit::client::Client;
use testkit::fleet::{Broker, for_simple_brokers};
use testkit::node::Node;
use testkit::token::{self, KEYS};

use super::{MERCURE, follow, follow_with, next_data, post, post_with, published};

for_simple_brokers!(
    a_private_update_reaches_only_subscribers_whose_token_lists_one_of_its_topics,
    a_private_update_is_hidden_from_other_protocols_too,
    a_replay_leaves_out_private_updates_that_the_token_does_not_list,
);

/// Every client may subscribe, and tokens decide about private updates.
const OPEN: &str = r#"rules=[{pattern="https://kept.test/**",subscribe="anyone",publish="token",history={size=50,age="10m"}},
    {pattern="**",subscribe="anyone",publish="token"}]"#;

const SETTINGS: [&str; 3] = [MERCURE, KEYS, OPEN];

pub fn subscriber(selectors: &[&str]) -> String {
    token::token(3600., json!({"mercure": {"subscribe": selectors}}))
}

pub fn publisher() -> String {
    token::token(3600., json!({"mercure": {"publish": ["*"]}}))
}

async fn publish(node: &Node, fields: &[(&str, &str)]) -> String {
    let header = format!("Bearer {}", publisher());
    published(post_with(node, fields, &[("Authorization", &header)]).await)
}

async fn a_private_update_reaches_only_subscribers_whose_token_lists_one_of_its_topics(
    broker: Broker,
) {
    let fleet = broker.fleet(&SETTINGS).await;
    let [a, b] = fleet.nodes();
    let book = "https://example.com/books/1";
    let of_user = "https://example.com/users/foo/?topic=https%3A%2F%2Fexample.com%2Fbooks%2F1";
    let mut anonymous = follow(a, &[book]).await;
    let mut listed =
        follow_with(b, &[book], &subscriber(&["https://example.com/books/{id}"])).await;
    let mut other = follow_with(a, &[book], &subscriber(&["https://example.com/films/{id}"])).await;
    let by_alternate = subscriber(&["https://example.com/users/foo/{?topic}"]);
    let mut by_alternate = follow_with(b, &[book], &by_alternate).await;
    publish(a, &[("topic", book), ("data", "private"), ("private", "on")]).await;
    let both = [("topic", book), ("topic", of_user), ("data", "for foo"), ("private", "")];
    publish(b, &both).await;
    publish(a, &[("topic", book), ("data", "public")]).await;
    assert_eq!(next_data(&mut anonymous).await, "public");
    assert_eq!(next_data(&mut other).await, "public");
    for expected in ["private", "for foo", "public"] {
        assert_eq!(next_data(&mut listed).await, expected);
    }
    for expected in ["for foo", "public"] {
        assert_eq!(next_data(&mut by_alternate).await, expected);
    }
}

async fn a_private_update_is_hidden_from_other_protocols_too(broker: Broker) {
    let fleet = broker.fleet(&SETTINGS).await;
    let [a, b] = fleet.nodes();
    let topic = "https://kept.test/1";
    let subscribe = json!({"type": "subscribe", "id": 1, "channel": topic});
    let mut anonymous = Client::json(a).await;
    anonymous.request(subscribe.clone()).await;
    let listed = token::token(3600., json!({"sub": "ada", "mercure": {"subscribe": ["*"]}}));
    let mut late = Client::json(b).await;
    late.request(subscribe).await;
    publish(b, &[("topic", topic), ("data", "1"), ("private", "on")]).await;
    publish(b, &[("topic", topic), ("data", "2")]).await;
    assert_eq!(anonymous.event().await["data"], 2);
    assert_eq!(late.event().await["data"], 2);
    let answer = late.request(json!({"type": "auth", "id": 2, "token": listed})).await;
    assert_eq!(answer["type"], "authenticated", "{answer}");
    publish(a, &[("topic", topic), ("data", "3"), ("private", "on")]).await;
    publish(a, &[("topic", topic), ("data", "4")]).await;
    assert_eq!(late.event().await["data"], 3);
    assert_eq!(late.event().await["data"], 4);
    assert_eq!(anonymous.event().await["data"], 4);
    let history = json!({"type": "history", "id": 3, "channel": topic});
    let data = |answer: serde_json::Value| {
        let publications = answer["publications"].as_array().expect("a list").clone();
        publications.iter().map(|it| it["data"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(data(anonymous.request(history.clone()).await), [json!(2), json!(4)]);
    assert_eq!(data(late.request(history).await), [json!(1), json!(2), json!(3), json!(4)]);
    let mut past = Client::json(b).await;
    let from_first = json!({"type": "subscribe", "id": 1, "channel": topic, "since": "first"});
    past.request(from_first).await;
    assert_eq!(past.event().await["data"], 2);
    assert_eq!(past.event().await["data"], 4);
}

async fn a_replay_leaves_out_private_updates_that_the_token_does_not_list(broker: Broker) {
    let fleet = broker.fleet(&SETTINGS).await;
    let [a, b] = fleet.nodes();
    let topic = "https://kept.test/1";
    publish(a, &[("topic", topic), ("data", "1")]).await;
    publish(a, &[("topic", topic), ("data", "2"), ("private", "on")]).await;
    publish(a, &[("topic", topic), ("data", "3")]).await;
    let path = format!("{}&lastEventID=earliest", super::path(&[topic]));
    let mut anonymous = testkit::event_stream::EventStream::open(b, &path).await;
    assert_eq!(next_data(&mut anonymous).await, "1");
    assert_eq!(next_data(&mut anonymous).await, "3");
    let header = format!("Authorization: Bearer {}\r\n", subscriber(&[topic]));
    let opened = testkit::event_stream::EventStream::request(b.public, &path, &header).await;
    let mut listed = opened.unwrap_or_else(|refused| panic!("{refused:?}"));
    for expected in ["1", "2", "3"] {
        assert_eq!(next_data(&mut listed).await, expected);
    }
}

#[tokio::test]
async fn a_node_without_tokens_delivers_private_updates_to_every_subscriber() {
    let node = Node::standalone(&[MERCURE]).await;
    let mut stream = follow(&node, &["a"]).await;
    published(post(&node, &[("topic", "a"), ("data", "1"), ("private", "on")]).await);
    assert_eq!(next_data(&mut stream).await, "1");
}

#[tokio::test]
async fn a_private_update_of_a_run_gets_400() {
    let run =
        r#"rules=[{pattern="run:*",run={lease="30s"},history={size=50,age="10m"}},{pattern="**"}]"#;
    let node = Node::standalone(&[MERCURE, run]).await;
    let answer = post(&node, &[("topic", "run:1"), ("data", "1"), ("private", "on")]).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    published(post(&node, &[("topic", "run:1"), ("data", "1")]).await);
}
