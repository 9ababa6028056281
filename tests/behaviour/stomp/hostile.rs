//! Clients that misuse the protocol: each ends only its own connection.

use testkit::node::Node;

use super::{Stomp, publish};

#[tokio::test]
async fn header_floods_subscription_floods_and_heads_without_end_end_that_connection_alone() {
    let node = Node::standalone(&[]).await;
    let mut victim = Stomp::subscribed(&node, "a").await;
    let mut stomp = Stomp::connect(&node).await;
    let (error, _) = stomp.refused("SEND", &"a:b\n".repeat(1000), "").await;
    error.assert_error("64 headers");
    let mut stomp = Stomp::connect(&node).await;
    stomp.client.send(format!("SEND\n{}", "a".repeat(20_000))).await;
    stomp.frame().await.assert_error("16384 bytes");
    let mut stomp = Stomp::connect(&node).await;
    for number in 0..16 {
        stomp.send("SUBSCRIBE", &format!("id:{number}\ndestination:a\n"), "").await;
    }
    let (error, code) = stomp.refused("SUBSCRIBE", "id:x\ndestination:a\n", "").await;
    error.assert_error("at most 16 subscriptions");
    assert_eq!(code, 1008);
    let mut stomp = Stomp::connect(&node).await;
    for number in 0..128 {
        stomp.send("SUBSCRIBE", &format!("id:{number}\ndestination:c{number}\n"), "").await;
    }
    let (error, _) = stomp.refused("SUBSCRIBE", "id:x\ndestination:x\n", "").await;
    error.assert_error("session.channels_max = 128");
    publish(&node, "a", b"still here").await;
    assert_eq!(victim.frame().await.text(), "still here");
}
