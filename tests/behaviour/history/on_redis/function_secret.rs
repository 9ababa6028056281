//! The functions sign what they publish with a secret; nodes keep accepting it when the server loses or changes the
//! secret.

use testkit::client::Client;
use testkit::eventually;
use testkit::fleet::Fleet;
use testkit::node::Node;
use testkit::redis::Redis;

use super::super::{RULES, publication, publish, subscribe};
use super::answer;

/// The secret with which a server's functions sign.
async fn secret(redis: &Redis) -> Option<String> {
    answer::<String>(redis, &["FCALL", "tidegate_secret", "0"]).await.ok()
}

#[tokio::test]
async fn a_redis_that_lost_its_functions_gets_the_same_secret_again() {
    let fleet = Fleet::redis(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let (mut client_a, mut client_b) = (Client::json(a).await, Client::json(b).await);
    let before = subscribe(&mut client_b, "h:1").await;
    let first = secret(fleet.server()).await;
    assert!(first.is_some());
    fleet.server().query::<String>(&["FUNCTION", "FLUSH"]).await;
    // The nodes install it without any client's request.
    let again = eventually("the secret to be installed again", async || {
        secret(fleet.server()).await.map(Some)
    })
    .await;
    assert_eq!(again, first);
    assert_eq!(publish(&mut client_a, "h:1", 1).await, before.plus(1));
    assert_eq!(client_b.event().await, publication("h:1", 1, before.plus(1)));
}

#[tokio::test]
async fn nodes_adopt_a_changed_secret_without_a_new_connection() {
    let fleet = Fleet::redis(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let (mut client_a, mut client_b) = (Client::json(a).await, Client::json(b).await);
    let before = subscribe(&mut client_b, "h:1").await;
    // An operator restores the functions of another server.
    let library = "#!lua name=tidegate_secret\nredis.register_function{function_name='tidegate_secret',\
                   callback=function() return '0123456789abcdefghijkl' end,flags={'no-writes'}}";
    fleet.server().query::<String>(&["FUNCTION", "LOAD", "REPLACE", library]).await;
    let list = ["FUNCTION", "LIST", "LIBRARYNAME", "tidegate", "WITHCODE"];
    // A node that starts now installs functions that sign with this secret.
    let late = Node::on(fleet.server(), &[RULES]).await;
    late.wait_until_ready().await;
    let code: redis::Value = fleet.server().query(&list).await;
    assert!(format!("{code:?}").contains("0123456789abcdefghijkl"));
    let mut line = fleet.server().subscriber("news").await;
    for node in [a, b] {
        let mut client = Client::json(node).await;
        eventually("the node to sign with the new secret", async || {
            client.publish("news", 1.into()).await;
            let message = String::from_utf8(line.receive().await).expect("a text");
            message.contains("0123456789abcdefghijkl").then_some(())
        })
        .await;
    }
    assert_eq!(publish(&mut client_a, "h:1", 1).await, before.plus(1));
    assert_eq!(client_b.event().await, publication("h:1", 1, before.plus(1)));
    let mut last = Client::json(&late).await;
    assert_eq!(subscribe(&mut last, "h:1").await, before.plus(1));
}
