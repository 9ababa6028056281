//! `tidegate subscribe` on a channel with history: `--since`, and what is missing after an interruption.

use serde_json::{Value, json};
use testkit::client::Client;
use testkit::eventually;
use testkit::node::{Node, run_to_end, tidegate};
use testkit::process::Process;
use testkit::redis::Redis;

use super::{objects, stderr, without_time};

const RULES: &str = r#"rules=[{ pattern = "h:*", history = { size = 100, age = "10m" } }]"#;

/// A Redis, a node, and a client that publishes.
struct PublishingClient {
    redis: Redis,
    _node: Node,
    client: Client,
}

impl PublishingClient {
    async fn new() -> Self {
        let redis = Redis::start().await;
        let node = Node::on(&redis, &[RULES]).await;
        let client = Client::json(&node).await;
        Self { redis, _node: node, client }
    }

    /// Publishes, and returns the position.
    async fn publish(&mut self, data: u64) -> String {
        let command = json!({"type": "publish", "id": 1, "channel": "h:1", "data": data});
        let answer = self.client.request(command).await;
        answer["position"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    async fn subscribe(&self, more: &[&str]) -> Process {
        let broker = format!("broker.url={}", self.redis.url());
        let command = ["subscribe", "h:1", "--json", "--set", &broker, "--set", RULES];
        let command = tidegate(&[&command, more].concat());
        let process = Process::spawn("tidegate subscribe", command);
        eventually("a subscription", async || {
            (self.redis.subscribers("h:1").await == 1).then_some(())
        })
        .await;
        process
    }
}

/// Waits for this number of lines, and returns all lines so far.
async fn lines(process: &Process, count: usize) -> Vec<Value> {
    let lines = eventually("the lines", async || {
        Some(process.stdout()).filter(|lines| lines.len() >= count)
    })
    .await;
    objects(lines)
}

fn publication(data: u64, position: &str) -> Value {
    json!({"type": "publication", "channel": "h:1", "data": data, "position": position})
}

fn gap(reason: &str) -> Value {
    json!({"type": "gap", "channel": "h:1", "reason": reason})
}

#[tokio::test]
async fn subscribe_since_prints_publications_after_the_position_and_then_new_ones() {
    let mut fixture = PublishingClient::new().await;
    let mut positions = Vec::new();
    for data in 0..5 {
        positions.push(fixture.publish(data).await);
    }
    let process = fixture.subscribe(&["--since", &positions[1]]).await;
    lines(&process, 3).await;
    for data in 5..8 {
        positions.push(fixture.publish(data).await);
    }
    let printed = lines(&process, 6).await.into_iter().map(without_time).collect::<Vec<_>>();
    let expected = (2..8).map(|data| publication(data, &positions[data as usize]));
    assert_eq!(printed, expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn subscribe_since_first_prints_all_that_is_kept_and_a_gap_where_the_front_was_trimmed() {
    let mut fixture = PublishingClient::new().await;
    let positions = [fixture.publish(0).await, fixture.publish(1).await];
    let process = fixture.subscribe(&["--since", "first"]).await;
    lines(&process, 2).await;
    let last = fixture.publish(2).await;
    let printed = lines(&process, 3).await.into_iter().map(without_time).collect::<Vec<_>>();
    let expected = [&positions[0], &positions[1], &last];
    let expected = (0..3).zip(expected).map(|(data, position)| publication(data, position));
    assert_eq!(printed, expected.collect::<Vec<_>>());
    drop(process);
    // More than the history's size and what it may keep beyond it.
    for data in 3..=300 {
        fixture.publish(data).await;
    }
    let trimmed = fixture.subscribe(&["--since", "first"]).await;
    let printed = lines(&trimmed, 101).await;
    assert_eq!(printed[0], gap("history_trimmed"));
    assert_eq!(printed.last().expect("a line")["data"], 300);
}

#[tokio::test]
async fn subscribe_since_an_unrecoverable_position_prints_a_gap_first() {
    let mut fixture = PublishingClient::new().await;
    let first = fixture.publish(0).await;
    // More than the history's size and what it may keep beyond it.
    for data in 1..=300 {
        fixture.publish(data).await;
    }
    let trimmed = fixture.subscribe(&["--since", &first]).await;
    let printed = lines(&trimmed, 101).await;
    assert_eq!(printed[0], gap("history_trimmed"));
    assert_eq!(printed.last().expect("a line")["data"], 300);
    drop(trimmed);
    eventually("no subscription", async || {
        (fixture.redis.subscribers("h:1").await == 0).then_some(())
    })
    .await;

    let (epoch, _) = first.split_once('-').expect("a position");
    let future = format!("{epoch}-999999");
    let process = fixture.subscribe(&["--since", &future]).await;
    lines(&process, 1).await;
    let next = fixture.publish(301).await;
    let printed = lines(&process, 2).await;
    assert_eq!(printed[0], gap("history_lost"));
    assert_eq!(without_time(printed[1].clone()), publication(301, &next));
}

#[tokio::test]
async fn the_subscribe_command_reads_publications_missed_in_an_interruption_from_history() {
    let mut fixture = PublishingClient::new().await;
    let process = fixture.subscribe(&[]).await;
    let mut positions = vec![fixture.publish(0).await];
    lines(&process, 1).await;
    for round in 0..5 {
        fixture.redis.kill_subscribers().await;
        for data in 1..=10 {
            positions.push(fixture.publish(round * 10 + data).await);
        }
    }
    let printed = lines(&process, 51).await.into_iter().map(without_time).collect::<Vec<_>>();
    let expected = (0..51).map(|data| publication(data, &positions[data as usize]));
    assert_eq!(printed, expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn the_subscribe_command_prints_a_gap_after_an_interruption_without_history() {
    let redis = Redis::start().await;
    let broker = format!("broker.url={}", redis.url());
    let command = tidegate(&["subscribe", "news", "--json", "--set", &broker]);
    let process = Process::spawn("tidegate subscribe", command);
    let subscribed = async || (redis.subscribers("news").await == 1).then_some(());
    eventually("a subscription", subscribed).await;
    redis.kill_subscribers().await;
    let printed = lines(&process, 1).await;
    assert_eq!(
        printed,
        [json!({"type": "gap", "channel": "news", "reason": "broker_reconnected"})]
    );
}

#[tokio::test]
async fn subscribe_since_is_refused_without_history_and_for_several_channels() {
    let broker = "broker.url=redis://127.0.0.1:1";
    for (arguments, why) in [
        (&["news", "--since", "7-1"][..], "--config FILE"),
        (&["h:1", "h:2", "--since", "7-1"], "one channel"),
        (&["h:1", "--since", "yesterday"], "is a position, which is two whole numbers"),
    ] {
        let command = ["subscribe", "--set", broker, "--set", RULES];
        let ended = run_to_end(tidegate(&[&command, arguments].concat())).await;
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
        assert!(stderr(&ended).contains(why), "{}", stderr(&ended));
    }
}
