//! `tidegate subscribe` whose standard output is a pipe that is not read.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use testkit::node::tidegate;
use testkit::redis::Redis;
use testkit::{eventually, soon};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// More publications than the pipe and the queue hold together.
const COUNT: u64 = 40_000;
const PUBLISH_ALL: &str = "for i = 1, tonumber(ARGV[1]) do redis.call('PUBLISH', KEYS[1], i) end";

/// A subscriber whose full queue has made it drop publications.
async fn stuck_subscriber(redis: &Redis) -> Child {
    let broker = format!("broker.url={}", redis.url());
    let mut command = Command::from(tidegate(&["subscribe", "news", "--json", "--set", &broker]));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("tidegate starts");
    let mut stderr = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
    let mut logs = async |text: &str| loop {
        let line = soon(text, stderr.next_line()).await.expect("stderr can be read");
        if line.unwrap_or_else(|| panic!("it ended before {text:?}")).contains(text) {
            break;
        }
    };
    logs("subscribed to news").await;
    redis.query::<()>(&["EVAL", PUBLISH_ALL, "1", "tidegate:news", &COUNT.to_string()]).await;
    logs("standard output is too slow").await;
    // Later log lines are read and ignored, so that the command does not block on them.
    tokio::spawn(async move { while let Ok(Some(_)) = stderr.next_line().await {} });
    child
}

#[tokio::test]
async fn the_subscribe_command_prints_a_gap_for_publications_it_dropped() {
    let redis = Redis::start().await;
    let mut child = stuck_subscriber(&redis).await;
    let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
    let gap = json!({"type": "gap", "channel": "news", "reason": "output_too_slow"});
    let (mut before, mut after_gap, mut gaps) = (0, false, 0);
    loop {
        let line = soon("a line", lines.next_line()).await.expect("stdout can be read");
        let line = line.unwrap_or_else(|| panic!("it ended after {before}"));
        let line: Value = serde_json::from_str(&line).expect("an object");
        if line == gap {
            (after_gap, gaps) = (true, gaps + 1);
            continue;
        }
        let Some(number) = line["data"].as_u64() else { break };
        assert!(number > before, "{number} arrived after {before}");
        assert!(after_gap || number == before + 1, "{number} arrived after {before} without a gap");
        (before, after_gap) = (number, false);
        // The first of these may be dropped too.
        if number % 1000 == 1 {
            redis.publish("news", "\"last\"").await;
        }
    }
    assert!(gaps > 0 && (after_gap || before == COUNT), "no gap after {before}");
}

#[tokio::test]
async fn the_subscribe_command_exits_on_sigint_while_a_line_is_half_written() {
    let redis = Redis::start().await;
    let mut child = stuck_subscriber(&redis).await;
    let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed())).expect("the command runs");
    kill_process(id, Signal::INT).expect("the process exists");
    let ended = eventually("the command to end", async || child.try_wait().expect("a child")).await;
    assert_eq!(ended.code(), Some(0));
}
