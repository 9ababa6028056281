//! The effect of a disconnect on sessions and tokens.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use testkit::client::Client;
use testkit::fleet::{Broker, for_broker};
use testkit::node::Node;
use testkit::redis::Redis;

const SECRET: &str = "a secret of thirty-two bytes, or more";

const KEYS: &str =
    r#"auth.keys=[{ alg = "HS256", secret = "a secret of thirty-two bytes, or more" }]"#;

const AUTH: [&str; 2] = ["auth.mode=token", KEYS];

/// The longest until sessions on all nodes are closed, with tolerance for a busy machine.
const AT_ONCE: Duration = Duration::from_secs(5);

fn seconds_ago(seconds: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970");
    now.as_secs() - seconds
}

/// A token of the user, with `iat` if `issued` is some.
fn token(user: &str, issued: Option<u64>) -> String {
    let mut claims = json!({"sub": user, "exp": seconds_ago(0) + 600, "subscribe": ["**"]});
    if let Some(issued) = issued {
        claims["iat"] = issued.into();
    }
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::new(Algorithm::HS256), &claims, &key).expect("claims are signed")
}

async fn connect(node: &Node, token: &str) -> Client {
    Client::open(node, &format!("/ws?token={token}")).await
}

async fn assert_accepted(client: &mut Client) {
    assert_eq!(client.event().await["type"], "welcome");
    assert_eq!(client.request(json!({"type": "ping", "id": 8})).await["type"], "pong");
}

async fn assert_revoked(client: &mut Client) {
    let frame = client.receive_close().await;
    assert_eq!(
        (u16::from(frame.code), frame.reason.contains("revoked")),
        (4001, true),
        "{frame:?}"
    );
}

/// Disconnects the user, and returns the answer.
async fn disconnect(node: &Node, user: &str) -> Value {
    let response = node.post(&format!("/api/disconnect?user={user}"), &[], b"").await;
    assert_eq!(response.status, 202);
    response.json()
}

for_broker!(
    memory,
    Memory,
    a_disconnect_closes_all_sessions_of_the_user_and_no_others,
    after_a_disconnect_older_tokens_are_refused_and_newer_ones_accepted
);
for_broker!(
    redis,
    Redis,
    a_disconnect_closes_all_sessions_of_the_user_and_no_others,
    after_a_disconnect_older_tokens_are_refused_and_newer_ones_accepted
);
for_broker!(
    cluster,
    Cluster,
    a_disconnect_closes_all_sessions_of_the_user_and_no_others,
    after_a_disconnect_older_tokens_are_refused_and_newer_ones_accepted
);

async fn a_disconnect_closes_all_sessions_of_the_user_and_no_others(broker: Broker) {
    let fleet = broker.fleet(&AUTH).await;
    let [a, b] = fleet.nodes();
    let (ada, bo) = (token("ada", Some(seconds_ago(9))), token("bo", Some(seconds_ago(9))));
    let undated = token("ada", None);
    let mut adas = [connect(a, &ada).await, connect(b, &ada).await, connect(b, &undated).await];
    let mut bos = [connect(a, &bo).await, connect(b, &bo).await];
    for client in adas.iter_mut().chain(&mut bos) {
        assert_accepted(client).await;
    }
    let since = Instant::now();
    let local = if a.internal == b.internal { 3 } else { 1 };
    assert_eq!(disconnect(a, "ada").await, json!({"user": "ada", "disconnected": local}));
    for client in &mut adas {
        assert_revoked(client).await;
    }
    assert!(since.elapsed() < AT_ONCE, "{:?}", since.elapsed());
    for client in &mut bos {
        assert_eq!(client.request(json!({"type": "ping", "id": 9})).await["type"], "pong");
    }
}

async fn after_a_disconnect_older_tokens_are_refused_and_newer_ones_accepted(broker: Broker) {
    let fleet = broker.fleet(&AUTH).await;
    let [a, b] = fleet.nodes();
    disconnect(a, "ada").await;
    b.wait_for_metric(super::REVOCATIONS, 1.).await;
    for node in [a, b] {
        for old in [Some(seconds_ago(9)), None] {
            assert_revoked(&mut connect(node, &token("ada", old)).await).await;
        }
        // Issued later: `iat` may be slightly ahead, because clocks differ.
        assert_accepted(&mut connect(node, &token("ada", Some(seconds_ago(0) + 2))).await).await;
        assert_accepted(&mut connect(node, &token("bo", None)).await).await;
    }
}

#[tokio::test]
async fn a_disconnect_closes_every_session_and_refuses_old_tokens_in_auth_commands() {
    let node = Node::standalone(&AUTH).await;
    let auth = |issued| json!({"type": "auth", "id": 7, "token": token("ada", Some(issued))});
    let (old, new) = (auth(seconds_ago(9)), auth(seconds_ago(0) + 2));
    let [mut old_token, mut renewed] = [Client::json(&node).await, Client::json(&node).await];
    for client in [&mut old_token, &mut renewed] {
        assert_eq!(client.request(old.clone()).await["type"], "authenticated");
    }
    assert_eq!(renewed.request(new.clone()).await["type"], "authenticated");
    // A session that exists is older than the disconnect, even if its token's `iat` is later.
    assert_eq!(disconnect(&node, "ada").await["disconnected"], 2);
    assert_revoked(&mut old_token).await;
    assert_revoked(&mut renewed).await;
    // An old token is refused and leaves the session as it is.
    let mut again = Client::json(&node).await;
    assert_eq!(again.request(new).await["type"], "authenticated");
    let refused = again.request(old).await;
    assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("unauthorized")));
    assert_eq!(again.request(json!({"type": "ping", "id": 1})).await["type"], "pong");
}

#[tokio::test]
async fn a_node_that_starts_later_refuses_old_tokens_after_it_has_read_the_revocations() {
    let redis = Redis::start().await;
    let first = Node::on(&redis, &AUTH).await;
    disconnect(&first, "ada").await;
    drop(first);
    let late = Node::on(&redis, &AUTH).await;
    late.wait_for_metric(super::REVOCATIONS, 1.).await;
    assert_revoked(&mut connect(&late, &token("ada", Some(seconds_ago(9)))).await).await;
}
