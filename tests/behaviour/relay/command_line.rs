//! `tidegate publish` and `tidegate subscribe`: part of the fleet like any service.

use std::process::Stdio;

use tokio::io::AsyncWriteExt;

use crate::support::client::{Client, Message};
use crate::support::node::{Node, outcome, tidegate};
use crate::support::process::{Process, Signal};
use crate::support::redis::Redis;
use crate::support::{eventually, soon};

#[tokio::test]
async fn publish_reaches_sockets_on_every_node() {
    let redis = Redis::start().await;
    let (a, b) = (Node::on(&redis, &[]).await, Node::on(&redis, &[]).await);
    let mut clients = [Client::plain(&a, "news").await, Client::plain(&b, "news").await];
    let broker = format!("broker.url={}", redis.url());
    let ended = outcome(tidegate(&["publish", "news", "héllo", "--set", &broker])).await;
    assert!(ended.status.success(), "{ended:?}");
    for client in &mut clients {
        assert_eq!(client.hears().await, Message::text("héllo"));
    }
}

#[tokio::test]
async fn publish_reads_standard_input_as_it_is() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let mut client = Client::plain(&node, "news").await;
    let broker = format!("broker.url={}", redis.url());
    for arguments in [&["publish", "news", "-"][..], &["publish", "news"]] {
        let mut command = tokio::process::Command::from(tidegate(arguments));
        command.args(["--set", &broker]).stdin(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("tidegate starts");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        stdin.write_all(b"\xffline\n").await.expect("it reads");
        drop(stdin);
        assert!(soon("tidegate publish", child.wait()).await.expect("it ends").success());
        assert_eq!(client.hears().await, Message::binary(&b"\xffline\n"[..]));
    }
}

#[tokio::test]
async fn publish_without_its_redis_fails() {
    let redis = Redis::absent();
    let broker = format!("broker.url={}", redis.url());
    let timeout = "broker.publish_timeout=200ms";
    let ended =
        outcome(tidegate(&["publish", "news", "x", "--set", &broker, "--set", timeout])).await;
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(!ended.stderr.is_empty());
}

#[tokio::test]
async fn subscribe_prints_a_line_for_each_publication_until_it_is_interrupted() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let broker = format!("broker.url={}", redis.url());
    let command = tidegate(&["subscribe", "news", "--set", &broker]);
    let mut subscribe = Process::spawn("tidegate subscribe", command);
    eventually("a subscription", async || (redis.subscribers("news").await == 1).then_some(()))
        .await;

    let mut client = Client::plain(&node, "news").await;
    client.say("of a client").await;
    client.hears().await;
    redis.publish("news", r#"{"of":"a service"}"#).await;
    eventually("two lines", async || (subscribe.stdout().len() >= 2).then_some(())).await;
    assert_eq!(subscribe.stdout(), ["of a client", r#"{"of":"a service"}"#]);

    subscribe.signal(Signal::INT);
    assert_eq!(subscribe.exit_code().await, 0);
}

#[tokio::test]
async fn subscribe_to_several_names_the_channel_on_each_line() {
    let redis = Redis::start().await;
    let broker = format!("broker.url={}", redis.url());
    let command = tidegate(&["subscribe", "news", "sport", "--set", &broker]);
    let subscribe = Process::spawn("tidegate subscribe", command);
    eventually("two subscriptions", async || {
        (redis.subscribers("news").await + redis.subscribers("sport").await == 2).then_some(())
    })
    .await;
    redis.publish("sport", "1:0").await;
    let line = eventually("a line", async || subscribe.stdout().first().cloned()).await;
    assert!(line.contains("sport") && line.ends_with("1:0"), "{line}");
}
