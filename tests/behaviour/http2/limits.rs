//! Limits: how streams count, and what a connection may do.

use serde_json::json;
use testkit::eventually;
use testkit::http::{self, connect};
use testkit::http2::{Http2Client, Reason};
use testkit::node::Node;
use testkit::raw::RawClient;
use testkit::raw_http2::{PREFACE, RawHttp2, get};
use testkit::token::{self, KEYS};
use tokio::io::AsyncWriteExt;

use super::{PLAIN, SSE};

async fn status(http2: &mut Http2Client, headers: &[(&str, &str)]) -> u16 {
    match http2.try_websocket("/ws/news", headers).await {
        Ok((response, _)) => response.status,
        Err(refused) => refused.status,
    }
}

fn rejected(reason: &str) -> String {
    format!("tidegate_rejected_total{{reason=\"{reason}\"}}")
}

#[tokio::test]
async fn each_session_of_a_connection_counts_for_connections_per_ip_and_frees_its_slot() {
    let node = Node::standalone(&["limits.connections_per_ip=2"]).await;
    let mut http2 = Http2Client::from(&node, "127.0.0.3").await;
    // The connection counts once, also while it has its first session.
    let first = http2.websocket("/ws/news").await;
    let second = http2.websocket("/ws/news").await;
    assert_eq!(status(&mut http2, &[]).await, 429);
    assert_eq!(node.metric(&rejected("connections_per_ip")).await, 1.);
    let mut other = Http2Client::from(&node, "127.0.0.4").await;
    let _other = other.websocket("/ws/news").await;
    drop(first);
    node.wait_for_metric(PLAIN, 2.).await;
    let third = http2.websocket("/ws/news").await;
    drop((second, third));
    node.wait_for_metric(PLAIN, 1.).await;
    // The connection itself still counts.
    let _one_more = Http2Client::from(&node, "127.0.0.3").await.websocket("/ws/news").await;
    let mut refused = RawClient::connect_from(&node, "127.0.0.3").await;
    refused.send(testkit::raw::upgrade("/ws/news", "")).await;
    assert_eq!(refused.response().await.status, 429);
}

#[tokio::test]
async fn each_session_of_a_connection_counts_for_connections_max() {
    let node = Node::standalone(&["limits.connections_max=2"]).await;
    let mut http2 = Http2Client::connect(&node).await;
    let _first = http2.websocket("/ws/news").await;
    let _second = http2.event_stream("/sse/news").await;
    assert_eq!(status(&mut http2, &[]).await, 503);
    assert_eq!(http2.get("/nothing").await.status, 404, "a request that starts no session");
    assert_eq!(node.metric(&rejected("connections_max")).await, 1.);
}

#[tokio::test]
async fn the_sessions_of_a_connection_count_for_the_handshake_rates() {
    for (limit, expected) in
        [("limits.handshakes_per_second_per_ip=3", 429), ("limits.handshakes_per_second=3", 503)]
    {
        let node = Node::standalone(&[limit]).await;
        let mut http2 = Http2Client::connect(&node).await;
        let mut statuses = Vec::new();
        for _ in 0..20 {
            statuses.push(status(&mut http2, &[]).await);
        }
        assert_eq!(statuses[..3], [200; 3], "{limit}");
        assert!(statuses.contains(&expected), "{limit}: {statuses:?}");
    }
}

#[tokio::test]
async fn a_trusted_proxy_names_the_client_of_each_stream() {
    let settings = ["limits.connections_per_ip=1", "server.trusted_proxies=127.0.0.2"];
    let node = Node::standalone(&settings).await;
    let mut proxy = Http2Client::from(&node, "127.0.0.2").await;
    let of = |last: u8| format!("192.0.2.{last}");
    let mut held = Vec::new();
    for last in 1..=3 {
        let opened = proxy.try_websocket("/ws/news", &[("x-forwarded-for", &of(last))]).await;
        held.push(opened.expect("each client has one"));
    }
    assert_eq!(status(&mut proxy, &[("x-forwarded-for", &of(1))]).await, 429);
    held.remove(0);
    eventually("a free slot", async || {
        (status(&mut proxy, &[("x-forwarded-for", &of(1))]).await == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_proxy_header_may_precede_http_2() {
    let settings = [
        "server.proxy_protocol=true",
        "server.trusted_proxies=127.0.0.1",
        "limits.connections_per_ip=1",
    ];
    let node = Node::standalone(&settings).await;
    let behind = async |last: u8| {
        let mut stream = connect(node.public).await;
        let line = format!("PROXY TCP4 192.0.2.{last} 127.0.0.1 5000 80\r\n");
        stream.write_all(line.as_bytes()).await.expect("it is sent");
        Http2Client::over(stream, format!("http://{}", node.public), &Default::default()).await
    };
    let (mut a, mut b) = (behind(1).await, behind(2).await);
    let _of_a = a.websocket("/ws/news").await;
    let _of_b = b.websocket("/ws/news").await;
    assert_eq!(status(&mut a, &[]).await, 429);
}

#[tokio::test]
async fn a_client_that_resets_requests_without_end_is_disconnected() {
    let node = Node::standalone(&[]).await;
    let mut attacker = Http2Client::connect(&node).await;
    loop {
        let request = attacker.request("GET", "/sse/news").body(()).expect("a request");
        if attacker.open_and_reset(request).await.is_err() {
            break;
        }
    }
    let ended = attacker.ended().await.expect_err("the node has ended it");
    // A client that still sends when the node closes the socket may lose the reason to a reset of TCP.
    assert!(ended.is_io() || ended.reason() == Some(Reason::ENHANCE_YOUR_CALM), "{ended}");
    node.wait_for_metric(&rejected("http2"), 1.).await;
    node.wait_for_metric(SSE, 0.).await;
    node.wait_for_metric("tidegate_http2_connections", 0.).await;
    assert_eq!(http::get(node.public, "/nothing").await.status, 404);
}

#[tokio::test]
async fn a_client_that_opens_more_streams_than_announced_is_refused_the_further_ones() {
    let node = Node::standalone(&["server.http2_streams_max=2"]).await;
    let mut client = RawHttp2::connect(&node, &[]).await;
    for stream in [1, 3, 5] {
        client.send(&get(stream, "/sse/news")).await.expect("it is sent");
    }
    let reset = client.frame_of(testkit::raw_http2::RST_STREAM).await.expect("a reset");
    // REFUSED_STREAM: the request was not processed, so the client may send it again.
    assert_eq!((reset.stream, &reset.payload[..]), (5, &[0, 0, 0, 7][..]));
    node.wait_for_metric(SSE, 2.).await;
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed_after_the_handshake_timeout() {
    let node = Node::standalone(&["server.handshake_timeout=300ms"]).await;
    for sent in [&PREFACE[..], &PREFACE[..10], &PREFACE[..20]] {
        let mut raw = RawClient::connect(&node).await;
        raw.send(sent).await;
        raw.read_to_end().await;
    }
    let mut idle = RawHttp2::connect(&node, &[]).await;
    while idle.frame().await.is_some() {}
    node.wait_for_metric(&rejected("handshake"), 4.).await;
    node.wait_for_metric("tidegate_http2_connections", 0.).await;
}

#[tokio::test]
async fn a_dead_client_is_disconnected_by_the_connections_own_pings() {
    let node = Node::standalone(&["session.ping_interval=1s", "session.pong_timeout=500ms"]).await;
    let mut dead = RawHttp2::connect(&node, &[]).await;
    dead.send(&get(1, "/sse/news")).await.expect("it is sent");
    node.wait_for_metric(SSE, 1.).await;
    // It reads everything, and answers no ping.
    assert!(dead.frame_of(testkit::raw_http2::PING).await.is_some());
    while dead.frame().await.is_some() {}
    node.wait_for_metric(SSE, 0.).await;
    node.wait_for_metric("tidegate_http2_connections", 0.).await;
}

#[tokio::test]
async fn a_request_head_without_end_is_cut_off() {
    use testkit::raw_http2::{CONTINUATION, HEADERS, frame};
    let node = Node::standalone(&[]).await;
    let mut attacker = RawHttp2::connect(&node, &[]).await;
    attacker.send(&frame(HEADERS, 0, 1, &[0x82, 0x86])).await.expect("it is sent");
    // Literal headers without indexing: `x` with an empty value.
    let piece = frame(CONTINUATION, 0, 1, &[0x00, 0x01, b'x', 0x00].repeat(1000));
    while attacker.send(&piece).await.is_ok() {}
    node.wait_for_metric("tidegate_http2_connections", 0.).await;
    assert_eq!(http::get(node.public, "/nothing").await.status, 404);
}

#[tokio::test]
async fn short_requests_and_polls_are_answered_over_http_2() {
    let node = Node::standalone(&[]).await;
    let mut http2 = Http2Client::connect(&node).await;
    let request = http2.request("GET", "/poll/news?wait=20s").body(()).expect("a request");
    let mut poller = Http2Client::connect(&node).await;
    let polling = tokio::spawn(async move { poller.answer(request, b"").await });
    let poll = r#"tidegate_http2_sessions{protocol="http",transport="poll"}"#;
    node.wait_for_metric(poll, 1.).await;
    let request = http2.request("POST", "/publish/news").body(()).expect("a request");
    let published = http2.answer(request, b"over HTTP/2").await;
    assert_eq!(published.status, 202, "{published:?}");
    let answer = polling.await.expect("no panic");
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("over HTTP/2"), "{}", answer.text());
    node.wait_for_metric(poll, 0.).await;
    let too_large = vec![b'x'; 100 << 10];
    let request = http2.request("POST", "/publish/news").body(()).expect("a request");
    assert_eq!(http2.answer(request, &too_large).await.status, 413);
    assert_eq!(http2.get("/nothing").await.status, 404, "the connection goes on");
}

#[tokio::test]
async fn a_refused_connection_of_http_2_gets_the_refusal_as_a_response() {
    for (limit, status) in [("limits.connections_per_ip=1", 429), ("limits.connections_max=1", 503)]
    {
        let node = Node::standalone(&[limit]).await;
        let mut first = Http2Client::connect(&node).await;
        assert_eq!(first.get("/nothing").await.status, 404);
        let mut refused = Http2Client::connect(&node).await;
        let response = refused.get("/history/news").await;
        assert_eq!(response.status, status, "{response:?}");
        assert_eq!(response.json()["error"]["code"], "limit_reached");
        assert!(response.header("retry-after").is_some());
        // In which order the client sees GOAWAY and the end of the socket does not matter.
        let _ = refused.ended().await;
    }
}

#[tokio::test]
async fn a_poll_that_ends_with_401_leaves_its_connection_of_http_2_open() {
    let rules = r#"rules=[{pattern="**",subscribe="token",publish="token"}]"#;
    let node = Node::standalone(&[KEYS, rules, "auth.leeway=0s"]).await;
    let mut http2 = Http2Client::connect(&node).await;
    let token = token::token(2., json!({"sub": "u1", "subscribe": ["news"]}));
    let path = format!("/poll/news?wait=60s&token={token}");
    assert_eq!(http2.get(&path).await.status, 401);
    assert_eq!(http2.get("/nothing").await.status, 404);
}
