//! `tidegate drain`: what `POST /api/drain` does, for images without curl.

use std::process::Output;

use serde_json::Value;
use testkit::client::Client;
use testkit::node::Node;

use super::{run, stderr};

const KEY: &str = "internal.api_key=hush-hush";

async fn drain(node: &Node, more: &[&str]) -> Output {
    let internal = format!("internal.listen={}", node.internal);
    run(&[&["drain", "--set", &internal], more].concat(), &[]).await
}

fn answer(ended: &Output) -> Value {
    serde_json::from_slice(&ended.stdout).expect("the command prints the node's answer")
}

#[tokio::test]
async fn drain_stops_the_node_and_closes_its_connections_with_1012() {
    let mut node = Node::standalone(&["drain.delay=0s", "drain.period=100ms", KEY]).await;
    let mut client = Client::plain(&node, "news").await;
    let ended = drain(&node, &["--set", KEY]).await;
    assert_eq!(ended.status.code(), Some(0), "{}", stderr(&ended));
    assert_eq!(answer(&ended)["connections"], 1);
    assert_eq!(u16::from(client.receive_close().await.code), 1012);
    assert_eq!(node.process.exit_code().await, 0);
}

#[tokio::test]
async fn drain_percent_closes_a_share_of_the_connections_and_the_node_stays_ready() {
    let node = Node::standalone(&["drain.period=100ms"]).await;
    let mut oldest = Client::plain(&node, "news").await;
    let mut other = Client::plain(&node, "news").await;
    let ended = drain(&node, &["--percent", "50"]).await;
    assert_eq!(ended.status.code(), Some(0), "{}", stderr(&ended));
    assert_eq!(answer(&ended)["shedding"], 1);
    assert_eq!(u16::from(oldest.receive_close().await.code), 1012);
    other.send("still here").await;
    assert_eq!(other.receive_text().await, "still here");
    assert!(node.is_ready().await);
}

#[tokio::test]
async fn drain_without_the_api_key_is_refused_with_exit_code_1() {
    let node = Node::standalone(&[KEY]).await;
    let ended = drain(&node, &[]).await;
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(answer(&ended)["error"]["code"], "unauthorized");
    let message = stderr(&ended);
    assert!(
        message.starts_with("tidegate: unauthorized: ") && message.lines().count() == 1,
        "{message}"
    );
    assert!(node.is_ready().await);
}

#[tokio::test]
async fn drain_with_more_than_100_percent_is_exit_code_2() {
    let node = Node::standalone(&[]).await;
    let ended = drain(&node, &["--percent", "101"]).await;
    assert_eq!(ended.status.code(), Some(2));
    assert!(stderr(&ended).contains("1..=100"), "{}", stderr(&ended));
}
