//! Fleets with different prefixes that share one Redis.

use testkit::client::{self, Client};
use testkit::node::Node;
use testkit::redis::Redis;

use super::super::{publication, publish, resume, subscribe, subscribed};

#[tokio::test]
async fn two_fleets_on_one_redis_keep_history_by_their_own_rules() {
    let redis = Redis::start().await;
    let eu = Node::on(&redis, &["broker.prefix=eu:", &rules("h:*")]).await;
    let us = Node::on(&redis, &["broker.prefix=us:", &rules("k:*")]).await;
    let (mut of_eu, mut of_us) = (Client::json(&eu).await, Client::json(&us).await);
    let (in_eu, in_us) = (subscribe(&mut of_eu, "h:1").await, subscribe(&mut of_us, "k:1").await);
    assert_eq!(publish(&mut of_eu, "h:1", "eu").await, in_eu.plus(1));
    assert_eq!(publish(&mut of_us, "k:1", "us").await, in_us.plus(1));
    assert_eq!(of_eu.event().await, publication("h:1", "eu", in_eu.plus(1)));
    assert_eq!(of_us.event().await, publication("k:1", "us", in_us.plus(1)));
    // Only the first fleet's rules keep history for this channel.
    let mut of_us = Client::subscribed(&us, "h:1").await;
    of_us.publish("h:1", "past".into()).await;
    assert_eq!(of_us.event().await, client::publication("h:1", "past"));
    let command = ["FCALL", "tidegate_publish", "1", "us:k:1", "1"];
    assert_eq!(redis.query::<String>(&command).await, in_us.plus(2).to_string());
    let mut client = Client::json(&eu).await;
    let last = in_eu.plus(1);
    assert_eq!(resume(&mut client, "h:1", in_eu).await, subscribed("h:1", last, true));
}

fn rules(pattern: &str) -> String {
    format!(r#"rules=[{{pattern="{pattern}",history={{size=50,age="10m"}}}},{{pattern="**"}}]"#)
}
