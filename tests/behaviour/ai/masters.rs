//! The doors of the AI SDK's clients while the Redis of a run changes: a slot that moves, and a failover.

use serde_json::{Value, json};
use testkit::ai_stream::{AiEvent, AiStream};
use testkit::cluster::{Cluster, MASTERS};
use testkit::eventually;
use testkit::http::request;
use testkit::node::Node;
use testkit::sentinel::Sentinel;

use super::{RULES, chat, chunks, end, path, receive_chunks, receive_start, resume, work};

#[tokio::test]
async fn an_answer_goes_on_while_the_slot_of_its_run_moves_on_a_cluster() {
    let cluster = Cluster::without_replicas().await;
    let url = cluster.url();
    let nodes = [Node::start_at(&url, &[RULES]).await, Node::start_at(&url, &[RULES]).await];
    for node in &nodes {
        node.wait_until_ready().await;
    }
    let channel = "run:{x}1";
    let encoded = "run:%7Bx%7D1";
    work(&nodes[0], encoded, &["a"]).await;
    let mut stream = AiStream::open(&nodes[1], &path(encoded)).await.expect("a stream");
    let mut chat = chat(&nodes[1]).await;
    chat.send_command(resume("r", channel)).await;
    receive_start(&mut chat, "r").await;
    let to = (cluster.master_of(channel).await + 1) % MASTERS;
    let from = cluster.begin_move(channel, to).await;
    work(&nodes[0], encoded, &["b"]).await;
    cluster.end_move(channel, from, to).await;
    work(&nodes[0], encoded, &["c"]).await;
    end(&nodes[1], encoded, "done").await;
    let all = chunks(&["a", "b", "c"], json!({"type": "finish"}));
    assert_eq!(stream.rest().await, all);
    receive_chunks(&mut chat, "r", &all).await;
}

/// Follows a run as a client of the AI SDK does, which resumes after each broken connection, up to its end. Returns its
/// text and its last chunk.
async fn follow(node: &Node, channel: &str) -> (String, Value) {
    let path = format!("{}?ended=true", path(channel));
    loop {
        let stream = eventually("a stream", async || AiStream::open(node, &path).await.ok());
        let mut stream = stream.await;
        // The replay begins with `start`, at which the client empties the message.
        let (mut text, mut last) = (String::new(), Value::Null);
        loop {
            match stream.event().await {
                AiEvent::Chunk(chunk) => {
                    text += chunk["delta"].as_str().unwrap_or_default();
                    last = chunk;
                }
                AiEvent::Done => return (text, last),
                AiEvent::BrokenOff => break,
                AiEvent::Complete => panic!("a body without [DONE] after {last}"),
            }
        }
    }
}

#[tokio::test]
async fn an_answer_survives_a_failover_with_sentinels() {
    let sentinel = Sentinel::start().await;
    let url = sentinel.url();
    let nodes = [Node::start_at(&url, &[RULES]).await, Node::start_at(&url, &[RULES]).await];
    for node in &nodes {
        node.wait_until_ready().await;
    }
    work(&nodes[0], "open:1", &["before "]).await;
    let mut stream = AiStream::open(&nodes[1], &path("open:1")).await.expect("a stream");
    assert_eq!(stream.chunk().await, json!({"type": "start"}));
    let old = sentinel.master().await;
    sentinel.servers[old].freeze();
    sentinel.wait_for_failover(old).await;
    // The keys make the repeated attempts harmless.
    for (key, text) in [("1", "after "), ("2", "all")] {
        eventually("a publication to be accepted", async || {
            let (to, headers) = (nodes[0].public, [("Idempotency-Key", key)]);
            let answer = request(to, "POST", "/publish/open:1", &headers, text.as_bytes()).await;
            (answer.status == 202).then_some(())
        })
        .await;
    }
    eventually("the run to be ended", async || {
        let answer = nodes[1].post("/api/end/open:1", &[], br#"{"reason":"done"}"#).await;
        matches!(answer.status, 200 | 409).then_some(())
    })
    .await;
    for node in &nodes {
        let whole = ("before after all".to_owned(), json!({"type": "finish"}));
        assert_eq!(follow(node, "open:1").await, whole);
    }
    // The stream of before goes on, or breaks off so that its client resumes.
    let mut text = String::new();
    let end = loop {
        match stream.event().await {
            AiEvent::Chunk(chunk) => text += chunk["delta"].as_str().unwrap_or_default(),
            event => break event,
        }
    };
    match end {
        AiEvent::Done => assert_eq!(text, "before after all"),
        _ => assert!("before after all".starts_with(&text), "{end:?} after {text:?}"),
    }
    sentinel.servers[old].thaw();
}
