//! CONNECT and STOMP: versions, tokens, and anonymous clients.

use serde_json::json;
use testkit::node::Node;
use testkit::token::{self, KEYS};

use super::{Frame, Stomp};

const TOKENS: &str = "auth.mode=token";
const RULES: &str = r#"rules=[{pattern="open",subscribe="anyone",publish="anyone"},{pattern="**",subscribe="token",publish="token"}]"#;

async fn guarded() -> Node {
    Node::standalone(&[TOKENS, KEYS, RULES]).await
}

#[tokio::test]
async fn the_highest_common_version_is_agreed_and_none_is_an_error_that_lists_them() {
    let node = Node::standalone(&[]).await;
    for (accepted, version) in [("1.0,1.1,1.2", "1.2"), ("1.0,1.1", "1.1"), ("1.0", "1.0")] {
        let stomp = Stomp::connect_with(&node, &format!("accept-version:{accepted}\n")).await;
        assert_eq!(stomp.connected.header("version"), Some(version));
        assert!(stomp.connected.header("session").is_some_and(|it| !it.is_empty()));
        assert!(stomp.connected.header("server").is_some_and(|it| it.starts_with("tidegate/")));
    }
    let stomp = Stomp::connect_with(&node, "login: a\npasscode: b\n").await;
    assert_eq!(stomp.connected.header("version"), Some("1.0"), "a client that names none");
    let mut client = Stomp::upgraded(&node).await;
    client.send("CONNECT\naccept-version:3.0\n\n\0").await;
    let error = Frame::of(client.receive().await);
    error.assert_error("1.0,1.1,1.2");
    assert_eq!(error.header("version"), Some("1.0,1.1,1.2"));
    assert_eq!(u16::from(client.receive_close().await.code), 1002);
}

#[tokio::test]
async fn the_subprotocol_is_answered_and_stomp_is_a_name_of_connect() {
    let node = Node::standalone(&[]).await;
    for name in ["v10.stomp", "v11.stomp", "v12.stomp"] {
        let mut client = testkit::client::Client::with_subprotocol(&node, "/ws", name).await;
        let answered = client.response.headers()["sec-websocket-protocol"].clone();
        assert_eq!(answered, name);
        client.send("STOMP\naccept-version:1.2\nhost:x\n\n\0").await;
        assert_eq!(Frame::of(client.receive().await).command, "CONNECTED");
    }
}

#[tokio::test]
async fn a_passcode_is_the_token_and_the_login_is_ignored() {
    let node = guarded().await;
    let passcode = token::for_user("ada", &["orders"]);
    let headers = format!("accept-version:1.2\nlogin:someone\npasscode:{passcode}\n");
    let mut stomp = Stomp::connect_with(&node, &headers).await;
    assert_eq!(stomp.connected.header("user-name"), Some("ada"));
    stomp.request("SUBSCRIBE", "id:1\ndestination:/topic/orders\n", "").await;
    stomp.request("SEND", "destination:/topic/orders\n", "1").await;
    let message = stomp.frame().await;
    assert_eq!((message.text(), message.header("user")), ("1", Some("ada")));
}

#[tokio::test]
async fn a_wrong_passcode_and_a_forbidden_channel_are_errors_with_their_close_codes() {
    let node = guarded().await;
    let mut client = Stomp::upgraded(&node).await;
    client.send("CONNECT\naccept-version:1.2\npasscode:a.b.c\n\n\0").await;
    let error = Frame::of(client.receive().await);
    assert_eq!((&*error.command, error.header("code")), ("ERROR", Some("unauthorized")));
    assert_eq!(u16::from(client.receive_close().await.code), 4001);
    let passcode = token::for_user("ada", &["orders"]);
    let headers = format!("accept-version:1.2\npasscode:{passcode}\n");
    for (frame, headers_of) in [("SUBSCRIBE", "id:1\n"), ("SEND", "")] {
        let mut stomp = Stomp::connect_with(&node, &headers).await;
        let more = format!("{headers_of}destination:other\nreceipt:r\n");
        let (error, code) = stomp.refused(frame, &more, "").await;
        assert_eq!((error.header("code"), code), (Some("forbidden"), 4003));
        assert_eq!(error.header("receipt-id"), Some("r"));
    }
}

#[tokio::test]
async fn an_anonymous_client_may_do_what_a_rule_gives_to_anyone() {
    let node = guarded().await;
    let mut stomp = Stomp::subscribed(&node, "/topic/open").await;
    stomp.request("SEND", "destination:/topic/open\n", "hi").await;
    assert_eq!(stomp.frame().await.text(), "hi");
    let (error, code) = stomp.refused("SEND", "destination:orders\n", "").await;
    assert_eq!((error.header("code"), code), (Some("unauthorized"), 4001));
}

#[tokio::test]
async fn the_token_of_the_upgrade_counts_without_a_passcode() {
    let node = guarded().await;
    let bearer = format!("bearer.{}", token::for_user("ada", &["orders"]));
    let protocols = format!("v12.stomp, {bearer}");
    let mut client = testkit::client::Client::with_subprotocol(&node, "/ws", &protocols).await;
    client.send("CONNECT\naccept-version:1.2\n\n\0").await;
    let connected = Frame::of(client.receive().await);
    let mut stomp = Stomp { client, connected, number: 0, unread: Default::default() };
    stomp.request("SUBSCRIBE", "id:1\ndestination:orders\n", "").await;
}

#[tokio::test]
async fn the_channels_that_a_token_lists_are_not_subscribed_without_a_subscribe() {
    let node = guarded().await;
    let claims = json!({"sub": "ada", "subscribe": ["orders"], "publish": ["orders"], "channels": ["orders"]});
    let passcode = token::token(3600.0, claims);
    let headers = format!("accept-version:1.2\npasscode:{passcode}\n");
    let mut stomp = Stomp::connect_with(&node, &headers).await;
    stomp.request("SEND", "destination:orders\n", "1").await;
    stomp.quiet().await;
}

#[tokio::test]
async fn a_token_that_expires_ends_the_connection_with_an_error() {
    let node = Node::standalone(&[TOKENS, KEYS, RULES, "auth.leeway=0s"]).await;
    let passcode = token::token(2.0, json!({"sub": "ada"}));
    let headers = format!("accept-version:1.2\npasscode:{passcode}\n");
    let mut stomp = Stomp::connect_with(&node, &headers).await;
    let error = stomp.frame().await;
    error.assert_error("expired");
    assert_eq!(u16::from(stomp.closed().await.code), 4001);
}
