//! Token expiry.

use serde_json::json;
use testkit::client::Client;
use testkit::clock::Clock;
use testkit::node::Node;
use testkit::token::{self, now};

use super::node_requiring_tokens;

const OPEN_TO_TOKENS: &str = r#"rules=[{ pattern = "chat:*" }]"#;

#[tokio::test]
async fn a_connection_is_closed_within_a_second_of_its_tokens_expiry() {
    let node = node_requiring_tokens(&[]).await;
    let expires_at = now() + 1.5;
    let token = token::token(1.5, json!({"sub": "u1", "subscribe": ["chat:1"]}));
    let mut json = Client::open(&node, &format!("/ws?token={token}")).await;
    let mut plain = Client::open(&node, &format!("/ws/chat:1?token={token}")).await;
    for client in [&mut json, &mut plain] {
        let frame = client.receive_close().await;
        assert_eq!(u16::from(frame.code), 4001);
        assert!(frame.reason.contains("expired"), "{}", frame.reason);
        assert!(
            (0.0..1.0).contains(&(now() - expires_at)),
            "{} s after its expiry",
            now() - expires_at
        );
    }
    node.wait_for_metric("tidegate_connections_closed_total{reason=\"expired\"}", 2.0).await;
    let late = token::token(-60.0, json!({"sub": "u1", "subscribe": ["chat:1"]}));
    let mut client = Client::open(&node, &format!("/ws?token={late}")).await;
    let frame = client.receive_close().await;
    assert_eq!(u16::from(frame.code), 4001);
    assert!(frame.reason.contains("expired"), "{}", frame.reason);
}

#[tokio::test]
async fn a_token_without_expiry_is_refused_unless_require_expiry_is_off() {
    let claims = json!({"sub": "u1", "subscribe": ["chat:1"], "exp": null});
    let strict = node_requiring_tokens(&[]).await;
    let mut client =
        Client::open(&strict, &format!("/ws?token={}", token::token(0.0, claims.clone()))).await;
    assert_eq!(u16::from(client.receive_close().await.code), 4001);
    let lenient = node_requiring_tokens(&["auth.require_expiry=false"]).await;
    let mut client = Client::json(&lenient).await;
    let command = json!({"type": "auth", "id": 1, "token": token::token(0.0, claims)});
    assert_eq!(
        client.request(command).await,
        json!({"type": "authenticated", "id": 1, "user": "u1"})
    );
}

#[tokio::test]
async fn a_frame_sent_along_with_an_expired_token_is_not_published() {
    use testkit::raw::{RawClient, text, upgrade};
    let rules = r#"rules=[{ pattern = "open", subscribe = "anyone", publish = "anyone" }]"#;
    let node = testkit::node::Node::standalone(&[token::KEYS, rules]).await;
    let mut subscriber = Client::subscribed(&node, "open").await;
    let expired = token::token(-60.0, json!({"sub": "u1"}));
    let mut client = RawClient::connect(&node).await;
    let mut bytes = upgrade(&format!("/ws/open?token={expired}"), "").into_bytes();
    bytes.extend_from_slice(&text("sent with an expired token"));
    client.send(bytes).await;
    assert_eq!(client.response().await.status, 101);
    client.expect_close(4001).await;
    subscriber.publish("open", json!("next")).await;
    assert_eq!(subscriber.event().await["data"], "next");
}

/// A node may start before its host's clock is set, and a resumed machine's clock is set forward.
#[tokio::test]
async fn after_the_clock_is_set_forward_a_session_ends_when_its_token_expires_by_it() {
    const HOUR: i64 = 3600;
    let clock = Clock::ahead_by(-HOUR);
    let node = Node::with_environment(clock.environment(), &[token::KEYS, OPEN_TO_TOKENS]).await;
    let claims = json!({"sub": "u1", "subscribe": ["chat:1"]});
    let short = token::token(60.0, claims.clone());
    let long = token::token(3.0 * 3600.0, claims);
    let open = async |path: &str| Client::open(&node, path).await;
    let mut short_lived = [
        open(&format!("/ws?token={short}")).await,
        open(&format!("/ws/chat:1?token={short}")).await,
    ];
    let mut long_lived = open(&format!("/ws?token={long}")).await;
    long_lived.subscribe("chat:1").await;
    // By this node's clock the short token is valid for an hour and a minute; by the corrected clock it expired a minute
    // ago.
    clock.set_ahead_by(120);
    for client in &mut short_lived {
        let frame = client.receive_close().await;
        assert_eq!(u16::from(frame.code), 4001);
        assert!(frame.reason.contains("expired"), "{}", frame.reason);
    }
    assert_eq!(long_lived.request(json!({"type": "ping", "id": 9})).await["type"], "pong");
    // A token that was accepted before the clock was set is verified again.
    let mut late = open(&format!("/ws?token={short}")).await;
    assert_eq!(u16::from(late.receive_close().await.code), 4001);
    assert!(node.metric("tidegate_clock_steps_total").await >= 1.0);
    clock.set_ahead_by(4 * HOUR);
    assert_eq!(u16::from(long_lived.receive_close().await.code), 4001);
}
