//! The internal listener's API: publishing, and the lists of channels and members.

use serde_json::{Value, json};
use testkit::client::{Client, Message, publication};
use testkit::http;
use testkit::node::Node;
use testkit::redis::Redis;

#[tokio::test]
async fn a_publication_through_the_api_reaches_clients_on_every_node() {
    let redis = Redis::start().await;
    let (a, b) = (Node::on(&redis, &[]).await, Node::on(&redis, &[]).await);
    let mut plain = Client::plain(&a, "chat:1/room").await;
    let mut json = Client::subscribed(&b, "chat:1/room").await;

    let response = a.post("/api/publish/chat:1%2Froom", &[], br#"{"n":1}"#).await;
    assert_eq!(response.status, 202, "{response:?}");
    assert_eq!(plain.receive_text().await, r#"{"n":1}"#);
    assert_eq!(json.event().await, publication("chat:1/room", json!({"n": 1})));

    let bytes = [("Content-Type", "application/octet-stream")];
    assert_eq!(b.post("/api/publish/chat:1/room", &bytes, b"bytes").await.status, 202);
    assert_eq!(plain.receive().await, Message::binary(&b"bytes"[..]));
    assert_eq!(json.event().await["base64"], "Ynl0ZXM=");

    assert_eq!(a.post("/api/publish/chat:1/room", &[], b"").await.status, 202);
    assert_eq!(plain.receive().await, Message::text(""));
}

#[tokio::test]
async fn invalid_api_requests_are_refused_with_a_json_error() {
    let node = Node::standalone(&[]).await;
    let too_large = vec![b'x'; (1 << 20) + 1];
    for (path, body, status) in [
        ("/api/publish/a%20b", &b"x"[..], 400),
        ("/api/publish/%FF", b"x", 400),
        ("/api/publish/", b"x", 400),
        ("/api/publish/news", &too_large, 413),
        ("/api/nothing", b"x", 404),
    ] {
        let response = node.post(path, &[], body).await;
        assert_eq!(response.status, status, "{path}");
        let error = &response.json()["error"];
        assert!(error["code"].is_string() && error["message"].is_string(), "{error}");
    }
    assert_eq!(node.get("/api/publish/news").await.status, 405);
    assert_eq!(node.post("/api/channels", &[], b"").await.status, 405);
    assert_eq!(node.post("/api/presence/news", &[], b"").await.status, 405);
}

#[tokio::test]
async fn api_channels_lists_channels_with_their_subscribers_and_nodes() {
    let redis = Redis::start().await;
    let (a, b) = (Node::on(&redis, &[]).await, Node::on(&redis, &[]).await);
    let _news = [Client::plain(&a, "news").await, Client::plain(&a, "news").await];
    let _sport = [Client::plain(&a, "sport").await, Client::plain(&b, "sport").await];
    let channels = channels_of(&a).await;
    let expected = json!([
        {"channel": "news", "subscribers": 2, "nodes": 1},
        {"channel": "sport", "subscribers": 1, "nodes": 2},
    ]);
    assert_eq!(channels, expected);
}

#[tokio::test]
async fn api_presence_of_a_channel_without_presence_is_not_found() {
    let node = Node::standalone(&[]).await;
    for (path, status, code) in [
        ("/api/presence/news", 404, "not_found"),
        ("/api/presence/a%20b", 400, "bad_request"),
        ("/api/presence/", 400, "bad_request"),
    ] {
        let response = node.get(path).await;
        assert_eq!(response.status, status, "{path}");
        assert_eq!(response.json()["error"]["code"], code, "{path}");
    }
}

async fn channels_of(node: &Node) -> Value {
    let response = node.get("/api/channels").await;
    assert_eq!(response.status, 200);
    response.json()["channels"].take()
}

#[tokio::test]
async fn the_api_requires_the_configured_key_and_probes_do_not() {
    let key = "0123456789abcdef-secret";
    let node = Node::standalone(&[&format!("internal.api_key={key}")]).await;
    let mut client = Client::plain(&node, "news").await;
    let right = format!("Bearer {key}");
    for wrong in [None, Some("Bearer 0123456789abcdef-secreT"), Some("Bearer "), Some(key)] {
        let headers: Vec<_> = wrong.map(|value| ("Authorization", value)).into_iter().collect();
        let response = node.post("/api/publish/news", &headers, b"forged").await;
        assert_eq!(response.status, 401, "{wrong:?}");
        assert_eq!(response.json()["error"]["code"], "unauthorized");
    }
    assert_eq!(node.get("/api/channels").await.status, 401);
    let headers = [("Authorization", right.as_str())];
    let response = http::request(node.internal, "GET", "/api/channels", &headers, b"").await;
    assert_eq!(response.status, 200);
    assert_eq!(node.post("/api/publish/news", &headers, b"signed").await.status, 202);
    assert_eq!(client.receive_text().await, "signed");
    for open in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(node.get(open).await.status, 200, "{open} must not require the key");
    }
}
