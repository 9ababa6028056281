//! `tidegate publish` and `tidegate subscribe`: part of the fleet like any service.

mod history;
mod over_http;
mod slow_reader;

use std::process::{Output, Stdio};

use serde_json::{Value, json};
use testkit::client::{Client, Message};
use testkit::node::{Node, run_to_end, tidegate};
use testkit::process::{Process, Signal};
use testkit::redis::Redis;
use testkit::{eventually, soon};
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn publish_reaches_sockets_on_every_node() {
    let redis = Redis::start().await;
    let (a, b) = (Node::on(&redis, &[]).await, Node::on(&redis, &[]).await);
    let mut clients = [Client::plain(&a, "news").await, Client::plain(&b, "news").await];
    let broker = format!("broker.url={}", redis.url());
    let ended = run_to_end(tidegate(&["publish", "news", "héllo", "--set", &broker])).await;
    assert!(ended.status.success(), "{ended:?}");
    for client in &mut clients {
        assert_eq!(client.receive().await, Message::text("héllo"));
    }
}

/// The outcome of a command that is given this on standard input.
async fn given(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = tokio::process::Command::from(tidegate(arguments));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("tidegate starts");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // A command that has read enough ends, and takes no more.
    let _ = stdin.write_all(input).await;
    drop(stdin);
    soon("tidegate to end", child.wait_with_output()).await.expect("it ends")
}

fn stderr(ended: &Output) -> String {
    String::from_utf8(ended.stderr.clone()).expect("text")
}

/// The objects of the lines.
fn objects(lines: impl IntoIterator<Item = String>) -> Vec<Value> {
    let object = |line: String| serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
    lines.into_iter().map(object).collect()
}

/// The object without its `time`, which must be one of just now.
fn timeless(mut object: Value) -> Value {
    let time = object.as_object_mut().expect("an object").remove("time");
    let time = time.and_then(|time| time.as_u64()).expect("a time");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let age = now.expect("it is after 1970").as_millis().abs_diff(time.into());
    assert!(age < 600_000, "{time} is another time");
    object
}

#[tokio::test]
async fn publish_reads_standard_input_as_it_is() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let mut client = Client::plain(&node, "news").await;
    let broker = format!("broker.url={}", redis.url());
    for arguments in [&["publish", "news", "-"][..], &["publish", "news"]] {
        let ended = given(&[arguments, &["--set", &broker]].concat(), b"\xffline\n").await;
        assert!(ended.status.success(), "{ended:?}");
        assert_eq!(client.receive().await, Message::binary(&b"\xffline\n"[..]));
    }
}

#[tokio::test]
async fn publish_refuses_a_payload_that_is_empty_by_mistake_or_too_large() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let mut client = Client::plain(&node, "news").await;
    let broker = format!("broker.url={}", redis.url());
    let small = ["--set", &broker, "--set", "session.message_bytes_max=1KiB"];
    for (payload, input, why) in [
        ("-", vec![], "--allow-empty"),
        ("", vec![], "--allow-empty"),
        ("-", vec![b'x'; 1025], "more than session.message_bytes_max = 1024 bytes"),
        // More than a pipe holds: it is not read to its end.
        ("-", vec![b'x'; 1 << 20], "more than session.message_bytes_max = 1024 bytes"),
        (&"x".repeat(1025), vec![], "more than session.message_bytes_max = 1024 bytes"),
    ] {
        let ended = given(&[&["publish", "news", payload], &small[..]].concat(), &input).await;
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
        let said = stderr(&ended);
        assert!(said.contains(why) && said.lines().count() == 1, "{said}");
    }
    let empty = ["publish", "news", "", "--allow-empty"];
    assert!(given(&[&empty, &small[..]].concat(), b"").await.status.success());
    assert_eq!(client.receive().await, Message::text(""));
    let whole = given(&[&["publish", "news", "-"], &small[..]].concat(), &[b'x'; 1024]).await;
    assert!(whole.status.success(), "{whole:?}");
    assert_eq!(client.receive_text().await.len(), 1024);
}

#[tokio::test]
async fn publish_and_subscribe_print_one_json_object_a_line_whatever_the_payload() {
    let redis = Redis::start().await;
    let broker = format!("broker.url={}", redis.url());
    let command = tidegate(&["subscribe", "news", "sport", "--json", "--set", &broker]);
    let subscribe = Process::spawn("tidegate subscribe", command);
    eventually("two subscriptions", async || {
        (redis.subscribers("news").await + redis.subscribers("sport").await == 2).then_some(())
    })
    .await;
    let mut expected = Vec::new();
    for (channel, payload, part) in [
        ("news", &b"{\n  \"any\": [1, null]\n}\n"[..], json!({"data": {"any": [1, null]}})),
        ("sport", b"two\nlines", json!({"text": "two\nlines"})),
        ("news", b"\xff\x00", json!({"base64": "/wA="})),
        ("news", b"1e999", json!({"text": "1e999"})),
    ] {
        let ended = given(&["publish", channel, "-", "--json", "--set", &broker], payload).await;
        assert!(ended.status.success(), "{ended:?}");
        let mut publication = part;
        publication["type"] = "publication".into();
        publication["channel"] = channel.into();
        let printed = String::from_utf8(ended.stdout).expect("text");
        assert_eq!(printed.lines().count(), 1, "{printed}");
        assert_eq!(timeless(serde_json::from_str(&printed).expect("an object")), publication);
        expected.push(publication);
    }
    let lines = eventually("all lines", async || {
        Some(subscribe.stdout()).filter(|lines| lines.len() >= expected.len())
    })
    .await;
    assert_eq!(objects(lines).into_iter().map(timeless).collect::<Vec<_>>(), expected);
    // What is no node's publication has no time.
    redis.publish("sport", "1:0").await;
    let plain = eventually("a line", async || subscribe.stdout().get(4).cloned()).await;
    let plain: Value = serde_json::from_str(&plain).expect("an object");
    assert_eq!(plain, json!({"type": "publication", "channel": "sport", "text": "1:0"}));
}

#[tokio::test]
async fn without_their_redis_publish_and_subscribe_fail_with_one_line() {
    let redis = Redis::stopped();
    let broker = format!("broker.url={}", redis.url());
    let redis = ["--set", &broker, "--set", "broker.publish_timeout=200ms"];
    for command in [&["publish", "news", "x"][..], &["subscribe", "news"]] {
        let ended = run_to_end(tidegate(&[command, &redis].concat())).await;
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        let said = stderr(&ended);
        let expected = format!("tidegate: cannot {} ", command[0]);
        let begins = said.replace("publish:", "publish").starts_with(&expected);
        assert!(begins && said.lines().count() == 1, "{said}");
    }
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
    client.send("of a client").await;
    client.receive().await;
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
