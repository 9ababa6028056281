//! Close codes, whose range tells a client whether to reconnect.

use serde_json::json;
use testkit::client::Client;
use testkit::http;
use testkit::node::Node;
use testkit::process::Signal;

use super::{APP, APPS, Pusher};

/// The code with which a connection is refused after the upgrade.
async fn refused(node: &Node, path: &str) -> u16 {
    let client = Client::open(node, path).await;
    let mut pusher = Pusher { client, app: APP, socket_id: String::new() };
    pusher.closed().await.code.into()
}

#[tokio::test]
async fn a_client_of_no_application_or_of_another_version_is_told_not_to_reconnect() {
    let node = Node::standalone(&[APPS]).await;
    assert_eq!(refused(&node, "/app/other?protocol=7").await, 4001);
    assert_eq!(refused(&node, "/app/app-key?protocol=4").await, 4007);
    assert_eq!(refused(&node, "/app/app-key?protocol=x").await, 4007);
    // Clients by hand name no version.
    let mut client = Client::open(&node, "/app/app-key").await;
    assert_eq!(client.event().await["event"], "pusher:connection_established");
}

#[tokio::test]
async fn a_node_without_applications_does_not_speak_the_protocol() {
    let node = Node::standalone(&[]).await;
    let upgrade = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let answer = http::request(node.public, "GET", "/app/app-key", &upgrade, b"").await;
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("pusher.apps is not set"), "{}", answer.text());
}

#[tokio::test]
async fn a_draining_node_asks_its_clients_to_reconnect_immediately() {
    let node = Node::standalone(&[APPS, "drain.delay=0s", "drain.period=100ms"]).await;
    let mut pusher = Pusher::subscribed(&node, APP, "news").await;
    node.signal(Signal::TERM);
    assert_eq!(u16::from(pusher.closed().await.code), 4200);
}

#[tokio::test]
async fn a_binary_frame_and_a_forged_sign_in_end_the_connection() {
    let node = Node::standalone(&[APPS]).await;
    let mut pusher = Pusher::connect(&node, APP).await;
    pusher.client.send(vec![1u8, 2, 3]).await;
    assert_eq!(u16::from(pusher.closed().await.code), 4099);
    let mut pusher = Pusher::connect(&node, APP).await;
    pusher.send("pusher:signin", json!({"auth": "app-key:00", "user_data": r#"{"id":"u"}"#})).await;
    assert_eq!(u16::from(pusher.closed().await.code), 4009);
}
