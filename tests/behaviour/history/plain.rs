//! The plain protocol resumes by `?since=`, and the handshake's response headers carry the position.

use serde_json::json;
use testkit::client::{Client, Message};
use testkit::fleet::{Broker, for_every_broker};
use testkit::http;
use testkit::node::Node;
use testkit::raw::{RawClient, upgrade};

use super::{Position, RULES, publish, publish_all, subscribe};

for_every_broker!(
    a_resumed_plain_client_receives_the_missed_frames_unchanged,
    the_handshake_of_a_plain_client_carries_position_and_recovered,
    a_plain_clients_own_frames_arrive_after_those_it_missed,
    a_plain_handshake_with_an_invalid_position_is_answered_with_400,
);

async fn a_resumed_plain_client_receives_the_missed_frames_unchanged(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let before = subscribe(&mut Client::json(a).await, "h:1").await;
    let mut publisher = Client::plain(a, "h:1?echo=false").await;
    let frames = [
        Message::text("hello"),
        Message::text(""),
        Message::binary(vec![0x00, 0xFF, 0x1E, b'\n']),
        Message::binary(&b"text in a binary frame"[..]),
        Message::text("\u{1e}{\"binary\":true}\nforged"),
        Message::text("x".repeat(60_000)),
    ];
    let mut live = Client::plain(b, "h:1").await;
    for frame in &frames {
        publisher.send(frame.clone()).await;
        assert_eq!(live.receive().await, *frame);
    }
    for (missed, node) in (0..=frames.len()).flat_map(|missed| [(missed, a), (missed, b)]) {
        let since = before.plus((frames.len() - missed) as u64);
        let mut client = Client::plain(node, &format!("h:1?since={since}&echo=false")).await;
        for frame in &frames[frames.len() - missed..] {
            assert_eq!(client.receive().await, *frame);
        }
    }
    let encoded = before.plus(5).to_string().replace('-', "%2D");
    let mut client = Client::plain(b, &format!("h:1?since={encoded}")).await;
    assert_eq!(client.receive().await, frames[5]);
    publisher.send("new").await;
    assert_eq!(client.receive_text().await, "new");
}

/// The values of the handshake's headers `tidegate-position` and `tidegate-recovered`.
async fn position_headers(node: &Node, path: &str) -> (Option<Position>, Option<String>) {
    let client = Client::plain(node, path).await;
    let header = |name: &str| {
        let value = client.response.headers().get(name)?;
        Some(value.to_str().expect("text").to_owned())
    };
    let position = header("tidegate-position").map(|text| Position::parse(&text));
    (position, header("tidegate-recovered"))
}

async fn the_handshake_of_a_plain_client_carries_position_and_recovered(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut publisher = Client::json(a).await;
    let first = publish(&mut publisher, "h:1", 1).await;
    let last = publish_all(&mut publisher, "h:1", 2..=3).await;
    for node in [a, b] {
        let (recovered, lost) = (Some("true".to_owned()), Some("false".to_owned()));
        assert_eq!(position_headers(node, "h:1").await, (Some(last), None));
        assert_eq!(
            position_headers(node, &format!("h:1?since={first}")).await,
            (Some(last), recovered)
        );
        assert_eq!(position_headers(node, "h:1?since=1-1").await, (Some(last), lost.clone()));
        assert_eq!(position_headers(node, "news").await, (None, None));
        assert_eq!(position_headers(node, "news?since=1-1").await, (None, lost));
    }
}

async fn a_plain_clients_own_frames_arrive_after_those_it_missed(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut publisher = Client::json(a).await;
    let before = subscribe(&mut Client::json(a).await, "h:1").await;
    publish_all(&mut publisher, "h:1", 1..=40).await;
    let mut client = Client::plain(b, &format!("h:1?since={before}")).await;
    client.send("own").await;
    for number in 1..=40 {
        assert_eq!(client.receive_text().await, number.to_string());
    }
    assert_eq!(client.receive_text().await, "own");
}

async fn a_plain_handshake_with_an_invalid_position_is_answered_with_400(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, _] = fleet.nodes();
    for since in ["", "1", "1-", "-1", "a-b", "1-2-3", "99999999999999999999-1"] {
        let mut raw = RawClient::connect(a).await;
        raw.send(upgrade(&format!("/ws/h:1?since={since}"), "")).await;
        let response = raw.response().await;
        assert_eq!(response.status, 400, "since={since}");
        assert_eq!(response.json()["error"]["code"], json!("bad_request"));
    }
    assert_eq!(http::get(a.public, "/ws/h:1?since=1-1").await.status, 426);
}
