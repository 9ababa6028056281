//! A Redis that refuses writes still serves reads: clients can resume, and read history and presence.

use serde_json::{Value, json};
use testkit::client::{self, Client};
use testkit::eventually;
use testkit::node::Node;
use testkit::redis::Redis;

use super::super::{Position, publication, publish, publish_all, resume, subscribe, subscribed};
use super::answer;

const RULES: &str = r#"rules=[
    {pattern="h:*",history={size=50,age="10m"}},{pattern="p:*",presence=true},{pattern="**"}]"#;

/// The reason why a Redis server refuses writes.
#[derive(Clone, Copy)]
enum WriteRefusal {
    Memory,
    Replicas,
    Disk,
}

impl WriteRefusal {
    async fn begin(self, redis: &Redis) {
        match self {
            Self::Memory => set(redis, "maxmemory", "1").await,
            Self::Replicas => set(redis, "min-replicas-to-write", "1").await,
            Self::Disk => {
                set(redis, "save", "3600 1").await;
                // Redis cannot rename its temporary file over a directory.
                std::fs::create_dir(redis.directory().join("dump.rdb")).expect("a directory");
                try_to_save(redis, "err").await;
            }
        }
    }

    async fn end(self, redis: &Redis) {
        match self {
            Self::Memory => set(redis, "maxmemory", "0").await,
            Self::Replicas => set(redis, "min-replicas-to-write", "0").await,
            Self::Disk => {
                std::fs::remove_dir(redis.directory().join("dump.rdb"))
                    .expect("the directory exists");
                try_to_save(redis, "ok").await;
            }
        }
    }
}

async fn set(redis: &Redis, name: &str, value: &str) {
    redis.query::<String>(&["CONFIG", "SET", name, value]).await;
}

async fn try_to_save(redis: &Redis, outcome: &str) {
    redis.query::<String>(&["BGSAVE"]).await;
    eventually("the server to have tried to save", async || {
        let status = redis.info("persistence", "rdb_last_bgsave_status").await;
        (status.as_deref() == Some(outcome)).then_some(())
    })
    .await;
}

async fn ask(client: &mut Client, what: &str, channel: &str, since: Option<Position>) -> Value {
    let since = since.map(|position| position.to_string());
    client.request(json!({"type": what, "id": 6, "channel": channel, "since": since})).await
}

async fn assert_reads_work(refusal: WriteRefusal) {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[RULES]).await;
    let mut existing = Client::json(&node).await;
    let before = subscribe(&mut existing, "h:1").await;
    let last = publish_all(&mut existing, "h:1", 1..=3).await;
    existing.subscribe("p:1").await;
    let members = json!([{"user": null, "sessions": 1}]);
    eventually("presence to be kept", async || {
        let answer = existing.request(json!({"type": "presence", "id": 5, "channel": "p:1"})).await;
        (answer["members"] == members).then_some(())
    })
    .await;
    refusal.begin(&redis).await;

    let refused = json!({"type": "publish", "id": 2, "channel": "h:1", "data": 4});
    assert_eq!(existing.request(refused).await["code"], "unavailable");
    // A node from before the refusals, and one that has started since.
    let restarted = Node::on(&redis, &[RULES]).await;
    restarted.wait_until_ready().await;
    for node in [&node, &restarted] {
        let mut client = Client::json(node).await;
        let answer = resume(&mut client, "h:1", before).await;
        assert_eq!(answer, subscribed("h:1", last, true));
        for number in 1..=3 {
            let expected = publication("h:1", number, before.plus(number));
            assert_eq!(client.event().await, expected);
        }
        let history = ask(&mut client, "history", "h:1", Some(before.plus(1))).await;
        let numbers: Vec<_> = history["publications"].as_array().expect("a list").iter().collect();
        assert_eq!((numbers.len(), &history["recovered"]), (2, &true.into()), "{history}");
        let history = ask(&mut client, "history", "h:none", Some(before)).await;
        assert_eq!(history["recovered"], false, "{history}");
        assert_eq!(ask(&mut client, "presence", "p:1", None).await["members"], members);
        client.subscribe("news").await;
        redis.publish("news", "5").await;
        assert_eq!(client.event().await, client::publication("news", 5));
    }
    assert_eq!(existing.event().await["data"], 1);
    let mut early = Client::json(&restarted).await;
    subscribe(&mut early, "h:new").await;
    for node in [&node, &restarted] {
        let lines = node.process.stderr();
        let is_misnamed = |line: &&String| line.contains("\"command\":\"SUBSCRIBE\"");
        assert_eq!(lines.iter().find(is_misnamed), None);
    }

    refusal.end(&redis).await;
    // The subscriber of the empty channel has missed nothing, so it gets no gap.
    let first = publish(&mut existing, "h:new", 1).await;
    assert_eq!(early.event().await, publication("h:new", 1, first));
    assert_eq!(publish(&mut existing, "h:1", 4).await, last.plus(1));
}

#[tokio::test]
async fn history_and_presence_are_read_from_a_redis_that_is_out_of_memory() {
    assert_reads_work(WriteRefusal::Memory).await;
}

#[tokio::test]
async fn history_and_presence_are_read_from_a_redis_without_enough_replicas() {
    assert_reads_work(WriteRefusal::Replicas).await;
}

#[tokio::test]
async fn history_and_presence_are_read_from_a_redis_that_cannot_save() {
    assert_reads_work(WriteRefusal::Disk).await;
}

#[tokio::test]
async fn publications_that_wait_for_redis_do_not_delay_channels_without_history() {
    let redis = Redis::start().await;
    // Longer than the test waits for anything.
    let node = Node::on(&redis, &[RULES, "broker.publish_timeout=60s"]).await;
    node.wait_until_ready().await;
    set(&redis, "min-replicas-to-write", "1").await;
    let mut waiting = Vec::new();
    for number in 0..4 {
        let mut client = Client::json(&node).await;
        for id in 0..60 {
            let channel = format!("h:{number}");
            let command = json!({"type": "publish", "id": id, "channel": channel, "data": id});
            client.send_command(command).await;
        }
        waiting.push(client);
    }
    let mut client = Client::subscribed(&node, "news").await;
    for number in 0..3 {
        client.publish("news", number.into()).await;
        assert_eq!(client.event().await, client::publication("news", number));
    }
    // The node's probes are not delayed either.
    let probes = "tidegate_broker_probe_rtt_seconds_count";
    let before = node.metric(probes).await;
    eventually("the node to receive its probe", async || {
        (node.metric(probes).await > before + 1.).then_some(())
    })
    .await;
    set(&redis, "min-replicas-to-write", "0").await;
    for client in &mut waiting {
        for id in 0..60 {
            assert_eq!(client.answer(id).await["type"], "published");
        }
    }
}

#[tokio::test]
async fn the_function_for_the_last_position_works_on_a_replica() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[RULES]).await;
    let mut client = Client::json(&node).await;
    let last = publish(&mut client, "h:1", 1).await;
    redis.query::<String>(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let last_position = async |channel: &str| {
        let key = format!("tidegate:{channel}");
        answer::<Option<String>>(&redis, &["FCALL", "tidegate_last", "1", &key]).await
    };
    assert_eq!(last_position("h:1").await, Ok(Some(last.to_string())));
    assert_eq!(last_position("h:none").await, Ok(Some("0-0".to_owned())));
    assert_eq!(last_position("news").await, Ok(None));
}
