//! JSON that is hard to parse.

use serde_json::{Value, json};
use testkit::client::{Client, Message};
use testkit::raw::{FIN, RawClient, TEXT, frame, text};

use super::attack_size;
use super::victim::Victim;

const DEPTH: usize = 20_000;

/// Commands to which the node replies with an error; the connection stays open.
fn invalid_commands() -> Vec<String> {
    let digits = "9".repeat(50_000);
    vec![
        format!(r#"{{"type":"ping","id":{digits}}}"#),
        r#"{"type":"ping","id":1e400}"#.into(),
        r#"{"type":"ping","id":1.5}"#.into(),
        r#"{"type":"ping","type":"ping"}"#.into(),
        r#"{"type":"publish","channel":"a","data":1,"data":2}"#.into(),
        r#"{"type":"subscribe","channels":{"a":null,"a":null}}"#.into(),
        format!(r#"{{"type":"subscribe","channel":"{}"}}"#, "x".repeat(50_000)),
        format!(r#"{{"type":"{}"}}"#, "x".repeat(50_000)),
        r#"{"type":"publish","channel":"a\u0000b","data":1}"#.into(),
        r#"{"type":"publish","channel":"a\r\nb","data":1}"#.into(),
        r#"{"type":"publish","channel":"\ud800","data":1}"#.into(),
        r#"{"type":"history","channel":"a","limit":-1}"#.into(),
        r#"{"type":"history","channel":"a","limit":99999999999999999999}"#.into(),
        r#"{"type":"history","channel":"a","since":"-1--1"}"#.into(),
        r#"{"type":"publish","channel":"a","base64":"===="}"#.into(),
        format!(r#"{{"type":"ping","id":{}{}}}"#, "[".repeat(DEPTH), "]".repeat(DEPTH)),
    ]
}

/// Messages for which the node closes the connection, with the close codes.
fn violations() -> Vec<(Vec<u8>, u16)> {
    let frame = |bytes: &[u8]| frame(FIN | TEXT, bytes);
    vec![
        (frame("[".repeat(DEPTH).as_bytes()), 1003),
        (frame(r#"{"a":"#.repeat(DEPTH / 2).as_bytes()), 1003),
        (frame(b"{\"type\":\"ping\"}\0"), 1003),
        (frame("\u{feff}{\"type\":\"ping\"}".as_bytes()), 1003),
        (frame(b"{\"type\":\"\xff\"}"), 1007),
        (frame(b"{\"type\":\"\xed\xa0\x80\"}"), 1007),
        (frame(b"{\"type\":\"\xc0\xaf\"}"), 1007),
        (frame(b"{\"type\":\"\xf5\x80\x80\x80\"}"), 1007),
    ]
}

#[tokio::test]
async fn an_invalid_command_gets_an_error_and_a_violation_closes_only_its_own_connection() {
    let mut victim = Victim::on_redis(&[]).await;
    for _ in 0..attack_size(3) {
        let mut client = Client::json(&victim.node).await;
        for command in invalid_commands() {
            client.send(command.as_str()).await;
            let reply = client.event().await;
            let shown: String = command.chars().take(60).collect();
            assert_eq!(reply["code"], "bad_request", "{shown} got {reply}");
        }
        client.close().await;
        for (bytes, code) in violations() {
            let mut raw = RawClient::open(&victim.node, "/ws").await;
            raw.message().await;
            raw.send(bytes).await;
            raw.expect_close(code).await;
        }
        victim.assert_served().await;
    }
    victim.assert_recovered().await;
}

/// The node delivers valid JSON unchanged, and refuses JSON that some parsers would refuse, at any size.
#[tokio::test]
async fn deep_and_huge_payloads_are_delivered_unchanged_or_refused() {
    let mut victim = Victim::on_redis(&["session.json_depth_max=100000"]).await;
    let mut publisher = Client::json(&victim.node).await;
    let mut subscriber = Client::subscribed(&victim.node, "deep").await;
    for (data, code) in [
        ("[".repeat(DEPTH) + &"]".repeat(DEPTH), "bad_request"),
        (r#"{"a":"#.repeat(DEPTH / 3) + "1" + &"}".repeat(DEPTH / 3), "bad_request"),
        ("9".repeat(50_000), "bad_request"),
        ("1e999999999".into(), "bad_request"),
        (r#""\ud800""#.into(), "bad_request"),
        ("[".repeat(124) + &"]".repeat(124), ""),
        (format!("0.{}", "9".repeat(50_000)), ""),
        (r#""\ud83d\ude00""#.into(), ""),
    ] {
        publisher
            .send(format!(r#"{{"type":"publish","id":1,"channel":"deep","data":{data}}}"#))
            .await;
        let reply = publisher.answer(1).await;
        if code.is_empty() {
            assert_eq!(reply, json!({"type": "published", "id": 1}));
            let Message::Text(received) = subscriber.receive().await else { panic!("no text") };
            assert!(received.as_str().contains(&data), "the payload is delivered unchanged");
        } else {
            assert_eq!(reply["code"], code, "{reply}");
        }
        victim.assert_served().await;
    }
    publisher.close().await;
    subscriber.close().await;
    victim.assert_recovered().await;
}

/// Protects subscribers whose recursive parsers would overflow their stack.
#[tokio::test]
async fn a_payload_that_is_nested_too_deep_is_not_delivered() {
    let victim = Victim::on_redis(&[]).await;
    let mut publisher = Client::json(&victim.node).await;
    let mut subscriber = Client::subscribed(&victim.node, "deep").await;
    for (depth, outcome) in [(124, "published"), (125, "error"), (DEPTH, "error")] {
        let data = "[".repeat(depth) + &"]".repeat(depth);
        publisher
            .send(format!(r#"{{"type":"publish","id":1,"channel":"deep","data":{data}}}"#))
            .await;
        let reply = publisher.answer(1).await;
        assert_eq!(reply["type"], outcome, "{depth}: {reply}");
    }
    publisher.publish("deep", json!("last")).await;
    assert!(subscriber.receive_text().await.contains("[[["), "the payload with the allowed depth");
    assert!(
        subscriber.receive_text().await.contains("last"),
        "the subscriber receives only the last payload after it"
    );
    publisher.close().await;
    subscriber.close().await;
    victim.assert_recovered().await;
}

#[tokio::test]
async fn a_list_of_thousands_of_channels_gets_one_reply_for_each_channel() {
    let mut victim = Victim::on_redis(&["session.channels_max=100"]).await;
    for _ in 0..attack_size(3) {
        let channels: Value = (0..2000).map(|it| (format!("list:{it}"), Value::Null)).collect();
        let command = json!({"type": "subscribe", "id": 1, "channels": channels}).to_string();
        let mut raw = RawClient::open(&victim.node, "/ws").await;
        raw.send(text(&command)).await;
        let (mut subscribed, mut refused) = (0, 0);
        raw.message().await;
        while subscribed + refused < 2000 {
            let reply: Value = serde_json::from_slice(&raw.message().await.payload).expect("JSON");
            subscribed += usize::from(reply["type"] == "subscribed");
            refused += usize::from(reply["code"] == "limit_reached");
        }
        assert_eq!((subscribed, refused), (100, 1900));
        victim.assert_served().await;
    }
    victim.assert_recovered().await;
}
