//! Redis refuses a subscription: other channels must keep working, and the node retries what is refused temporarily.

use serde_json::json;
use testkit::client::{Client, publication};
use testkit::eventually;
use testkit::node::Node;
use testkit::redis::Redis;

#[tokio::test]
async fn a_channel_that_redis_forbids_does_not_affect_other_channels() {
    let redis = Redis::start().await;
    let mut connection = redis.connection().await;
    let mut acl = ::redis::cmd("ACL");
    acl.arg("SETUSER").arg("gateway").arg("on").arg(">pass").arg("+@all").arg("resetchannels");
    acl.arg("&tidegate:ok*").arg("&tidegate:probe*");
    let _: String = acl.query_async(&mut connection).await.expect("Redis accepts the user");
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
async fn a_missing_redis_permission_is_logged_once_with_its_channel() {
    let redis = Redis::start().await;
    let mut connection = redis.connection().await;
    let mut acl = ::redis::cmd("ACL");
    acl.arg("SETUSER").arg("gateway").arg("on").arg(">pass").arg("+@all").arg("resetchannels");
    acl.arg("~*").arg("&tidegate:revo*").arg("&tidegate:probe*");
    let _: String = acl.query_async(&mut connection).await.expect("Redis accepts the user");
    let url = redis.url().replace("redis://", "redis://gateway:pass@");
    let node = Node::start_at(&url, &[]).await;
    node.wait_until_ready().await;
    let probes = "tidegate_broker_probe_rtt_seconds_count";
    eventually("eight probes", async || (node.metric(probes).await >= 8.).then_some(())).await;
    let lines = node.process.stderr();
    let logged = |command: &str| {
        let about = format!("\"command\":\"{command}\",\"channel\":\"tidegate:fleet of nodes\"");
        lines.iter().filter(|line| line.contains(&about)).count()
    };
    assert_eq!((logged("PUBLISH"), logged("SUBSCRIBE")), (1, 1), "{lines:#?}");
}

#[tokio::test]
async fn without_redis_functions_nodes_authenticate_each_other_by_broker_secret() {
    let redis = Redis::start().await;
    let mut connection = redis.connection().await;
    let mut acl = ::redis::cmd("ACL");
    acl.arg("SETUSER").arg("gateway").arg("on").arg(">pass").arg("+@all").arg("-fcall");
    acl.arg("-function").arg("allkeys").arg("allchannels");
    let _: String = acl.query_async(&mut connection).await.expect("Redis accepts the user");
    let url = redis.url().replace("redis://", "redis://gateway:pass@");
    let settings = ["broker.secret=an-operators-own-secret"];
    let (one, other) =
        (Node::start_at(&url, &settings).await, Node::start_at(&url, &settings).await);
    let mut without_echo = Client::json(&one).await;
    let subscribe = json!({"type": "subscribe", "id": 1, "channel": "news", "echo": false});
    assert_eq!(without_echo.request(subscribe).await["type"], "subscribed");
    let mut client_b = Client::subscribed(&other, "news").await;
    without_echo.publish("news", 1.into()).await;
    assert_eq!(client_b.event().await, publication("news", 1));
    client_b.publish("news", 2.into()).await;
    assert_eq!(without_echo.event().await, publication("news", 2));
}

#[tokio::test]
async fn a_subscription_refused_while_redis_is_busy_is_retried() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let mut connection = redis.connection().await;
    let mut settings = ::redis::cmd("CONFIG");
    settings.arg("SET").arg("busy-reply-threshold").arg(100);
    let _: String = settings.query_async(&mut connection).await.expect("Redis accepts the setting");
    let mut other = redis.connection().await;
    let busy = tokio::spawn(async move {
        let mut script = ::redis::cmd("EVAL");
        script.arg("while true do end").arg(0);
        // The script keeps Redis busy until it is killed.
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
