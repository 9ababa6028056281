//! `tidegate health`, and what a process says by its exit code.

use std::process::Output;

use testkit::node::Node;
use testkit::redis::Redis;

use super::{run, stderr};

async fn health(node: &Node, more: &[&str]) -> Output {
    let internal = format!("internal.listen={}", node.internal);
    run(&[&["health", "--set", &internal], more].concat(), &[]).await
}

#[tokio::test]
async fn of_a_node_that_lives_and_is_ready() {
    let node = Node::alone(&[]).await;
    assert_eq!(health(&node, &[]).await.status.code(), Some(0));
    assert_eq!(health(&node, &["--ready"]).await.status.code(), Some(0));
}

#[tokio::test]
async fn of_a_node_that_lives_and_is_not_ready() {
    let node = Node::unready_on(&Redis::absent(), &[]).await;
    assert_eq!(health(&node, &[]).await.status.code(), Some(0));
    assert_eq!(health(&node, &["--ready"]).await.status.code(), Some(1));
}

#[tokio::test]
async fn of_no_node_at_all() {
    let mut node = Node::alone(&[]).await;
    node.process.kill();
    for more in [&[][..], &["--ready"]] {
        let ended = health(&node, more).await;
        assert_eq!(ended.status.code(), Some(1));
        assert!(stderr(&ended).contains(&node.internal.to_string()), "{}", stderr(&ended));
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_code_1_and_named() {
    let node = Node::alone(&[]).await;
    for (taken, other) in
        [("server.listen", "internal.listen"), ("internal.listen", "server.listen")]
    {
        let address = if taken == "server.listen" { node.public } else { node.internal };
        let (taken, other) = (format!("{taken}={address}"), format!("{other}=127.0.0.1:0"));
        let ended = run(&["serve", "--set", &taken, "--set", &other], &[]).await;
        assert_eq!(ended.status.code(), Some(1));
        assert!(stderr(&ended).contains(&address.to_string()), "{}", stderr(&ended));
    }
}
