//! Draining: the node becomes unready, accepts no more connections, and closes its connections over a period.

mod api;
mod fleet;
mod reconnect;
mod terminal;

use std::time::{Duration, Instant};

use testkit::client::Client;
use testkit::eventually;
use testkit::node::Node;
use testkit::process::Signal;
use testkit::raw::{RawClient, upgrade};
use testkit::redis::Redis;
use tokio::net::TcpStream;

const CLIENTS: usize = 40;

#[tokio::test]
async fn a_drain_closes_all_connections_with_1012_over_the_period_and_the_node_exits_with_0() {
    let mut node = Node::standalone(&["drain.delay=0s", "drain.period=1s"]).await;
    let mut closing = Vec::new();
    for number in 0..CLIENTS {
        let mut client = match number % 2 {
            0 => Client::plain(&node, "news").await,
            _ => Client::subscribed(&node, "news").await,
        };
        closing.push(tokio::spawn(async move {
            let code = u16::from(client.receive_close().await.code);
            (code, Instant::now())
        }));
    }
    node.signal(Signal::TERM);
    let mut times = Vec::new();
    for closed in closing {
        let (code, at) = closed.await.expect("the client is closed");
        assert_eq!(code, 1012);
        times.push(at);
    }
    times.sort();
    let spread = times[CLIENTS - 1] - times[0];
    assert!(spread >= Duration::from_millis(500), "all were closed within {spread:?}");
    let widest = times.windows(2).map(|pair| pair[1] - pair[0]).max().expect("there are pairs");
    assert!(widest < Duration::from_millis(500), "no connection was closed for {widest:?}");
    assert_eq!(node.process.exit_code().await, 0);
}

#[tokio::test]
async fn after_sigterm_a_node_is_unready_at_once_and_still_serves_during_the_delay() {
    let mut node = Node::standalone(&["drain.delay=2s", "drain.period=100ms"]).await;
    let mut client = Client::plain(&node, "news").await;
    let signalled = Instant::now();
    node.signal(Signal::TERM);
    node.wait_until_unready().await;
    assert!(signalled.elapsed() < Duration::from_secs(1), "{:?}", signalled.elapsed());
    let answer = node.get("/readyz").await.json();
    assert!(answer["reasons"][0].as_str().expect("a reason").contains("drain"), "{answer}");
    assert_eq!(node.get("/healthz").await.status, 200);

    let mut late = Client::plain(&node, "news").await;
    client.send("still served").await;
    assert_eq!(late.receive_text().await, "still served");

    assert_eq!(u16::from(client.receive_close().await.code), 1012);
    assert!(
        signalled.elapsed() >= Duration::from_secs(2),
        "closed after {:?}",
        signalled.elapsed()
    );
    assert_eq!(u16::from(late.receive_close().await.code), 1012);
    drop((client, late));
    assert_eq!(node.process.exit_code().await, 0);
}

#[tokio::test]
async fn a_draining_node_refuses_new_connections_after_the_delay() {
    let node = Node::standalone(&["drain.delay=0s", "drain.period=10s"]).await;
    let _clients = [Client::plain(&node, "news").await, Client::plain(&node, "news").await];
    node.signal(Signal::TERM);
    eventually("connections to be refused", async || {
        TcpStream::connect(node.public).await.is_err().then_some(())
    })
    .await;
    assert!(!node.is_ready().await, "the internal listener must still answer, with 503");
}

#[tokio::test]
async fn sigint_skips_the_drain_delay() {
    let mut node = Node::standalone(&["drain.delay=1h", "drain.period=100ms"]).await;
    let mut client = Client::plain(&node, "news").await;
    node.signal(Signal::INT);
    assert_eq!(u16::from(client.receive_close().await.code), 1012);
    drop(client);
    assert_eq!(node.process.exit_code().await, 0);
}

#[tokio::test]
async fn a_second_signal_ends_a_draining_node_at_once() {
    for second in [Signal::TERM, Signal::INT] {
        let mut node = Node::standalone(&["drain.delay=1h", "drain.period=1h"]).await;
        let mut raw = RawClient::open(&node, "/ws/news").await;
        node.signal(Signal::TERM);
        node.wait_until_unready().await;
        node.signal(second);
        node.process.exit_code().await;
        raw.read_to_end().await;
    }
}

#[tokio::test]
async fn a_client_that_does_not_answer_the_close_does_not_delay_the_nodes_exit() {
    let mut node = Node::standalone(&["drain.delay=0s", "drain.period=100ms"]).await;
    let mut raw = RawClient::open(&node, "/ws/news").await;
    node.signal(Signal::TERM);
    assert_eq!(raw.frame().await.close_code(), 1012);
    assert_eq!(node.process.exit_code().await, 0);
}

#[tokio::test]
async fn a_node_without_connections_exits_at_once_when_it_drains() {
    let mut node = Node::standalone(&["drain.delay=0s", "drain.period=1h"]).await;
    node.signal(Signal::TERM);
    assert_eq!(node.process.exit_code().await, 0);
}

#[tokio::test]
async fn a_fleet_keeps_delivering_after_one_of_its_nodes_drained() {
    let redis = Redis::start().await;
    let mut a = Node::on(&redis, &["drain.delay=0s", "drain.period=100ms"]).await;
    let b = Node::on(&redis, &[]).await;
    let mut draining = Client::plain(&a, "news").await;
    let mut remaining = Client::plain(&b, "news").await;
    a.signal(Signal::TERM);
    assert_eq!(u16::from(draining.receive_close().await.code), 1012);
    drop(draining);
    assert_eq!(a.process.exit_code().await, 0);
    let mut returned = Client::plain(&b, "news").await;
    returned.send("back").await;
    assert_eq!(remaining.receive_text().await, "back");
    assert_eq!(redis.subscribers("news").await, 1);
}

#[tokio::test]
async fn a_draining_node_answers_upgrades_on_open_http_connections_with_503_and_closes() {
    let mut node = Node::standalone(&["drain.delay=1h", "drain.period=4s"]).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(Client::plain(&node, "news").await);
    }
    // A balancer keeps idle connections to the node: one has carried a request, the other has not.
    let (mut used, mut unused) = (RawClient::connect(&node).await, RawClient::connect(&node).await);
    let page = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    used.send(page).await;
    assert_eq!(used.response().await.status, 200);
    assert_eq!(node.post("/api/drain", &[], b"").await.status, 202);
    used.send(page).await;
    assert_eq!(used.response().await.status, 200, "a request during the delay");
    node.signal(Signal::INT);
    node.wait_for_metric("tidegate_drain_phase", 2.).await;
    for connection in [&mut used, &mut unused] {
        connection.send(upgrade("/ws/news", "")).await;
        let answer = connection.response().await;
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(answer.json()["error"]["code"], "unavailable");
        connection.expect_end().await;
    }
    assert_eq!(node.metric("tidegate_rejected_total{reason=\"draining\"}").await, 2.);
    for client in &mut clients {
        assert_eq!(u16::from(client.receive_close().await.code), 1012);
    }
    drop(clients);
    assert_eq!(node.process.exit_code().await, 0);
}
