//! What one connection, or one user, may do at most.

use serde_json::json;
use testkit::client::Client;
use testkit::node::Node;
use testkit::raw::{Raw, frame, upgrade};
use testkit::token;

use super::guarded;

/// Whatever comes before, it is closed with this code.
async fn ends_with(client: &mut Raw, code: u16) {
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
async fn too_many_publications_are_refused_with_a_warning_and_then_closed_with_4029() {
    let node = Node::alone(&["limits.publications_per_second=5"]).await;
    let mut client = Client::json(&node).await;
    let (mut published, mut refused) = (0, 0);
    // Until it is closed.
    for id in 0.. {
        let command = json!({"type": "publish", "id": id, "channel": "a", "data": id}).to_string();
        if client.try_say(command).await.is_err() {
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
    node.metric_becomes("tidegate_connections_closed_total{reason=\"rate_limited\"}", 1.0).await;
    assert!(node.metric(&rejected("publication_rate")).await > f64::from(refused));
}

/// Publishes to one channel after the other, some at a time, until `count` are answered or the connection is
/// closed. Returns how many were published and how many refused.
async fn publish_to_new_channels(client: &mut Client, count: usize) -> (usize, usize) {
    const AT_ONCE: usize = 50;
    let (mut published, mut refused) = (0, 0);
    for first in (0..count).step_by(AT_ONCE) {
        for id in first..first + AT_ONCE {
            let command =
                json!({"type": "publish", "id": id, "channel": format!("h:{id}"), "data": 1});
            if client.try_say(command.to_string()).await.is_err() {
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

/// Each of them would stand in Redis for as long as its history is kept.
#[tokio::test]
async fn new_channels_are_bounded_unless_that_is_switched_off() {
    const FLOOD: usize = 3000;
    const UNBOUNDED: &str = "limits.publications_per_second=0";
    let rules = r#"rules=[{ pattern = "h:*", history = { size = 10, age = "1m" } }]"#;
    let slowly = "limits.new_channels_per_second=1";
    let node = Node::alone(&[rules, UNBOUNDED, slowly]).await;
    let mut client = Client::json(&node).await;
    let (published, refused) = publish_to_new_channels(&mut client, FLOOD).await;
    assert!((1000..1200).contains(&published) && refused > 0, "{published}, {refused} refused");
    assert!(node.metric(&rejected("new_channel_rate")).await >= refused as f64);
    let off = Node::alone(&[rules, UNBOUNDED, "limits.new_channels_per_second=0"]).await;
    let mut client = Client::json(&off).await;
    assert_eq!(publish_to_new_channels(&mut client, FLOOD).await, (FLOOD, 0));
}

#[tokio::test]
async fn a_plain_client_and_one_that_only_pings_are_closed_with_4029() {
    let settings = ["limits.publications_per_second=5", "limits.commands_per_second=5"];
    let node = Node::alone(&settings).await;
    let mut plain = Raw::open(&node, "/ws/a").await;
    plain.send(frame(0x81, b"x").repeat(50)).await;
    ends_with(&mut plain, 4029).await;
    let mut pings = Raw::open(&node, "/ws/a").await;
    pings.send(frame(0x89, b"x").repeat(50)).await;
    ends_with(&mut pings, 4029).await;
}

#[tokio::test]
async fn bytes_are_counted_and_a_dry_run_lets_them_pass() {
    let node = Node::alone(&["limits.bytes_per_second=1KiB"]).await;
    let mut client = Client::json(&node).await;
    let large = json!({"type": "publish", "id": 1, "channel": "a", "data": "x".repeat(800)});
    assert_eq!(client.ask(large.clone()).await["type"], "published");
    assert_eq!(client.ask(large.clone()).await["code"], "rate_limited");
    let dry = Node::alone(&["limits.bytes_per_second=1KiB", "limits.dry_run=true"]).await;
    let mut client = Client::json(&dry).await;
    for _ in 0..20 {
        assert_eq!(client.ask(large.clone()).await["type"], "published");
    }
    assert!(dry.metric(&rejected("byte_rate")).await > 0.0);
}

#[tokio::test]
async fn a_user_has_so_many_connections_to_a_node() {
    let node = guarded(&["limits.connections_per_user=2"]).await;
    let path = |user| format!("/ws?token={}", token::of(user, &["chat:1"]));
    let first = Client::open(&node, &path("u1")).await;
    let _second = Client::open(&node, &path("u1")).await;
    let mut third = Raw::connect(&node).await;
    third.send(upgrade(&path("u1"), "")).await;
    let response = third.response().await;
    assert_eq!(response.status, 429);
    assert!(response.header("retry-after").is_some());
    assert!(response.text().contains("limit_reached"), "{}", response.text());
    let _other = Client::open(&node, &path("u2")).await;
    // In band too, where a connection is left as it was.
    let mut stranger = Client::json(&node).await;
    let command = json!({"type": "auth", "id": 1, "token": token::of("u1", &["chat:1"])});
    assert_eq!(stranger.ask(command.clone()).await["code"], "limit_reached");
    assert_eq!(node.metric(&rejected("connections_per_user")).await, 2.0);
    first.close().await;
    testkit::eventually("a place", async || {
        (stranger.ask(command.clone()).await["type"] == "authenticated").then_some(())
    })
    .await;
    // Again for itself is no second one.
    assert_eq!(stranger.ask(command).await["type"], "authenticated");
}

#[tokio::test]
async fn bad_commands_count_as_others_do_and_quote_little_of_what_was_sent() {
    let settings = ["limits.commands_per_second=5", "limits.bytes_per_second=100KiB"];
    let node = Node::alone(&settings).await;
    let mut client = Client::json(&node).await;
    let long = json!({"type": "ping", "id": "\u{7f}".repeat(30_000)}).to_string();
    client.say(long).await;
    let answer = client.event().await;
    assert_eq!(answer["code"], "bad_request");
    assert!(answer.to_string().len() < 2000, "{} bytes", answer.to_string().len());
    let mut flood = Raw::open(&node, "/ws").await;
    flood.message().await;
    flood.send(testkit::raw::text("{}").repeat(80)).await;
    ends_with(&mut flood, 4029).await;
}
