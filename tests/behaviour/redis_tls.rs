//! Redis over TLS: one server, sentinels and a cluster; and the reasons that nodes report when it fails.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::json;
use testkit::authority::Authority;
use testkit::client::{Client, publication};
use testkit::cluster::Cluster;
use testkit::eventually;
use testkit::node::{Node, run_to_end, tidegate};
use testkit::process::{Process, Signal};
use testkit::redis::{Redis, free_address};

const RULES: &str = "[[rules]]\npattern = \"h:*\"\nsubscribe = \"anyone\"\npublish = \"anyone\"\n\
    presence = true\nhistory = { size = 100, age = \"10m\" }\n\n\
    [[rules]]\npattern = \"**\"\nsubscribe = \"anyone\"\npublish = \"anyone\"\n";

struct TlsRedis {
    redis: Redis,
    encrypted: SocketAddr,
}

impl TlsRedis {
    async fn start(authority: &Authority) -> Self {
        let (mut redis, encrypted) = Redis::stopped_with_tls(authority, &[]);
        redis.run().await;
        Self { redis, encrypted }
    }

    fn url(&self) -> String {
        format!("rediss://{}", self.encrypted)
    }
}

fn ca_file_setting(authority: &Authority) -> String {
    format!("broker.ca_file={}", authority.certificate_file().display())
}

/// Waits until `/readyz` reports a reason that contains this text.
async fn wait_for_unready_reason(node: &Node, part: &str) {
    eventually(&format!("a reason with {part:?}"), async || {
        let answer = node.get("/readyz").await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        answer.text().contains(part).then_some(())
    })
    .await;
}

#[tokio::test]
async fn relaying_history_and_resubscribing_work_with_redis_over_tls() {
    let authority = Authority::create();
    let server = TlsRedis::start(&authority).await;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("tidegate.toml");
    std::fs::write(&file, RULES).expect("the rules are written");
    let (url, trust) = (format!("broker.url={}", server.url()), ca_file_setting(&authority));
    let settings = [url.as_str(), &trust];
    let nodes = [
        Node::with_config_file(&file, &settings).await,
        Node::with_config_file(&file, &settings).await,
    ];
    nodes[0].wait_until_ready().await;
    nodes[1].wait_until_ready().await;

    let mut client_a = Client::subscribed(&nodes[0], "news").await;
    let mut client_b = Client::subscribed(&nodes[1], "news").await;
    for number in 0..200 {
        client_a.publish("news", number.into()).await;
        assert_eq!(client_b.event().await, publication("news", number));
    }
    server.redis.publish("news", "\"service\"").await;
    assert_eq!(client_b.event().await, publication("news", "service"));

    // Larger than a TLS record, in both directions.
    let large = "x".repeat(60_000);
    client_a.publish("news", large.clone().into()).await;
    assert_eq!(client_b.event().await, publication("news", large));

    let publish = json!({"type": "publish", "id": 3, "channel": "h:1", "data": 1});
    assert_eq!(client_a.request(publish).await["type"], "published");
    let history = json!({"type": "history", "id": 4, "channel": "h:1"});
    assert_eq!(client_b.request(history).await["publications"][0]["data"], 1);

    let channels: Vec<String> = (0..100).map(|number| format!("room:{number}")).collect();
    for channel in &channels {
        client_b.subscribe(channel).await;
    }
    server.redis.kill_subscribers().await;
    nodes[1].wait_for_metric("tidegate_subscriptions_confirmed", 101.).await;
    eventually("a node to be subscribed again", async || {
        (server.redis.subscribers("room:99").await == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn publish_and_subscribe_commands_work_with_redis_over_tls() {
    let authority = Authority::create();
    let server = TlsRedis::start(&authority).await;
    let (url, trust) = (format!("broker.url={}", server.url()), ca_file_setting(&authority));
    let settings = ["--set", &url, "--set", &trust];
    let command = tidegate(&[&["subscribe", "news"][..], &settings].concat());
    let mut subscribe = Process::spawn("tidegate subscribe", command);
    eventually("a subscription", async || {
        (server.redis.subscribers("news").await == 1).then_some(())
    })
    .await;
    let ended =
        run_to_end(tidegate(&[&["publish", "news", "héllo"][..], &settings].concat())).await;
    assert!(ended.status.success(), "{ended:?}");
    let line = eventually("a line", async || subscribe.stdout().first().cloned()).await;
    assert_eq!(line, "héllo");
    subscribe.signal(Signal::INT);
    assert_eq!(subscribe.exit_code().await, 0);
}

#[tokio::test]
async fn a_redis_with_an_untrusted_certificate_is_refused_and_the_reason_reported() {
    let (authority, other) = (Authority::create(), Authority::create());
    let server = TlsRedis::start(&authority).await;
    let node = Node::start_at(&server.url(), &[&ca_file_setting(&other)]).await;
    wait_for_unready_reason(
        &node,
        "its certificate is not trusted: no authority that is trusted here",
    )
    .await;
    let logged = || node.process.stderr().join("\n").contains("its certificate is not trusted");
    eventually("the reason to be logged", async || logged().then_some(())).await;

    let ended = run_to_end(tidegate(&[
        "publish",
        "news",
        "x",
        "--set",
        &format!("broker.url={}", server.url()),
        "--set",
        &ca_file_setting(&other),
    ]))
    .await;
    assert_eq!(ended.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(errors.contains("its certificate is not trusted"), "{errors}");
}

#[tokio::test]
async fn a_redis_with_a_certificate_for_another_host_is_refused() {
    let authority = Authority::create();
    let identity = authority.issue_for("elsewhere", &["redis.example"]);
    let (mut redis, encrypted) = Redis::stopped_with_tls(
        &authority,
        &[
            "--tls-cert-file",
            identity.cert.to_str().expect("a path"),
            "--tls-key-file",
            identity.key.to_str().expect("a path"),
        ],
    );
    redis.run().await;
    let node =
        Node::start_at(&format!("rediss://{encrypted}"), &[&ca_file_setting(&authority)]).await;
    wait_for_unready_reason(&node, "not valid for name").await;
}

#[tokio::test]
async fn a_redis_without_tls_is_refused_on_a_rediss_url() {
    let (authority, redis) = (Authority::create(), Redis::start().await);
    let node =
        Node::start_at(&format!("rediss://{}", redis.address), &[&ca_file_setting(&authority)])
            .await;
    wait_for_unready_reason(&node, "does not speak TLS on this port").await;
}

#[tokio::test]
async fn an_unusable_broker_ca_file_is_a_configuration_fault() {
    let authority = Authority::create();
    for (url, ca_file, part) in [
        ("rediss://127.0.0.1", "/nowhere/ca.pem", "No such file"),
        ("rediss://127.0.0.1", "Cargo.toml", "contains no certificate"),
        (
            "redis://127.0.0.1",
            authority.certificate_file().to_str().expect("a path"),
            "without TLS",
        ),
    ] {
        let (url, ca_file) = (format!("broker.url={url}"), format!("broker.ca_file={ca_file}"));
        let ended = run_to_end(tidegate(&["check", "--set", &url, "--set", &ca_file])).await;
        let errors = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(2), "{errors}");
        assert!(errors.contains("broker.ca_file") && errors.contains(part), "{errors}");
    }
}

#[tokio::test]
async fn a_cluster_over_tls_relays_the_channels_of_all_masters() {
    let authority = Authority::create();
    let cluster = Cluster::with_tls(&authority).await;
    assert!(cluster.url().starts_with("rediss+cluster://"));
    let (url, trust) = (cluster.url(), ca_file_setting(&authority));
    let nodes = [Node::start_at(&url, &[&trust]).await, Node::start_at(&url, &[&trust]).await];
    nodes[0].wait_until_ready().await;
    nodes[1].wait_until_ready().await;
    let mut client_a = Client::json(&nodes[0]).await;
    let mut client_b = Client::json(&nodes[1]).await;
    // Enough channels that every master has some.
    for number in 0..12 {
        let channel = format!("room:{number}");
        client_b.subscribe(&channel).await;
        client_a.publish(&channel, number.into()).await;
        assert_eq!(client_b.event().await, publication(&channel, number));
    }
    cluster.publish("room:1", "\"service\"").await;
    assert_eq!(client_b.event().await, publication("room:1", "service"));
}

#[tokio::test]
async fn a_node_finds_its_master_through_sentinels_over_tls() {
    let authority = Authority::create();
    let server = TlsRedis::start(&authority).await;
    let identity = authority.issue("sentinel");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let sentinel = free_address();
    let settings = format!(
        "port 0\ntls-port {}\nbind 127.0.0.1\ndir {}\n\
         tls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\n\
         tls-auth-clients no\ntls-replication yes\n\
         sentinel monitor main 127.0.0.1 {} 1\n",
        sentinel.port(),
        directory.path().display(),
        identity.cert.display(),
        identity.key.display(),
        authority.certificate_file().display(),
        server.encrypted.port(),
    );
    let file = directory.path().join("sentinel.conf");
    std::fs::write(&file, settings).expect("the settings are written");
    let mut command = Command::new("redis-server");
    command.arg(&file).arg("--sentinel");
    let _sentinel = Process::spawn("redis-sentinel", command);

    let url = format!("rediss+sentinel://{sentinel}/main");
    let node = Node::start_at(&url, &[&ca_file_setting(&authority)]).await;
    node.wait_until_ready().await;
    let mut client = Client::subscribed(&node, "news").await;
    client.publish("news", 1.into()).await;
    assert_eq!(client.event().await, publication("news", 1));
}
