//! Short HTTP requests on the public listener: publish, history, presence and poll.

mod access;
mod bodies;
mod invalid;
mod polling;

use serde_json::{Value, json};
use testkit::client::{Client, publication};
use testkit::fleet::{Broker, for_every_broker};
use testkit::requester::{Requester, position};

for_every_broker!(
    a_publication_by_post_reaches_subscribers_on_every_node_as_it_is,
    a_repeated_idempotency_key_publishes_once_and_answers_the_same_position,
    a_position_behind_all_others_is_answered_as_not_recovered,
    history_and_presence_by_get_equal_the_replies_of_the_json_protocol,
);

pub const HISTORY: &str = r#"rules=[
    {pattern="h:*",history={size=1000,age="10m"},presence=true}, {pattern="**"}]"#;

async fn a_publication_by_post_reaches_subscribers_on_every_node_as_it_is(broker: Broker) {
    let fleet = broker.fleet(&[HISTORY]).await;
    let [a, b] = fleet.nodes();
    let mut plain = Client::plain(b, "news").await;
    let mut subscriber = Client::subscribed(b, "news").await;
    let mut requester = Requester::connect(a).await;
    for number in 0..20 {
        let body = format!(r#"{{"n": {number}}}"#);
        let answer = requester.post("/publish/news", body.as_bytes()).await;
        assert_eq!((answer.status, answer.text().as_str()), (202, "{}\n"));
        assert_eq!(plain.receive_text().await, body);
        let event = subscriber.event().await;
        assert_eq!((&event["data"], &event["channel"]), (&json!({"n": number}), &json!("news")));
    }
    let kept = requester.post("/publish/h:1", b"first").await;
    assert!(position(&kept.json()).ends_with("-1"), "{kept:?}");
    let received = r#"tidegate_publications_received_total{protocol="http"}"#;
    assert_eq!(fleet.metric(received).await, 21.);
}

async fn a_position_behind_all_others_is_answered_as_not_recovered(broker: Broker) {
    let fleet = broker.fleet(&[HISTORY]).await;
    let [a, _] = fleet.nodes();
    let mut requester = Requester::connect(a).await;
    let published = position(&requester.post("/publish/h:1", b"1").await.json());
    let since = format!("{0}-{0}", u64::MAX);
    for path in ["/history/h:1?", "/poll/h:1?wait=0s&"] {
        let answer = requester.get(&format!("{path}since={since}")).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        let answer = answer.json();
        assert_eq!(answer["publications"], json!([]), "{path}");
        assert_eq!((&answer["recovered"], position(&answer)), (&json!(false), published.clone()));
    }
}

async fn a_repeated_idempotency_key_publishes_once_and_answers_the_same_position(broker: Broker) {
    let fleet = broker.fleet(&[HISTORY]).await;
    let [a, b] = fleet.nodes();
    let mut positions = Vec::new();
    for (node, key) in [(a, "k1"), (b, "k1"), (a, "k2"), (b, "k2")] {
        let mut requester = Requester::connect(node).await;
        let headers = [("Idempotency-Key", key)];
        let answer = requester.request("POST", "/publish/h:1", &headers, key.as_bytes()).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        positions.push(position(&answer.json()));
    }
    assert_eq!(positions[0], positions[1]);
    assert_eq!(positions[2], positions[3]);
    assert_ne!(positions[0], positions[2]);
    let history = Requester::connect(b).await.get("/history/h:1").await.json();
    let texts: Vec<_> = history["publications"].as_array().expect("a list").iter().collect();
    assert_eq!(texts.len(), 2, "{history}");
}

async fn history_and_presence_by_get_equal_the_replies_of_the_json_protocol(broker: Broker) {
    let fleet = broker.fleet(&[HISTORY]).await;
    let [a, b] = fleet.nodes();
    let mut client = Client::json(b).await;
    client.request(json!({"type":"subscribe","id":1,"channel":"h:1"})).await;
    let mut requester = Requester::connect(a).await;
    for number in 1..=5 {
        requester.post("/publish/h:1", number.to_string().as_bytes()).await;
        client.event().await;
    }
    let first = client.request(json!({"type":"history","id":1,"channel":"h:1","limit":1})).await;
    let since = position(&first).replace("-5", "-2");
    for (command, path) in [
        (json!({"type":"history"}), "/history/h:1".to_owned()),
        (json!({"type":"history","limit":2}), "/history/h:1?limit=2".to_owned()),
        (json!({"type":"history","since":since}), format!("/history/h:1?since={since}")),
        (
            json!({"type":"history","since":since,"limit":1}),
            format!("/history/h:1?limit=1&since={since}"),
        ),
        (json!({"type":"presence"}), "/presence/h:1".to_owned()),
    ] {
        let mut command = command;
        command["id"] = json!(7);
        command["channel"] = json!("h:1");
        let mut reply = client.request(command).await;
        let fields: &mut serde_json::Map<String, Value> = reply.as_object_mut().expect("an object");
        fields.retain(|name, _| name != "type" && name != "id");
        let answer = requester.get(&path).await;
        let mut body = answer.json();
        // The test's json client ignores the time.
        let publications = body.get_mut("publications").and_then(Value::as_array_mut);
        for publication in publications.into_iter().flatten() {
            publication.as_object_mut().expect("an object").remove("time").expect("a time");
        }
        assert_eq!((answer.status, body), (200, reply), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(answer.text().ends_with("}\n"));
    }
}

#[tokio::test]
async fn one_connection_carries_many_requests_of_all_kinds() {
    let node = testkit::node::Node::standalone(&[HISTORY]).await;
    let mut requester = Requester::connect(&node).await;
    for number in 1..=50 {
        let published = requester.post("/publish/h:1", number.to_string().as_bytes()).await;
        let last = position(&published.json());
        assert_eq!(position(&requester.get("/history/h:1?limit=1").await.json()), last);
        assert_eq!(requester.poll("h:1", "wait=0s").await["publications"], json!([]));
        let before = last.replace(&format!("-{number}"), &format!("-{}", number - 1));
        let news = requester.poll("h:1", &format!("since={before}")).await;
        assert_eq!(news["publications"][0]["data"], json!(number), "{news}");
        assert_eq!(requester.get("/presence/h:1").await.status, 200);
        assert_eq!(requester.get("/history/news").await.status, 404);
    }
    assert_eq!(node.metric(r#"tidegate_requests_total{request="poll",status="2xx"}"#).await, 100.);
    let missing = r#"tidegate_requests_total{request="history",status="4xx"}"#;
    assert_eq!(node.metric(missing).await, 50.);
}

#[tokio::test]
async fn curl_publishes_reads_and_polls_over_one_connection() {
    let node = testkit::node::Node::standalone(&[HISTORY]).await;
    let url = |path: &str| format!("http://{}{path}", node.public);
    let mut command = tokio::process::Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--max-time", "20"]);
    command.args(["--write-out", "%{http_code} %{num_connects}\n"]);
    command.args([&url("/publish/h:1"), "--data", "hello", "--next"]);
    command.args(["--silent", "--fail", "--write-out", "%{http_code} %{num_connects}\n"]);
    command.args([&url("/history/h:1"), &url("/poll/h:1?wait=0s"), &url("/presence/h:1")]);
    let output = command.output().await.expect("curl is there");
    let text = String::from_utf8(output.stdout).expect("curl prints text");
    let statuses: Vec<&str> = text.lines().filter(|line| !line.starts_with('{')).collect();
    assert_eq!(statuses, ["202 1", "200 0", "200 0", "200 0"], "{text}");
    assert!(text.contains(r#""text":"hello""#), "{text}");
}

#[tokio::test]
async fn a_publication_by_post_carries_its_user() {
    use testkit::token::{self, KEYS};
    let rules = r#"rules=[{pattern="**",subscribe="user",publish="user"}]"#;
    let node = testkit::node::Node::standalone(&[KEYS, rules]).await;
    let token = token::for_user("ada", &[]);
    let mut subscriber =
        Client::open(&node, &format!("/ws?token={token}")).await.with_welcome().await;
    subscriber.subscribe("news").await;
    let authorization = format!("Bearer {token}");
    let headers = [("Authorization", authorization.as_str())];
    let mut requester = Requester::connect(&node).await;
    let answer = requester.request("POST", "/publish/news", &headers, b"1").await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let mut event = subscriber.event().await;
    assert_eq!(event["user"], "ada");
    event.as_object_mut().expect("an object").retain(|name, _| name != "user" && name != "time");
    assert_eq!(event, publication("news", 1));
}
