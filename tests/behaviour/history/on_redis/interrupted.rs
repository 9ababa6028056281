//! The subscribed Redis connection is closed, or stops delivering without being closed, while publications flow.

use serde_json::{Value, json};
use testkit::client::Client;
use testkit::fleet::{Broker, Fleet};
use testkit::node::Node;
use testkit::proxy::Proxy;
use testkit::redis::Redis;
use testkit::{eventually, soon};
use tokio::sync::watch;

use super::super::random_disconnects::Scenario;
use super::super::{LONG, Position, publish, publish_all, subscribe};

/// Clients disconnect and resume while Redis closes the subscribed connections again and again.
#[tokio::test]
async fn clients_that_resume_while_subscribed_connections_are_killed_miss_nothing() {
    let scenario = Scenario {
        clients: 50,
        publishers: 4,
        publications_per_publisher: 500,
        received_max: 200,
        missed_max: 200,
    };
    let cut = async |fleet: &Fleet, reached: &watch::Receiver<Position>, last: Position| {
        let mut next = reached.borrow().plus(200);
        while next < last {
            soon("progress", reached.clone().wait_for(|it| *it >= next))
                .await
                .expect("the publishers still run");
            fleet.server().kill_subscribers().await;
            next = next.plus(200);
        }
    };
    scenario.run(Broker::Redis, cut).await;
}

const LAST: u64 = 3000;

#[tokio::test]
async fn after_a_killed_subscription_channels_with_history_are_complete_and_others_get_a_gap() {
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
    let before = before.expect("at least one subscriber");
    let mut publisher = Client::json(a).await;
    let publishing = tokio::spawn(async move {
        let last = publish_all(&mut publisher, "h:1", 1..=LAST).await;
        (publisher, last)
    });
    let receiving = subscribers.into_iter().map(|client| tokio::spawn(receive_all(client, before)));
    let receiving: Vec<_> = receiving.collect();
    for round in 1..=5 {
        eventually("publications to flow", async || {
            let delivered = a.metric("tidegate_publications_delivered_total").await;
            (delivered as u64 >= round * LAST / 8).then_some(())
        })
        .await;
        let subscribed = async || (fleet.server().subscribers("h:1").await == 2).then_some(());
        eventually("both nodes to be subscribed", subscribed).await;
        assert!(fleet.server().kill_subscribers().await >= 2);
    }
    let (_, last) = publishing.await.expect("every publication is answered");
    assert_eq!(last, before.plus(LAST));
    for client in receiving {
        let gaps = client.await.expect("every publication arrives");
        assert!((1..=5).contains(&gaps), "{gaps} gaps of a channel without history");
    }
}

/// Asserts that all publications arrive in order; returns the number of gaps of the other channel.
async fn receive_all(mut client: Client, before: Position) -> u64 {
    let (mut expected, mut gaps) = (1, 0);
    while expected <= LAST || gaps == 0 {
        let event = client.event().await;
        if event["type"] == "gap" {
            assert_eq!(event["channel"], "news", "{event}");
            gaps += 1;
            continue;
        }
        assert_eq!(
            (&event["data"], Position::of(&event)),
            (&json!(expected), before.plus(expected))
        );
        expected += 1;
    }
    gaps
}

#[tokio::test]
async fn a_publication_that_timed_out_is_published_once_when_retried_with_its_key() {
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
        let answer = eventually("Redis to answer again", async || {
            let answer = publisher.request(command.clone()).await;
            (answer["type"] == "published").then_some(answer)
        });
        assert_eq!(Position::of(&answer.await), before.plus(number));
        let event = subscriber.event().await;
        assert_eq!((&event["data"], Position::of(&event)), (&json!(number), before.plus(number)));
    }
}

#[tokio::test]
async fn a_subscription_that_silently_stopped_delivering_is_caught_up_from_history() {
    let redis = Redis::start().await;
    let proxy = Proxy::in_front_of(&redis).await;
    let muted = Node::start_at(&proxy.url(), &[LONG]).await;
    muted.wait_until_ready().await;
    let healthy = Node::on(&redis, &[LONG]).await;
    let mut client = Client::json(&muted).await;
    let before = subscribe(&mut client, "h:1").await;
    let mut publisher = Client::json(&healthy).await;
    proxy.mute_subscribers();
    publish_all(&mut publisher, "h:1", 1..=500).await;
    for number in 1..=500 {
        let event = client.event().await;
        assert_eq!((&event["data"], Position::of(&event)), (&json!(number), before.plus(number)));
    }
    let next = publish(&mut publisher, "h:1", Value::Null).await;
    assert_eq!(Position::of(&client.event().await), next);
}
