//! SUBSCRIBE and UNSUBSCRIBE: several of one channel, the past, gaps and ends.

use testkit::fleet::{Broker, for_simple_brokers};
use testkit::node::Node;

use super::{HISTORY, Stomp, publish};

for_simple_brokers!(
    a_subscription_from_a_position_gets_what_it_missed_and_then_what_follows,
    a_gap_is_told_without_ending_the_connection,
);

async fn a_subscription_from_a_position_gets_what_it_missed_and_then_what_follows(broker: Broker) {
    let fleet = broker.fleet(&[HISTORY]).await;
    let [a, b] = fleet.nodes();
    let mut sender = Stomp::connect(a).await;
    let mut positions = Vec::new();
    for number in 0..5 {
        let receipt = sender.request("SEND", "destination:h:a\n", &number.to_string()).await;
        positions.push(receipt.header("position").expect("a position").to_owned());
    }
    let mut subscribers = Vec::new();
    for (header, recovered, expected) in [
        (format!("since:{}\n", positions[2]), Some("true"), &["3", "4"][..]),
        ("since:first\n".to_owned(), Some("true"), &["0", "1", "2", "3", "4"]),
        ("last:1\n".to_owned(), None, &["4"]),
    ] {
        let mut stomp = Stomp::connect(b).await;
        let headers = format!("id:0\ndestination:h:a\n{header}");
        let receipt = stomp.request("SUBSCRIBE", &headers, "").await;
        assert_eq!(receipt.header("position"), Some(&*positions[4]));
        assert_eq!(receipt.header("recovered"), recovered, "{header}");
        for payload in expected {
            assert_eq!(stomp.frame().await.text(), *payload, "{header}");
        }
        subscribers.push(stomp);
    }
    let receipt = sender.request("SEND", "destination:h:a\n", "next").await;
    for mut stomp in subscribers {
        let message = stomp.frame().await;
        let got = (message.text(), message.header("message-id"));
        assert_eq!(got, ("next", receipt.header("position")));
    }
}

#[tokio::test]
async fn a_position_that_is_not_kept_is_told_as_a_gap() {
    let node = Node::standalone(&[HISTORY]).await;
    let mut stomp = Stomp::connect(&node).await;
    let headers = "id:0\ndestination:h:a\nsince:1-5\n";
    assert_eq!(stomp.request("SUBSCRIBE", headers, "").await.header("recovered"), Some("false"));
    let gap = stomp.frame().await;
    assert_eq!((&*gap.command, gap.header("receipt-id")), ("RECEIPT", Some("tidegate-gap")));
    assert_eq!(gap.header("subscription"), Some("0"));
    stomp.quiet().await;
}

async fn a_gap_is_told_without_ending_the_connection(broker: Broker) {
    let fleet = broker.fleet(&[]).await;
    let [_, node] = fleet.nodes();
    let mut stomp = Stomp::subscribed(node, "/topic/a").await;
    let Some(redis) = fleet.servers().first() else { return };
    redis.kill_subscribers().await;
    let gap = stomp.frame().await;
    assert_eq!((&*gap.command, gap.header("receipt-id")), ("RECEIPT", Some("tidegate-gap")));
    assert_eq!(gap.header("destination"), Some("/topic/a"));
    assert!(gap.header("reason").is_some());
    stomp.quiet().await;
}

#[tokio::test]
async fn each_subscription_to_one_channel_gets_its_own_messages() {
    let node = Node::standalone(&[]).await;
    let mut stomp = Stomp::connect(&node).await;
    for id in ["a", "b"] {
        stomp.request("SUBSCRIBE", &format!("id:{id}\ndestination:/topic/x\n"), "").await;
    }
    publish(&node, "x", b"1").await;
    for id in ["a", "b"] {
        let message = stomp.frame().await;
        assert_eq!((message.header("subscription"), message.text()), (Some(id), "1"));
    }
    stomp.request("UNSUBSCRIBE", "id:a\n", "").await;
    publish(&node, "x", b"2").await;
    assert_eq!(stomp.frame().await.header("subscription"), Some("b"));
    stomp.request("UNSUBSCRIBE", "id:b\n", "").await;
    publish(&node, "x", b"3").await;
    stomp.quiet().await;
    node.wait_for_metric("tidegate_channels", 0.).await;
    // The same in one message of the WebSocket.
    stomp
        .client
        .send("SUBSCRIBE\nid:c\ndestination:x\n\n\0SUBSCRIBE\nid:d\ndestination:x\nreceipt:d\n\n\0")
        .await;
    assert_eq!(stomp.frame().await.header("receipt-id"), Some("d"));
    publish(&node, "x", b"4").await;
    for id in ["c", "d"] {
        assert_eq!(stomp.frame().await.header("subscription"), Some(id));
    }
    stomp.quiet().await;
}

#[tokio::test]
async fn a_subscription_that_begins_again_gets_nothing_twice() {
    let node = Node::standalone(&[HISTORY]).await;
    let mut stomp = Stomp::connect(&node).await;
    for round in 0..20 {
        stomp.request("SUBSCRIBE", "id:a\ndestination:h:a\n", "").await;
        let payload = round.to_string();
        publish(&node, "h:a", payload.as_bytes()).await;
        stomp.send("UNSUBSCRIBE", "id:a\nreceipt:u\n", "").await;
        let mut frame = stomp.frame().await;
        if frame.command == "MESSAGE" {
            assert_eq!(frame.text(), payload);
            frame = stomp.frame().await;
        }
        assert_eq!(frame.header("receipt-id"), Some("u"));
    }
}

#[tokio::test]
async fn version_1_0_subscribes_and_unsubscribes_by_destination() {
    let node = Node::standalone(&[]).await;
    let mut stomp = Stomp::connect_with(&node, "login:x\n").await;
    stomp.request("SUBSCRIBE", "destination:/topic/a\n", "").await;
    publish(&node, "a", b"1").await;
    let message = stomp.frame().await;
    assert_eq!((message.header("subscription"), message.text()), (None, "1"));
    assert!(message.header("message-id").is_some());
    stomp.request("UNSUBSCRIBE", "destination:/topic/a\n", "").await;
    publish(&node, "a", b"2").await;
    stomp.quiet().await;
}

#[tokio::test]
async fn faulty_subscriptions_are_refused() {
    let node = Node::standalone(&[]).await;
    for (command, headers, part) in [
        ("SUBSCRIBE", "destination:a\n", "header id"),
        ("SUBSCRIBE", "id:0\ndestination:b\n", "exists"),
        ("SUBSCRIBE", "id:1\ndestination:a\nselector:x > 1\n", "selectors"),
        ("SUBSCRIBE", "id:1\ndestination:a\nack:never\n", "client-individual"),
        ("SUBSCRIBE", "id:1\ndestination:a\nsince:first\n", "first subscription"),
        ("SUBSCRIBE", "id:1\ndestination:b\nsince:now\n", "position"),
        ("UNSUBSCRIBE", "id:1\n", "no such subscription"),
        ("UNSUBSCRIBE", "", "header id"),
    ] {
        let mut stomp = Stomp::subscribed(&node, "a").await;
        let (error, code) = stomp.refused(command, headers, "").await;
        error.assert_error(part);
        assert_eq!(code, 1002, "{part}");
    }
}

#[tokio::test]
async fn the_end_of_a_run_is_told_after_its_last_message() {
    let node = Node::standalone(&[
        r#"rules=[{pattern="run:*",history={size=100,age="10m"},run={lease="30s"}}]"#,
    ])
    .await;
    let mut stomp = Stomp::subscribed(&node, "run:1").await;
    publish(&node, "run:1", b"part").await;
    let answer = node.post("/api/end/run:1", &[], br#"{"reason":"done"}"#).await;
    assert!(answer.status < 300, "{answer:?}");
    assert_eq!(stomp.frame().await.text(), "part");
    let ended = stomp.frame().await;
    assert_eq!(ended.header("receipt-id"), Some("tidegate-ended"));
    assert_eq!(ended.header("subscription"), Some("0"));
    assert!(ended.header("position").is_some());
    let (error, code) = stomp.refused("SEND", "destination:run:1\nreceipt:r\n", "late").await;
    assert_eq!((error.header("code"), code), (Some("ended"), 1008));
    assert_eq!(error.header("receipt-id"), Some("r"));
}
