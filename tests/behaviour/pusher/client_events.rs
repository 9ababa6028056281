//! Events that clients send to each other.

use serde_json::json;
use testkit::client::Client;
use testkit::fleet::{Broker, for_simple_brokers};
use testkit::node::Node;
use testkit::token::{KEYS, for_user};

use super::{APP, APPS, Pusher, event};

for_simple_brokers!(
    an_event_of_a_client_reaches_the_other_subscribers_on_every_node_and_not_its_sender,
    an_event_of_a_client_is_json_to_other_protocols,
);

async fn an_event_of_a_client_reaches_the_other_subscribers_on_every_node_and_not_its_sender(
    broker: Broker,
) {
    let fleet = broker.fleet(&[APPS]).await;
    let [a, b] = fleet.nodes();
    let mut sender = Pusher::subscribed(a, APP, "private-room").await;
    let mut near = Pusher::subscribed(a, APP, "private-room").await;
    let mut far = Pusher::subscribed(b, APP, "private-room").await;
    sender.trigger("private-room", "client-typed", json!({"a": 1.5})).await;
    for other in [&mut near, &mut far] {
        assert_eq!(other.event().await, event("client-typed", "private-room", r#"{"a":1.5}"#));
    }
    sender.quiet().await;
    for (channel, name) in
        [("private-other", "client-typed"), ("news", "client-typed"), ("private-room", "typed")]
    {
        sender.trigger(channel, name, json!(1)).await;
        let refused = sender.event().await;
        assert_eq!(
            (&refused["event"], &refused["data"]["code"]),
            (&json!("pusher:error"), &json!(null)),
            "{refused}"
        );
    }
    near.quiet().await;
}

async fn an_event_of_a_client_is_json_to_other_protocols(broker: Broker) {
    let fleet = broker.fleet(&[APPS, KEYS]).await;
    let [a, b] = fleet.nodes();
    let token = for_user("u", &["private-room"]);
    let mut json = Client::open(b, &format!("/ws?token={token}")).await.with_welcome().await;
    json.subscribe("private-room").await;
    let mut pusher = Pusher::subscribed(a, APP, "private-room").await;
    pusher.trigger("private-room", "client-typed", json!("{\"a\":1}")).await;
    let publication = json.event().await;
    assert_eq!(publication["data"], json!({"event": "client-typed", "data": {"a": 1}}));
    json.publish("private-room", json!({"event": "client-seen", "data": "x"})).await;
    assert_eq!(pusher.event().await, event("client-seen", "private-room", "x"));
}

#[tokio::test]
async fn a_rule_may_forbid_events_of_clients_and_limits_apply_to_them() {
    let rules = r#"rules=[{pattern="private-read",subscribe="token",publish="nobody"},{pattern="**",subscribe="token",publish="token"}]"#;
    let node = Node::standalone(&[APPS, rules, "limits.publications_per_second=2"]).await;
    let mut pusher = Pusher::subscribed(&node, APP, "private-read").await;
    pusher.trigger("private-read", "client-e", json!(1)).await;
    let refused = pusher.event().await;
    assert_eq!(
        (&refused["event"], &refused["data"]["code"]),
        (&json!("pusher:error"), &json!(null))
    );
    pusher.subscribe("private-room", None).await;
    for _ in 0..5 {
        pusher.trigger("private-room", "client-e", json!(1)).await;
    }
    let limited = pusher.event().await;
    assert_eq!(
        (&limited["event"], &limited["data"]["code"]),
        (&json!("pusher:error"), &json!(4301))
    );
}
