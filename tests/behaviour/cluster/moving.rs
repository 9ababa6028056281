//! A slot is on its way from master to master, and stays so, as when resharding was broken off: its channels work
//! as ever, whichever of their keys have gone along.

use serde_json::{Value, json};
use testkit::client::Client;
use testkit::cluster::{Cluster, MASTERS};
use testkit::eventually;
use testkit::node::Node;

const RULES: &str =
    r#"rules=[{pattern="h:*",presence=true,history={size=100,age="10m"}},{pattern="**"}]"#;

/// In one slot with each other.
const CHANNEL: &str = "h:{x}a";
const OTHER: &str = "h:{x}b";
const WITHOUT: &str = "{x}news";

async fn subscribe(client: &mut Client, channel: &str) {
    let answer = client.ask(json!({"type": "subscribe", "id": 4, "channel": channel})).await;
    assert_eq!(answer["type"], "subscribed", "{answer}");
}

async fn publish(client: &mut Client, channel: &str, data: u64) {
    let publish = json!({"type": "publish", "id": 2, "channel": channel, "data": data});
    let answer = client.ask(publish).await;
    assert_eq!(answer["type"], "published", "{answer}");
}

/// The next event, but for those of who comes and goes, and for gaps of channels without history: what a function
/// published for them at the other master may have been missed.
async fn hears(client: &mut Client) -> Value {
    loop {
        let event = client.event().await;
        let is_gap = event["type"] == "gap" && event["channel"] == WITHOUT;
        if event["type"] != "join" && event["type"] != "leave" && !is_gap {
            return event;
        }
    }
}

/// A slot that is on its way, and a client on each of two nodes that had subscribed before.
struct Stage {
    cluster: Cluster,
    nodes: [Node; 2],
    here: Client,
    there: Client,
    from: usize,
    to: usize,
    /// What `there` is to hear next.
    next: u64,
}

impl Stage {
    async fn begin() -> Self {
        let cluster = Cluster::of_masters().await;
        let url = cluster.url();
        let to = (cluster.master_of(CHANNEL).await + 1) % MASTERS;
        Self::begin_at(cluster, &url, to).await
    }

    async fn begin_at(cluster: Cluster, url: &str, to: usize) -> Self {
        let nodes = [Node::at(url, &[RULES]).await, Node::at(url, &[RULES]).await];
        for node in &nodes {
            node.becomes_ready().await;
        }
        let here = Client::json(&nodes[0]).await;
        let mut there = Client::json(&nodes[1]).await;
        subscribe(&mut there, CHANNEL).await;
        let mut stage = Self { cluster, nodes, here, there, from: 0, to, next: 0 };
        stage.relays(3).await;
        stage.from = stage.cluster.begin_move(CHANNEL, to).await;
        stage
    }

    /// So many are published, and arrive once and in order.
    async fn relays(&mut self, count: u64) {
        for number in self.next..self.next + count {
            publish(&mut self.here, CHANNEL, number).await;
        }
        self.hears(count).await;
    }

    async fn hears(&mut self, count: u64) {
        for _ in 0..count {
            let event = hears(&mut self.there).await;
            assert_eq!(
                (&event["type"], &event["data"]),
                (&json!("publication"), &json!(self.next))
            );
            self.next += 1;
        }
    }

    /// All that was published is in the history, and whoever comes back from the first of it misses nothing.
    async fn keeps_all(&mut self) {
        let question = json!({"type": "history", "id": 9, "channel": CHANNEL, "limit": 100});
        let history = self.here.ask(question).await;
        let read = history["publications"].as_array().expect("a list").clone();
        let data: Vec<Value> = read.iter().map(|it| it["data"].clone()).collect();
        assert_eq!(data, (0..self.next).map(Value::from).collect::<Vec<_>>());
        let mut back = Client::json(&self.nodes[0]).await;
        let since = &read[0]["position"];
        let resume = json!({"type": "subscribe", "id": 3, "channel": CHANNEL, "since": since});
        let answer = back.ask(resume).await;
        assert_eq!(answer["recovered"], true, "{answer}");
        for number in 1..self.next {
            assert_eq!(hears(&mut back).await["data"], number);
        }
        back.close().await;
    }

    /// A service appends by the function, at whichever master has the stream.
    async fn service(&mut self) {
        let (key, payload) = (format!("tidegate:{CHANNEL}"), self.next.to_string());
        let call = ["FCALL", "tidegate_publish", "1", &key, &payload];
        let mut connection = self.cluster.servers[self.to].connection().await;
        let mut pipeline = ::redis::pipe();
        pipeline.cmd("ASKING").ignore().cmd(call[0]).arg(&call[1..]);
        let (position,): (String,) =
            pipeline.query_async(&mut connection).await.expect("it is taken");
        assert!(position.contains('-'));
        self.hears(1).await;
    }

    async fn is_ready(&self) {
        for node in &self.nodes {
            node.becomes_ready().await;
        }
    }

    /// The slot arrives at last.
    async fn end(&mut self) {
        self.cluster.end_move(CHANNEL, self.from, self.to).await;
        self.relays(5).await;
        self.keeps_all().await;
        self.is_ready().await;
    }
}

#[tokio::test]
async fn a_history_that_has_not_gone_along_goes_on_where_it_is() {
    let mut stage = Stage::begin().await;
    stage.relays(5).await;
    stage.keeps_all().await;
    stage.is_ready().await;
    stage.end().await;
}

#[tokio::test]
async fn a_history_that_has_gone_along_goes_on_there() {
    let mut stage = Stage::begin().await;
    assert!(stage.cluster.move_key(CHANNEL, stage.from, stage.to).await);
    stage.relays(5).await;
    stage.keeps_all().await;
    stage.service().await;
    stage.relays(2).await;
    stage.is_ready().await;
    stage.end().await;
}

#[tokio::test]
async fn a_server_without_any_slot_is_given_its_first() {
    let mut cluster = Cluster::of_masters().await;
    let to = cluster.add_server().await;
    let url = cluster.url();
    let mut stage = Stage::begin_at(cluster, &url, to).await;
    stage.relays(2).await;
    assert!(stage.cluster.move_key(CHANNEL, stage.from, stage.to).await);
    stage.relays(5).await;
    stage.keeps_all().await;
    stage.service().await;
    stage.is_ready().await;
    stage.end().await;
}

#[tokio::test]
async fn a_move_that_is_called_off_leaves_all_as_it_was() {
    let mut stage = Stage::begin().await;
    stage.relays(2).await;
    stage.cluster.call_off_move(CHANNEL, stage.from, stage.to).await;
    stage.relays(5).await;
    stage.keeps_all().await;
    stage.is_ready().await;
}

#[tokio::test]
async fn a_history_goes_along_while_much_is_published() {
    let mut stage = Stage::begin().await;
    let (from, to) = (stage.from, stage.to);
    for round in 0..10 {
        for number in 0..20 {
            let data = stage.next + number;
            let publish = json!({"type": "publish", "id": 2, "channel": CHANNEL, "data": data});
            stage.here.command(publish).await;
        }
        if round == 5 {
            assert!(stage.cluster.move_key(CHANNEL, from, to).await);
        }
        for _ in 0..20 {
            assert_eq!(stage.here.answer(2).await["type"], "published");
        }
        stage.hears(20).await;
    }
    stage.cluster.end_move(CHANNEL, from, to).await;
    stage.relays(20).await;
}

#[tokio::test]
async fn channels_that_begin_meanwhile_work_too() {
    let mut stage = Stage::begin().await;
    let mut other = Client::json(&stage.nodes[1]).await;
    subscribe(&mut other, OTHER).await;
    subscribe(&mut other, WITHOUT).await;
    for number in 0..5 {
        for channel in [OTHER, WITHOUT] {
            publish(&mut stage.here, channel, number).await;
            let event = hears(&mut other).await;
            assert_eq!((&event["channel"], &event["data"]), (&json!(channel), &json!(number)));
        }
    }
    stage.relays(2).await;
    stage.end().await;
}

#[tokio::test]
async fn the_same_idempotency_key_publishes_once_wherever_it_is() {
    let mut stage = Stage::begin().await;
    let with_key = |id: &str, data: u64| json!({"type": "publish", "id": 5, "channel": CHANNEL, "data": data, "idempotency_key": id});
    // One that is not there yet cannot be written where the history is.
    for id in ["one", "two"] {
        let data = stage.next;
        let first = stage.here.ask(with_key(id, data)).await;
        assert_eq!(first["type"], "published", "{first}");
        stage.hears(1).await;
        assert_eq!(stage.here.ask(with_key(id, 99)).await["position"], first["position"]);
    }
    stage.relays(2).await;
    stage.keeps_all().await;
    stage.end().await;
}

#[tokio::test]
async fn a_key_of_before_is_found_by_a_history_that_has_gone_along() {
    let mut stage = Stage::begin().await;
    stage.cluster.end_move(CHANNEL, stage.from, stage.to).await;
    stage.is_ready().await;
    let data = stage.next;
    let publish = json!({
        "type": "publish", "id": 5, "channel": CHANNEL, "data": data, "idempotency_key": "before",
    });
    let first = stage.here.ask(publish.clone()).await;
    assert_eq!(first["type"], "published", "{first}");
    stage.hears(1).await;
    let back = stage.from;
    let from = stage.cluster.begin_move(CHANNEL, back).await;
    assert!(stage.cluster.move_key(CHANNEL, from, back).await);
    assert_eq!(stage.here.ask(publish).await["position"], first["position"]);
    stage.relays(2).await;
}

#[tokio::test]
async fn who_is_there_is_known_and_who_comes_and_goes() {
    let mut stage = Stage::begin().await;
    let members = json!({"type": "presence", "id": 6, "channel": CHANNEL});
    let sessions = async |client: &mut Client| {
        let answer = client.ask(members.clone()).await;
        answer["members"][0]["sessions"].as_u64()
    };
    eventually("one session", async || (sessions(&mut stage.here).await == Some(1)).then_some(()))
        .await;
    // The first of its node: what Redis keeps of the node is not there yet.
    let mut another = Client::json(&stage.nodes[0]).await;
    subscribe(&mut another, CHANNEL).await;
    eventually("two sessions", async || (sessions(&mut stage.here).await == Some(2)).then_some(()))
        .await;
    another.close().await;
    eventually("one session again", async || {
        (sessions(&mut stage.here).await == Some(1)).then_some(())
    })
    .await;
    stage.relays(2).await;
    stage.end().await;
}

#[tokio::test]
async fn what_cannot_be_served_is_told_by_readiness_and_log_until_it_can() {
    let cluster = Cluster::of_masters().await;
    for server in &cluster.servers {
        let rules = ["ACL", "SETUSER", "gate", "on", ">hush", "~*", "&*", "+@all", "-migrate"];
        let () = server.ask(&rules).await;
    }
    let url = cluster.url().replace("://", "://gate:hush@");
    let to = (cluster.master_of(CHANNEL).await + 1) % MASTERS;
    let mut stage = Stage::begin_at(cluster, &url, to).await;
    stage.relays(2).await;
    let data = stage.next;
    let publish = json!({
        "type": "publish", "id": 5, "channel": CHANNEL, "data": data, "idempotency_key": "one",
    });
    eventually("it to be refused", async || {
        let answer = stage.here.ask(publish.clone()).await;
        let why = answer["message"].as_str()?;
        (answer["code"] == "unavailable" && why.contains("half way")).then_some(())
    })
    .await;
    let node = &stage.nodes[0];
    let told = node.get("/readyz").await;
    assert_eq!(told.status, 503);
    assert!(told.text().contains("a slot that redis moves cannot be used"), "{}", told.text());
    eventually("the log to tell it", async || {
        let lines = node.process.stderr();
        lines.iter().any(|it| it.contains("a slot that redis moves cannot be used")).then_some(())
    })
    .await;
    stage.end().await;
}
