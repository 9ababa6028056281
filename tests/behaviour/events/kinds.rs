//! The kinds of events, and what each says.

use serde_json::json;
use testkit::backend_event::{BackendEvent, SETTING, assert_alternating, events, expect_events};
use testkit::client::Client;
use testkit::event_stream::EventStream;
use testkit::eventually;
use testkit::fleet::Fleet;
use testkit::node::Node;
use testkit::process::Signal;
use testkit::redis::Redis;
use testkit::token::{KEYS, token};

use super::NO_GRACE;

/// Waits until so many events are of sessions; returns them.
async fn sessions(redis: &Redis, count: usize) -> Vec<BackendEvent> {
    eventually(&format!("{count} events of sessions"), async || {
        let mut all = events(redis).await;
        all.retain(|event| !event.fields.contains_key("channel"));
        (all.len() == count).then_some(all)
    })
    .await
}

#[tokio::test]
async fn members_join_and_leave_once_in_the_fleet_with_user_and_info() {
    let rules =
        r#"rules=[{pattern="p:*",events=true,presence=true,subscribe="user",publish="user"}]"#;
    let fleet = Fleet::redis(&[SETTING, rules, NO_GRACE, KEYS]).await;
    let ([a, b], redis) = (fleet.nodes(), fleet.server());
    let ada = token(60., json!({"sub": "ada", "info": {"name": "Ada"}}));
    let bo = token(60., json!({"sub": "bo smith"}));
    let open = async |node, token: &str| {
        let mut client =
            Client::open(node, &format!("/ws?token={token}")).await.with_welcome().await;
        client.subscribe("p:1").await;
        client
    };
    let first = open(a, &ada).await;
    expect_events(redis, &[("occupied", "p:1"), ("join", "p:1")]).await;
    let second = open(b, &ada).await;
    let third = open(b, &bo).await;
    first.close().await;
    let joined = [("occupied", "p:1"), ("join", "p:1"), ("join", "p:1")];
    let all = expect_events(redis, &joined).await;
    assert_eq!((all[1].field("user"), all[1].field("info")), ("ada", r#"{"name":"Ada"}"#));
    assert_eq!((all[2].field("user"), all[2].field("info")), ("bo smith", ""));
    second.close().await;
    let all = expect_events(redis, &[&joined[..], &[("leave", "p:1")]].concat()).await;
    assert_eq!(all[3].field("user"), "ada");
    third.close().await;
    let ends = [("leave", "p:1"), ("leave", "p:1"), ("vacated", "p:1")];
    expect_events(redis, &[&joined[..], &ends].concat()).await;
    assert!(assert_alternating(&events(redis).await).is_empty());
}

#[tokio::test]
async fn sessions_connect_and_disconnect_with_user_and_reason() {
    let rules = r#"rules=[{pattern="**",subscribe="anyone",publish="anyone"}]"#;
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[SETTING, rules, KEYS]).await;
    let client = Client::json(&node).await;
    let all = sessions(&redis, 1).await;
    assert_eq!((all[0].field("type"), all[0].fields.get("user")), ("connected", None));
    assert_eq!(all[0].field("session"), client.welcome["session"].as_str().unwrap());

    // Another user: the same session is connected again, and ends once.
    let mut client = client;
    let ada = token(60., json!({"sub": "ada"}));
    client.request(json!({"type": "auth", "id": 1, "token": ada})).await;
    let all = sessions(&redis, 2).await;
    assert_eq!((all[1].field("type"), all[1].field("user")), ("connected", "ada"));
    client.request(json!({"type": "auth", "id": 1, "token": ada})).await;
    client.close().await;
    let all = sessions(&redis, 3).await;
    let of = |event: &BackendEvent, name: &str| event.field(name).to_owned();
    assert_eq!(
        (of(&all[2], "type"), of(&all[2], "user"), of(&all[2], "reason")),
        ("disconnected".to_owned(), "ada".to_owned(), "client".to_owned())
    );

    let stream = EventStream::open(&node, &format!("/sse/news?token={ada}")).await;
    sessions(&redis, 4).await;
    drop(stream);
    let all = sessions(&redis, 5).await;
    assert_eq!(all[4].field("reason"), "lost");
    // Neither single requests nor refused sessions are told.
    node.get("/healthz").await;
    let mut refused = Client::open(&node, "/ws?token=wrong").await;
    assert_eq!(u16::from(refused.receive_close().await.code), 4001);
    Client::json(&node).await.close().await;
    let all = sessions(&redis, 7).await;
    assert!(assert_alternating(&all).is_empty());
}

#[tokio::test]
async fn publications_are_told_with_position_size_and_a_small_payload() {
    let rules = r#"rules=[{pattern="h:*",events=["published"],history={size=10,age="1m"}},{pattern="n:*",events=["published"]},{pattern="**"}]"#;
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[SETTING, rules]).await;
    let mut client = Client::json(&node).await;
    client.publish("news", json!("untold")).await;
    client.request(json!({"type": "publish", "id": 2, "channel": "h:1", "data": "kept"})).await;
    let large = "x".repeat(2000);
    client.publish("n:1", json!(large)).await;
    let headers = [("content-type", "application/octet-stream")];
    node.post("/api/publish/n:2", &headers, b"\x00\x01").await;
    let told = [("published", "h:1"), ("published", "n:1"), ("published", "n:2")];
    let all = expect_events(&redis, &told).await;
    assert_eq!((all[0].field("size"), all[0].field("payload")), ("6", "\"kept\""));
    assert_eq!(all[0].field("session"), client.welcome["session"].as_str().unwrap());
    let last: Vec<(String, Vec<String>)> =
        redis.query(&["XREVRANGE", "tidegate:h:1", "+", "-", "COUNT", "1"]).await;
    assert_eq!(all[0].field("position"), last[0].0);
    assert_eq!((all[1].field("size"), all[1].fields.get("payload")), ("2002", None));
    assert_eq!(all[1].fields.get("position"), None);
    assert_eq!((all[2].field("payload"), all[2].field("binary")), ("\x00\x01", "1"));
    assert_eq!(all[2].fields.get("session"), None);
}

#[tokio::test]
async fn new_rules_begin_and_end_the_events_of_channels_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tidegate.toml");
    let write = |events: bool| {
        std::fs::write(&file, format!("[[rules]]\npattern = \"e:*\"\nevents = {events}\n"))
            .unwrap();
    };
    write(false);
    let redis = Redis::start().await;
    let url = format!("broker.url={}", redis.url());
    let node = Node::with_config_file(&file, &[SETTING, NO_GRACE, &url]).await;
    node.wait_until_ready().await;
    let _client = Client::subscribed(&node, "e:1").await;
    write(true);
    node.signal(Signal::HUP);
    expect_events(&redis, &[("occupied", "e:1")]).await;
    write(false);
    node.signal(Signal::HUP);
    expect_events(&redis, &[("occupied", "e:1"), ("vacated", "e:1")]).await;
}
