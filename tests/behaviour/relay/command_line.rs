//! `tidegate publish` and `tidegate subscribe`, which use Redis as services do.

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
async fn the_publish_command_reaches_clients_on_every_node() {
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

/// Runs a command with this standard input.
async fn run_with_input(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = tokio::process::Command::from(tidegate(arguments));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("tidegate starts");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // A command may end before it has read all of its input.
    let _ = stdin.write_all(input).await;
    drop(stdin);
    soon("tidegate to end", child.wait_with_output()).await.expect("tidegate ends")
}

fn stderr(ended: &Output) -> String {
    String::from_utf8(ended.stderr.clone()).expect("text")
}

/// The lines parsed as JSON objects.
fn objects(lines: impl IntoIterator<Item = String>) -> Vec<Value> {
    let object = |line: String| serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
    lines.into_iter().map(object).collect()
}

/// The object without its `time`, which must be about now.
fn without_time(mut object: Value) -> Value {
    let time = object.as_object_mut().expect("an object").remove("time");
    let time = time.and_then(|time| time.as_u64()).expect("a time");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let age = now.expect("the clock is after 1970").as_millis().abs_diff(time.into());
    assert!(age < 600_000, "{time} is not about now");
    object
}

#[tokio::test]
async fn the_publish_command_publishes_standard_input_unchanged() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let mut client = Client::plain(&node, "news").await;
    let broker = format!("broker.url={}", redis.url());
    for arguments in [&["publish", "news", "-"][..], &["publish", "news"]] {
        let ended = run_with_input(&[arguments, &["--set", &broker]].concat(), b"\xffline\n").await;
        assert!(ended.status.success(), "{ended:?}");
        assert_eq!(client.receive().await, Message::binary(&b"\xffline\n"[..]));
    }
}

#[tokio::test]
async fn the_publish_command_refuses_an_empty_or_too_large_payload_with_exit_code_2() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let mut client = Client::plain(&node, "news").await;
    let broker = format!("broker.url={}", redis.url());
    let small = ["--set", &broker, "--set", "session.message_bytes_max=1KiB"];
    for (payload, input, why) in [
        ("-", vec![], "--allow-empty"),
        ("", vec![], "--allow-empty"),
        ("-", vec![b'x'; 1025], "more than session.message_bytes_max = 1024 bytes"),
        // More than a pipe holds: the command does not read all of it.
        ("-", vec![b'x'; 1 << 20], "more than session.message_bytes_max = 1024 bytes"),
        (&"x".repeat(1025), vec![], "more than session.message_bytes_max = 1024 bytes"),
    ] {
        let ended =
            run_with_input(&[&["publish", "news", payload], &small[..]].concat(), &input).await;
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
        let errors = stderr(&ended);
        assert!(errors.contains(why) && errors.lines().count() == 1, "{errors}");
    }
    let empty = ["publish", "news", "", "--allow-empty"];
    assert!(run_with_input(&[&empty, &small[..]].concat(), b"").await.status.success());
    assert_eq!(client.receive().await, Message::text(""));
    let whole =
        run_with_input(&[&["publish", "news", "-"], &small[..]].concat(), &[b'x'; 1024]).await;
    assert!(whole.status.success(), "{whole:?}");
    assert_eq!(client.receive_text().await.len(), 1024);
}

#[tokio::test]
async fn publish_and_subscribe_json_print_one_object_a_line_for_every_payload() {
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
        let ended =
            run_with_input(&["publish", channel, "-", "--json", "--set", &broker], payload).await;
        assert!(ended.status.success(), "{ended:?}");
        let mut publication = part;
        publication["type"] = "publication".into();
        publication["channel"] = channel.into();
        let printed = String::from_utf8(ended.stdout).expect("text");
        assert_eq!(printed.lines().count(), 1, "{printed}");
        assert_eq!(without_time(serde_json::from_str(&printed).expect("an object")), publication);
        expected.push(publication);
    }
    let lines = eventually("all lines", async || {
        Some(subscribe.stdout()).filter(|lines| lines.len() >= expected.len())
    })
    .await;
    assert_eq!(objects(lines).into_iter().map(without_time).collect::<Vec<_>>(), expected);
    // A plain `PUBLISH` without a header line has no time.
    redis.publish("sport", "1:0").await;
    let plain = eventually("a line", async || subscribe.stdout().get(4).cloned()).await;
    let plain: Value = serde_json::from_str(&plain).expect("an object");
    assert_eq!(plain, json!({"type": "publication", "channel": "sport", "text": "1:0"}));
}

#[tokio::test]
async fn publish_and_subscribe_warn_that_a_channel_with_a_star_is_no_pattern() {
    let redis = Redis::start().await;
    let broker = format!("broker.url={}", redis.url());
    let ended = run_to_end(tidegate(&["publish", "chat:*", "x", "--set", &broker])).await;
    assert!(ended.status.success(), "{ended:?}");
    assert!(stderr(&ended).contains("chat:* is taken as the name of one channel"), "{ended:?}");
    let command = tidegate(&["subscribe", "chat:*", "--set", &broker]);
    let subscribe = Process::spawn("tidegate subscribe", command);
    eventually("a warning", async || {
        subscribe.stderr().iter().any(|line| line.contains("of one channel")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn publish_and_subscribe_without_redis_name_what_a_node_without_redis_offers() {
    for (command, part) in [
        (&["publish", "news", "x"][..], "--http http://127.0.0.1:9090"),
        (&["subscribe", "news"], "/sse/news"),
    ] {
        let ended = run_to_end(tidegate(command)).await;
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
        assert!(stderr(&ended).contains(part), "{ended:?}");
    }
}

#[tokio::test]
async fn publish_and_subscribe_without_redis_fail_with_exit_code_1_and_one_line() {
    let redis = Redis::stopped();
    let broker = format!("broker.url={}", redis.url());
    let redis = ["--set", &broker, "--set", "broker.publish_timeout=200ms"];
    for command in [&["publish", "news", "x"][..], &["subscribe", "news"]] {
        let ended = run_to_end(tidegate(&[command, &redis].concat())).await;
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        let errors = stderr(&ended);
        let expected = format!("tidegate: cannot {} ", command[0]);
        let begins = errors.replace("publish:", "publish").starts_with(&expected);
        assert!(begins && errors.lines().count() == 1, "{errors}");
    }
}

#[tokio::test]
async fn the_subscribe_command_prints_each_publication_and_exits_with_0_on_sigint() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let broker = format!("broker.url={}", redis.url());
    let command = tidegate(&["subscribe", "news", "--set", &broker]);
    let mut subscribe = Process::spawn("tidegate subscribe", command);
    eventually("a subscription", async || (redis.subscribers("news").await == 1).then_some(()))
        .await;

    let mut client = Client::plain(&node, "news").await;
    client.send("from a client").await;
    client.receive().await;
    redis.publish("news", r#"{"from":"a service"}"#).await;
    eventually("two lines", async || (subscribe.stdout().len() >= 2).then_some(())).await;
    assert_eq!(subscribe.stdout(), ["from a client", r#"{"from":"a service"}"#]);

    subscribe.signal(Signal::INT);
    assert_eq!(subscribe.exit_code().await, 0);
}

#[tokio::test]
async fn the_subscribe_command_for_several_channels_prints_the_channel_on_each_line() {
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
