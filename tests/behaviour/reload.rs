//! New settings for a node that runs.

mod widened;

use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;
use testkit::client::{Client, publication};
use testkit::eventually;
use testkit::node::Node;
use testkit::process::Signal;
use testkit::raw::{Raw, upgrade};
use testkit::redis::Redis;
use testkit::token::{self, KEYS, SECRET};

/// A node's configuration file.
struct File {
    path: PathBuf,
    _directory: TempDir,
}

impl File {
    fn new(content: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("tidegate.toml");
        let file = Self { path, _directory: directory };
        file.write(content);
        file
    }

    fn write(&self, content: &str) {
        std::fs::write(&self.path, content).expect("the file is written");
    }

    async fn node(&self, settings: &[&str]) -> Node {
        let node = Node::configured(&self.path, settings).await;
        node.becomes_ready().await;
        node
    }

    /// Writes it and has the node read it.
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
async fn what_new_rules_no_longer_allow_ends_and_what_they_allow_begins() {
    let file = File::new(&rules(r#"{ pattern = "old" }, { pattern = "both" }"#));
    let node = file.node(&[]).await;
    let mut json = Client::subscribed(&node, "old").await;
    json.subscribe("both").await;
    let mut plain = Client::plain(&node, "old").await;
    let mut stays = Client::plain(&node, "both").await;
    let refused = json!({"type": "subscribe", "id": 5, "channel": "new"});
    assert_eq!(json.ask(refused).await["code"], "forbidden");
    file.reload(&node, &rules(r#"{ pattern = "new" }, { pattern = "both" }"#), "taken_up").await;
    assert_eq!(u16::from(plain.is_closed().await.code), 4003);
    let ended = json.event().await;
    assert_eq!((&ended["type"], &ended["channel"]), (&json!("error"), &json!("old")));
    assert_eq!(ended["code"], "forbidden");
    json.subscribe("new").await;
    json.publish("both", json!("still here")).await;
    assert_eq!(json.event().await, publication("both", "still here"));
    assert_eq!(stays.hears_text().await, "\"still here\"");
}

#[tokio::test]
async fn a_bad_configuration_is_refused_with_its_faults_and_the_old_goes_on() {
    let file = File::new(&rules(r#"{ pattern = "old" }"#));
    let node = file.node(&[]).await;
    let mut client = Client::subscribed(&node, "old").await;
    for bad in [
        "rules = [{ patern = \"new\" }]",
        "[session]\nchannels_max = 0",
        "no toml at all",
        "[internal]\napi_key = \"hunter2",
    ] {
        file.reload(&node, bad, "refused").await;
        assert_eq!(node.metric("tidegate_config_refused").await, 1.0);
    }
    let log = node.process.stderr().join("\n");
    for fault in ["did you mean", "session.channels_max", "line 2, column"] {
        assert!(log.contains(fault), "{fault:?} is not in the log:\n{log}");
    }
    assert!(!log.contains("hunter2"), "a secret is in the log:\n{log}");
    client.publish("old", json!(1)).await;
    assert_eq!(client.event().await, publication("old", 1));
    node.becomes_ready().await;
    // As it was, it is a good one.
    file.write(&rules(r#"{ pattern = "old" }"#));
    node.metric_becomes("tidegate_config_refused", 0.0).await;
}

#[tokio::test]
async fn a_changed_file_is_taken_up_without_a_signal_and_a_restart_is_asked_for_where_it_takes_one()
{
    let file = File::new("[limits]\npublications_per_second = 1000\n");
    let node = file.node(&[]).await;
    file.write("[limits]\npublications_per_second = 1\n[session]\nchannels_max = 7\n");
    node.metric_becomes("tidegate_config_reloads_total{outcome=\"taken_up\"}", 1.0).await;
    let mut client = Client::json(&node).await;
    client.publish("a", json!(1)).await;
    let second = json!({"type": "publish", "id": 3, "channel": "a", "data": 1});
    assert_eq!(client.ask(second).await["code"], "rate_limited");
    let log = node.process.stderr().join("\n");
    assert!(log.contains("session.channels_max") && log.contains("restart"), "{log}");
    assert!(log.contains("limits.publications_per_second"), "{log}");
}

#[tokio::test]
async fn keys_are_rotated_without_dropping_anyone() {
    const NEXT: &str = "the next secret, of thirty-two bytes";
    let keys = |secrets: &[&str]| {
        let keys = secrets.iter().map(|it| format!(r#"{{ alg = "HS256", secret = "{it}" }}"#));
        format!("[auth]\nkeys = [{}]\n", keys.collect::<Vec<_>>().join(", "))
    };
    let file = File::new(&keys(&[SECRET]));
    let node = file.node(&[]).await;
    let claims = || json!({"sub": "u1", "subscribe": ["a"], "publish": ["a"]});
    let (old, new) = (token::token(60.0, claims()), token::signed(NEXT, 60.0, claims()));
    let mut early = Client::open(&node, &format!("/ws/a?token={old}")).await;
    file.reload(&node, &keys(&[SECRET, NEXT]), "taken_up").await;
    let mut client = Client::open(&node, &format!("/ws/a?token={new}")).await;
    client.say("by the new key").await;
    assert_eq!(early.hears_text().await, "by the new key");
    file.reload(&node, &keys(&[NEXT]), "taken_up").await;
    let mut late = Client::open(&node, &format!("/ws/a?token={old}")).await;
    assert_eq!(u16::from(late.is_closed().await.code), 4001);
    early.say("still here").await;
    assert_eq!(early.hears_text().await, "still here");
}

#[tokio::test]
async fn a_key_file_that_changes_is_read_again() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "a first secret, long enough for all").expect("it is written");
    let keys = format!(r#"auth.keys=[{{ alg = "HS256", file = "{}" }}]"#, secret.display());
    let node = Node::alone(&[&keys]).await;
    std::fs::write(&secret, SECRET).expect("it is written");
    node.metric_becomes("tidegate_config_reloads_total{outcome=\"taken_up\"}", 1.0).await;
    let mut client = Client::json(&node).await;
    let command = json!({"type": "auth", "id": 1, "token": token::of("u1", &[])});
    assert_eq!(client.ask(command).await["type"], "authenticated");
}

#[tokio::test]
async fn origins_and_the_log_level_change_too() {
    let file = File::new("[server]\norigins = [\"one.example\"]\n");
    let node = file.node(&[]).await;
    let status = async |origin: &str| {
        let mut client = Raw::connect(&node).await;
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

/// Two nodes whose file says this; the second may have another.
async fn switched_on(redis: Option<&Redis>) {
    let (before, after) = (
        rules(r#"{ pattern = "a" }"#),
        rules(r#"{ pattern = "a", history = { size = 10, age = "1m" }, presence = true }"#),
    );
    let file = File::new(&before);
    let url = redis.map_or("memory:".to_owned(), Redis::url);
    let node = file.node(&[&format!("broker.url={url}")]).await;
    let mut client = Client::subscribed(&node, "a").await;
    client.publish("a", json!("before")).await;
    assert_eq!(client.event().await, publication("a", "before"));
    file.reload(&node, &after, "taken_up").await;
    // What is published while it is switched on may still have no position.
    let mut published = 0;
    let position = eventually("a position", async || {
        published += 1;
        let command = json!({"type": "publish", "id": 2, "channel": "a", "data": published});
        client.ask(command).await["position"].as_str().map(str::to_owned)
    })
    .await;
    let mut heard = 0;
    while heard < published {
        let event = client.event().await;
        match event["type"].as_str() {
            Some("publication") => {
                heard += 1;
                assert_eq!(event["data"], heard, "in order, and none is missing");
            }
            Some("join") => {}
            _ => panic!("{event}"),
        }
    }
    let history = client.ask(json!({"type": "history", "id": 3, "channel": "a"})).await;
    assert_eq!(history["position"], json!(position));
    let members = json!({"type": "presence", "id": 4, "channel": "a"});
    eventually("its presence", async || {
        let members = client.ask(members.clone()).await;
        (members["members"] == json!([{"user": null, "sessions": 1}])).then_some(())
    })
    .await;
    // And off again: it goes on.
    file.reload(&node, &before, "taken_up").await;
    let answer = client.ask(json!({"type": "history", "id": 5, "channel": "a"})).await;
    assert_eq!(answer["code"], "not_found");
    client.ask(json!({"type": "publish", "id": 6, "channel": "a", "data": "after"})).await;
    loop {
        let event = client.event().await;
        if event["data"] == "after" {
            break;
        }
        assert_ne!(event["type"], "gap");
    }
}

#[tokio::test]
async fn history_and_presence_are_switched_on_and_off_under_a_subscriber() {
    switched_on(None).await;
}

#[tokio::test]
async fn the_same_on_redis() {
    let redis = Redis::start().await;
    switched_on(Some(&redis)).await;
}

/// A publication, once the node publishes it with a position, or without one.
async fn published(client: &mut Client, data: u64, is_kept: bool) -> Option<String> {
    let command = json!({"type": "publish", "id": 2, "channel": "a", "data": data});
    eventually("what is published to be kept, or not", async || {
        let position = client.ask(command.clone()).await["position"].as_str().map(str::to_owned);
        (position.is_some() == is_kept).then_some(position)
    })
    .await
}

/// What somebody is told who comes back with this position.
async fn recovered(node: &Node, since: &str) -> serde_json::Value {
    let mut client = Client::json(node).await;
    let command = json!({"type": "subscribe", "id": 1, "channel": "a", "since": since});
    client.ask(command).await["recovered"].clone()
}

/// Who was away while nothing was kept is told so, whether somebody else listened or not.
async fn switched_off_for_a_while(redis: Option<&Redis>, is_heard: bool) {
    let kept = |size| {
        let kept = format!(r#"{{ pattern = "a", history = {{ size = {size}, age = "1m" }} }}"#);
        [kept, r#"{ pattern = "b" }"#.to_owned()]
    };
    let [a, b] = kept(10);
    let on = rules(&format!("{a}, {b}"));
    let off = rules(r#"{ pattern = "a" }, { pattern = "b" }"#);
    let file = File::new(&on);
    let url = format!("broker.url={}", redis.map_or("memory:".to_owned(), Redis::url));
    let node = file.node(&[&url]).await;
    let mut client = Client::json(&node).await;
    let mut listener = Client::json(&node).await;
    if is_heard {
        listener.ask(json!({"type": "subscribe", "id": 1, "channel": "a"})).await;
    }
    let first = published(&mut client, 1, true).await.expect("a position");
    // Another size and another order are the same history.
    let [a, b] = kept(20);
    file.reload(&node, &rules(&format!("{b}, {a}")), "taken_up").await;
    assert_eq!(recovered(&node, &first).await, true);
    file.reload(&node, &off, "taken_up").await;
    published(&mut client, 2, false).await;
    published(&mut client, 3, false).await;
    assert_eq!(recovered(&node, &first).await, false);
    file.reload(&node, &on, "taken_up").await;
    assert_eq!(recovered(&node, &first).await, false);
    let last = published(&mut client, 4, true).await.expect("a position");
    assert_eq!(recovered(&node, &first).await, false);
    assert_eq!(recovered(&node, &last).await, true);
    let answer = client.ask(json!({"type": "history", "id": 3, "channel": "a"})).await;
    assert!(answer["publications"].as_array().expect("a list").iter().all(|it| it["data"] == 4));
    if is_heard {
        let mut heard = Vec::new();
        while heard.last() != Some(&json!(4)) {
            let event = listener.event().await;
            assert_eq!(event["type"], "publication", "whoever listened missed nothing: {event}");
            heard.push(event["data"].clone());
        }
        heard.dedup();
        assert_eq!(heard, [1, 2, 3, 4]);
    }
}

#[tokio::test]
async fn what_was_published_while_nothing_was_kept_is_not_passed_over() {
    for is_heard in [false, true] {
        switched_off_for_a_while(None, is_heard).await;
    }
}

#[tokio::test]
async fn nor_is_it_on_redis() {
    for is_heard in [false, true] {
        let redis = Redis::start().await;
        switched_off_for_a_while(Some(&redis), is_heard).await;
    }
}

#[tokio::test]
async fn nor_is_it_by_nodes_that_were_restarted_and_the_same_rules_go_on() {
    let redis = Redis::start().await;
    let (on, off) =
        (r#"rules=[{pattern="a",history={size=10,age="1m"}}]"#, r#"rules=[{pattern="a"}]"#);
    let node = Node::on(&redis, &[on]).await;
    let first = published(&mut Client::json(&node).await, 1, true).await.expect("a position");
    drop(node);
    let node = Node::on(&redis, &[on]).await;
    assert_eq!(recovered(&node, &first).await, true);
    drop(node);
    let node = Node::on(&redis, &[off]).await;
    published(&mut Client::json(&node).await, 2, false).await;
    drop(node);
    let node = Node::on(&redis, &[on]).await;
    // Whoever comes first begins it, whether it publishes or listens.
    assert_eq!(recovered(&node, &first).await, false);
    let second = published(&mut Client::json(&node).await, 3, true).await.expect("a position");
    assert_ne!(second.split('-').next(), first.split('-').next());
    drop(node);
    let node = Node::on(&redis, &[on]).await;
    assert_eq!(recovered(&node, &second).await, true);
}

#[tokio::test]
async fn a_token_s_sessions_stay_when_nothing_of_theirs_changes() {
    let file = File::new("[limits]\nconnections_per_user = 5\n");
    let node = file.node(&[KEYS]).await;
    let token = token::of("u1", &["a"]);
    let mut client = Client::open(&node, &format!("/ws/a?token={token}")).await;
    file.reload(&node, "[limits]\nconnections_per_user = 6\n", "taken_up").await;
    client.say("here").await;
    assert_eq!(client.hears_text().await, "here");
}

#[tokio::test]
async fn a_subscription_that_waits_while_the_rules_change_is_checked_once_more() {
    let history = r#"history = { size = 10, age = "1m" }"#;
    let file = File::new(&rules(&format!(r#"{{ pattern = "a", {history} }}"#)));
    let node = file.node(&[]).await;
    let mut client = Client::json(&node).await;
    let published = json!({"type": "publish", "id": 1, "channel": "a", "data": 1});
    let position = client.ask(published).await["position"].as_str().expect("one").to_owned();
    let (epoch, _) = position.split_once('-').expect("a position");
    // Ahead of where the channel is: the node waits for it to come there.
    let since = format!("{epoch}-100");
    let command = json!({"type": "subscribe", "id": 2, "channel": "a", "since": since});
    client.command(command).await;
    let denied = rules(&format!(
        r#"{{ pattern = "a", {history}, subscribe = "nobody", publish = "anyone" }}"#
    ));
    file.reload(&node, &denied, "taken_up").await;
    assert_eq!(client.answer(2).await["code"], "forbidden");
}

#[tokio::test]
async fn a_file_that_was_cut_short_opens_nothing() {
    let guarded = format!(
        "[auth]\nkeys = [{{ alg = \"HS256\", secret = \"{SECRET}\" }}]\n\
         [internal]\napi_key = \"0123456789abcdef\"\n"
    );
    let file = File::new(&guarded);
    let node = file.node(&[]).await;
    for short in ["", "\n", "demo = true\n", "[auth]\nkeys = []\n"] {
        file.reload(&node, short, "refused").await;
        let mut stranger = Client::open(&node, "/ws/a").await;
        assert_eq!(u16::from(stranger.is_closed().await.code), 4001, "{short:?}");
        assert_eq!(node.post("/api/disconnect?user=u1", &[], b"").await.status, 401, "{short:?}");
    }
    // Said in so many words, it is meant.
    let open = "[auth]\nmode = \"none\"\n[internal]\napi_key = \"0123456789abcdef\"\n";
    file.reload(&node, open, "taken_up").await;
    let mut anyone = Client::plain(&node, "a").await;
    anyone.say("in").await;
    assert_eq!(anyone.hears_text().await, "in");
}

#[tokio::test]
async fn what_was_refused_is_taken_up_when_what_it_lacked_is_there() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let secret = directory.path().join("secret");
    let file = File::new("");
    let node = file.node(&[KEYS]).await;
    let content = format!(
        "[limits]\nconnections_per_user = 1\n[server.tls]\ncert = \"{0}\"\nkey = \"{0}\"\n",
        secret.display()
    );
    file.reload(&node, &content, "refused").await;
    file.write("[limits]\nconnections_per_user = 1\n");
    node.metric_becomes("tidegate_config_reloads_total{outcome=\"taken_up\"}", 1.0).await;
    assert_eq!(node.metric("tidegate_config_reloads_total{outcome=\"refused\"}").await, 1.0);
}

#[tokio::test]
async fn history_that_is_switched_off_and_on_repeats_nothing() {
    let (off, on) = (
        rules(r#"{ pattern = "a" }"#),
        rules(r#"{ pattern = "a", history = { size = 10, age = "1m" } }"#),
    );
    let redis = Redis::start().await;
    let (file, other) = (File::new(&on), File::new(&on));
    let url = format!("broker.url={}", redis.url());
    let (node, elsewhere) = (file.node(&[&url]).await, other.node(&[&url]).await);
    let mut client = Client::json(&node).await;
    client.ask(json!({"type": "subscribe", "id": 1, "channel": "a"})).await;
    let mut publisher = Client::json(&elsewhere).await;
    let mut publish = async |data: u64| {
        let command = json!({"type": "publish", "id": data, "channel": "a", "data": data});
        assert_eq!(publisher.ask(command).await["type"], "published");
    };
    publish(1).await;
    file.reload(&node, &off, "taken_up").await;
    other.reload(&elsewhere, &off, "taken_up").await;
    publish(2).await;
    other.reload(&elsewhere, &on, "taken_up").await;
    publish(3).await;
    publish(4).await;
    // Until here they came without a position, and are not to come again with one.
    for data in 1..=4 {
        assert_eq!(client.event().await["data"], data);
    }
    file.reload(&node, &on, "taken_up").await;
    publish(5).await;
    assert_eq!(client.event().await["data"], 5);
}

#[tokio::test]
async fn rules_that_are_read_again_do_not_displace_newer_ones_in_redis() {
    let kept = |size: u32| {
        rules(&format!(r#"{{ pattern = "a", history = {{ size = {size}, age = "1m" }} }}"#))
    };
    let redis = Redis::start().await;
    let (old, new) = (File::new(&kept(10)), File::new(&kept(10)));
    let url = format!("broker.url={}", redis.url());
    let (behind, ahead) = (old.node(&[&url]).await, new.node(&[&url]).await);
    let library = async || {
        let list: redis::Value = redis.ask(&["FUNCTION", "LIST", "WITHCODE"]).await;
        format!("{list:?}")
    };
    new.reload(&ahead, &kept(77), "taken_up").await;
    eventually("the new rules in Redis", async || library().await.contains(",77,").then_some(()))
        .await;
    old.reload(&behind, &kept(10), "taken_up").await;
    let mut client = Client::json(&behind).await;
    client.ask(json!({"type": "publish", "id": 1, "channel": "a", "data": 1})).await;
    assert!(library().await.contains(",77,"), "the same rules again are no newer ones");
}

#[tokio::test]
async fn strangers_of_before_are_told_in_the_words_of_now() {
    let file = File::new("");
    let node = file.node(&[]).await;
    let mut json = Client::json(&node).await;
    let mut plain = Client::plain(&node, "a").await;
    let keys = format!(
        "[auth]\ntimeout = \"300ms\"\nkeys = [{{ alg = \"HS256\", secret = \"{SECRET}\" }}]\n"
    );
    file.reload(&node, &keys, "taken_up").await;
    assert_eq!(u16::from(plain.is_closed().await.code), 4001);
    assert_eq!(u16::from(json.is_closed().await.code), 4001, "its time is over");
}
