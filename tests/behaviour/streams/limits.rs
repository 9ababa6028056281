//! What clients may not do with streams, and what is refused.

use testkit::fleet::{Broker, for_every_broker};
use testkit::http;
use testkit::node::Node;

use super::{JSON, RULES, TEXT, append, ask, create, read, refusal, refused};

for_every_broker!(invalid_requests_change_nothing_and_are_told_why);

#[tokio::test]
async fn a_client_needs_the_right_to_publish_to_write_and_to_subscribe_to_read() {
    let node = Node::standalone(&[RULES]).await;
    for (method, path) in [("PUT", "read:1"), ("POST", "read:1"), ("DELETE", "read:1")] {
        let answer = ask(&node, method, path, &[TEXT], b"x").await;
        assert_eq!(refusal(&answer), refused(403, "forbidden"), "{method} {path}");
    }
    create(&node, "write:1", &[TEXT], "x").await;
    append(&node, "write:1", TEXT, "y").await;
    for live in ["", "?offset=-1&live=long-poll", "?offset=-1&live=sse"] {
        let answer = ask(&node, "GET", &format!("write:1{live}"), &[], b"").await;
        assert_eq!(refusal(&answer), refused(403, "forbidden"), "{live}");
    }
    let fork = ask(&node, "PUT", "s:1", &[("Stream-Forked-From", "/streams/write:1")], b"").await;
    assert_eq!(refusal(&fork), refused(403, "forbidden"), "a fork reads what it is forked from");
    for name in ["run:1", "other"] {
        let answer = ask(&node, "PUT", name, &[TEXT], b"x").await;
        assert_eq!(refusal(&answer), refused(404, "not_found"), "{name}");
        let message = answer.json()["error"]["message"].to_string();
        assert!(message.contains("streams = true"), "{message}");
    }
}

async fn invalid_requests_change_nothing_and_are_told_why(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    create(a, "s:1", &[JSON], "[1]").await;
    let many = format!("[{}1]", "1,".repeat(1000));
    for (headers, body, expected) in [
        (&[JSON][..], "{", refused(400, "bad_request")),
        (&[JSON], "[]", refused(400, "bad_request")),
        (&[JSON], &many, refused(413, "too_large")),
        (&[TEXT], "x", refused(409, "conflict")),
        (&[JSON, ("Producer-Id", "p")], "1", refused(400, "bad_request")),
        (&[JSON, ("Stream-Seq", "a"), ("Stream-Seq", "b")], "1", refused(400, "bad_request")),
    ] {
        let answer = ask(b, "POST", "s:1", headers, body.as_bytes()).await;
        assert_eq!(refusal(&answer), expected, "{body:.20}");
    }
    for offset in ["x", "1", "-2", "%00", "1_2_3", "1,2", "", "../1_1", "99999999999999999999_1"] {
        for live in ["", "&live=long-poll", "&live=sse"] {
            let answer = ask(b, "GET", &format!("s:1?offset={offset}{live}"), &[], b"").await;
            assert_eq!(refusal(&answer), refused(400, "bad_request"), "{offset}{live}");
        }
    }
    let beyond = "00000000000000000001_18446744073709551615";
    let answer = ask(b, "GET", &format!("s:1?offset={beyond}"), &[], b"").await;
    assert_eq!(refusal(&answer), refused(410, "gone"));
    let merged = ask(a, "PUT", "merged:1", &[JSON], b"").await;
    assert_eq!(refusal(&merged), refused(409, "conflict"));
    assert_eq!(read(a, "s:1", "-1").await.0, "[1]");
}

#[tokio::test]
async fn a_body_larger_than_a_message_may_be_is_not_appended() {
    let node = Node::standalone(&[RULES, "session.message_bytes_max=1KiB"]).await;
    create(&node, "s:1", &[TEXT], &"x".repeat(1024)).await;
    let answer = ask(&node, "POST", "s:1", &[TEXT], &[b'x'; 1025]).await;
    assert_eq!(refusal(&answer), refused(413, "too_large"));
    assert_eq!(read(&node, "s:1", "-1").await.0.len(), 1024);
}

#[tokio::test]
async fn a_page_of_another_origin_can_use_streams_only_if_it_is_listed() {
    let node = Node::standalone(&[RULES, "server.origins=https://app.example"]).await;
    let origin = ("Origin", "https://app.example");
    let preflight = http::request(node.public, "OPTIONS", "/streams/s:1", &[origin], b"").await;
    let allowed = preflight.header("access-control-allow-headers").expect("headers are allowed");
    assert!(allowed.contains("stream-closed") && allowed.contains("if-none-match"), "{allowed}");
    let methods = preflight.header("access-control-allow-methods").expect("methods are allowed");
    assert!(methods.contains("PUT") && methods.contains("DELETE"), "{methods}");
    let answer = ask(&node, "PUT", "s:1", &[TEXT, origin], b"x").await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example"));
    let exposed: Vec<&str> = answer
        .headers
        .iter()
        .filter(|(name, _)| name == "access-control-expose-headers")
        .map(|(_, value)| &**value)
        .collect();
    assert!(exposed.concat().contains("stream-next-offset"), "{exposed:?}");
    let other = ask(&node, "PUT", "s:2", &[TEXT, ("Origin", "https://other.example")], b"x").await;
    assert_eq!(refusal(&other), refused(403, "forbidden"));
}
