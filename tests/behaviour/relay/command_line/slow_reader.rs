//! `tidegate subscribe` into a pipe that nobody reads.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use testkit::node::tidegate;
use testkit::redis::Redis;
use testkit::{eventually, soon};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// More than the pipe and the queue hold together.
const COUNT: u64 = 40_000;
const PUBLISH_ALL: &str = "for i = 1, tonumber(ARGV[1]) do redis.call('PUBLISH', KEYS[1], i) end";

/// A subscriber that has given up handing on what nobody reads.
async fn stuck(redis: &Redis) -> Child {
    let broker = format!("broker.url={}", redis.url());
    let mut command = Command::from(tidegate(&["subscribe", "news", "--json", "--set", &broker]));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("tidegate starts");
    let mut said = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
    let mut hears = async |words: &str| loop {
        let line = soon(words, said.next_line()).await.expect("it can be read");
        if line.unwrap_or_else(|| panic!("it ended before {words:?}")).contains(words) {
            break;
        }
    };
    hears("subscribed to news").await;
    redis.query::<()>(&["EVAL", PUBLISH_ALL, "1", "tidegate:news", &COUNT.to_string()]).await;
    hears("standard output is too slow").await;
    // Nobody reads that either from here on; it has said what it had to say.
    tokio::spawn(async move { while let Ok(Some(_)) = said.next_line().await {} });
    child
}

#[tokio::test]
async fn what_it_had_no_room_for_is_a_gap_before_what_comes_next() {
    let redis = Redis::start().await;
    let mut child = stuck(&redis).await;
    let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
    let gap = json!({"type": "gap", "channel": "news", "reason": "output_too_slow"});
    let (mut before, mut is_told, mut gaps) = (0, false, 0);
    loop {
        let line = soon("a line", lines.next_line()).await.expect("it can be read");
        let line = line.unwrap_or_else(|| panic!("it ended after {before}"));
        let line: Value = serde_json::from_str(&line).expect("an object");
        if line == gap {
            (is_told, gaps) = (true, gaps + 1);
            continue;
        }
        let Some(number) = line["data"].as_u64() else { break };
        assert!(number > before, "{number} came after {before}");
        assert!(is_told || number == before + 1, "{number} came after {before} without a gap");
        (before, is_told) = (number, false);
        // The first ones may find no room yet.
        if number % 1000 == 1 {
            redis.publish("news", "\"last\"").await;
        }
    }
    assert!(
        gaps > 0 && (is_told || before == COUNT),
        "nothing was told of what came after {before}"
    );
}

#[tokio::test]
async fn it_ends_when_it_is_told_to_though_a_line_is_half_written() {
    let redis = Redis::start().await;
    let mut child = stuck(&redis).await;
    let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed())).expect("it runs");
    kill_process(id, Signal::INT).expect("it is there");
    let ended = eventually("it to end", async || child.try_wait().expect("a child")).await;
    assert_eq!(ended.code(), Some(0));
}
