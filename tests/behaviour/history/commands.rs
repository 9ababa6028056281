//! The `history` command: reading publications without subscribing.

use serde_json::{Value, json};
use testkit::client::Client;
use testkit::fleet::{Broker, for_every_broker};

use super::{LONG, Position, RULES, SIZE_SLACK, publish, publish_all, subscribe};

for_every_broker!(
    history_without_since_returns_the_newest_publications_oldest_first,
    history_with_since_returns_the_following_publications_page_by_page,
    a_history_answer_is_limited_in_bytes_and_marked_with_more,
    history_of_a_channel_without_publications_is_empty_with_a_position,
    history_since_a_trimmed_position_is_not_recovered,
    history_with_a_limit_out_of_range_is_a_bad_request,
    history_of_a_channel_without_history_is_not_found,
);

/// Sends the `history` command with these fields.
async fn history(client: &mut Client, fields: Value) -> Value {
    let mut command = json!({"type": "history", "id": 6, "channel": "h:1"});
    for (name, value) in fields.as_object().expect("an object") {
        command[name] = value.clone();
    }
    client.request(command).await
}

/// The expected answer with these numbers, the first of which has the position `first`.
fn history_answer(numbers: std::ops::RangeInclusive<u64>, first: Position) -> Value {
    let (start, count) = (*numbers.start(), numbers.clone().count() as u64);
    let publication =
        |number: u64| json!({"data": number, "position": first.plus(number - start).to_string()});
    let publications: Vec<_> = numbers.map(publication).collect();
    json!({
        "type": "history", "id": 6, "channel": "h:1", "publications": publications,
        "position": first.plus(count - 1).to_string(),
    })
}

/// The same answer to a command with `since`.
fn with_recovered(mut answer: Value, recovered: bool) -> Value {
    answer["recovered"] = recovered.into();
    answer
}

/// The same answer where more publications follow.
fn with_more(mut answer: Value) -> Value {
    answer["more"] = true.into();
    answer
}

async fn history_without_since_returns_the_newest_publications_oldest_first(broker: Broker) {
    let fleet = broker.fleet(&[LONG]).await;
    let [a, b] = fleet.nodes();
    let mut publisher = Client::json(a).await;
    let first = publish(&mut publisher, "h:1", 1).await;
    publish_all(&mut publisher, "h:1", 2..=300).await;
    for node in [a, b] {
        let mut client = Client::json(node).await;
        let answer = history(&mut client, json!({"limit": 3})).await;
        assert_eq!(answer, history_answer(298..=300, first.plus(297)));
        let answer = history(&mut client, json!({"limit": 1})).await;
        assert_eq!(answer, history_answer(300..=300, first.plus(299)));
        let answer = history(&mut client, json!({})).await;
        assert_eq!(answer, history_answer(201..=300, first.plus(200)), "the default limit is 100");
        let answer = history(&mut client, json!({"limit": 129})).await;
        assert_eq!(answer, history_answer(172..=300, first.plus(171)), "more than a page");
        let answer = history(&mut client, json!({"limit": 1000})).await;
        assert_eq!(answer, history_answer(1..=300, first));
    }
}

async fn history_with_since_returns_the_following_publications_page_by_page(broker: Broker) {
    let fleet = broker.fleet(&[LONG]).await;
    let [a, b] = fleet.nodes();
    let mut publisher = Client::json(a).await;
    let first = publish(&mut publisher, "h:1", 1).await;
    let last = publish_all(&mut publisher, "h:1", 2..=300).await;
    for node in [a, b] {
        let mut client = Client::json(node).await;
        let mut ask = async |from: Position, limit: u64| {
            history(&mut client, json!({"since": from.to_string(), "limit": limit})).await
        };
        let answer = ask(first, 3).await;
        assert_eq!(answer, with_more(with_recovered(history_answer(2..=4, first.plus(1)), true)));
        let answer = ask(first.plus(3), 200).await;
        assert_eq!(answer, with_more(with_recovered(history_answer(5..=204, first.plus(4)), true)));
        let answer = ask(first.plus(203), 96).await;
        assert_eq!(
            answer,
            with_recovered(history_answer(205..=300, first.plus(204)), true),
            "exactly the rest"
        );
        let answer = ask(first.plus(298), 1000).await;
        assert_eq!(answer, with_recovered(history_answer(300..=300, last), true));
        let answer = ask(last, 10).await;
        let nothing = json!({
            "type": "history", "id": 6, "channel": "h:1", "publications": [],
            "position": last.to_string(), "recovered": true,
        });
        assert_eq!(answer, nothing);
        let answer = ask(last.plus(1), 10).await;
        assert_eq!((&answer["publications"], &answer["recovered"]), (&json!([]), &json!(false)));
    }
}

async fn a_history_answer_is_limited_in_bytes_and_marked_with_more(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut publisher = Client::json(a).await;
    let before = subscribe(&mut Client::json(a).await, "h:1").await;
    let payload = "x".repeat(60_000);
    for _ in 0..20 {
        publish(&mut publisher, "h:1", payload.as_str()).await;
    }
    // A client that continues from each answer's position gets all publications.
    let mut client = Client::json(b).await;
    let (mut at, mut answers) = (before, 0);
    loop {
        let answer = history(&mut client, json!({"since": at.to_string()})).await;
        let publications = answer["publications"].as_array().expect("a list");
        for publication in publications {
            assert_eq!(Position::of(publication), at.plus(1));
            assert_eq!(publication["data"], payload);
            at = at.plus(1);
        }
        assert_eq!((Position::of(&answer), &answer["recovered"]), (at, &json!(true)));
        answers += 1;
        if answer.get("more").is_none() {
            break;
        }
    }
    assert_eq!(at, before.plus(20));
    assert!(answers > 1, "1.2 MB arrived in one answer");
    // Without `since`, the answer omits the oldest publications.
    let answer = history(&mut client, json!({})).await;
    assert_eq!((Position::of(&answer), &answer["more"]), (at, &json!(true)));
    let publications = answer["publications"].as_array().expect("a list");
    assert_eq!(Position::of(publications.last().expect("at least one")), at);
}

async fn history_of_a_channel_without_publications_is_empty_with_a_position(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut client = Client::json(a).await;
    let answer = history(&mut client, json!({})).await;
    let position = Position::of(&answer);
    let expected = json!({
        "type": "history", "id": 6, "channel": "h:1", "publications": [],
        "position": position.to_string(),
    });
    assert_eq!(answer, expected);
    // A client can continue from this position.
    assert_eq!(publish(&mut Client::json(b).await, "h:1", 1).await, position.plus(1));
    let answer = history(&mut client, json!({"since": position.to_string()})).await;
    assert_eq!(answer, with_recovered(history_answer(1..=1, position.plus(1)), true));
}

async fn history_since_a_trimmed_position_is_not_recovered(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut publisher = Client::json(a).await;
    let first = publish(&mut publisher, "h:1", 1).await;
    let last = publish_all(&mut publisher, "h:1", 2..=50 + SIZE_SLACK + 2).await;
    let mut client = Client::json(b).await;
    for from in [first, Position { epoch: first.epoch - 1, seq: 1 }] {
        let fields = json!({"since": from.to_string(), "limit": 1000});
        let answer = history(&mut client, fields).await;
        assert_eq!((&answer["recovered"], Position::of(&answer)), (&json!(false), last));
        let kept = answer["publications"].as_array().expect("a list").len() as u64;
        assert!((50..=50 + SIZE_SLACK).contains(&kept), "{kept} are kept");
    }
    let future = Position { epoch: first.epoch + 1, seq: 1 };
    let answer = history(&mut client, json!({"since": future.to_string()})).await;
    assert_eq!((&answer["recovered"], &answer["publications"]), (&json!(false), &json!([])));
}

async fn history_with_a_limit_out_of_range_is_a_bad_request(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, _] = fleet.nodes();
    let mut client = Client::json(a).await;
    let limits = [json!(0), json!(-1), json!(1001), json!(u64::MAX), json!(1.5), json!("10")];
    for limit in limits {
        let answer = history(&mut client, json!({"limit": limit})).await;
        assert_eq!(answer["code"], "bad_request", "limit {limit}: {answer}");
    }
    assert_eq!(history(&mut client, json!({"limit": 1000})).await["type"], "history");
}

async fn history_of_a_channel_without_history_is_not_found(broker: Broker) {
    let rules = r#"rules=[{pattern="h:*",history={size=50,age="10m"}},{pattern="p:*",presence=true},{pattern="news"}]"#;
    let fleet = broker.fleet(&[rules]).await;
    let [a, _] = fleet.nodes();
    let mut client = Client::json(a).await;
    let answer = history(&mut client, json!({"channel": "p:1"})).await;
    assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!("not_found")));
    assert_eq!((&answer["channel"], &answer["temporary"]), (&json!("p:1"), &json!(false)));
    assert!(answer["message"].as_str().is_some_and(|it| it.contains("\"p:*\"")), "{answer}");
    let answer = history(&mut client, json!({"channel": "news"})).await;
    assert_eq!((&answer["channel"], &answer["code"]), (&json!("news"), &json!("not_found")));
}
