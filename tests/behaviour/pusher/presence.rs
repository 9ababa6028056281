//! Members of presence channels.

use serde_json::{Value, json};
use testkit::client::Client;
use testkit::eventually;
use testkit::fleet::{Broker, for_simple_brokers};
use testkit::token::{KEYS, token};

use super::{APP, APPS, Pusher, data, event, publish};

for_simple_brokers!(
    a_new_member_gets_the_list_and_the_others_hear_of_it_on_every_node,
    a_user_with_two_sessions_is_one_member_until_the_last_one_leaves,
    members_of_other_protocols_and_of_pushers_see_each_other,
    an_event_of_a_member_names_its_user,
);
const GRACE: &str = "presence.grace=0s";

fn member(user: &str) -> Option<Value> {
    Some(json!({"user_id": user, "user_info": {"name": user.to_uppercase()}}))
}

fn added(user: &str) -> Value {
    let data = json!({"user_id": user, "user_info": {"name": user.to_uppercase()}});
    event("pusher_internal:member_added", "presence-room", &data.to_string())
}

fn removed(user: &str) -> Value {
    event("pusher_internal:member_removed", "presence-room", &json!({"user_id": user}).to_string())
}

async fn join(node: &testkit::node::Node, user: &str) -> (Pusher, Value) {
    let mut pusher = Pusher::connect(node, APP).await;
    let list = pusher.subscribe("presence-room", member(user)).await;
    (pusher, list["presence"].clone())
}

async fn a_new_member_gets_the_list_and_the_others_hear_of_it_on_every_node(broker: Broker) {
    let fleet = broker.fleet(&[APPS, GRACE]).await;
    let [a, b] = fleet.nodes();
    let (mut ada, list) = join(a, "ada").await;
    assert_eq!(list, json!({"count": 1, "ids": ["ada"], "hash": {"ada": {"name": "ADA"}}}));
    let (bo, list) = join(b, "bo").await;
    let hash = json!({"ada": {"name": "ADA"}, "bo": {"name": "BO"}});
    assert_eq!(list, json!({"count": 2, "ids": ["ada", "bo"], "hash": hash}));
    assert_eq!(ada.event().await, added("bo"), "and nothing of itself");
    drop(bo);
    assert_eq!(ada.event().await, removed("bo"));
    publish(b, "presence-room", "hello").await;
    assert_eq!(ada.event().await, event("message", "presence-room", "hello"));
}

async fn a_user_with_two_sessions_is_one_member_until_the_last_one_leaves(broker: Broker) {
    let fleet = broker.fleet(&[APPS, GRACE]).await;
    let [a, b] = fleet.nodes();
    let (mut ada, _) = join(a, "ada").await;
    let (mut first, _) = join(a, "bo").await;
    assert_eq!(ada.event().await, added("bo"));
    let (mut second, list) = join(b, "bo").await;
    assert_eq!(list["count"], 2);
    first.quiet().await;
    first.send("pusher:unsubscribe", json!({"channel": "presence-room"})).await;
    first.quiet().await;
    publish(a, "presence-room", "1").await;
    assert_eq!(ada.event().await["event"], "message", "the user is still here");
    assert_eq!(second.event().await["event"], "message");
    second.send("pusher:unsubscribe", json!({"channel": "presence-room"})).await;
    assert_eq!(ada.event().await, removed("bo"));
}

async fn members_of_other_protocols_and_of_pushers_see_each_other(broker: Broker) {
    let fleet = broker.fleet(&[APPS, KEYS, GRACE]).await;
    let [a, b] = fleet.nodes();
    let (mut ada, _) = join(a, "ada").await;
    let claims = json!({"sub": "jo", "subscribe": ["presence-room"], "info": {"name": "JO"}});
    let path = format!("/ws?token={}", token(60.0, claims));
    let mut jo = Client::open(b, &path).await.with_welcome().await;
    jo.subscribe("presence-room").await;
    assert_eq!(ada.event().await, added("jo"));
    let answer = jo.request(json!({"type": "presence", "id": 5, "channel": "presence-room"})).await;
    let members = json!([
        {"user": "ada", "sessions": 1, "info": {"name": "ADA"}}, {"user": "jo", "sessions": 1, "info": {"name": "JO"}},
    ]);
    assert_eq!(answer["members"], members);
    let (_bo, list) = join(b, "bo").await;
    assert_eq!(list["ids"], json!(["ada", "bo", "jo"]));
    eventually("the join of bo", async || (jo.event().await["user"] == "bo").then_some(())).await;
}

async fn an_event_of_a_member_names_its_user(broker: Broker) {
    let fleet = broker.fleet(&[APPS, GRACE]).await;
    let [a, b] = fleet.nodes();
    let (mut ada, _) = join(a, "ada").await;
    let (mut bo, _) = join(b, "bo").await;
    ada.event().await;
    bo.trigger("presence-room", "client-typed", json!({"a": 1})).await;
    let typed = ada.event().await;
    assert_eq!(typed["user_id"], "bo");
    assert_eq!(data(&typed), json!({"a": 1}));
    bo.quiet().await;
    // A session that has signed in needs no channel_data.
    let mut carol = Pusher::connect(a, APP).await;
    carol.sign_in(json!({"id": "carol", "user_info": {"name": "CAROL"}})).await;
    carol.event().await;
    let list = carol.subscribe("presence-room", None).await;
    assert_eq!(list["presence"]["hash"]["carol"], json!({"name": "CAROL"}));
    assert_eq!(ada.event().await, added("carol"));
    // A service's event names no user, whatever its name.
    publish(b, "presence-room", r#"{"event":"client-typed","data":1}"#).await;
    assert_eq!(ada.event().await["user_id"], Value::Null);
}

#[tokio::test]
async fn the_members_of_a_killed_node_leave() {
    let mut fleet = Broker::Redis.fleet(&[APPS, GRACE, "presence.ttl=3s"]).await;
    let [a, b] = fleet.nodes();
    let (_ada, _) = join(a, "ada").await;
    let (mut bo, list) = join(b, "bo").await;
    assert_eq!(list["count"], 2);
    fleet.kill_node();
    assert_eq!(bo.event().await, removed("ada"));
}
