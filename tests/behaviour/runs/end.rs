//! The end of a run, as json clients see it.

use serde_json::{Value, json};
use testkit::client::Client;
use testkit::fleet::{Broker, for_broker, for_every_broker};

use super::{RULES, after, end, ended, receive, refusal, subscribe, text, try_end, work};

for_every_broker!(
    every_subscriber_gets_the_end_once_after_the_last_publication,
    a_late_subscriber_gets_the_end_wherever_it_begins,
    the_last_publication_and_the_end_are_one_step,
    a_run_that_has_ended_takes_nothing_more,
    history_has_the_reason_and_not_the_end_as_a_publication,
    an_end_without_a_run_is_a_clear_error,
);
for_broker!(
    sentinel,
    Sentinel,
    every_subscriber_gets_the_end_once_after_the_last_publication,
    a_late_subscriber_gets_the_end_wherever_it_begins,
    a_run_that_has_ended_takes_nothing_more,
);

async fn every_subscriber_gets_the_end_once_after_the_last_publication(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let (mut here, _) = subscribe(a, "run:1", json!({})).await;
    let (mut there, _) = subscribe(b, "run:1", json!({"echo": false})).await;
    let last = work(a, "run:1", 1..=50).await;
    let position = end(b, "run:1", "done").await;
    assert_eq!(position, after(&last, 1), "the end has a position of its own");
    let end = ended("run:1", "done", &position);
    receive(&mut here, 1..=50, &end).await;
    receive(&mut there, 1..=50, &end).await;
}

async fn a_late_subscriber_gets_the_end_wherever_it_begins(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let last = work(a, "run:1", 1..=5).await;
    let position = end(a, "run:1", "stopped").await;
    let end = ended("run:1", "stopped", &position);
    let third = after(&last, 0).replace(&last[last.find('-').unwrap()..], "-3");
    for node in [b, a, b] {
        for (start, first) in [
            (json!({}), 6),
            (json!({"since": "first"}), 1),
            (json!({"since": third}), 4),
            (json!({"since": last}), 6),
            (json!({"since": position}), 6),
            (json!({"last": 2}), 4),
            (json!({"last": 1000}), 1),
        ] {
            let (mut client, answer) = subscribe(node, "run:1", start.clone()).await;
            assert_eq!(answer["position"], position.as_str(), "{start}");
            assert_ne!(answer["recovered"], false, "{start}");
            receive(&mut client, first..=5, &end).await;
            // Another subscription on the same connection gets it again, once.
            client.request(json!({"type": "unsubscribe", "id": 5, "channel": "run:1"})).await;
            client.request(json!({"type": "subscribe", "id": 6, "channel": "run:1"})).await;
            assert_eq!(client.event().await, end);
            client.close().await;
        }
    }
}

async fn the_last_publication_and_the_end_are_one_step(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let (mut client, _) = subscribe(b, "run:1", json!({})).await;
    for (number, (body, field, value)) in [
        (json!({"reason": "done", "data": {"n": 1}}), "data", json!({"n": 1})),
        (json!({"reason": "done", "text": " 12 x"}), "text", json!(" 12 x")),
        (json!({"reason": "done", "base64": "/wA="}), "base64", json!("/wA=")),
    ]
    .into_iter()
    .enumerate()
    {
        let channel = format!("run:{}", number + 1);
        let first = work(a, &channel, 1..=1).await;
        if number > 0 {
            client.request(json!({"type": "subscribe", "id": 3, "channel": channel})).await;
        } else {
            assert_eq!(client.event().await["data"], 1);
        }
        let answer = try_end(a, &channel, &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["position"], after(&first, 2).as_str());
        let last = client.event().await;
        assert_eq!((&last["type"], &last[field]), (&json!("publication"), &value));
        assert_eq!(last["position"], after(&first, 1).as_str());
        assert_eq!(client.event().await, ended(&channel, "done", &after(&first, 2)));
    }
}

async fn a_run_that_has_ended_takes_nothing_more(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let (mut client, _) = subscribe(b, "run:1", json!({})).await;
    work(a, "run:1", 1..=1).await;
    let position = end(a, "run:1", "done").await;
    receive(&mut client, 1..=1, &ended("run:1", "done", &position)).await;
    for node in [a, b] {
        let answer = node.post("/api/publish/run:1", &[], b"2").await;
        let (status, code, message) = refusal(&answer);
        assert_eq!((status, code.as_str()), (409, "ended"));
        assert!(message.contains("the run has ended"), "{message}");
        let again = try_end(node, "run:1", &json!({"reason": "done", "text": "x"})).await;
        assert_eq!(refusal(&again).1, "ended");
        let renewed = node.post("/api/renew/run:1", &[], b"").await;
        assert_eq!(refusal(&renewed).1, "ended");
        let posted = testkit::http::request(node.public, "POST", "/publish/run:1", &[], b"2").await;
        assert_eq!((posted.status, refusal(&posted).1.as_str()), (409, "ended"));
        let mut publisher = Client::json(node).await;
        let publish = json!({"type": "publish", "id": 2, "channel": "run:1", "data": 2});
        let answer = publisher.request(publish).await;
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!("ended")));
        assert_eq!(answer["temporary"], false);
    }
    // Nothing of it was delivered, and other channels are not affected.
    client.subscribe("news").await;
    client.publish("news", json!("other")).await;
    assert_eq!(client.event().await["channel"], "news");
}

async fn history_has_the_reason_and_not_the_end_as_a_publication(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let last = work(a, "run:1", 1..=5).await;
    let mut client = Client::json(b).await;
    let history = |rest: Value| {
        let mut command = json!({"type": "history", "id": 3, "channel": "run:1"});
        command.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        command
    };
    let open = client.request(history(json!({}))).await;
    assert_eq!(open["ended"], Value::Null);
    let position = end(a, "run:1", "done").await;
    for (rest, expected, at) in [
        (json!({}), vec![1, 2, 3, 4, 5], &position),
        (json!({"limit": 2}), vec![4, 5], &position),
        (json!({"since": last}), vec![], &position),
        (json!({"since": position}), vec![], &position),
    ] {
        let answer = client.request(history(rest.clone())).await;
        let data = answer["publications"].as_array().unwrap().iter().map(|it| &it["data"]);
        assert_eq!(data.collect::<Vec<_>>(), expected, "{rest}");
        assert_eq!(answer["ended"], "done", "{rest}: {answer}");
        assert_eq!(text(&answer["position"]), *at, "{rest}");
    }
    let first = testkit::http::get(b.public, "/history/run:1?limit=2&since=0-0").await.json();
    assert_eq!((&first["more"], &first["ended"]), (&json!(true), &Value::Null), "{first}");
    let all = testkit::http::get(b.public, "/history/run:1").await.json();
    assert_eq!(all["ended"], "done", "{all}");
}

async fn an_end_without_a_run_is_a_clear_error(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, _] = fleet.nodes();
    for (channel, why) in [
        ("run:none", "nothing was published on run:none"),
        ("h:1", "the rule \"h:**\" keeps no run of h:1"),
        ("news", "the rule \"**\" keeps no run of news"),
    ] {
        for answer in [
            try_end(a, channel, &json!({"reason": "done", "text": "lost"})).await,
            a.post(&format!("/api/renew/{channel}"), &[], b"").await,
        ] {
            let (status, code, message) = refusal(&answer);
            assert_eq!((status, code.as_str()), (404, "not_found"), "{message}");
            assert!(message.contains(why), "{message}");
        }
    }
    for body in [json!({}), json!({"reason": ""}), json!({"reason": "a\nb"}), json!([])] {
        let (status, code, _) = refusal(&try_end(a, "run:none", &body).await);
        assert_eq!((status, code.as_str()), (400, "bad_request"), "{body}");
    }
    // The refused last publication was not published, so the run begins with this one.
    work(a, "run:none", 1..=1).await;
    let (_, answer) = subscribe(a, "run:none", json!({"since": "first"})).await;
    assert!(text(&answer["position"]).ends_with("-1"), "{answer}");
}
