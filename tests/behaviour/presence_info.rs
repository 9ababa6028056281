//! The claim `info` of a token: what the other members of a channel see of its user.

use serde_json::{Value, json};
use testkit::client::Client;
use testkit::eventually;
use testkit::fleet::{Broker, for_every_broker};
use testkit::node::{Node, run_to_end, tidegate};
use testkit::token::{self, KEYS};

for_every_broker!(
    members_and_joins_show_the_info_of_the_users_token_on_every_node,
    the_info_of_the_newest_token_of_a_user_is_shown,
    a_renewed_token_with_another_info_changes_what_members_see_without_a_join,
);

const RULES: &str = r#"rules=[{pattern="p:*",presence=true,subscribe="user",publish="user"}]"#;

/// A token of the user with this `info`, issued at this time.
fn token_of(user: &str, info: Value, issued_at: u64) -> String {
    let claims = json!({"sub": user, "info": info, "iat": issued_at});
    token::token(3600.0, claims)
}

async fn client(node: &Node, token: &str) -> Client {
    let mut client = Client::open(node, &format!("/ws?token={token}")).await;
    assert_eq!(client.event().await["type"], "welcome");
    client
}

async fn subscribe(client: &mut Client) {
    let command = json!({"type": "subscribe", "id": 1, "channel": "p:1"});
    assert_eq!(client.request(command).await["type"], "subscribed");
}

/// The members by a command.
async fn members(client: &mut Client) -> Value {
    client.request(json!({"type": "presence", "id": 5, "channel": "p:1"})).await["members"].take()
}

/// Waits until the API of the node lists these members.
async fn wait_for_members(node: &Node, expected: Value) {
    eventually(&format!("the members {expected}"), async || {
        let list = node.get("/api/presence/p:1").await.json();
        (list["members"] == expected).then_some(())
    })
    .await;
}

async fn members_and_joins_show_the_info_of_the_users_token_on_every_node(broker: Broker) {
    let fleet = broker.fleet(&[KEYS, RULES]).await;
    let [a, b] = fleet.nodes();
    let info = json!({"name": "Ada \"L\" 🌊", "level": 1.5, "tags": ["a", null]});
    let mut ada = client(a, &token_of("ada", info.clone(), 1000)).await;
    subscribe(&mut ada).await;
    let join = json!({"type": "join", "channel": "p:1", "user": "ada", "info": info});
    assert_eq!(ada.event().await, join);
    let mut bo = client(b, &token::token(60.0, json!({"sub": "bo"}))).await;
    subscribe(&mut bo).await;
    let join = json!({"type": "join", "channel": "p:1", "user": "bo"});
    assert_eq!(ada.event().await, join);
    let list = json!([
        {"user": "ada", "sessions": 1, "info": info}, {"user": "bo", "sessions": 1},
    ]);
    for node in [a, b] {
        wait_for_members(node, list.clone()).await;
    }
    assert_eq!(members(&mut bo).await, list);
    assert_eq!(bo.event().await, json!({"type": "join", "channel": "p:1", "user": "bo"}));
}

async fn the_info_of_the_newest_token_of_a_user_is_shown(broker: Broker) {
    let fleet = broker.fleet(&[KEYS, RULES]).await;
    let [a, b] = fleet.nodes();
    let shown = |name: &str, sessions: u32| json!([{"user": "u", "sessions": sessions, "info": {"n": name}}]);
    let mut sessions = Vec::new();
    for (node, name, issued_at, expected) in
        [(a, "2", 2000, "2"), (b, "1", 1000, "2"), (a, "0", 500, "2"), (b, "3", 3000, "3")]
    {
        let mut one = client(node, &token_of("u", json!({"n": name}), issued_at)).await;
        subscribe(&mut one).await;
        sessions.push(one);
        for node in [a, b] {
            wait_for_members(node, shown(expected, sessions.len() as u32)).await;
        }
    }
    // A session whose token has no info takes nothing away.
    let mut bare = client(a, &token::token(60.0, json!({"sub": "u"}))).await;
    subscribe(&mut bare).await;
    wait_for_members(b, shown("3", 5)).await;
}

async fn a_renewed_token_with_another_info_changes_what_members_see_without_a_join(broker: Broker) {
    let fleet = broker.fleet(&[KEYS, RULES]).await;
    let [a, b] = fleet.nodes();
    let mut ada = client(a, &token_of("ada", json!({"n": 1}), 1000)).await;
    subscribe(&mut ada).await;
    assert_eq!(ada.event().await["type"], "join");
    let renewed = token_of("ada", json!({"n": 2}), 2000);
    let auth = json!({"type": "auth", "id": 7, "token": renewed});
    assert_eq!(ada.request(auth).await["type"], "authenticated");
    wait_for_members(b, json!([{"user": "ada", "sessions": 1, "info": {"n": 2}}])).await;
    ada.send_command(json!({"type": "ping", "id": 9})).await;
    assert_eq!(ada.event().await["type"], "pong", "the user joined or left");
}

#[tokio::test]
async fn a_token_whose_info_is_no_small_object_is_refused_with_the_reason() {
    let node = Node::standalone(&[KEYS, RULES]).await;
    let largest = json!({"a": "x".repeat(1024 - 8)});
    subscribe(&mut client(&node, &token_of("u", largest, 1)).await).await;
    for info in [json!({"a": "x".repeat(1024 - 7)}), json!("Ada"), json!([]), json!(1)] {
        let token = token_of("u", info, 1);
        let mut refused = Client::open(&node, &format!("/ws?token={token}")).await;
        let frame = refused.receive_close().await;
        assert_eq!(u16::from(frame.code), 4001);
        assert_eq!(frame.reason, "the claim info is not a JSON object of at most 1024 bytes");
    }
    // Sessions without a user are one member, which has no info.
    let mut anonymous = client(&node, &token::token(60.0, json!({"info": {"n": 1}}))).await;
    let open = json!({"type": "subscribe", "id": 1, "channel": "p:2"});
    assert_eq!(anonymous.request(open).await["type"], "subscribed");
    let join = json!({"type": "join", "channel": "p:2", "user": null});
    assert_eq!(anonymous.event().await, join);
}

#[tokio::test]
async fn the_token_command_signs_info_and_explain_shows_it() {
    let token = |info: &'static str| {
        let arguments = ["token", "--user", "ada", "--info", info, "--set", KEYS];
        run_to_end(tidegate(&arguments))
    };
    let signed = token(r#"{"name":"Ada"}"#).await;
    assert!(signed.status.success(), "{signed:?}");
    let signed = String::from_utf8(signed.stdout).expect("text");
    let explain =
        ["explain", "--channel", "p:1", "--token", signed.trim(), "--set", KEYS, "--set", RULES];
    let explained = run_to_end(tidegate(&explain)).await;
    let explained = String::from_utf8(explained.stdout).expect("text");
    assert!(explained.contains("info       {\"name\":\"Ada\"}\n"), "{explained}");
    for (info, part) in
        [("{", "--info is not JSON"), ("[1]", "the claim info is not a JSON object")]
    {
        let refused = token(info).await;
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        let errors = String::from_utf8(refused.stderr).expect("text");
        assert!(errors.contains(part), "{errors}");
    }
}
