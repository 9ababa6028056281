//! Reloading the configuration of a running node.

mod history;
mod wider_access;

use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;
use testkit::client::{Client, publication};
use testkit::eventually;
use testkit::node::Node;
use testkit::process::Signal;
use testkit::raw::{RawClient, upgrade};
use testkit::token::{self, KEYS, SECRET};

/// A node's configuration file.
struct ConfigFile {
    path: PathBuf,
    _directory: TempDir,
}

impl ConfigFile {
    fn new(content: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("tidegate.toml");
        let file = Self { path, _directory: directory };
        file.write(content);
        file
    }

    /// In one step, so that a node reads no half of it.
    fn write(&self, content: &str) {
        let new = self.path.with_extension("new");
        std::fs::write(&new, content).expect("the file is written");
        std::fs::rename(&new, &self.path).expect("the file is renamed");
    }

    async fn node(&self, settings: &[&str]) -> Node {
        let node = Node::with_config_file(&self.path, settings).await;
        node.wait_until_ready().await;
        node
    }

    /// Writes the file, sends SIGHUP, and waits until the node counts a reload with this outcome.
    async fn reload(&self, node: &Node, content: &str, outcome: &str) {
        let metric = format!("tidegate_config_reloads_total{{outcome=\"{outcome}\"}}");
        let before = node.metric(&metric).await;
        self.write(content);
        node.signal(Signal::HUP);
        eventually("a reload", async || (node.metric(&metric).await > before).then_some(())).await;
    }
}

fn rules(list: &str) -> String {
    format!("rules = [{list}]\n")
}

#[tokio::test]
async fn reloaded_rules_end_forbidden_subscriptions_and_allow_new_ones() {
    let file = ConfigFile::new(&rules(r#"{ pattern = "old" }, { pattern = "both" }"#));
    let node = file.node(&[]).await;
    let mut json = Client::subscribed(&node, "old").await;
    json.subscribe("both").await;
    let mut plain = Client::plain(&node, "old").await;
    let mut unaffected = Client::plain(&node, "both").await;
    let refused = json!({"type": "subscribe", "id": 5, "channel": "new"});
    assert_eq!(json.request(refused).await["code"], "forbidden");
    file.reload(&node, &rules(r#"{ pattern = "new" }, { pattern = "both" }"#), "taken_up").await;
    assert_eq!(u16::from(plain.receive_close().await.code), 4003);
    let ended = json.event().await;
    assert_eq!((&ended["type"], &ended["channel"]), (&json!("error"), &json!("old")));
    assert_eq!(ended["code"], "forbidden");
    json.subscribe("new").await;
    json.publish("both", json!("still here")).await;
    assert_eq!(json.event().await, publication("both", "still here"));
    assert_eq!(unaffected.receive_text().await, "\"still here\"");
}

#[tokio::test]
async fn an_invalid_configuration_is_refused_with_its_faults_and_the_old_stays_in_use() {
    let file = ConfigFile::new(&rules(r#"{ pattern = "old" }"#));
    let node = file.node(&[]).await;
    let mut client = Client::subscribed(&node, "old").await;
    for bad in [
        "rules = [{ patern = \"new\" }]",
        "[session]\nchannels_max = 0",
        "invalid toml",
        "[internal]\napi_key = \"hunter2",
    ] {
        file.reload(&node, bad, "refused").await;
        assert_eq!(node.metric("tidegate_config_refused").await, 1.0);
    }
    let faults = ["did you mean", "session.channels_max", "line 2, column"];
    let log = node.process.wait_for_stderr(&faults).await;
    assert!(!log.contains("hunter2"), "a secret is in the log:\n{log}");
    client.publish("old", json!(1)).await;
    assert_eq!(client.event().await, publication("old", 1));
    node.wait_until_ready().await;
    // The original file is valid again.
    file.write(&rules(r#"{ pattern = "old" }"#));
    node.wait_for_metric("tidegate_config_refused", 0.0).await;
}

#[tokio::test]
async fn a_changed_file_is_loaded_without_a_signal_and_the_log_names_keys_that_need_a_restart() {
    let file = ConfigFile::new("[limits]\npublications_per_second = 1000\n");
    let node = file.node(&[]).await;
    file.write("[limits]\npublications_per_second = 1\n[session]\nchannels_max = 7\n");
    node.wait_for_metric("tidegate_config_reloads_total{outcome=\"taken_up\"}", 1.0).await;
    let mut client = Client::json(&node).await;
    eventually("one of several publications at a time to be too many", async || {
        for id in 1..=5 {
            let publish = json!({"type": "publish", "id": id, "channel": "a", "data": id});
            client.send_command(publish).await;
        }
        let mut refused = None;
        for id in 1..=5 {
            let is_refused = client.answer(id).await["code"] == "rate_limited";
            refused = refused.or(is_refused.then_some(()));
        }
        refused
    })
    .await;
    let named = ["session.channels_max", "restart", "limits.publications_per_second"];
    node.process.wait_for_stderr(&named).await;
}

#[tokio::test]
async fn rotating_keys_closes_no_connection_and_ends_the_old_keys_validity() {
    const NEXT: &str = "the next secret, of thirty-two bytes";
    let keys = |secrets: &[&str]| {
        let keys = secrets.iter().map(|it| format!(r#"{{ alg = "HS256", secret = "{it}" }}"#));
        format!("[auth]\nkeys = [{}]\n", keys.collect::<Vec<_>>().join(", "))
    };
    let file = ConfigFile::new(&keys(&[SECRET]));
    let node = file.node(&[]).await;
    let claims = || json!({"sub": "u1", "subscribe": ["a"], "publish": ["a"]});
    let (old, new) = (token::token(60.0, claims()), token::signed(NEXT, 60.0, claims()));
    let mut early = Client::open(&node, &format!("/ws/a?token={old}")).await;
    file.reload(&node, &keys(&[SECRET, NEXT]), "taken_up").await;
    let mut client = Client::open(&node, &format!("/ws/a?token={new}")).await;
    client.send("with the new key").await;
    assert_eq!(early.receive_text().await, "with the new key");
    file.reload(&node, &keys(&[NEXT]), "taken_up").await;
    let mut late = Client::open(&node, &format!("/ws/a?token={old}")).await;
    assert_eq!(u16::from(late.receive_close().await.code), 4001);
    early.send("still here").await;
    assert_eq!(early.receive_text().await, "still here");
}

#[tokio::test]
async fn a_changed_key_file_is_loaded_without_a_signal() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "a first secret, long enough for all").expect("the file is written");
    let keys = format!(r#"auth.keys=[{{ alg = "HS256", file = "{}" }}]"#, secret.display());
    let node = Node::standalone(&[&keys]).await;
    std::fs::write(&secret, SECRET).expect("the file is written");
    node.wait_for_metric("tidegate_config_reloads_total{outcome=\"taken_up\"}", 1.0).await;
    let mut client = Client::json(&node).await;
    let command = json!({"type": "auth", "id": 1, "token": token::for_user("u1", &[])});
    assert_eq!(client.request(command).await["type"], "authenticated");
}

#[tokio::test]
async fn a_reload_changes_origins_and_the_log_level() {
    let file = ConfigFile::new("[server]\norigins = [\"one.example\"]\n");
    let node = file.node(&[]).await;
    let status = async |origin: &str| {
        let mut client = RawClient::connect(&node).await;
        client.send(upgrade("/ws", &format!("Origin: https://{origin}\r\n"))).await;
        client.response().await.status
    };
    assert_eq!((status("one.example").await, status("two.example").await), (101, 403));
    let content = "[server]\norigins = [\"two.example\"]\n[telemetry]\nlog_level = \"debug\"\n";
    file.reload(&node, content, "taken_up").await;
    assert_eq!((status("one.example").await, status("two.example").await), (403, 101));
    eventually("a line of level debug", async || {
        node.process.stderr().iter().any(|line| line.contains("rejected")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_reload_that_changes_no_access_keeps_authenticated_sessions() {
    let file = ConfigFile::new("[limits]\nconnections_per_user = 5\n");
    let node = file.node(&[KEYS]).await;
    let token = token::for_user("u1", &["a"]);
    let mut client = Client::open(&node, &format!("/ws/a?token={token}")).await;
    file.reload(&node, "[limits]\nconnections_per_user = 6\n", "taken_up").await;
    client.send("still here").await;
    assert_eq!(client.receive_text().await, "still here");
}

#[tokio::test]
async fn a_subscription_that_waits_during_a_reload_is_checked_against_the_new_rules() {
    let history = r#"history = { size = 10, age = "1m" }"#;
    let file = ConfigFile::new(&rules(&format!(r#"{{ pattern = "a", {history} }}"#)));
    let node = file.node(&[]).await;
    let mut client = Client::json(&node).await;
    let published = json!({"type": "publish", "id": 1, "channel": "a", "data": 1});
    let position =
        client.request(published).await["position"].as_str().expect("a position").to_owned();
    let (epoch, _) = position.split_once('-').expect("a position");
    // A position ahead of the channel's last one: the node waits until the channel reaches it.
    let since = format!("{epoch}-100");
    let command = json!({"type": "subscribe", "id": 2, "channel": "a", "since": since});
    client.send_command(command).await;
    let denied = rules(&format!(
        r#"{{ pattern = "a", {history}, subscribe = "nobody", publish = "anyone" }}"#
    ));
    file.reload(&node, &denied, "taken_up").await;
    assert_eq!(client.answer(2).await["code"], "forbidden");
}

#[tokio::test]
async fn a_truncated_file_without_keys_is_refused_and_access_stays_restricted() {
    let restricted = format!(
        "[auth]\nkeys = [{{ alg = \"HS256\", secret = \"{SECRET}\" }}]\n\
         [internal]\napi_key = \"0123456789abcdef\"\n"
    );
    let file = ConfigFile::new(&restricted);
    let node = file.node(&[]).await;
    for truncated in ["", "\n", "demo = true\n", "[auth]\nkeys = []\n"] {
        file.reload(&node, truncated, "refused").await;
        let mut anonymous = Client::open(&node, "/ws/a").await;
        assert_eq!(u16::from(anonymous.receive_close().await.code), 4001, "{truncated:?}");
        assert_eq!(
            node.post("/api/disconnect?user=u1", &[], b"").await.status,
            401,
            "{truncated:?}"
        );
    }
    // `auth.mode = "none"` written out is intended.
    let open = "[auth]\nmode = \"none\"\n[internal]\napi_key = \"0123456789abcdef\"\n";
    file.reload(&node, open, "taken_up").await;
    let mut anyone = Client::plain(&node, "a").await;
    anyone.send("in").await;
    assert_eq!(anyone.receive_text().await, "in");
}

#[tokio::test]
async fn a_refused_configuration_is_loaded_once_its_fault_is_removed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let secret = directory.path().join("secret");
    let file = ConfigFile::new("");
    let node = file.node(&[KEYS]).await;
    let content = format!(
        "[limits]\nconnections_per_user = 1\n[server.tls]\ncert = \"{0}\"\nkey = \"{0}\"\n",
        secret.display()
    );
    file.reload(&node, &content, "refused").await;
    file.write("[limits]\nconnections_per_user = 1\n");
    node.wait_for_metric("tidegate_config_reloads_total{outcome=\"taken_up\"}", 1.0).await;
    assert_eq!(node.metric("tidegate_config_reloads_total{outcome=\"refused\"}").await, 1.0);
}

#[tokio::test]
async fn anonymous_clients_are_closed_with_4001_after_a_reload_configures_keys() {
    let file = ConfigFile::new("");
    let node = file.node(&[]).await;
    let mut json = Client::json(&node).await;
    let mut plain = Client::plain(&node, "a").await;
    let keys = format!(
        "[auth]\ntimeout = \"300ms\"\nkeys = [{{ alg = \"HS256\", secret = \"{SECRET}\" }}]\n"
    );
    file.reload(&node, &keys, "taken_up").await;
    assert_eq!(u16::from(plain.receive_close().await.code), 4001);
    assert_eq!(u16::from(json.receive_close().await.code), 4001, "auth.timeout is over");
}
