//! No output of the node contains a token.

use serde_json::json;
use testkit::client::Client;
use testkit::raw::{RawClient, upgrade};
use testkit::token;

use super::node_requiring_tokens;

#[tokio::test]
async fn no_log_line_metric_or_answer_contains_a_token() {
    let node = node_requiring_tokens(&["telemetry.log_level=trace"]).await;
    let good = token::for_user("u1", &["chat:1"]);
    let forged = token::signed("another secret of the right length!", 60.0, json!({"sub": "u1"}));
    let mut answers = String::new();
    for token in [&good, &forged] {
        for path in ["/ws", "/ws/chat:1", "/ws/chat:2", "/nowhere", "/ws/a%20b"] {
            let mut client = RawClient::connect(&node).await;
            client.send(upgrade(&format!("{path}?token={token}"), "Origin: http://evil\r\n")).await;
            answers.push_str(&client.response().await.text());
            let mut client = RawClient::connect(&node).await;
            client.send(upgrade(&format!("{path}?token={token}"), "")).await;
            answers.push_str(&client.response().await.text());
        }
        let mut client = Client::json(&node).await;
        let answer = client.request(json!({"type": "auth", "id": 1, "token": token})).await;
        answers.push_str(&answer.to_string());
    }
    node.wait_for_metric("tidegate_rejected_total{reason=\"origin\"}", 8.0).await;
    answers.push_str(&node.get("/metrics").await.text());
    let log = node.process.wait_for_stderr(&["rejected"]).await;
    for token in [good, forged] {
        let signature = token.rsplit('.').next().expect("three parts");
        assert!(!log.contains(signature), "in the log");
        assert!(!answers.contains(signature), "in an answer or a metric");
    }
}
