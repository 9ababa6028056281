//! ACK and NACK: a client gets no more than it acknowledges, and later the rest.

use testkit::fleet::{Broker, for_simple_brokers};
use testkit::node::Node;

use super::{HISTORY, Stomp, publish};

for_simple_brokers!(a_client_that_acknowledges_late_gets_every_message_once_and_in_order);

/// Messages of a subscription that may be unacknowledged.
const UNACKED_MAX: usize = 256;

async fn a_client_that_acknowledges_late_gets_every_message_once_and_in_order(broker: Broker) {
    for (version, mode) in
        [("1.2", "client"), ("1.2", "client-individual"), ("1.1", "client"), ("1.0", "client")]
    {
        let fleet = broker.fleet(&[HISTORY]).await;
        let [a, b] = fleet.nodes();
        let mut stomp = Stomp::connect_with(b, &format!("accept-version:{version}\n")).await;
        let headers = format!("id:0\ndestination:h:a\nack:{mode}\n");
        stomp.request("SUBSCRIBE", &headers, "").await;
        // Another subscription of the session is not affected.
        stomp.request("SUBSCRIBE", "id:auto\ndestination:h:a\n", "").await;
        let mut sender = Stomp::connect(a).await;
        for number in 0..600 {
            sender.send("SEND", "destination:h:a\n", &number.to_string()).await;
        }
        let (mut manual, mut auto, mut unacked) = (0, 0, Vec::new());
        while manual < 600 || auto < 600 {
            let message = stomp.frame().await;
            assert_eq!(message.command, "MESSAGE", "{message:?}");
            if message.header("subscription") == Some("auto") {
                assert_eq!(message.text(), auto.to_string(), "{version} {mode}");
                assert_eq!(message.header("ack"), None);
                auto += 1;
            } else {
                assert_eq!(message.text(), manual.to_string(), "{version} {mode}");
                manual += 1;
                let id = message.header("message-id").expect("an id");
                unacked.push(match version {
                    "1.2" => format!("id:{}\n", message.header("ack").expect("an ack")),
                    "1.1" => format!("subscription:0\nmessage-id:{id}\n"),
                    _ => format!("message-id:{id}\n"),
                });
            }
            assert!(unacked.len() <= UNACKED_MAX, "more than the bound");
            if unacked.len() == UNACKED_MAX {
                match mode {
                    "client" => stomp.send("ACK", &unacked[UNACKED_MAX - 1], "").await,
                    // In any order.
                    _ => {
                        for ack in unacked.iter().rev() {
                            stomp.send("ACK", ack, "").await;
                        }
                    }
                }
                unacked.clear();
            }
        }
        stomp.quiet().await;
    }
}

#[tokio::test]
async fn a_nack_frees_its_message_which_is_not_sent_again() {
    let node = Node::standalone(&[HISTORY]).await;
    let mut stomp = Stomp::connect(&node).await;
    stomp.request("SUBSCRIBE", "id:0\ndestination:h:a\nack:client-individual\n", "").await;
    publish(&node, "h:a", b"1").await;
    let message = stomp.frame().await;
    let id = format!("id:{}\n", message.header("ack").expect("an ack"));
    stomp.request("NACK", &id, "").await;
    stomp.quiet().await;
    // Of a message that is acknowledged already, and of none.
    stomp.request("ACK", &id, "").await;
    stomp.request("ACK", "id:nothing\n", "").await;
}

#[tokio::test]
async fn acknowledgements_on_a_channel_without_history_are_accepted_and_change_nothing() {
    let node = Node::standalone(&[HISTORY]).await;
    let mut stomp = Stomp::connect(&node).await;
    stomp.request("SUBSCRIBE", "id:0\ndestination:a\nack:client\n", "").await;
    for number in 0..UNACKED_MAX + 50 {
        publish(&node, "a", number.to_string().as_bytes()).await;
        let message = stomp.frame().await;
        assert_eq!(message.text(), number.to_string());
        let id = message.header("ack").expect("clients read it").to_owned();
        if number == 0 {
            stomp.request("ACK", &format!("id:{id}\n"), "").await;
        }
    }
}

#[tokio::test]
async fn acknowledgements_without_their_headers_are_refused() {
    let node = Node::standalone(&[]).await;
    for (version, command, headers, part) in [
        ("1.2", "ACK", "message-id:1-1\n", "header id"),
        ("1.1", "ACK", "message-id:1-1\n", "header subscription"),
        ("1.1", "NACK", "subscription:0\n", "header message-id"),
        ("1.0", "NACK", "message-id:1-1\n", "NACK"),
    ] {
        let mut stomp = Stomp::connect_with(&node, &format!("accept-version:{version}\n")).await;
        stomp.refused(command, headers, "").await.0.assert_error(part);
    }
}
