//! The rules of a fleet in Redis: the same for all nodes, replaced atomically, and only by nodes.

use std::collections::HashMap;
use std::path::PathBuf;

use redis::Value;
use serde_json::json;
use tempfile::TempDir;
use testkit::client::Client;
use testkit::cluster::Cluster;
use testkit::eventually;
use testkit::node::{Node, run_to_end, tidegate};
use testkit::process::{Process, Signal};
use testkit::redis::Redis;

const ON: &str = r#"rules=[{pattern="h",history={size=1000,age="10m"}},{pattern="**"}]"#;
const OFF: &str = r#"rules=[{pattern="**"}]"#;

/// The code of the installed function library. None: it is not installed.
async fn functions(redis: &Redis) -> Option<String> {
    let list = ["FUNCTION", "LIST", "LIBRARYNAME", "tidegate", "WITHCODE"];
    let libraries: Vec<HashMap<String, Value>> = redis.query(&list).await;
    let code = libraries.into_iter().next()?.remove("library_code").expect("the library has code");
    Some(redis::from_redis_value(code).expect("a text is a string"))
}

/// A node whose rules are in a file, to be reloaded.
struct ReloadableNode {
    node: Node,
    path: PathBuf,
    _directory: TempDir,
}

impl ReloadableNode {
    async fn on(redis: &Redis, rules: &str) -> Self {
        Self::at(&redis.url(), rules).await
    }

    async fn at(url: &str, rules: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("tidegate.toml");
        std::fs::write(&path, rules).expect("the file is written");
        let node = Node::with_config_file(&path, &[&format!("broker.url={url}")]).await;
        node.wait_until_ready().await;
        Self { node, path, _directory: directory }
    }

    async fn reload(&self, rules: &str) {
        let metric = "tidegate_config_reloads_total{outcome=\"taken_up\"}";
        let before = self.node.metric(metric).await;
        std::fs::write(&self.path, rules).expect("the file is written");
        self.node.signal(Signal::HUP);
        let is_done = async || (self.node.metric(metric).await > before).then_some(());
        eventually("a reload", is_done).await;
    }
}

/// Publishes, and returns the position if the channel keeps history.
async fn publish(client: &mut Client, channel: &str, data: u64) -> Option<String> {
    let command = json!({"type": "publish", "id": 2, "channel": channel, "data": data});
    let answer = client.request(command).await;
    assert_eq!(answer["type"], "published", "{answer}");
    answer["position"].as_str().map(str::to_owned)
}

/// The value of `recovered` for a client that resumes from this position.
async fn recovered(node: &Node, since: &str) -> serde_json::Value {
    let mut client = Client::json(node).await;
    let command = json!({"type": "subscribe", "id": 1, "channel": "h", "since": since});
    client.request(command).await["recovered"].clone()
}

fn epoch(position: &str) -> &str {
    position.split('-').next().expect("a position")
}

#[tokio::test]
async fn no_command_line_tool_changes_the_rules_of_a_running_fleet() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[ON]).await;
    let installed = functions(&redis).await.expect("a node has installed them");
    let mut client = Client::json(&node).await;
    let first = publish(&mut client, "h", 1).await.expect("a position");
    let broker = format!("broker.url={}", redis.url());
    let mut subscribe = Process::spawn(
        "tidegate subscribe",
        tidegate(&["subscribe", "h", "--set", &broker, "--set", OFF]),
    );
    eventually("a subscription", async || (redis.subscribers("h").await == 1).then_some(())).await;
    let commands: [&[&str]; 4] = [
        &["publish", "h", "of a command", "--json"],
        &["check"],
        &["explain", "--channel", "h"],
        &["doctor"],
    ];
    for command in commands {
        // Without rules, with rules other than the fleet's, and with the fleet's.
        for rules in [OFF, r#"rules=[{pattern="h",history={size=1,age="1s"}}]"#, ON] {
            let arguments = [command, &["--set", &broker, "--set", rules]].concat();
            let ended = run_to_end(tidegate(&arguments)).await;
            assert!(ended.status.success(), "{ended:?}");
            let has_position = String::from_utf8_lossy(&ended.stdout).contains("\"position\"");
            assert_eq!(has_position, command[0] == "publish", "{rules}: {ended:?}");
            let is_same = functions(&redis).await.as_ref() == Some(&installed);
            assert!(is_same, "{command:?} has changed the functions");
        }
    }
    eventually("a line", async || subscribe.stdout().first().cloned()).await;
    subscribe.signal(Signal::INT);
    assert_eq!(subscribe.exit_code().await, 0);
    assert_eq!(functions(&redis).await, Some(installed));
    // The history holds the command's publications and continues in the same epoch.
    let answer = client.request(json!({"type": "history", "id": 3, "channel": "h"})).await;
    let kept = answer["publications"].as_array().expect("a list");
    let texts = kept.iter().filter(|it| it["text"] == "of a command").count();
    assert_eq!((kept.len(), texts), (4, 3), "{answer}");
    let last = publish(&mut client, "h", 2).await.expect("a position");
    assert_eq!(epoch(&last), epoch(&first));
    assert_eq!(recovered(&node, &first).await, true);
}

#[tokio::test]
async fn the_publish_command_works_without_installed_functions_and_installs_none() {
    let redis = Redis::start().await;
    let mut listener = redis.subscriber("h").await;
    let broker = format!("broker.url={}", redis.url());
    let command = ["publish", "h", "alone", "--set", &broker, "--set", ON];
    let ended = run_to_end(tidegate(&command)).await;
    assert!(ended.status.success(), "{ended:?}");
    assert!(listener.receive().await.ends_with(b"alone"));
    // Neither the fleet's functions nor the function that returns the fleet's secret.
    let libraries: Vec<Value> = redis.query(&["FUNCTION", "LIST"]).await;
    assert_eq!(libraries, [], "the command installed functions");
}

#[tokio::test]
async fn once_a_starting_node_is_ready_an_fcall_is_kept_by_its_rules() {
    let redis = Redis::start().await;
    let _before = Node::on(&redis, &[OFF]).await;
    let call = ["FCALL", "tidegate_publish", "1", "tidegate:h", "1"];
    assert_eq!(redis.query::<Option<String>>(&call).await, None, "the rules keep no history");
    let node = Node::on(&redis, &[ON]).await;
    let position = redis.query::<Option<String>>(&call).await.expect("a position");
    let mut client = Client::json(&node).await;
    let history = client.request(json!({"type": "history", "id": 1, "channel": "h"})).await;
    assert_eq!(history["position"], position, "{history}");
}

#[tokio::test]
async fn nodes_on_redis_adopt_rules_installed_by_another_node_and_begin_one_history() {
    let redis = Redis::start().await;
    adopt_rules_and_begin_one_history(&redis.url()).await;
}

#[tokio::test]
async fn nodes_on_a_cluster_adopt_rules_installed_by_another_node_and_begin_one_history() {
    let cluster = Cluster::without_replicas().await;
    adopt_rules_and_begin_one_history(&cluster.url()).await;
}

async fn adopt_rules_and_begin_one_history(url: &str) {
    let (first, second) = (ReloadableNode::at(url, OFF).await, ReloadableNode::at(url, OFF).await);
    let mut client_a = Client::json(&first.node).await;
    let mut client_b = Client::json(&second.node).await;
    assert_eq!(publish(&mut client_b, "h", 0).await, None);
    let mut data = 0;
    let mut publish_by_turns = async || {
        data += 1;
        let client = if data % 2 == 0 { &mut client_a } else { &mut client_b };
        publish(client, "h", data).await
    };
    let publishing = async {
        let mut positions = Vec::new();
        // Until long after both nodes have reloaded.
        while positions.iter().flatten().count() < 600 {
            positions.push(publish_by_turns().await);
        }
        positions
    };
    let reloading = async {
        first.reload(ON).await;
        second.reload(ON).await;
    };
    let (positions, ()) = tokio::join!(publishing, reloading);
    // From one moment on Redis keeps all publications, whichever node publishes them and whatever that node's own rules
    // are.
    let kept: Vec<_> = positions.iter().skip_while(|it| it.is_none()).collect();
    assert!(
        kept.iter().all(|it| it.is_some()),
        "publications are missing from the history: {positions:?}"
    );
    let epochs: Vec<_> = kept.iter().flat_map(|it| it.as_deref()).map(epoch).collect();
    assert!(epochs.windows(2).all(|pair| pair[0] == pair[1]), "a second history began: {epochs:?}");
    let start = kept[0].as_deref().expect("a position");
    for node in [&first.node, &second.node] {
        eventually("a complete history", async || {
            (recovered(node, start).await == true).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn publications_that_bypassed_history_during_a_rules_change_begin_a_new_history() {
    let redis = Redis::start().await;
    let (first, second) =
        (ReloadableNode::on(&redis, OFF).await, ReloadableNode::on(&redis, OFF).await);
    let mut client_a = Client::json(&first.node).await;
    let mut client_b = Client::json(&second.node).await;
    let mut listener = redis.subscriber("h").await;
    second.node.signal(Signal::STOP);
    first.reload(ON).await;
    let start = eventually("a history", async || publish(&mut client_a, "h", 1).await).await;
    // These commands are in the node's socket before the message about the new rules is.
    for data in 0..50 {
        let command = json!({"type": "publish", "id": data, "channel": "h", "data": data});
        client_b.send_command(command).await;
    }
    second.node.signal(Signal::CONT);
    let mut bypassed_history = false;
    for data in 0..50 {
        bypassed_history |= client_b.answer(data).await["position"].is_null();
    }
    drop(listener.receive().await);
    if bypassed_history {
        // Once the node has learned of the rules, `recovered` is never true for the older position.
        eventually("a new epoch", async || {
            let next = publish(&mut client_a, "h", 2).await.expect("a position");
            (epoch(&next) != epoch(&start)).then_some(())
        })
        .await;
        assert_eq!(recovered(&first.node, &start).await, false);
    } else {
        assert_eq!(recovered(&first.node, &start).await, true);
    }
}

#[tokio::test]
async fn no_client_is_recovered_after_another_node_has_switched_history_off() {
    let redis = Redis::start().await;
    let (first, second) =
        (ReloadableNode::on(&redis, ON).await, ReloadableNode::on(&redis, ON).await);
    let mut client = Client::json(&second.node).await;
    let mut listener = Client::json(&second.node).await;
    listener.request(json!({"type": "subscribe", "id": 1, "channel": "h"})).await;
    let since = publish(&mut client, "h", 1).await.expect("a position");
    assert_eq!(recovered(&second.node, &since).await, true);
    first.reload(OFF).await;
    // The rules of the second node still keep history.
    let is_not_kept = async || publish(&mut client, "h", 2).await.is_none().then_some(());
    eventually("a publication that is not kept", is_not_kept).await;
    assert_eq!(recovered(&second.node, &since).await, false);
}

#[tokio::test]
async fn doctor_reports_a_fleet_with_the_same_prefix_in_another_database() {
    let redis = Redis::start().await;
    let prefix = "broker.prefix=shared:";
    let own = Node::on(&redis, &[ON, prefix]).await;
    let doctor = async |database: u32, rules: &str| {
        let broker = format!("broker.url={}/{database}", redis.url());
        let command = ["doctor", "--set", &broker, "--set", prefix, "--set", rules];
        String::from_utf8(run_to_end(tidegate(&command)).await.stdout).expect("the output is text")
    };
    let healthy = doctor(0, ON).await;
    assert!(healthy.contains("those of this configuration are installed"), "{healthy}");
    assert!(!healthy.contains("other rules than"), "{healthy}");
    let staging = Node::start_at(&format!("{}/3", redis.url()), &[ON, prefix]).await;
    staging.wait_until_ready().await;
    let by = functions(&redis).await.expect("the functions are installed");
    assert!(by.contains("\"database\":3"), "the later node has not replaced the rules");
    let faulty = doctor(0, ON).await;
    assert!(faulty.contains("for database 3"), "{faulty}");
    // For the other database, `doctor` finds the difference in the messages of the remaining nodes.
    let faulty = doctor(3, ON).await;
    assert!(
        faulty.contains("those of this configuration") && faulty.contains("other rules than"),
        "{faulty}"
    );
    assert_eq!(
        own.metric("tidegate_rules_mismatch").await,
        0.0,
        "the metric exists from the start"
    );
}

#[tokio::test]
async fn a_metric_and_the_log_report_that_another_node_replaced_the_rules() {
    let redis = Redis::start().await;
    let own = Node::on(&redis, &[ON]).await;
    let staging = Node::on(&redis, &[OFF]).await;
    let redis_differs = "tidegate_rules_mismatch{with=\"redis\"}";
    // A node reports a difference only after it has lasted for longer than `eventually` waits.
    for node in [redis_differs, "tidegate_rules_mismatch{with=\"nodes\"}"] {
        let is_reported = async || (own.metric(node).await == 1.0).then_some(());
        if tokio::time::timeout(std::time::Duration::from_secs(19), async {
            while is_reported().await.is_none() {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        })
        .await
        .is_err()
        {
            eventually("the difference to be reported", is_reported).await;
        }
    }
    assert_eq!(
        staging.metric(redis_differs).await,
        0.0,
        "the installed rules are the staging node's"
    );
    let name = |node: &Node| {
        let log = node.process.stderr().join("\n");
        let after = log.split("node=").nth(1).or_else(|| log.split("\"node\":\"").nth(1));
        after.expect("the log names the node").chars().take(12).collect::<String>()
    };
    let other = name(&staging);
    // One line says which node installed the rules, one which node uses other rules.
    eventually(&format!("the log to name {other} twice"), async || {
        let log = own.process.stderr().join("\n");
        (log.contains(&format!("{other} on ")) && log.matches(&other).count() >= 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_database_other_than_0_requires_a_prefix_of_its_own() {
    let refused = ["check", "--set", "broker.url=redis://127.0.0.1/3"];
    let ended = run_to_end(tidegate(&refused)).await;
    assert_eq!(ended.status.code(), Some(2));
    let fault = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(fault.contains("broker.prefix") && fault.contains("\"tidegate3:\""), "{fault}");
    for (url, prefix) in
        [("redis://127.0.0.1/3", "tidegate3:"), ("redis://127.0.0.1/0", "tidegate:")]
    {
        let (url, prefix) = (format!("broker.url={url}"), format!("broker.prefix={prefix}"));
        let ended = run_to_end(tidegate(&["check", "--set", &url, "--set", &prefix])).await;
        assert!(ended.status.success(), "{ended:?}");
    }
}
