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
    serde_json::from_slice(&ended.stdout).expect("it prints what the node says")
}

#[tokio::test]
async fn a_node_leaves() {
    let mut node = Node::alone(&["drain.delay=0s", "drain.period=100ms", KEY]).await;
    let mut client = Client::plain(&node, "news").await;
    let ended = drain(&node, &["--set", KEY]).await;
    assert_eq!(ended.status.code(), Some(0), "{}", stderr(&ended));
    assert_eq!(answer(&ended)["connections"], 1);
    assert_eq!(u16::from(client.is_closed().await.code), 1012);
    assert_eq!(node.process.exit_code().await, 0);
}

#[tokio::test]
async fn a_share_leaves_and_the_node_stays() {
    let node = Node::alone(&["drain.period=100ms"]).await;
    let mut oldest = Client::plain(&node, "news").await;
    let mut other = Client::plain(&node, "news").await;
    let ended = drain(&node, &["--percent", "50"]).await;
    assert_eq!(ended.status.code(), Some(0), "{}", stderr(&ended));
    assert_eq!(answer(&ended)["shedding"], 1);
    assert_eq!(u16::from(oldest.is_closed().await.code), 1012);
    other.say("still here").await;
    assert_eq!(other.hears_text().await, "still here");
    assert!(node.is_ready().await);
}

#[tokio::test]
async fn without_the_key_it_is_refused_with_code_1() {
    let node = Node::alone(&[KEY]).await;
    let ended = drain(&node, &[]).await;
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(answer(&ended)["error"]["code"], "unauthorized");
    let said = stderr(&ended);
    assert!(said.starts_with("tidegate: unauthorized: ") && said.lines().count() == 1, "{said}");
    assert!(node.is_ready().await);
}

#[tokio::test]
async fn a_percentage_beyond_a_hundred_is_code_2() {
    let node = Node::alone(&[]).await;
    let ended = drain(&node, &["--percent", "101"]).await;
    assert_eq!(ended.status.code(), Some(2));
    assert!(stderr(&ended).contains("1..=100"), "{}", stderr(&ended));
}
