//! Handshakes that dawdle are cut off after `server.handshake_timeout`.

use testkit::client::Client;
use testkit::eventually;
use testkit::node::Node;
use testkit::raw::{Raw, upgrade};

const TIMEOUT: &str = "server.handshake_timeout=500ms";

#[tokio::test]
async fn when_nothing_is_sent() {
    let node = Node::alone(&[TIMEOUT]).await;
    let mut silent = [Raw::connect(&node).await, Raw::connect(&node).await];
    for raw in &mut silent {
        raw.is_cut_off().await;
    }
}

#[tokio::test]
async fn when_half_a_head_is_sent() {
    let node = Node::alone(&[TIMEOUT]).await;
    let head = upgrade("/ws/news", "");
    for end in [1, 20, head.len() - 1] {
        let mut raw = Raw::connect(&node).await;
        raw.send(&head[..end]).await;
        raw.is_cut_off().await;
    }
}

#[tokio::test]
async fn when_it_comes_one_byte_at_a_time() {
    let node = Node::alone(&[TIMEOUT]).await;
    let mut raw = Raw::connect(&node).await;
    let endless = "GET /ws/news HTTP/1.1\r\nHost: gateway\r\nX-Padding: ".to_owned();
    let mut bytes = endless.bytes().chain(std::iter::repeat(b'x'));
    eventually("the byte that nobody takes", async || {
        let byte = bytes.next().expect("it is endless");
        raw.try_send([byte]).await.is_err().then_some(())
    })
    .await;
}

#[tokio::test]
async fn when_it_stays_after_a_refusal_and_says_nothing() {
    let node = Node::alone(&[TIMEOUT]).await;
    let mut raw = Raw::connect(&node).await;
    raw.send("GET /nothing HTTP/1.1\r\nHost: gateway\r\n\r\n").await;
    assert_eq!(raw.response().await.status, 404);
    raw.is_cut_off().await;
}

#[tokio::test]
async fn a_session_is_not_measured_by_it() {
    let node = Node::alone(&[TIMEOUT]).await;
    let mut client = Client::plain(&node, "news").await;
    // Cut off after the client came: by then the client's time would be over too.
    Raw::connect(&node).await.is_cut_off().await;
    client.say("still here").await;
    assert_eq!(client.hears_text().await, "still here");
}

#[tokio::test]
async fn those_who_dawdle_take_no_place_for_good() {
    let node = Node::alone(&[TIMEOUT, "limits.connections_max=3"]).await;
    let mut dawdling = Vec::new();
    for _ in 0..5 {
        dawdling.push(Raw::connect(&node).await);
    }
    for raw in &mut dawdling {
        raw.is_cut_off().await;
    }
    let mut client = Client::plain(&node, "news").await;
    client.say("room again").await;
    assert_eq!(client.hears_text().await, "room again");
}
