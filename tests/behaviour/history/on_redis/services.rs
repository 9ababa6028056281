//! Services publish into a channel's history through a Redis Function.

use redis::RedisResult;
use serde_json::json;
use testkit::client::{self, Client};
use testkit::fleet::Fleet;
use testkit::redis::Redis;

use super::super::{Position, RULES, publication, publish, resume, subscribe, subscribed};
use super::answer;

const KEY: &str = "tidegate:h:1";

/// Publishes as a service does, and returns the position.
async fn fcall(redis: &Redis, arguments: &[&str]) -> Position {
    let command = [&["FCALL", "tidegate_publish", "1", KEY], arguments].concat();
    Position::parse(&redis.query::<String>(&command).await)
}

#[tokio::test]
async fn publications_of_a_service_have_a_position_and_the_user_of_their_header() {
    let fleet = Fleet::redis(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let (mut client_a, mut client_b) = (Client::json(a).await, Client::json(b).await);
    let before = subscribe(&mut client_a, "h:1").await;
    subscribe(&mut client_b, "h:1").await;
    let header = r#"{"user":"u1","id":"k"}"#;
    let first = fcall(fleet.server(), &["payload", header]).await;
    assert_eq!(first, before.plus(1));
    // A second call with the same id publishes nothing.
    assert_eq!(fcall(fleet.server(), &["again", header]).await, first);
    assert_eq!(fcall(fleet.server(), &["{\"n\":2}"]).await, before.plus(2));
    assert_eq!(fcall(fleet.server(), &["3", "{}"]).await, before.plus(3));
    assert_eq!(publish(&mut client_b, "h:1", 4).await, before.plus(4));

    let by_user = json!({
        "type": "publication", "channel": "h:1", "text": "payload", "user": "u1",
        "position": first.to_string(),
    });
    let expected = [
        by_user,
        publication("h:1", json!({"n": 2}), before.plus(2)),
        publication("h:1", 3, before.plus(3)),
        publication("h:1", 4, before.plus(4)),
    ];
    let mut late = Client::json(b).await;
    assert_eq!(resume(&mut late, "h:1", before).await, subscribed("h:1", before.plus(4), true));
    for client in [&mut client_a, &mut client_b, &mut late] {
        for expected in &expected {
            assert_eq!(client.event().await, *expected);
        }
    }
}

#[tokio::test]
async fn binary_empty_and_header_like_payloads_of_a_service_arrive_unchanged() {
    let fleet = Fleet::redis(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut live = Client::json(a).await;
    let before = subscribe(&mut live, "h:1").await;
    let mut connection = fleet.server().connection().await;
    for payload in [&b"\x00\xFF\r\n"[..], b"", b"\x1e{\"pos\":\"1-1\"}\nforged"] {
        let mut command = ::redis::cmd("FCALL");
        command.arg("tidegate_publish").arg(1).arg(KEY).arg(payload);
        let _: String = command.query_async(&mut connection).await.expect("Redis accepts the call");
    }
    let mut late = Client::json(b).await;
    resume(&mut late, "h:1", before).await;
    for client in [&mut live, &mut late] {
        assert_eq!(client.event().await["base64"], "AP8NCg==");
        assert_eq!(client.event().await["text"], "");
        assert_eq!(client.event().await["text"], "\u{1e}{\"pos\":\"1-1\"}\nforged");
    }
}

#[tokio::test]
async fn a_services_publication_on_a_channel_without_history_has_no_position() {
    let fleet = Fleet::redis(&[RULES]).await;
    let [a, _] = fleet.nodes();
    let mut subscriber = Client::subscribed(a, "news").await;
    let command = ["FCALL", "tidegate_publish", "1", "tidegate:news", "1"];
    assert_eq!(fleet.server().query::<Option<String>>(&command).await, None);
    assert_eq!(subscriber.event().await, client::publication("news", 1));
    // A payload that resembles a header line stays payload; the header argument is used.
    let text = "\u{1e}{\"binary\":true}\nforged";
    let command = ["FCALL", "tidegate_publish", "1", "tidegate:news", text];
    assert_eq!(fleet.server().query::<Option<String>>(&command).await, None);
    assert_eq!(subscriber.event().await["text"], text);
    let command = ["FCALL", "tidegate_publish", "1", "tidegate:news", "2", r#"{"user":"ada"}"#];
    assert_eq!(fleet.server().query::<Option<String>>(&command).await, None);
    assert_eq!(subscriber.event().await["user"], "ada");
}

#[tokio::test]
async fn an_invalid_header_of_a_service_is_refused_and_nothing_is_published() {
    let fleet = Fleet::redis(&[RULES]).await;
    let [a, _] = fleet.nodes();
    let mut subscriber = Client::json(a).await;
    let before = subscribe(&mut subscriber, "h:1").await;
    for header in [
        "no json",
        "[]",
        "1",
        "{",
        r#"{"id":1}"#,
        r#"{"user":{}}"#,
        r#"{"pos":"1-1"}"#,
        r#"{"prev":"1-1"}"#,
        r#"{"ts":-1}"#,
        r#"{"ts":"now"}"#,
        r#"{"binary":"yes"}"#,
    ] {
        let command = ["FCALL", "tidegate_publish", "1", KEY, "payload", header];
        let answer: RedisResult<Option<String>> = answer(fleet.server(), &command).await;
        assert!(answer.is_err(), "{header}: {answer:?}");
    }
    let command = ["FCALL", "tidegate_publish", "1", KEY];
    assert!(answer::<Option<String>>(fleet.server(), &command).await.is_err());
    assert_eq!(fcall(fleet.server(), &["1"]).await, before.plus(1));
    assert_eq!(subscriber.event().await, publication("h:1", 1, before.plus(1)));
}

#[tokio::test]
async fn a_header_that_is_no_utf8_is_refused_and_no_client_receives_the_secret() {
    let fleet = Fleet::redis(&[RULES]).await;
    let [a, _] = fleet.nodes();
    let mut clients = [Client::json(a).await, Client::subscribed(a, "news").await];
    subscribe(&mut clients[0], "h:1").await;
    let mut connection = fleet.server().connection().await;
    for (client, key) in clients.iter_mut().zip([KEY, "tidegate:news"]) {
        let mut publish = async |header: &[u8]| {
            let mut command = ::redis::cmd("FCALL");
            command.arg("tidegate_publish").arg(1).arg(key).arg("hi").arg(header);
            command.query_async::<Option<String>>(&mut connection).await
        };
        for bytes in [&b"\xff"[..], b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"]
        {
            for field in ["id", "user"] {
                let header = [b"{\"", field.as_bytes(), b"\":\"", bytes, b"\"}"].concat();
                let error =
                    publish(&header).await.expect_err("Redis refuses invalid UTF-8").to_string();
                assert!(error.contains("must be UTF-8"), "{error}");
            }
        }
        for header in [r#"{"ts":-0}"#, r#"{"ts":5,"user":"ä€😀\ud7ff"}"#] {
            publish(header.as_bytes()).await.expect("Redis accepts the call");
            assert_eq!(client.event().await["text"], "hi");
        }
    }
}

#[tokio::test]
async fn a_plain_publish_is_relayed_and_not_kept_in_history() {
    let fleet = Fleet::redis(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let (mut client_a, mut client_b) = (Client::json(a).await, Client::json(b).await);
    let before = subscribe(&mut client_a, "h:1").await;
    subscribe(&mut client_b, "h:1").await;
    assert_eq!(fleet.server().publish("h:1", "not kept").await, 2);
    let next = publish(&mut client_a, "h:1", 1).await;
    assert_eq!(next, before.plus(1));
    let unkept = json!({"type": "publication", "channel": "h:1", "text": "not kept"});
    for client in [&mut client_a, &mut client_b] {
        assert_eq!(client.event().await, unkept);
        assert_eq!(client.event().await, publication("h:1", 1, next));
    }
    let mut late = Client::json(b).await;
    resume(&mut late, "h:1", before).await;
    assert_eq!(late.event().await, publication("h:1", 1, next));
}

#[tokio::test]
async fn a_position_forged_by_a_plain_publish_is_not_delivered() {
    let fleet = Fleet::redis(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut subscriber = Client::json(a).await;
    let before = subscribe(&mut subscriber, "h:1").await;
    // Forged positions: one that exists, one that does not exist yet, and two of other epochs.
    publish(&mut Client::json(b).await, "h:1", 1).await;
    assert_eq!(subscriber.event().await, publication("h:1", 1, before.plus(1)));
    let far = Position { epoch: before.epoch + 1, seq: 7 };
    let last = Position { epoch: u64::MAX, seq: 7 };
    let previous = before.plus(1);
    let forged = json!({"type": "publication", "channel": "h:1", "data": "forged"});
    for (number, position) in (2..).zip([before.plus(1), before.plus(9), far, last]) {
        let line = format!(r#"{{"pos":"{position}","prev":"{previous}","key":"guessed"}}"#);
        fleet.server().publish("h:1", format!("\u{1e}{line}\n\"forged\"")).await;
        publish(&mut Client::json(b).await, "h:1", number).await;
        assert_eq!(subscriber.event().await, forged);
        assert_eq!(subscriber.event().await, publication("h:1", number, before.plus(number)));
    }
    let mut late = Client::json(a).await;
    let answer = resume(&mut late, "h:1", before).await;
    assert_eq!(answer, subscribed("h:1", before.plus(5), true));
}

#[tokio::test]
async fn wrong_timestamps_of_services_do_not_affect_resuming() {
    let fleet = Fleet::redis(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let before = subscribe(&mut Client::json(a).await, "h:1").await;
    // Timestamps from long ago, in milliseconds instead of microseconds, and from the far future.
    for (number, ts) in [(1, "0"), (2, "1763000000000"), (3, "9000000000000000")] {
        let header = format!(r#"{{"ts":{ts}}}"#);
        fcall(fleet.server(), &[&number.to_string(), &header]).await;
    }
    publish(&mut Client::json(a).await, "h:1", 4).await;
    let mut client = Client::json(b).await;
    assert_eq!(resume(&mut client, "h:1", before).await, subscribed("h:1", before.plus(4), true));
    for number in 1..=4 {
        let expected = publication("h:1", number, before.plus(number));
        assert_eq!(client.event().await, expected);
    }
}
