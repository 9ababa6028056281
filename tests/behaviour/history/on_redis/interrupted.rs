//! The subscribed connection is cut, or dies without a sound, while publications flow.

use serde_json::{Value, json};
use testkit::client::Client;
use testkit::fleet::{Broker, Fleet};
use testkit::node::Node;
use testkit::proxy::Proxy;
use testkit::redis::Redis;
use testkit::{eventually, soon};
use tokio::sync::watch;

use super::super::at_random::Play;
use super::super::{LONG, Position, publish, publish_all, subscribe};

/// Everybody comes and goes, and the subscribed connections are cut again and again.
#[tokio::test]
async fn who_resumes_meanwhile_misses_nothing() {
    let play = Play {
        clients: 50,
        publishers: 4,
        publications_per_publisher: 500,
        heard_max: 200,
        missed_max: 200,
    };
    let cut = async |fleet: &Fleet, reached: &watch::Receiver<Position>, last: Position| {
        let mut next = reached.borrow().plus(200);
        while next < last {
            soon("progress", reached.clone().wait_for(|it| *it >= next)).await.expect("it goes on");
            fleet.server().kill_subscribers().await;
            next = next.plus(200);
        }
    };
    play.runs(Broker::Redis, cut).await;
}

const LAST: u64 = 3000;

#[tokio::test]
async fn history_is_caught_up_and_other_channels_have_a_gap() {
    let fleet = Fleet::redis(&[LONG]).await;
    let [a, b] = fleet.nodes();
    let mut before = None;
    let mut subscribers = Vec::new();
    for node in [a, b, b] {
        let mut client = Client::json(node).await;
        before = Some(subscribe(&mut client, "h:1").await);
        client.subscribe("news").await;
        subscribers.push(client);
    }
    let before = before.expect("somebody subscribed");
    let mut publisher = Client::json(a).await;
    let publishing = tokio::spawn(async move {
        let last = publish_all(&mut publisher, "h:1", 1..=LAST).await;
        (publisher, last)
    });
    let hearing = subscribers.into_iter().map(|client| tokio::spawn(hear_all(client, before)));
    let hearing: Vec<_> = hearing.collect();
    for cut in 1..=5 {
        eventually("publications to flow", async || {
            let delivered = a.metric("tidegate_publications_delivered_total").await;
            (delivered as u64 >= cut * LAST / 8).then_some(())
        })
        .await;
        let subscribed = async || (fleet.server().subscribers("h:1").await == 2).then_some(());
        eventually("both nodes to be subscribed", subscribed).await;
        assert!(fleet.server().kill_subscribers().await >= 2);
    }
    let (_, last) = publishing.await.expect("every publication is answered");
    assert_eq!(last, before.plus(LAST));
    for heard in hearing {
        let gaps = heard.await.expect("every publication is heard");
        assert!((1..=5).contains(&gaps), "{gaps} gaps of a channel without history");
    }
}

/// Hears all in order; how often it heard of a gap of the other channel.
async fn hear_all(mut client: Client, before: Position) -> u64 {
    let (mut due, mut gaps) = (1, 0);
    while due <= LAST || gaps == 0 {
        let event = client.event().await;
        if event["type"] == "gap" {
            assert_eq!(event["channel"], "news", "{event}");
            gaps += 1;
            continue;
        }
        assert_eq!((&event["data"], Position::of(&event)), (&json!(due), before.plus(due)));
        due += 1;
    }
    gaps
}

#[tokio::test]
async fn a_publication_that_may_be_lost_can_be_tried_again() {
    let fleet = Fleet::redis(&[LONG, "broker.publish_timeout=300ms"]).await;
    let [a, b] = fleet.nodes();
    let (mut publisher, mut subscriber) = (Client::json(a).await, Client::json(b).await);
    let before = subscribe(&mut subscriber, "h:1").await;
    for number in 1..=3 {
        let command = json!({
            "type": "publish", "id": 2, "channel": "h:1", "data": number,
            "idempotency_key": number.to_string(),
        });
        fleet.server().freeze();
        assert_eq!(publisher.request(command.clone()).await["code"], "unavailable");
        fleet.server().thaw();
        let answer = eventually("Redis to be back", async || {
            let answer = publisher.request(command.clone()).await;
            (answer["type"] == "published").then_some(answer)
        });
        assert_eq!(Position::of(&answer.await), before.plus(number));
        let event = subscriber.event().await;
        assert_eq!((&event["data"], Position::of(&event)), (&json!(number), before.plus(number)));
    }
}

#[tokio::test]
async fn a_subscription_that_died_silently_is_caught_up() {
    let redis = Redis::start().await;
    let proxy = Proxy::in_front_of(&redis).await;
    let deaf = Node::start_at(&proxy.url(), &[LONG]).await;
    deaf.wait_until_ready().await;
    let well = Node::on(&redis, &[LONG]).await;
    let mut client = Client::json(&deaf).await;
    let before = subscribe(&mut client, "h:1").await;
    let mut publisher = Client::json(&well).await;
    proxy.mute_subscribers();
    publish_all(&mut publisher, "h:1", 1..=500).await;
    for number in 1..=500 {
        let event = client.event().await;
        assert_eq!((&event["data"], Position::of(&event)), (&json!(number), before.plus(number)));
    }
    let next = publish(&mut publisher, "h:1", Value::Null).await;
    assert_eq!(Position::of(&client.event().await), next);
}
