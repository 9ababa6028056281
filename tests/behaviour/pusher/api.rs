//! Pusher's HTTP API, and its signature.

use md5::{Digest, Md5};
use serde_json::{Value, json};
use testkit::fleet::{Broker, for_simple_brokers};
use testkit::http::{Response, request};
use testkit::node::Node;
use testkit::token;

use super::{APP, APPS, App, Pusher, SHOP, event};

for_simple_brokers!(
    an_event_reaches_every_channel_on_every_node_and_not_the_excluded_socket,
    a_batch_reaches_its_channels_in_order,
    counts_are_of_the_whole_fleet_or_left_out,
    terminating_a_user_closes_its_connections_and_those_of_no_other_application,
);

/// Sends a request with a signature of the application.
pub async fn call(
    node: &Node,
    app: App,
    method: &str,
    path: &str,
    query: &str,
    body: &str,
) -> Response {
    let now = token::now() as u64;
    call_at(node, app, method, path, query, body, now).await
}

async fn call_at(
    node: &Node,
    app: App,
    method: &str,
    path: &str,
    query: &str,
    body: &str,
    at: u64,
) -> Response {
    let md5: String =
        Md5::digest(body.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut pairs = vec![
        format!("auth_key={}", app.key),
        format!("auth_timestamp={at}"),
        "auth_version=1.0".to_owned(),
    ];
    if !body.is_empty() {
        pairs.push(format!("body_md5={md5}"));
    }
    pairs.extend(query.split('&').filter(|pair| !pair.is_empty()).map(str::to_owned));
    pairs.sort();
    let query = pairs.join("&");
    let signature = app.sign(&format!("{method}\n{path}\n{query}"));
    let target = format!("{path}?{query}&auth_signature={signature}");
    let headers: &[(&str, &str)] =
        if body.is_empty() { &[] } else { &[("Content-Type", "application/json")] };
    request(node.public, method, &target, headers, body.as_bytes()).await
}

pub async fn trigger(node: &Node, body: Value) -> Response {
    call(node, APP, "POST", "/apps/1/events", "", &body.to_string()).await
}

async fn get(node: &Node, path: &str, query: &str) -> Value {
    let answer = call(node, APP, "GET", path, query, "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

async fn an_event_reaches_every_channel_on_every_node_and_not_the_excluded_socket(broker: Broker) {
    let fleet = broker.fleet(&[APPS]).await;
    let [a, b] = fleet.nodes();
    let mut first = Pusher::subscribed(a, APP, "news").await;
    let mut second = Pusher::subscribed(b, APP, "private-news").await;
    let answer = trigger(
        b,
        json!({"name": "order", "channels": ["news", "private-news"], "data": "{\"id\":1}"}),
    )
    .await;
    assert_eq!((answer.status, answer.json()), (200, json!({})));
    assert_eq!(first.event().await, event("order", "news", r#"{"id":1}"#));
    assert_eq!(second.event().await, event("order", "private-news", r#"{"id":1}"#));
    let excluding =
        json!({"name": "order", "channel": "news", "data": "x", "socket_id": first.socket_id});
    let mut witness = Pusher::subscribed(a, APP, "news").await;
    assert_eq!(trigger(b, excluding).await.status, 200);
    assert_eq!(witness.event().await, event("order", "news", "x"));
    first.quiet().await;
}

async fn a_batch_reaches_its_channels_in_order(broker: Broker) {
    let fleet = broker.fleet(&[APPS]).await;
    let [a, b] = fleet.nodes();
    let mut pusher = Pusher::subscribed(a, APP, "news").await;
    let events: Vec<Value> =
        (0..10).map(|n| json!({"name": "e", "channel": "news", "data": n.to_string()})).collect();
    let body = json!({"batch": events}).to_string();
    assert_eq!(call(b, APP, "POST", "/apps/1/batch_events", "", &body).await.json(), json!({}));
    for number in 0..10 {
        assert_eq!(pusher.event().await, event("e", "news", &number.to_string()));
    }
}

async fn counts_are_of_the_whole_fleet_or_left_out(broker: Broker) {
    let fleet = broker.fleet(&[APPS]).await;
    let [a, b] = fleet.nodes();
    let is_one_node = std::ptr::eq(a, b);
    let mut members = Vec::new();
    for (node, user) in [(a, "ada"), (b, "bo"), (b, "bo")] {
        let mut member = Pusher::connect(node, APP).await;
        member.subscribe("presence-room", Some(json!({"user_id": user}))).await;
        members.push(member);
    }
    let _shop = Pusher::subscribed(a, SHOP, "news").await;
    let _news = Pusher::subscribed(b, APP, "news").await;
    for node in [a, b] {
        let all = get(node, "/apps/1/channels", "").await;
        assert_eq!(
            all,
            json!({"channels": {"news": {}, "presence-room": {}}}),
            "and none of the other application"
        );
        let rooms =
            get(node, "/apps/1/channels", "filter_by_prefix=presence-&info=user_count").await;
        assert_eq!(rooms, json!({"channels": {"presence-room": {"user_count": 2}}}));
        let users = get(node, "/apps/1/channels/presence-room/users", "").await;
        assert_eq!(users, json!({"users": [{"id": "ada"}, {"id": "bo"}]}));
        let nothing = get(node, "/apps/1/channels/nothing", "info=subscription_count").await;
        assert_eq!(nothing, json!({"occupied": false, "subscription_count": 0}));
    }
    // Only the node itself knows how many sessions it has.
    let known = get(b, "/apps/1/channels/news", "info=subscription_count").await;
    assert_eq!(known, json!({"occupied": true, "subscription_count": 1}));
    let room = get(a, "/apps/1/channels/presence-room", "info=subscription_count,user_count").await;
    let known = if is_one_node { json!(3) } else { Value::Null };
    assert_eq!((&room["user_count"], &room["subscription_count"]), (&json!(2), &known));
    let asked =
        json!({"name": "e", "channels": ["presence-room"], "data": "1", "info": "user_count"});
    assert_eq!(
        trigger(a, asked).await.json(),
        json!({"channels": {"presence-room": {"user_count": 2}}})
    );
}

async fn terminating_a_user_closes_its_connections_and_those_of_no_other_application(
    broker: Broker,
) {
    let fleet = broker.fleet(&[APPS]).await;
    let [a, b] = fleet.nodes();
    let mut sessions = Vec::new();
    for (node, app) in [(a, APP), (b, APP), (b, SHOP)] {
        let mut pusher = Pusher::connect(node, app).await;
        pusher.sign_in(json!({"id": "ada"})).await;
        pusher.event().await;
        sessions.push(pusher);
    }
    let answer = call(a, APP, "POST", "/apps/1/users/ada/terminate_connections", "", "{}").await;
    assert_eq!((answer.status, answer.json()), (200, json!({})));
    for session in &mut sessions[..2] {
        assert_eq!(u16::from(session.closed().await.code), 4009);
    }
    sessions[2].quiet().await;
}

#[tokio::test]
async fn requests_with_another_signature_key_time_or_body_are_refused() {
    let node = Node::standalone(&[APPS]).await;
    let body = json!({"name": "e", "channel": "news", "data": "1"}).to_string();
    let now = token::now() as u64;
    let path = "/apps/1/events";
    assert_eq!(call_at(&node, APP, "POST", path, "", &body, now - 500).await.status, 200);
    let forger = App { secret: "another", ..APP };
    for (answer, part) in [
        (call(&node, forger, "POST", path, "", &body).await, "invalid signature"),
        (call(&node, SHOP, "POST", path, "", &body).await, "auth_key"),
        (call_at(&node, APP, "POST", path, "", &body, now - 700).await, "auth_timestamp"),
        (call_at(&node, APP, "POST", path, "", &body, now + 700).await, "auth_timestamp"),
        (request(node.public, "POST", path, &[], body.as_bytes()).await, "auth_key"),
    ] {
        assert_eq!(answer.status, 401, "{part}");
        assert!(answer.text().contains(part), "{part}: {}", answer.text());
    }
    // The signature is of another body.
    let query =
        format!("auth_key={}&auth_timestamp={now}&auth_version=1.0&body_md5={:032x}", APP.key, 0);
    let signature = APP.sign(&format!("POST\n{path}\n{query}"));
    let other = request(
        node.public,
        "POST",
        &format!("{path}?{query}&auth_signature={signature}"),
        &[],
        body.as_bytes(),
    )
    .await;
    assert_eq!((other.status, other.text().contains("body_md5")), (401, true));
}

#[tokio::test]
async fn invalid_requests_are_answered_with_what_is_allowed() {
    let node = Node::standalone(&[APPS, "session.message_bytes_max=2KiB"]).await;
    let event = |more: Value| {
        let mut event = json!({"name": "e", "channel": "news", "data": "1"});
        event
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        event
    };
    let many: Vec<String> = (0..101).map(|number| format!("c{number}")).collect();
    for (body, status, part) in [
        (event(json!({"channels": ["a"]})), 400, "either channels or channel"),
        (json!({"name": "e", "channels": many, "data": "1"}), 400, "1 to 100 channels"),
        (json!({"name": "e", "channels": [], "data": "1"}), 400, "1 to 100 channels"),
        (event(json!({"name": "pusher:error"})), 400, "does not begin with pusher:"),
        (event(json!({"name": "x".repeat(201)})), 400, "1 to 200 bytes"),
        (event(json!({"channel": "a b"})), 400, "letters, digits"),
        (event(json!({"channel": "shop:news"})), 400, "letters, digits"),
        (event(json!({"socket_id": "x"})), 400, "socket_id"),
        (event(json!({"info": "weather"})), 400, "info lists"),
        (event(json!({"data": "x".repeat(3000)})), 413, "message_bytes_max = 2048"),
        (
            json!({"name": "e", "channels": ["private-encrypted-a", "b"], "data": "1"}),
            400,
            "encrypted",
        ),
        (json!({"name": "e"}), 400, "the body is not JSON"),
    ] {
        let answer = trigger(&node, body.clone()).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
        assert!(answer.text().contains(part), "{body}: {}", answer.text());
    }
    for (method, path, query, status) in [
        ("GET", "/apps/1/events", "", 405),
        ("GET", "/apps/1/weather", "", 404),
        ("GET", "/apps/9/channels", "", 404),
        ("GET", "/apps/1/channels", "info=user_count", 400),
        ("GET", "/apps/1/channels/news/users", "", 400),
        ("GET", "/apps/1/channels/a%20b", "", 400),
    ] {
        let answer = call(&node, APP, method, path, query, "").await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
    let batch = json!({"batch": vec![event(json!({})); 11]}).to_string();
    let answer = call(&node, APP, "POST", "/apps/1/batch_events", "", &batch).await;
    assert!(answer.status == 400 && answer.text().contains("at most 10"), "{}", answer.text());
    let giant = json!({"name": "e", "channel": "news", "data": "x".repeat(200_000)});
    assert_eq!(trigger(&node, giant).await.status, 413);
}
