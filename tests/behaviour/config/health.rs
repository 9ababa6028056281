//! `tidegate health`, and the exit code of a node whose port is taken.

use std::process::Output;

use testkit::node::Node;
use testkit::redis::Redis;

use super::{run, stderr};

async fn health(node: &Node, more: &[&str]) -> Output {
    let internal = format!("internal.listen={}", node.internal);
    run(&[&["health", "--set", &internal], more].concat(), &[]).await
}

#[tokio::test]
async fn health_and_health_ready_are_exit_code_0_for_a_ready_node() {
    let node = Node::standalone(&[]).await;
    assert_eq!(health(&node, &[]).await.status.code(), Some(0));
    assert_eq!(health(&node, &["--ready"]).await.status.code(), Some(0));
}

#[tokio::test]
async fn health_is_exit_code_0_and_health_ready_1_for_an_unready_node() {
    let node = Node::start_on(&Redis::stopped(), &[]).await;
    assert_eq!(health(&node, &[]).await.status.code(), Some(0));
    assert_eq!(health(&node, &["--ready"]).await.status.code(), Some(1));
}

#[tokio::test]
async fn health_is_exit_code_1_and_names_the_address_where_no_node_runs() {
    let mut node = Node::standalone(&[]).await;
    node.process.kill();
    for more in [&[][..], &["--ready"]] {
        let ended = health(&node, more).await;
        assert_eq!(ended.status.code(), Some(1));
        assert!(stderr(&ended).contains(&node.internal.to_string()), "{}", stderr(&ended));
    }
}

#[tokio::test]
async fn a_node_whose_port_is_taken_exits_with_1_and_names_the_address() {
    let node = Node::standalone(&[]).await;
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
