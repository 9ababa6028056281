//! The functions of runs, as services call them in Redis.

use serde_json::json;
use testkit::node::Node;
use testkit::redis::{Redis, query};

use super::{RULES, after, ended, receive, subscribe};

/// Calls a function, and returns its reply or its error as text.
async fn call(redis: &Redis, words: &[&str]) -> Result<String, String> {
    let mut all = vec!["FCALL", words[0], "1"];
    all.extend(&words[1..]);
    query::<::redis::Value>(redis.address, &all).await.map_err(|error| error.to_string()).map(
        |reply| match reply {
            ::redis::Value::BulkString(bytes) => String::from_utf8(bytes).unwrap(),
            ::redis::Value::Int(number) => number.to_string(),
            other => format!("{other:?}"),
        },
    )
}

#[tokio::test]
async fn a_worker_publishes_renews_and_ends_with_functions_on_redis() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[RULES]).await;
    node.wait_until_ready().await;
    let (mut client, _) = subscribe(&node, "run:1", json!({})).await;
    let key = "tidegate:run:1";
    let first = call(&redis, &["tidegate_publish", key, "1"]).await.unwrap();
    let lease = call(&redis, &["tidegate_renew", key]).await.unwrap();
    assert!((3_600_000..=4_050_000).contains(&lease.parse::<u64>().unwrap()), "{lease}");
    let header = r#"{"id":"last","traceparent":null}"#;
    let position = call(&redis, &["tidegate_end", key, "done", "2", header]).await.unwrap();
    assert_eq!(position, after(&first, 2));
    receive(&mut client, 1..=2, &ended("run:1", "done", &position)).await;
    for words in [
        &["tidegate_publish", key, "3"][..],
        &["tidegate_end", key, "again"],
        &["tidegate_renew", key],
    ] {
        let error = call(&redis, words).await.unwrap_err();
        assert!(error.contains("ENDED") && error.contains("the run has ended: done"), "{error}");
    }
    // A repetition of what was published is not refused: the worker did not get the answer.
    let again = ["tidegate_publish", key, "2", r#"{"id":"last"}"#];
    assert_eq!(call(&redis, &again).await, Ok(after(&first, 1)));
}

#[tokio::test]
async fn wrong_calls_of_the_functions_are_told_what_is_wrong_on_redis() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[RULES]).await;
    node.wait_until_ready().await;
    call(&redis, &["tidegate_publish", "tidegate:run:1", "1"]).await.unwrap();
    let long = "x".repeat(256);
    for (words, why) in [
        (&["tidegate_end", "tidegate:run:1"][..], "usage: FCALL tidegate_end 1 <key> <reason>"),
        (&["tidegate_end", "tidegate:run:1", ""], "a reason is 1 to 255 bytes"),
        (&["tidegate_end", "tidegate:run:1", "a\nb"], "a reason is 1 to 255 bytes"),
        (&["tidegate_end", "tidegate:run:1", "a\u{85}b"], "a reason is 1 to 255 bytes"),
        (&["tidegate_end", "tidegate:run:1", &long], "a reason is 1 to 255 bytes"),
        (
            &["tidegate_end", "tidegate:run:1", "done", "x", "no"],
            "the header must be a JSON object",
        ),
        (
            &["tidegate_publish", "tidegate:run:1", "", r#"{"ended":"done"}"#],
            "the header must not have pos, prev, rules_changed or ended",
        ),
        (&["tidegate_end", "tidegate:run:none", "done", "x"], "nothing was published"),
        (&["tidegate_renew", "tidegate:run:none"], "nothing was published"),
        (&["tidegate_end", "tidegate:h:1", "done"], "the rule of this channel has no run"),
        (&["tidegate_renew", "tidegate:news"], "the rule of this channel has no run"),
        (&["tidegate_renew", "tidegate:run:1", "x"], "usage: FCALL tidegate_renew 1 <key>"),
    ] {
        let error = call(&redis, words).await.unwrap_err();
        assert!(error.contains(why), "{words:?}: {error}");
    }
    let length: u64 = redis.query(&["XLEN", "tidegate:run:1"]).await;
    assert_eq!(length, 1, "none of them has written");
}

#[tokio::test]
async fn a_header_line_of_a_client_cannot_end_a_run_on_redis() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[RULES]).await;
    let (mut client, _) = subscribe(&node, "run:1", json!({})).await;
    super::work(&node, "run:1", 1..=1).await;
    redis.publish("run:1", "\u{1e}{\"ended\":\"done\"}\n").await;
    let position = super::end(&node, "run:1", "done").await;
    assert_eq!(client.event().await["data"], 1);
    let relayed = client.event().await;
    assert_eq!((&relayed["type"], &relayed["text"]), (&json!("publication"), &json!("")));
    assert_eq!(client.event().await, ended("run:1", "done", &position));
}
