//! A cluster slot that is half migrated between two masters, as after an interrupted resharding: its channels work,
//! whichever of their keys have been migrated.

use serde_json::{Value, json};
use testkit::client::Client;
use testkit::cluster::{Cluster, MASTERS};
use testkit::eventually;
use testkit::node::Node;

const RULES: &str =
    r#"rules=[{pattern="h:*",presence=true,history={size=100,age="10m"}},{pattern="**"}]"#;

/// Channels of the same slot.
const CHANNEL: &str = "h:{x}a";
const OTHER: &str = "h:{x}b";
const WITHOUT_HISTORY: &str = "{x}news";

async fn subscribe(client: &mut Client, channel: &str) {
    let answer = client.request(json!({"type": "subscribe", "id": 4, "channel": channel})).await;
    assert_eq!(answer["type"], "subscribed", "{answer}");
}

async fn publish(client: &mut Client, channel: &str, data: u64) {
    let publish = json!({"type": "publish", "id": 2, "channel": channel, "data": data});
    let answer = client.request(publish).await;
    assert_eq!(answer["type"], "published", "{answer}");
}

/// The next event other than joins, leaves, and gaps of the channel without history: nodes may miss publications that
/// a function made for it on the other master.
async fn receive(client: &mut Client) -> Value {
    loop {
        let event = client.event().await;
        let is_gap = event["type"] == "gap" && event["channel"] == WITHOUT_HISTORY;
        if event["type"] != "join" && event["type"] != "leave" && !is_gap {
            return event;
        }
    }
}

/// A slot in migration, and a client on each of two nodes; the subscriber subscribed before the migration began.
struct Migration {
    cluster: Cluster,
    nodes: [Node; 2],
    publisher: Client,
    subscriber: Client,
    from: usize,
    to: usize,
    /// The number that the subscriber must receive next.
    next: u64,
}

impl Migration {
    async fn begin() -> Self {
        let cluster = Cluster::without_replicas().await;
        let url = cluster.url();
        let to = (cluster.master_of(CHANNEL).await + 1) % MASTERS;
        Self::begin_at(cluster, &url, to).await
    }

    async fn begin_at(cluster: Cluster, url: &str, to: usize) -> Self {
        let nodes = [Node::start_at(url, &[RULES]).await, Node::start_at(url, &[RULES]).await];
        for node in &nodes {
            node.wait_until_ready().await;
        }
        let publisher = Client::json(&nodes[0]).await;
        let mut subscriber = Client::json(&nodes[1]).await;
        subscribe(&mut subscriber, CHANNEL).await;
        let mut migration = Self { cluster, nodes, publisher, subscriber, from: 0, to, next: 0 };
        migration.relay(3).await;
        migration.from = migration.cluster.begin_move(CHANNEL, to).await;
        migration
    }

    /// Publishes `count` numbers and asserts that they arrive once and in order.
    async fn relay(&mut self, count: u64) {
        for number in self.next..self.next + count {
            publish(&mut self.publisher, CHANNEL, number).await;
        }
        self.receive(count).await;
    }

    async fn receive(&mut self, count: u64) {
        for _ in 0..count {
            let event = receive(&mut self.subscriber).await;
            assert_eq!(
                (&event["type"], &event["data"]),
                (&json!("publication"), &json!(self.next))
            );
            self.next += 1;
        }
    }

    /// Asserts that the history holds all publications, and that a client that resumes from the first misses none.
    async fn assert_history_is_complete(&mut self) {
        let question = json!({"type": "history", "id": 9, "channel": CHANNEL, "limit": 100});
        let history = self.publisher.request(question).await;
        let read = history["publications"].as_array().expect("a list").clone();
        let data: Vec<Value> = read.iter().map(|it| it["data"].clone()).collect();
        assert_eq!(data, (0..self.next).map(Value::from).collect::<Vec<_>>());
        let mut back = Client::json(&self.nodes[0]).await;
        let since = &read[0]["position"];
        let resume = json!({"type": "subscribe", "id": 3, "channel": CHANNEL, "since": since});
        let answer = back.request(resume).await;
        assert_eq!(answer["recovered"], true, "{answer}");
        for number in 1..self.next {
            assert_eq!(receive(&mut back).await["data"], number);
        }
        back.close().await;
    }

    /// A service publishes with the Redis function on the target master, which holds the stream.
    async fn publish_as_service(&mut self) {
        let (key, payload) = (format!("tidegate:{CHANNEL}"), self.next.to_string());
        let call = ["FCALL", "tidegate_publish", "1", &key, &payload];
        let mut connection = self.cluster.servers[self.to].connection().await;
        let mut pipeline = ::redis::pipe();
        pipeline.cmd("ASKING").ignore().cmd(call[0]).arg(&call[1..]);
        let (position,): (String,) =
            pipeline.query_async(&mut connection).await.expect("Redis accepts the call");
        assert!(position.contains('-'));
        self.receive(1).await;
    }

    async fn wait_until_ready(&self) {
        for node in &self.nodes {
            node.wait_until_ready().await;
        }
    }

    /// Completes the migration.
    async fn finish(&mut self) {
        self.cluster.end_move(CHANNEL, self.from, self.to).await;
        self.relay(5).await;
        self.assert_history_is_complete().await;
        self.wait_until_ready().await;
    }
}

#[tokio::test]
async fn a_history_whose_stream_is_not_migrated_yet_continues_on_the_old_master() {
    let mut migration = Migration::begin().await;
    migration.relay(5).await;
    migration.assert_history_is_complete().await;
    migration.wait_until_ready().await;
    migration.finish().await;
}

#[tokio::test]
async fn a_history_whose_stream_is_migrated_continues_on_the_new_master() {
    let mut migration = Migration::begin().await;
    assert!(migration.cluster.move_key(CHANNEL, migration.from, migration.to).await);
    migration.relay(5).await;
    migration.assert_history_is_complete().await;
    migration.publish_as_service().await;
    migration.relay(2).await;
    migration.wait_until_ready().await;
    migration.finish().await;
}

#[tokio::test]
async fn a_history_continues_on_a_new_server_that_gets_its_first_slot() {
    let mut cluster = Cluster::without_replicas().await;
    let to = cluster.add_server().await;
    let url = cluster.url();
    let mut migration = Migration::begin_at(cluster, &url, to).await;
    migration.relay(2).await;
    assert!(migration.cluster.move_key(CHANNEL, migration.from, migration.to).await);
    migration.relay(5).await;
    migration.assert_history_is_complete().await;
    migration.publish_as_service().await;
    migration.wait_until_ready().await;
    migration.finish().await;
}

#[tokio::test]
async fn a_history_is_complete_after_its_slots_migration_is_cancelled() {
    let mut migration = Migration::begin().await;
    migration.relay(2).await;
    migration.cluster.cancel_move(CHANNEL, migration.from, migration.to).await;
    migration.relay(5).await;
    migration.assert_history_is_complete().await;
    migration.wait_until_ready().await;
}

#[tokio::test]
async fn a_history_loses_no_publication_when_its_stream_is_migrated_during_publishing() {
    let mut migration = Migration::begin().await;
    let (from, to) = (migration.from, migration.to);
    for round in 0..10 {
        for number in 0..20 {
            let data = migration.next + number;
            let publish = json!({"type": "publish", "id": 2, "channel": CHANNEL, "data": data});
            migration.publisher.send_command(publish).await;
        }
        if round == 5 {
            assert!(migration.cluster.move_key(CHANNEL, from, to).await);
        }
        for _ in 0..20 {
            assert_eq!(migration.publisher.answer(2).await["type"], "published");
        }
        migration.receive(20).await;
    }
    migration.cluster.end_move(CHANNEL, from, to).await;
    migration.relay(20).await;
}

#[tokio::test]
async fn a_channel_first_used_during_its_slots_migration_delivers_publications() {
    let mut migration = Migration::begin().await;
    let mut other = Client::json(&migration.nodes[1]).await;
    subscribe(&mut other, OTHER).await;
    subscribe(&mut other, WITHOUT_HISTORY).await;
    for number in 0..5 {
        for channel in [OTHER, WITHOUT_HISTORY] {
            publish(&mut migration.publisher, channel, number).await;
            let event = receive(&mut other).await;
            assert_eq!((&event["channel"], &event["data"]), (&json!(channel), &json!(number)));
        }
    }
    migration.relay(2).await;
    migration.finish().await;
}

#[tokio::test]
async fn an_idempotency_key_publishes_once_while_its_slot_is_in_migration() {
    let mut migration = Migration::begin().await;
    let with_key = |id: &str, data: u64| json!({"type": "publish", "id": 5, "channel": CHANNEL, "data": data, "idempotency_key": id});
    // A new key cannot be written on the old master, which holds the history.
    for id in ["one", "two"] {
        let data = migration.next;
        let first = migration.publisher.request(with_key(id, data)).await;
        assert_eq!(first["type"], "published", "{first}");
        migration.receive(1).await;
        assert_eq!(
            migration.publisher.request(with_key(id, 99)).await["position"],
            first["position"]
        );
    }
    migration.relay(2).await;
    migration.assert_history_is_complete().await;
    migration.finish().await;
}

#[tokio::test]
async fn an_idempotency_key_from_before_the_migration_still_deduplicates_after_it() {
    let mut migration = Migration::begin().await;
    migration.cluster.end_move(CHANNEL, migration.from, migration.to).await;
    migration.wait_until_ready().await;
    let data = migration.next;
    let publish = json!({
        "type": "publish", "id": 5, "channel": CHANNEL, "data": data, "idempotency_key": "before",
    });
    let first = migration.publisher.request(publish.clone()).await;
    assert_eq!(first["type"], "published", "{first}");
    migration.receive(1).await;
    let back = migration.from;
    let from = migration.cluster.begin_move(CHANNEL, back).await;
    assert!(migration.cluster.move_key(CHANNEL, from, back).await);
    assert_eq!(migration.publisher.request(publish).await["position"], first["position"]);
    migration.relay(2).await;
}

#[tokio::test]
async fn presence_counts_sessions_that_join_and_leave_during_a_slot_migration() {
    let mut migration = Migration::begin().await;
    let members = json!({"type": "presence", "id": 6, "channel": CHANNEL});
    let sessions = async |client: &mut Client| {
        let answer = client.request(members.clone()).await;
        answer["members"][0]["sessions"].as_u64()
    };
    eventually("one session", async || {
        (sessions(&mut migration.publisher).await == Some(1)).then_some(())
    })
    .await;
    // The first session of its node: its presence key does not exist in Redis yet.
    let mut another = Client::json(&migration.nodes[0]).await;
    subscribe(&mut another, CHANNEL).await;
    eventually("two sessions", async || {
        (sessions(&mut migration.publisher).await == Some(2)).then_some(())
    })
    .await;
    another.close().await;
    eventually("one session again", async || {
        (sessions(&mut migration.publisher).await == Some(1)).then_some(())
    })
    .await;
    migration.relay(2).await;
    migration.finish().await;
}

#[tokio::test]
async fn readiness_and_log_report_a_slot_in_migration_that_the_node_may_not_use() {
    let cluster = Cluster::without_replicas().await;
    for server in &cluster.servers {
        let rules = ["ACL", "SETUSER", "gate", "on", ">hush", "~*", "&*", "+@all", "-migrate"];
        let () = server.query(&rules).await;
    }
    let url = cluster.url().replace("://", "://gate:hush@");
    let to = (cluster.master_of(CHANNEL).await + 1) % MASTERS;
    let mut migration = Migration::begin_at(cluster, &url, to).await;
    migration.relay(2).await;
    let data = migration.next;
    let publish = json!({
        "type": "publish", "id": 5, "channel": CHANNEL, "data": data, "idempotency_key": "one",
    });
    eventually("the publication to be refused", async || {
        let answer = migration.publisher.request(publish.clone()).await;
        let why = answer["message"].as_str()?;
        (answer["code"] == "unavailable" && why.contains("half way")).then_some(())
    })
    .await;
    let node = &migration.nodes[0];
    let readiness = node.get("/readyz").await;
    assert_eq!(readiness.status, 503);
    assert!(
        readiness.text().contains("a slot that redis moves cannot be used"),
        "{}",
        readiness.text()
    );
    eventually("the log to report it", async || {
        let lines = node.process.stderr();
        lines.iter().any(|it| it.contains("a slot that redis moves cannot be used")).then_some(())
    })
    .await;
    migration.finish().await;
}
