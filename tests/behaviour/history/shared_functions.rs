//! Two fleets with different prefixes share one Redis, and so the functions that nodes install there.

use std::collections::HashMap;

use redis::Value;
use testkit::client::Client;
use testkit::node::Node;
use testkit::redis::Redis;

use super::{RULES, publication, publish, subscribe};

/// The code of the installed functions.
async fn functions(redis: &Redis) -> String {
    let list = ["FUNCTION", "LIST", "LIBRARYNAME", "tidegate", "WITHCODE"];
    let mut libraries: Vec<HashMap<String, Value>> = redis.query(&list).await;
    let code = libraries[0].remove("library_code").expect("the library has code");
    redis::from_redis_value(code).expect("a text is a string")
}

#[tokio::test]
async fn a_node_whose_rules_another_fleet_overwrote_installs_them_again() {
    let redis = Redis::start().await;
    let first = Node::on(&redis, &[RULES, "broker.prefix=first:"]).await;
    let of_the_first = functions(&redis).await;
    let second = Node::on(&redis, &[RULES, "broker.prefix=second:"]).await;
    // As if both nodes had read the functions at the same time, and the first had written last.
    let load = ["FUNCTION", "LOAD", "REPLACE", &of_the_first];

    let _: String = redis.query(&load).await;
    for node in [&first, &second] {
        let mut publisher = Client::json(node).await;
        let position = publish(&mut publisher, "h:1", 1).await;
        let mut client = Client::json(node).await;
        assert_eq!(subscribe(&mut client, "h:1").await, position);
    }
    let _: String = redis.query(&load).await;
    for node in [&first, &second] {
        let mut client = Client::json(node).await;
        let before = subscribe(&mut client, "h:2").await;
        let position = publish(&mut client, "h:2", 2).await;
        assert_eq!(position, before.plus(1));
        assert_eq!(client.event().await, publication("h:2", 2, position));
    }
}
