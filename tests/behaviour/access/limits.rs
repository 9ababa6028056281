//! Limits of one connection and of one user.

use serde_json::json;
use testkit::client::Client;
use testkit::node::Node;
use testkit::raw::{RawClient, frame, upgrade};
use testkit::token;

use super::node_requiring_tokens;

/// Skips other frames until the close frame, which must carry this code.
async fn expect_close_code(client: &mut RawClient, code: u16) {
    loop {
        let frame = client.frame().await;
        if frame.first == 0x88 {
            return assert_eq!(frame.close_code(), code);
        }
    }
}

fn rejected(reason: &str) -> String {
    format!("tidegate_rejected_total{{reason=\"{reason}\"}}")
}

#[tokio::test]
async fn publications_above_the_rate_limit_are_refused_and_then_the_session_is_closed_with_4029() {
    let node = Node::standalone(&["limits.publications_per_second=5"]).await;
    let mut client = Client::json(&node).await;
    let (mut published, mut refused) = (0, 0);
    // Until the node closes the connection.
    for id in 0.. {
        let command = json!({"type": "publish", "id": id, "channel": "a", "data": id}).to_string();
        if client.try_send(command).await.is_err() {
            break;
        }
        match client.try_event().await {
            Some(answer) if answer["type"] == "published" => published += 1,
            Some(answer) => {
                assert_eq!(
                    (&answer["code"], &answer["temporary"]),
                    (&json!("rate_limited"), &json!(true))
                );
                assert_eq!((&answer["id"], &answer["channel"]), (&json!(id), &json!("a")));
                refused += 1;
            }
            None => break,
        }
    }
    assert!(
        (5..20).contains(&published) && refused > 0,
        "{published} published, {refused} refused"
    );
    node.wait_for_metric("tidegate_connections_closed_total{reason=\"rate_limited\"}", 1.0).await;
    assert!(node.metric(&rejected("publication_rate")).await > f64::from(refused));
}

/// Publishes to `count` new channels in batches, until all are answered or the connection is closed. Returns how many
/// publications were accepted and how many refused.
async fn publish_to_new_channels(client: &mut Client, count: usize) -> (usize, usize) {
    const AT_ONCE: usize = 50;
    let (mut published, mut refused) = (0, 0);
    for first in (0..count).step_by(AT_ONCE) {
        for id in first..first + AT_ONCE {
            let command =
                json!({"type": "publish", "id": id, "channel": format!("h:{id}"), "data": 1});
            if client.try_send(command.to_string()).await.is_err() {
                return (published, refused);
            }
        }
        for _ in 0..AT_ONCE {
            match client.try_event().await {
                Some(answer) if answer["type"] == "published" => published += 1,
                Some(answer) => {
                    assert_eq!(answer["code"], "rate_limited", "{answer}");
                    let message = answer["message"].as_str().expect("text");
                    assert!(message.contains("limits.new_channels_per_second"), "{message}");
                    refused += 1;
                }
                None => return (published, refused),
            }
        }
    }
    (published, refused)
}

/// Redis would store each new channel's history for its whole `age`.
#[tokio::test]
async fn new_channels_with_history_are_rate_limited_unless_the_limit_is_zero() {
    const FLOOD: usize = 3000;
    const UNBOUNDED: &str = "limits.publications_per_second=0";
    let rules = r#"rules=[{ pattern = "h:*", history = { size = 10, age = "1m" } }]"#;
    let one_a_second = "limits.new_channels_per_second=1";
    let node = Node::standalone(&[rules, UNBOUNDED, one_a_second]).await;
    let mut client = Client::json(&node).await;
    let (published, refused) = publish_to_new_channels(&mut client, FLOOD).await;
    assert!((1000..1200).contains(&published) && refused > 0, "{published}, {refused} refused");
    assert!(node.metric(&rejected("new_channel_rate")).await >= refused as f64);
    let off = Node::standalone(&[rules, UNBOUNDED, "limits.new_channels_per_second=0"]).await;
    let mut client = Client::json(&off).await;
    assert_eq!(publish_to_new_channels(&mut client, FLOOD).await, (FLOOD, 0));
}

#[tokio::test]
async fn plain_frames_and_pings_above_the_rate_limits_close_the_connection_with_4029() {
    let settings = ["limits.publications_per_second=5", "limits.commands_per_second=5"];
    let node = Node::standalone(&settings).await;
    let mut plain = RawClient::open(&node, "/ws/a").await;
    plain.send(frame(0x81, b"x").repeat(50)).await;
    expect_close_code(&mut plain, 4029).await;
    let mut pings = RawClient::open(&node, "/ws/a").await;
    pings.send(frame(0x89, b"x").repeat(50)).await;
    expect_close_code(&mut pings, 4029).await;
}

#[tokio::test]
async fn bytes_above_the_rate_limit_are_refused_but_only_counted_in_a_dry_run() {
    let node = Node::standalone(&["limits.bytes_per_second=1KiB"]).await;
    let mut client = Client::json(&node).await;
    let large = json!({"type": "publish", "id": 1, "channel": "a", "data": "x".repeat(800)});
    assert_eq!(client.request(large.clone()).await["type"], "published");
    assert_eq!(client.request(large.clone()).await["code"], "rate_limited");
    let dry = Node::standalone(&["limits.bytes_per_second=1KiB", "limits.dry_run=true"]).await;
    let mut client = Client::json(&dry).await;
    for _ in 0..20 {
        assert_eq!(client.request(large.clone()).await["type"], "published");
    }
    assert!(dry.metric(&rejected("byte_rate")).await > 0.0);
}

#[tokio::test]
async fn a_users_connections_above_connections_per_user_are_refused_until_one_closes() {
    let node = node_requiring_tokens(&["limits.connections_per_user=2"]).await;
    let path = |user| format!("/ws?token={}", token::for_user(user, &["chat:1"]));
    let first = Client::open(&node, &path("u1")).await;
    let _second = Client::open(&node, &path("u1")).await;
    let mut third = RawClient::connect(&node).await;
    third.send(upgrade(&path("u1"), "")).await;
    let response = third.response().await;
    assert_eq!(response.status, 429);
    assert!(response.header("retry-after").is_some());
    assert!(response.text().contains("limit_reached"), "{}", response.text());
    let _other = Client::open(&node, &path("u2")).await;
    // The limit also holds for the `auth` command, which then leaves the connection as it was.
    let mut anonymous = Client::json(&node).await;
    let command = json!({"type": "auth", "id": 1, "token": token::for_user("u1", &["chat:1"])});
    assert_eq!(anonymous.request(command.clone()).await["code"], "limit_reached");
    assert_eq!(node.metric(&rejected("connections_per_user")).await, 2.0);
    first.close().await;
    testkit::eventually("the user's connection slot to be free", async || {
        (anonymous.request(command.clone()).await["type"] == "authenticated").then_some(())
    })
    .await;
    // A second `auth` of the same connection does not count as another connection.
    assert_eq!(anonymous.request(command).await["type"], "authenticated");
}

#[tokio::test]
async fn bad_commands_count_against_the_rate_limit_and_errors_quote_little_of_the_input() {
    let settings = ["limits.commands_per_second=5", "limits.bytes_per_second=100KiB"];
    let node = Node::standalone(&settings).await;
    let mut client = Client::json(&node).await;
    let long = json!({"type": "ping", "id": "\u{7f}".repeat(30_000)}).to_string();
    client.send(long).await;
    let answer = client.event().await;
    assert_eq!(answer["code"], "bad_request");
    assert!(answer.to_string().len() < 2000, "{} bytes", answer.to_string().len());
    let mut flood = RawClient::open(&node, "/ws").await;
    flood.message().await;
    flood.send(testkit::raw::text("{}").repeat(80)).await;
    expect_close_code(&mut flood, 4029).await;
}
