//! Users who sign in.

use serde_json::json;
use testkit::fleet::{Broker, for_simple_brokers};
use testkit::node::Node;

use super::{APP, APPS, Pusher, data, event, publish};

for_simple_brokers!(
    a_signed_in_user_gets_what_is_sent_to_it_and_no_other_does,
    disconnecting_a_user_closes_its_connections_on_every_node_and_a_new_sign_in_works,
);

async fn a_signed_in_user_gets_what_is_sent_to_it_and_no_other_does(broker: Broker) {
    let fleet = broker.fleet(&[APPS]).await;
    let [a, b] = fleet.nodes();
    let mut ada = Pusher::connect(a, APP).await;
    let own = json!({"channel": "#server-to-user-ada", "auth": ""});
    ada.send("pusher:subscribe", own.clone()).await;
    assert_eq!(ada.event().await["event"], "pusher:subscription_error", "not signed in");
    ada.sign_in(json!({"id": "ada", "user_info": {"name": "Ada"}})).await;
    let done = ada.event().await;
    assert_eq!(done["event"], "pusher:signin_success");
    let user: serde_json::Value =
        serde_json::from_str(data(&done)["user_data"].as_str().unwrap()).unwrap();
    assert_eq!(user["id"], "ada");
    ada.send("pusher:subscribe", own.clone()).await;
    assert_eq!(ada.event().await["event"], "pusher_internal:subscription_succeeded");
    let mut bo = Pusher::connect(b, APP).await;
    bo.sign_in(json!({"id": "bo"})).await;
    bo.event().await;
    bo.send("pusher:subscribe", own).await;
    assert_eq!(bo.event().await["data"]["status"], 401);
    publish(b, "#server-to-user-ada", r#"{"event":"hi","data":"x"}"#).await;
    assert_eq!(ada.event().await, event("hi", "#server-to-user-ada", "x"));
    bo.quiet().await;
}

async fn disconnecting_a_user_closes_its_connections_on_every_node_and_a_new_sign_in_works(
    broker: Broker,
) {
    let fleet = broker.fleet(&[APPS]).await;
    let [a, b] = fleet.nodes();
    let mut sessions = Vec::new();
    for node in [a, b] {
        let mut pusher = Pusher::connect(node, APP).await;
        pusher.sign_in(json!({"id": "ada"})).await;
        assert_eq!(pusher.event().await["event"], "pusher:signin_success");
        sessions.push(pusher);
    }
    assert_eq!(a.post("/api/disconnect?user=ada", &[], b"").await.status, 202);
    for mut session in sessions {
        assert_eq!(u16::from(session.closed().await.code), 4009);
    }
    let mut again = Pusher::connect(b, APP).await;
    again.sign_in(json!({"id": "ada"})).await;
    assert_eq!(again.event().await["event"], "pusher:signin_success");
}

#[tokio::test]
async fn the_limit_of_a_users_connections_applies_to_users_who_sign_in() {
    let node = Node::standalone(&[APPS, "limits.connections_per_user=1"]).await;
    let mut first = Pusher::connect(&node, APP).await;
    first.sign_in(json!({"id": "ada"})).await;
    assert_eq!(first.event().await["event"], "pusher:signin_success");
    let mut second = Pusher::connect(&node, APP).await;
    second.sign_in(json!({"id": "ada"})).await;
    let refused = second.event().await;
    assert_eq!(
        (&refused["event"], &refused["data"]["code"]),
        (&json!("pusher:error"), &json!(4009))
    );
    assert!(
        refused["data"]["message"].as_str().is_some_and(|it| it.contains("connections_per_user"))
    );
    second.sign_in(json!({"id": "bo"})).await;
    assert_eq!(second.event().await["event"], "pusher:signin_success");
}
