//! Long polls: what they deliver, and when they end.

use std::time::{Duration, Instant};

use serde_json::json;
use testkit::client::Client;
use testkit::fleet::{Broker, Fleet, for_every_broker};
use testkit::node::Node;
use testkit::process::Signal;
use testkit::raw::RawClient;
use testkit::redis::Redis;
use testkit::requester::{Poller, Requester, position};
use testkit::token::{self, KEYS};

use super::HISTORY;

for_every_broker!(
    a_waiting_poll_gets_what_is_posted_on_another_node,
    a_loop_of_polls_over_both_nodes_gets_500_publications_once_and_in_order,
    a_poll_from_a_lost_position_is_not_recovered,
    a_poll_can_begin_with_the_first_or_the_newest_publications,
    a_poll_of_a_channel_without_history_waits_for_the_next_publication,
    a_large_backlog_comes_in_bounded_answers,
);

const WAITING: &str = r#"tidegate_connections{protocol="http",transport="poll"}"#;

async fn a_waiting_poll_gets_what_is_posted_on_another_node(broker: Broker) {
    let fleet = broker.fleet(&[HISTORY]).await;
    let [a, b] = fleet.nodes();
    let (mut poller, mut publisher) = (Requester::connect(a).await, Requester::connect(b).await);
    for number in 1..=3 {
        poller.send("GET", "/poll/h:1?wait=60s", &[], b"").await;
        a.wait_for_metric(WAITING, 1.).await;
        let published = publisher.post("/publish/h:1", number.to_string().as_bytes()).await;
        let answer = poller.response().await.json();
        assert_eq!(answer["publications"][0]["data"], json!(number), "{answer}");
        assert_eq!(position(&answer), position(&published.json()));
        assert_eq!(answer["recovered"], json!(null), "the poll gave no position");
        a.wait_for_metric(WAITING, 0.).await;
    }
}

async fn a_loop_of_polls_over_both_nodes_gets_500_publications_once_and_in_order(broker: Broker) {
    const PUBLICATIONS: u64 = 500;
    let fleet = broker.fleet(&[HISTORY]).await;
    let [a, b] = fleet.nodes();
    let mut poller = Poller::start(a, "h:1").await;
    let mut requesters = [Requester::connect(a).await, Requester::connect(b).await];
    let mut publisher = Client::plain(b, "h:1?echo=false").await;
    let publish = async {
        for number in 0..PUBLICATIONS {
            publisher.send(number.to_string()).await;
            if number % 10 == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    let poll = async {
        let mut turn = 0;
        while poller.received.len() < PUBLICATIONS as usize {
            poller.poll(&mut requesters[turn % 2]).await.expect("the node answers");
            turn += 1;
        }
    };
    tokio::join!(publish, poll);
    assert_eq!(poller.received, (0..PUBLICATIONS).map(|number| json!(number)).collect::<Vec<_>>());
}

async fn a_poll_can_begin_with_the_first_or_the_newest_publications(broker: Broker) {
    let fleet = broker.fleet(&[HISTORY]).await;
    let [a, b] = fleet.nodes();
    let (mut poller, mut publisher) = (Requester::connect(a).await, Requester::connect(b).await);
    for number in 1..=3 {
        publisher.post("/publish/h:1", number.to_string().as_bytes()).await;
    }
    let mut data = async |path: &str| {
        let answer = poller.request("GET", path, &[], b"").await.json();
        let list = answer["publications"].as_array().expect("a list").iter();
        (list.map(|it| it["data"].clone()).collect::<Vec<_>>(), answer["recovered"].clone())
    };
    let all = (vec![json!(1), json!(2), json!(3)], json!(true));
    assert_eq!(data("/poll/h:1?since=first").await, all);
    assert_eq!(data("/poll/h:1?last=2").await, (vec![json!(2), json!(3)], json!(null)));
}

async fn a_poll_from_a_lost_position_is_not_recovered(broker: Broker) {
    let rules = r#"rules=[{pattern="h:*",history={size=5,age="10m"}},{pattern="**"}]"#;
    let fleet = broker.fleet(&[rules]).await;
    let [a, b] = fleet.nodes();
    let (mut poller, mut publisher) = (Requester::connect(a).await, Requester::connect(b).await);
    let mut last = String::new();
    for number in 1..=400 {
        last =
            position(&publisher.post("/publish/h:1", number.to_string().as_bytes()).await.json());
    }
    let trimmed = last.replace("-400", "-1");
    for since in [trimmed.as_str(), "1-1"] {
        let answer = poller.poll("h:1", &format!("since={since}&wait=60s")).await;
        let expected = json!({"publications":[], "position":last, "recovered":false});
        assert_eq!(answer, expected, "{since}");
    }
    let answer = poller.poll("h:1", &format!("since={last}&wait=0s")).await;
    assert_eq!(answer, json!({"publications":[], "position":last, "recovered":true}));
    let answer = poller.poll("news", "since=1-1&wait=60s").await;
    assert_eq!(answer, json!({"publications":[], "recovered":false}));
}

async fn a_poll_of_a_channel_without_history_waits_for_the_next_publication(broker: Broker) {
    let fleet = broker.fleet(&[HISTORY]).await;
    let [a, b] = fleet.nodes();
    let mut poller = Requester::connect(a).await;
    assert_eq!(poller.poll("news", "wait=0s").await, json!({"publications":[]}));
    poller.send("GET", "/poll/news", &[], b"").await;
    a.wait_for_metric(WAITING, 1.).await;
    Requester::connect(b).await.post("/publish/news", b"\xff").await;
    let mut answer = poller.response().await.json();
    answer["publications"][0].as_object_mut().expect("an object").remove("time");
    assert_eq!(answer, json!({"publications":[{"base64":"/w=="}]}));
}

async fn a_large_backlog_comes_in_bounded_answers(broker: Broker) {
    let rules = r#"rules=[{pattern="h:*",history={size=3000,age="10m"}},{pattern="**"}]"#;
    let fleet = broker.fleet(&[rules]).await;
    let [a, b] = fleet.nodes();
    let mut poller = Poller::start(a, "h:1").await;
    let mut publisher = Client::json(b).await;
    for number in 0..1200 {
        let data = json!({"type":"publish","channel":"h:1","data":number,"id":number});
        publisher.send_command(data).await;
    }
    publisher.answer(1199).await;
    let mut requester = Requester::connect(b).await;
    poller.poll(&mut requester).await.expect("the node answers");
    assert_eq!(poller.received.len(), 1000, "an answer is bounded");
    poller.poll(&mut requester).await.expect("the node answers");
    assert_eq!(poller.received, (0..1200).map(|number| json!(number)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_loop_of_polls_loses_and_doubles_nothing_while_redis_is_interrupted() {
    let fleet = Fleet::redis(&[HISTORY]).await;
    let [a, b] = fleet.nodes();
    let mut poller = Poller::start(a, "h:1").await;
    let mut requester = Requester::connect(a).await;
    let publish = async {
        let mut publisher = Requester::connect(b).await;
        let mut published = 0;
        for round in 0..4 {
            for number in 0..50 {
                let key = format!("{round}-{number}");
                let body = (round * 50 + number).to_string();
                let headers = [("Idempotency-Key", key.as_str())];
                loop {
                    let path = "/publish/h:1";
                    let answer = publisher.request("POST", path, &headers, body.as_bytes()).await;
                    if answer.status == 202 {
                        break;
                    }
                    assert_eq!(answer.status, 503, "{answer:?}");
                    assert!(answer.header("retry-after").is_some());
                }
                published += 1;
            }
            fleet.server().kill_subscribers().await;
        }
        published
    };
    let poll = async {
        while poller.received.len() < 200 {
            if let Err(status) = poller.poll(&mut requester).await {
                assert_eq!(status, 503);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    let (published, ()) = tokio::join!(publish, poll);
    assert_eq!(published, 200);
    assert_eq!(poller.received, (0..200).map(|number| json!(number)).collect::<Vec<_>>());
}

#[tokio::test]
async fn polls_and_publications_are_refused_with_503_without_redis_and_work_again_with_it() {
    let mut redis = Redis::start().await;
    let node = Node::on(&redis, &[HISTORY, "broker.publish_timeout=500ms"]).await;
    let mut requester = Requester::connect(&node).await;
    redis.kill();
    node.wait_until_unready().await;
    for (method, path) in [("POST", "/publish/h:1"), ("GET", "/poll/h:1"), ("GET", "/history/h:1")]
    {
        let answer = requester.request(method, path, &[], b"").await;
        assert_eq!(answer.status, 503, "{path}: {answer:?}");
        assert_eq!(answer.json()["error"]["code"], "unavailable");
        assert!(answer.header("retry-after").is_some());
    }
    redis.run().await;
    node.wait_until_ready().await;
    assert_eq!(requester.post("/publish/h:1", b"1").await.status, 202);
    assert_eq!(requester.poll("h:1", "wait=0s").await["publications"], json!([]));
}

#[tokio::test]
async fn a_poll_without_news_is_answered_empty_after_its_wait() {
    let node = Node::standalone(&[HISTORY]).await;
    let mut requester = Requester::connect(&node).await;
    let began = Instant::now();
    let answer = requester.poll("h:1", "wait=300ms").await;
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!(answer["publications"], json!([]));
    let closed = r#"tidegate_connections_closed_total{reason="answered"}"#;
    assert_eq!(node.metric(closed).await, 1.);
}

#[tokio::test]
async fn a_client_that_disconnects_ends_its_poll_at_once() {
    let node = Node::standalone(&[HISTORY]).await;
    let mut requesters = Vec::new();
    for _ in 0..20 {
        let mut requester = Requester::connect(&node).await;
        requester.send("GET", "/poll/h:1?wait=60s", &[], b"").await;
        requesters.push(requester);
    }
    node.wait_for_metric(WAITING, 20.).await;
    drop(requesters);
    node.wait_for_metric(WAITING, 0.).await;
    let lost = r#"tidegate_connections_closed_total{reason="lost"}"#;
    assert_eq!(node.metric(lost).await, 20.);
    node.wait_for_metric("tidegate_subscriptions", 0.).await;
}

#[tokio::test]
async fn requests_that_are_sent_while_a_poll_waits_are_answered_after_it() {
    let node = Node::standalone(&[HISTORY]).await;
    let mut requester = Requester::connect(&node).await;
    requester.send("GET", "/poll/h:1?wait=60s", &[], b"").await;
    requester.send("POST", "/publish/news", &[], b"later").await;
    requester.send("GET", "/poll/h:1?wait=0s", &[], b"").await;
    node.wait_for_metric(WAITING, 1.).await;
    Requester::connect(&node).await.post("/publish/h:1", b"1").await;
    assert_eq!(requester.response().await.json()["publications"][0]["data"], json!(1));
    assert_eq!(requester.response().await.status, 202);
    assert_eq!(requester.response().await.json()["publications"], json!([]));
}

#[tokio::test]
async fn a_draining_node_answers_waiting_polls_and_refuses_further_requests() {
    let mut node = Node::standalone(&[HISTORY, "drain.delay=0s", "drain.period=1s"]).await;
    let mut requesters = Vec::new();
    for _ in 0..10 {
        let mut requester = Requester::connect(&node).await;
        let idle = requester.poll("h:1", "wait=0s").await;
        requester.send("GET", "/poll/h:1?wait=60s", &[], b"").await;
        requesters.push((requester, position(&idle)));
    }
    let mut idle = Requester::connect(&node).await;
    assert_eq!(idle.post("/publish/news", b"1").await.status, 202);
    node.wait_for_metric(WAITING, 10.).await;
    node.signal(Signal::TERM);
    node.wait_for_metric("tidegate_drain_phase", 2.).await;
    let refused = idle.post("/publish/news", b"1").await;
    assert_eq!((refused.status, refused.header("connection")), (503, Some("close")));
    assert!(refused.header("retry-after").is_some());
    for (mut requester, position) in requesters {
        let answer = requester.response().await;
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
        assert_eq!(answer.json(), json!({"publications":[], "position":position}));
    }
    assert_eq!(node.process.exit_code().await, 0);
}

#[tokio::test]
async fn a_client_that_polls_in_a_loop_joins_once_and_does_not_leave() {
    let rules = r#"rules=[{pattern="room",subscribe="user",publish="user",presence=true}]"#;
    let node = Node::standalone(&[KEYS, rules, "presence.grace=20s"]).await;
    let path = format!("/ws?token={}", token::for_user("bob", &[]));
    let mut watcher = Client::open(&node, &path).await.with_welcome().await;
    watcher.subscribe("room").await;
    assert_eq!(watcher.event().await["type"], "join", "its own");
    let mut requester = Requester::connect(&node).await;
    let token = token::for_user("ada", &[]);
    for _ in 0..5 {
        requester.poll("room", &format!("wait=50ms&token={token}")).await;
    }
    let join = watcher.event().await;
    assert_eq!((&join["type"], &join["user"]), (&json!("join"), &json!("ada")));
    let members = requester.get(&format!("/presence/room?token={token}")).await.json();
    assert_eq!(members["members"][0]["user"], json!("ada"), "{members}");
    watcher.send_command(json!({"type":"ping","id":1})).await;
    assert_eq!(watcher.event().await["type"], "pong", "no leave came before");
}

#[tokio::test]
async fn an_http_1_0_client_gets_the_answer_to_its_poll_and_the_end_of_the_connection() {
    let node = Node::standalone(&[HISTORY]).await;
    for request in [
        "GET /poll/h:1?wait=0s HTTP/1.0\r\nHost: localhost\r\n\r\n",
        "GET /poll/h:1?wait=0s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    ] {
        let mut raw = RawClient::connect(&node).await;
        raw.send(request).await;
        let text = String::from_utf8(raw.read_to_end().await).expect("text");
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(text.contains("\r\nconnection: close\r\n") && text.ends_with("}\n"), "{text}");
    }
}
