//! BEGIN, COMMIT and ABORT.

use testkit::client::Client;
use testkit::node::Node;

use super::{HISTORY, Stomp};

#[tokio::test]
async fn a_transaction_publishes_what_was_sent_in_it_at_its_commit_in_order() {
    let node = Node::standalone(&[HISTORY]).await;
    let mut subscriber = Stomp::subscribed(&node, "h:a").await;
    let mut stomp = Stomp::connect(&node).await;
    stomp.request("BEGIN", "transaction:t\n", "").await;
    for number in 0..3 {
        stomp.send("SEND", "destination:h:a\ntransaction:t\n", &number.to_string()).await;
    }
    stomp.request("SEND", "destination:h:a\n", "outside").await;
    assert_eq!(subscriber.frame().await.text(), "outside");
    let receipt = stomp.request("COMMIT", "transaction:t\n", "").await;
    let mut last = None;
    for number in 0..3 {
        let message = subscriber.frame().await;
        assert_eq!(message.text(), number.to_string());
        last = message.header("message-id").map(str::to_owned);
    }
    assert_eq!(receipt.header("position"), last.as_deref(), "after the broker's last answer");
    stomp.refused("COMMIT", "transaction:t\n", "").await.0.assert_error("no open transaction");
}

#[tokio::test]
async fn an_aborted_transaction_and_one_whose_connection_ends_publish_nothing() {
    let node = Node::standalone(&[]).await;
    let mut subscriber = Client::subscribed(&node, "a").await;
    let mut stomp = Stomp::connect(&node).await;
    stomp.request("BEGIN", "transaction:t\n", "").await;
    stomp.send("SEND", "destination:a\ntransaction:t\n", "aborted").await;
    stomp.request("ABORT", "transaction:t\n", "").await;
    stomp.request("BEGIN", "transaction:t\n", "").await;
    stomp.send("SEND", "destination:a\ntransaction:t\n", "lost").await;
    stomp.send("DISCONNECT", "receipt:bye\n", "").await;
    assert_eq!(stomp.frame().await.header("receipt-id"), Some("bye"));
    assert_eq!(u16::from(stomp.closed().await.code), 1000);
    let mut last = Stomp::connect(&node).await;
    last.request("SEND", "destination:a\n", "last").await;
    assert_eq!(subscriber.event().await["text"], "last");
}

#[tokio::test]
async fn transactions_are_bounded_and_unknown_ones_are_refused() {
    let node = Node::standalone(&[]).await;
    let mut stomp = Stomp::connect(&node).await;
    for number in 0..16 {
        stomp.request("BEGIN", &format!("transaction:{number}\n"), "").await;
    }
    let (error, code) = stomp.refused("BEGIN", "transaction:x\n", "").await;
    error.assert_error("at most 16 transactions");
    assert_eq!((error.header("code"), code), (Some("limit_reached"), 1008));
    let mut stomp = Stomp::connect(&node).await;
    stomp.request("BEGIN", "transaction:t\n", "").await;
    for _ in 0..256 {
        stomp.send("SEND", "destination:a\ntransaction:t\n", "x").await;
    }
    let (error, _) = stomp.refused("SEND", "destination:a\ntransaction:t\n", "x").await;
    error.assert_error("256 frames");
    for (command, headers, part) in [
        ("SEND", "destination:a\ntransaction:no\n", "no open transaction"),
        ("ABORT", "transaction:no\n", "no open transaction"),
        ("BEGIN", "", "header transaction"),
    ] {
        let mut stomp = Stomp::connect(&node).await;
        stomp.refused(command, headers, "").await.0.assert_error(part);
    }
}

#[tokio::test]
async fn a_commit_that_may_not_publish_is_an_error_with_its_receipt() {
    let rules = r#"rules=[{pattern="read",subscribe="anyone",publish="nobody"},{pattern="**"}]"#;
    let node = Node::standalone(&[rules]).await;
    let mut subscriber = Client::subscribed(&node, "a").await;
    let mut stomp = Stomp::connect(&node).await;
    stomp.request("BEGIN", "transaction:t\n", "").await;
    for channel in ["a", "read", "a"] {
        stomp.send("SEND", &format!("destination:{channel}\ntransaction:t\n"), "1").await;
    }
    let (error, _) = stomp.refused("COMMIT", "transaction:t\nreceipt:c\n", "").await;
    let told = (error.header("code"), error.header("receipt-id"));
    assert_eq!(told, (Some("forbidden"), Some("c")));
    assert_eq!(subscriber.event().await["data"], 1, "what stood before it is published");
    subscriber.send(r#"{"type":"ping","id":1}"#).await;
    assert_eq!(subscriber.event().await["type"], "pong", "nothing after it");
}
