//! Redis refuses to subscribe: one channel that is forbidden must not mute the others, and what is
//! refused for a while is asked for again.

use serde_json::json;
use testkit::client::{Client, publication};
use testkit::eventually;
use testkit::node::Node;
use testkit::redis::Redis;

#[tokio::test]
async fn one_forbidden_channel_mutes_no_other() {
    let redis = Redis::start().await;
    let mut connection = redis.connection().await;
    let mut acl = ::redis::cmd("ACL");
    acl.arg("SETUSER").arg("gateway").arg("on").arg(">pass").arg("+@all").arg("resetchannels");
    acl.arg("&tidegate:ok*").arg("&tidegate:probe*");
    let _: String = acl.query_async(&mut connection).await.expect("Redis takes the user");
    let url = redis.url().replace("redis://", "redis://gateway:pass@");
    let node = Node::start_at(&url, &["broker.publish_timeout=300ms"]).await;
    node.wait_until_ready().await;

    let mut allowed = Client::subscribed(&node, "ok1").await;
    let forbidden = Client::plain(&node, "forbidden").await;
    redis.kill_subscribers().await;
    eventually("the allowed channel to be subscribed again", async || {
        (redis.subscribers("ok1").await == 1).then_some(())
    })
    .await;
    assert_eq!(allowed.event().await["type"], "gap");
    redis.publish("ok1", "1").await;
    assert_eq!(allowed.event().await["data"], 1);

    allowed.subscribe("ok2").await;
    forbidden.close().await;
    node.wait_for_metric("tidegate_subscriptions_wanted", 2.).await;
}

#[tokio::test]
async fn a_right_that_is_missing_is_told_once_with_the_channel_it_is_for() {
    let redis = Redis::start().await;
    let mut connection = redis.connection().await;
    let mut acl = ::redis::cmd("ACL");
    acl.arg("SETUSER").arg("gateway").arg("on").arg(">pass").arg("+@all").arg("resetchannels");
    acl.arg("~*").arg("&tidegate:revo*").arg("&tidegate:probe*");
    let _: String = acl.query_async(&mut connection).await.expect("Redis takes the user");
    let url = redis.url().replace("redis://", "redis://gateway:pass@");
    let node = Node::start_at(&url, &[]).await;
    node.wait_until_ready().await;
    let probed = "tidegate_broker_probe_rtt_seconds_count";
    eventually("some seconds of its life", async || {
        (node.metric(probed).await >= 8.).then_some(())
    })
    .await;
    let lines = node.process.stderr();
    let told = |command: &str| {
        let about = format!("\"command\":\"{command}\",\"channel\":\"tidegate:fleet of nodes\"");
        lines.iter().filter(|line| line.contains(&about)).count()
    };
    assert_eq!((told("PUBLISH"), told("SUBSCRIBE")), (1, 1), "{lines:#?}");
}

#[tokio::test]
async fn without_functions_nodes_know_each_other_by_a_configured_secret() {
    let redis = Redis::start().await;
    let mut connection = redis.connection().await;
    let mut acl = ::redis::cmd("ACL");
    acl.arg("SETUSER").arg("gateway").arg("on").arg(">pass").arg("+@all").arg("-fcall");
    acl.arg("-function").arg("allkeys").arg("allchannels");
    let _: String = acl.query_async(&mut connection).await.expect("Redis takes the user");
    let url = redis.url().replace("redis://", "redis://gateway:pass@");
    let settings = ["broker.secret=an-operators-own-secret"];
    let (one, other) =
        (Node::start_at(&url, &settings).await, Node::start_at(&url, &settings).await);
    let mut deaf = Client::json(&one).await;
    let without_echo = json!({"type": "subscribe", "id": 1, "channel": "news", "echo": false});
    assert_eq!(deaf.request(without_echo).await["type"], "subscribed");
    let mut there = Client::subscribed(&other, "news").await;
    deaf.publish("news", 1.into()).await;
    assert_eq!(there.event().await, publication("news", 1));
    there.publish("news", 2.into()).await;
    assert_eq!(deaf.event().await, publication("news", 2));
}

#[tokio::test]
async fn what_is_refused_while_redis_is_busy_is_asked_for_again() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let mut connection = redis.connection().await;
    let mut settings = ::redis::cmd("CONFIG");
    settings.arg("SET").arg("busy-reply-threshold").arg(100);
    let _: String = settings.query_async(&mut connection).await.expect("Redis takes the setting");
    let mut other = redis.connection().await;
    let busy = tokio::spawn(async move {
        let mut script = ::redis::cmd("EVAL");
        script.arg("while true do end").arg(0);
        // It is killed; till then it keeps Redis busy.
        let _ = script.query_async::<::redis::Value>(&mut connection).await;
    });
    node.wait_until_unready().await;
    let mut client = Client::plain(&node, "news").await;
    let mut kill = ::redis::cmd("SCRIPT");
    kill.arg("KILL");
    let _: String = kill.query_async(&mut other).await.expect("Redis kills the script");
    busy.await.expect("the script ends");
    eventually("the channel to be subscribed", async || {
        (redis.subscribers("news").await == 1).then_some(())
    })
    .await;
    redis.publish("news", "after").await;
    assert_eq!(client.receive_text().await, "after");
}
