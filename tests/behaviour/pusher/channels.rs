//! Channels of each kind, and what reaches them.

use serde_json::json;
use testkit::client::Client;
use testkit::fleet::{Broker, for_simple_brokers};
use testkit::node::Node;

use super::{APP, APPS, Pusher, SHOP, data, event, publish};

for_simple_brokers!(
    an_open_channel_gets_events_and_other_publications_of_services_on_every_node,
    a_private_channel_takes_the_applications_signature_and_no_other,
    an_encrypted_channel_passes_its_events_on_untouched,
    a_new_subscriber_of_a_cache_channel_gets_the_last_event_or_is_told_that_there_is_none,
    the_channels_of_two_applications_are_apart,
    after_unsubscribing_nothing_arrives_and_subscribing_again_works,
);

async fn an_open_channel_gets_events_and_other_publications_of_services_on_every_node(
    broker: Broker,
) {
    let fleet = broker.fleet(&[APPS]).await;
    let [a, b] = fleet.nodes();
    let mut pusher = Pusher::subscribed(b, APP, "news").await;
    publish(a, "news", r#"{"event":"order","data":{"id":1}}"#).await;
    assert_eq!(pusher.event().await, event("order", "news", r#"{"id":1}"#));
    publish(a, "news", "hello").await;
    assert_eq!(pusher.event().await, event("message", "news", "hello"));
    if fleet.publish_on_redis("news", r#"{"event":"plain","data":"x"}"#).await {
        assert_eq!(pusher.event().await, event("plain", "news", "x"));
    }
    publish(a, "elsewhere", "hello").await;
    pusher.quiet().await;
}

async fn a_private_channel_takes_the_applications_signature_and_no_other(broker: Broker) {
    let fleet = broker.fleet(&[APPS]).await;
    let [a, b] = fleet.nodes();
    let mut pusher = Pusher::subscribed(a, APP, "private-orders.1").await;
    publish(b, "private-orders.1", r#"{"event":"e","data":"d"}"#).await;
    assert_eq!(pusher.event().await, event("e", "private-orders.1", "d"));
    let mut other = Pusher::connect(a, APP).await;
    for auth in [
        String::new(),
        APP.auth("1.1:private-orders.1"),
        SHOP.auth(&format!("{}:private-orders.1", other.socket_id)),
    ] {
        other.send("pusher:subscribe", json!({"channel": "private-orders.1", "auth": auth})).await;
        let refused = other.event().await;
        assert_eq!(refused["event"], "pusher:subscription_error");
        assert_eq!(
            (&refused["channel"], &refused["data"]["status"]),
            (&json!("private-orders.1"), &json!(401))
        );
    }
    publish(b, "private-orders.1", r#"{"event":"e","data":"d"}"#).await;
    assert_eq!(pusher.event().await["event"], "e");
    other.quiet().await;
    // Other protocols need a token that lists the channel.
    let mut json = Client::json(a).await;
    let answer =
        json.request(json!({"type": "subscribe", "id": 1, "channel": "private-orders.1"})).await;
    assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!("forbidden")));
}

async fn an_encrypted_channel_passes_its_events_on_untouched(broker: Broker) {
    let fleet = broker.fleet(&[APPS]).await;
    let [a, b] = fleet.nodes();
    let channel = "private-encrypted-mine";
    let mut pusher = Pusher::subscribed(a, APP, channel).await;
    let sealed = r#"{"nonce":"4w==","ciphertext":"o+8="}"#;
    publish(b, channel, &json!({"event": "e", "data": sealed}).to_string()).await;
    assert_eq!(pusher.event().await, event("e", channel, sealed));
    pusher.trigger(channel, "client-e", json!(1)).await;
    let refused = pusher.event().await;
    assert_eq!(refused["event"], "pusher:error");
    assert!(
        refused["data"]["message"].as_str().is_some_and(|it| it.contains("encrypted")),
        "{refused}"
    );
}

async fn a_new_subscriber_of_a_cache_channel_gets_the_last_event_or_is_told_that_there_is_none(
    broker: Broker,
) {
    let fleet = broker.fleet(&[APPS]).await;
    let [a, b] = fleet.nodes();
    for channel in ["cache-a", "private-cache-a", "private-encrypted-cache-a"] {
        let mut first = Pusher::subscribed(a, APP, channel).await;
        assert_eq!(first.event().await, event("pusher:cache_miss", channel, "{}"));
        for number in ["1", "2"] {
            publish(b, channel, &json!({"event": "e", "data": number}).to_string()).await;
            assert_eq!(first.event().await, event("e", channel, number));
        }
        for node in [a, b] {
            let mut late = Pusher::subscribed(node, APP, channel).await;
            assert_eq!(late.event().await, event("e", channel, "2"));
            late.quiet().await;
        }
    }
}

async fn the_channels_of_two_applications_are_apart(broker: Broker) {
    let fleet = broker.fleet(&[APPS]).await;
    let [a, b] = fleet.nodes();
    let mut app = Pusher::subscribed(a, APP, "news").await;
    let mut shop = Pusher::subscribed(a, SHOP, "news").await;
    publish(b, "news", "of app").await;
    publish(b, "shop:news", "of shop").await;
    assert_eq!(app.event().await, event("message", "news", "of app"));
    assert_eq!(shop.event().await, event("message", "news", "of shop"));
    // A name with a colon would reach another application's channels.
    app.ask("shop:news", None).await;
    assert_eq!(app.event().await["event"], "pusher:error");
    shop.quiet().await;
}

async fn after_unsubscribing_nothing_arrives_and_subscribing_again_works(broker: Broker) {
    let fleet = broker.fleet(&[APPS]).await;
    let [a, b] = fleet.nodes();
    for channel in ["news", "private-news"] {
        let mut pusher = Pusher::subscribed(a, APP, channel).await;
        let mut witness = Pusher::subscribed(a, APP, channel).await;
        pusher.send("pusher:unsubscribe", json!({"channel": channel})).await;
        pusher.quiet().await;
        publish(b, channel, "1").await;
        witness.event().await;
        pusher.quiet().await;
        pusher.subscribe(channel, None).await;
        publish(b, channel, "2").await;
        assert_eq!(pusher.event().await, event("message", channel, "2"));
    }
}

#[tokio::test]
async fn a_gap_is_an_event_that_libraries_ignore_unless_a_page_binds_it() {
    let redis = testkit::redis::Redis::start().await;
    let node = Node::on(&redis, &[APPS]).await;
    let mut pusher = Pusher::subscribed(&node, APP, "news").await;
    redis.kill_subscribers().await;
    let gap = pusher.event().await;
    assert_eq!((&gap["event"], &gap["channel"]), (&json!("tidegate:gap"), &json!("news")));
    assert_eq!(data(&gap), json!({"reason": testkit::GAP_REASON}));
}
