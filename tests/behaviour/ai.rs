//! The doors of the AI SDK's clients: `GET /ai/{channel}/stream`, and the subprotocol `tidegate.v1.ai` on `/ws`.
//! `tests/ai` does the same with the client library itself, on memory and one Redis.

mod masters;

use serde_json::{Value, json};
use testkit::ai_stream::AiStream;
use testkit::client::Client;
use testkit::fleet::{Broker, for_broker, for_every_broker};
use testkit::node::Node;

for_every_broker!(
    an_ai_stream_has_the_run_from_its_first_publication_to_its_end,
    an_ai_stream_is_refused_with_204_where_no_run_is_in_progress,
    an_ai_chat_that_sends_reaches_the_worker_and_gets_its_answer,
    an_ai_chat_that_resumes_gets_the_run_from_its_first_publication,
    an_ai_chat_that_aborts_reaches_the_worker_from_another_node,
    the_answer_of_a_worker_that_is_gone_ends_with_an_error,
);
for_broker!(
    sentinel,
    Sentinel,
    an_ai_stream_has_the_run_from_its_first_publication_to_its_end,
    an_ai_stream_is_refused_with_204_where_no_run_is_in_progress,
    an_ai_chat_that_sends_reaches_the_worker_and_gets_its_answer,
    an_ai_chat_that_resumes_gets_the_run_from_its_first_publication,
    an_ai_chat_that_aborts_reaches_the_worker_from_another_node,
    the_answer_of_a_worker_that_is_gone_ends_with_an_error,
);

/// The runs of `short:*` have a short lease; `plain` has none.
const RULES: &str = r#"rules=[{pattern="run:*",history={size=1000,age="10m"},run={lease="1h",control="control:{name}"}},
    {pattern="short:*",history={size=1000,age="10m"},run={lease="1s"}},
    {pattern="open:*",history={size=1000,age="10m"},run={lease="1h"}},{pattern="**"}]"#;

/// Publishes these texts, as a worker does.
async fn work(node: &Node, channel: &str, texts: &[&str]) {
    for text in texts {
        let path = format!("/api/publish/{channel}");
        let answer = node.post(&path, &[], text.as_bytes()).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }
}

async fn end(node: &Node, channel: &str, reason: &str) {
    let body = json!({ "reason": reason }).to_string();
    let answer = node.post(&format!("/api/end/{channel}"), &[], body.as_bytes()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn path(channel: &str) -> String {
    format!("/ai/{channel}/stream")
}

/// The chunks of a run of these texts, which ended with this last chunk.
fn chunks(texts: &[&str], last: Value) -> Vec<Value> {
    let deltas = texts.iter().map(|text| json!({"type": "text-delta", "id": "0", "delta": text}));
    let before = [json!({"type": "start"}), json!({"type": "text-start", "id": "0"})];
    let after = [json!({"type": "text-end", "id": "0"}), last];
    before.into_iter().chain(deltas).chain(after).collect()
}

/// A connection of a `WebSocketChatTransport`.
async fn chat(node: &Node) -> Client {
    Client::with_subprotocol(node, "/ws", "tidegate.v1.ai").await
}

/// The frame with which a client asks for the answer that is in progress.
fn resume(request: &str, channel: &str) -> Value {
    json!({"type": "resume", "requestId": request, "id": channel})
}

/// Asserts that the request gets `start`, these chunks and `end`.
async fn receive(chat: &mut Client, request: &str, chunks: &[Value]) {
    receive_start(chat, request).await;
    receive_chunks(chat, request, chunks).await;
}

async fn receive_start(chat: &mut Client, request: &str) {
    assert_eq!(chat.event().await, json!({"type": "start", "requestId": request}));
}

async fn receive_chunks(chat: &mut Client, request: &str, chunks: &[Value]) {
    for (sequence, chunk) in chunks.iter().enumerate() {
        let frame =
            json!({"type": "chunk", "requestId": request, "sequence": sequence, "chunk": chunk});
        assert_eq!(chat.event().await, frame);
    }
    assert_eq!(chat.event().await, json!({"type": "end", "requestId": request}));
}

async fn an_ai_stream_has_the_run_from_its_first_publication_to_its_end(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    work(a, "run:1", &["Hel", "lo\n"]).await;
    let mut live = AiStream::open(b, &path("run:1")).await.expect("a stream");
    assert_eq!(live.chunk().await, json!({"type": "start"}));
    work(a, "run:1", &[" 12", "!"]).await;
    end(b, "run:1", "done").await;
    let all = chunks(&["Hel", "lo\n", " 12", "!"], json!({"type": "finish"}));
    assert_eq!(live.rest().await, all[1..]);
    for node in [a, b] {
        let path = format!("{}?ended=true", path("run:1"));
        let mut late = AiStream::open(node, &path).await.expect("a stream");
        assert_eq!(late.rest().await, all);
    }
}

async fn an_ai_stream_is_refused_with_204_where_no_run_is_in_progress(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    work(a, "run:ended", &["x"]).await;
    end(a, "run:ended", "done").await;
    for (node, channel) in [(a, "run:none"), (b, "run:none"), (b, "run:ended"), (a, "plain")] {
        let refused = AiStream::open(node, &path(channel)).await.err().map(|it| it.status);
        assert_eq!(refused, Some(204), "{channel}");
    }
}

async fn an_ai_chat_that_sends_reaches_the_worker_and_gets_its_answer(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut worker = Client::subscribed(a, "control:run:1").await;
    let mut chat = chat(b).await;
    let messages = json!([{"role": "user", "parts": [{"type": "text", "text": "tell me"}]}]);
    let send = json!({"type": "send", "requestId": "r", "id": "run:1", "messages": messages});
    chat.send_command(send.clone()).await;
    let asked = worker.event().await;
    assert_eq!((&asked["channel"], &asked["data"]), (&json!("control:run:1"), &send));
    work(a, "run:1", &["Low ", "tide"]).await;
    end(a, "run:1", "stop").await;
    let last = json!({"type": "finish", "finishReason": "stop"});
    receive(&mut chat, "r", &chunks(&["Low ", "tide"], last)).await;
    // An answer has a channel of its own.
    chat.send_command(json!({"type": "send", "requestId": "s", "id": "run:1", "messages": []}))
        .await;
    let refused = chat.event().await;
    assert_eq!((&refused["type"], &refused["requestId"]), (&json!("error"), &json!("s")));
}

async fn an_ai_chat_that_resumes_gets_the_run_from_its_first_publication(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut chats = [chat(a).await, chat(b).await];
    for (request, chat) in ["first", "second"].into_iter().zip(&mut chats) {
        chat.send_command(resume(request, "run:1")).await;
        assert_eq!(chat.event().await, json!({"type": "no-active", "requestId": request}));
    }
    work(a, "run:1", &["a", "b"]).await;
    for chat in &mut chats {
        chat.send_command(resume("third", "run:1")).await;
        // A run that has ended before the node reads the frame is not active.
        receive_start(chat, "third").await;
    }
    work(b, "run:1", &["c"]).await;
    end(a, "run:1", "done").await;
    let all = chunks(&["a", "b", "c"], json!({"type": "finish"}));
    for chat in &mut chats {
        receive_chunks(chat, "third", &all).await;
        let mut again = resume("fourth", "run:1");
        again["body"] = json!({"ended": true});
        chat.send_command(again).await;
        receive(chat, "fourth", &all).await;
    }
}

async fn an_ai_chat_that_aborts_reaches_the_worker_from_another_node(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut worker = Client::subscribed(a, "control:run:1").await;
    work(a, "run:1", &["On and "]).await;
    let mut viewer = AiStream::open(a, &path("run:1")).await.expect("a stream");
    let mut chat = chat(b).await;
    chat.send_command(resume("r", "run:1")).await;
    receive_start(&mut chat, "r").await;
    let abort = json!({"type": "abort", "requestId": "r"});
    chat.send_command(abort.clone()).await;
    assert_eq!(worker.event().await["data"], abort);
    while chat.event().await != json!({"type": "end", "requestId": "r"}) {}
    end(a, "run:1", "stopped").await;
    assert_eq!(viewer.rest().await, chunks(&["On and "], json!({"type": "abort"})));
}

async fn the_answer_of_a_worker_that_is_gone_ends_with_an_error(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut chat = chat(a).await;
    work(a, "short:1", &["x"]).await;
    let mut stream = AiStream::open(b, &path("short:1")).await.expect("a stream");
    let mut again = resume("r", "short:1");
    again["body"] = json!({"ended": true});
    chat.send_command(again).await;
    let all = chunks(&["x"], json!({"type": "error", "errorText": "abandoned"}));
    assert_eq!(stream.rest().await, all);
    receive(&mut chat, "r", &all).await;
}
