//! Streams over time: leases, expiry, trimming, and the death of a node.

use std::time::Duration;

use testkit::eventually;
use testkit::fleet::{Broker, for_every_broker};
use testkit::http;

use super::{CLOSES, RULES, TEXT, append, ask, create, next_offset, read, refusal, refused};

for_every_broker!(
    a_stream_outlives_the_lease_of_runs,
    a_stream_that_is_not_used_expires_with_its_messages,
    messages_that_were_trimmed_are_gone_and_never_skipped,
    a_long_poll_gets_what_is_appended_at_another_node,
);

async fn a_stream_outlives_the_lease_of_runs(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    create(a, "s:1", &[TEXT], "x").await;
    // Without a stream, this run ends by its lease, which is over then.
    assert_eq!(a.post("/api/publish/s:2", &[], b"x").await.status, 202);
    eventually("a run without a worker to end", async || {
        let answer = b.post("/api/publish/s:2", &[], b"y").await;
        match answer.status {
            409 => Some(()),
            _ => {
                // The attempt renewed the lease of a second, so the next one comes after it.
                tokio::time::sleep(Duration::from_millis(1500)).await;
                None
            }
        }
    })
    .await;
    append(b, "s:1", TEXT, "y").await;
    assert_eq!(read(a, "s:1", "-1").await.0, "xy");
}

async fn a_stream_that_is_not_used_expires_with_its_messages(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    create(a, "s:1", &[TEXT, ("Stream-TTL", "1")], "old").await;
    assert_eq!(read(b, "s:1", "-1").await.0, "old");
    eventually("the stream to expire", async || {
        (ask(b, "HEAD", "s:1", &[], b"").await.status == 404).then_some(())
    })
    .await;
    assert_eq!(ask(a, "POST", "s:1", &[TEXT], b"x").await.status, 404);
    create(a, "s:1", &[TEXT], "new").await;
    assert_eq!(read(b, "s:1", "-1").await.0, "new");
}

async fn messages_that_were_trimmed_are_gone_and_never_skipped(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let first = create(a, "small:1", &[TEXT], "0,").await;
    for number in 1..=300 {
        append(a, "small:1", TEXT, &format!("{number},")).await;
    }
    for offset in ["-1", &first] {
        for live in ["", "&live=long-poll", "&live=sse"] {
            let path = format!("small:1?offset={offset}{live}");
            let gone = ask(b, "GET", &path, &[], b"").await;
            assert_eq!(refusal(&gone), refused(410, "gone"), "{path}");
            let earliest = gone.header("stream-earliest-offset").expect("what is kept").to_owned();
            let (kept, _) = read(b, "small:1", &earliest).await;
            assert!(kept.ends_with("299,300,"), "{kept}");
        }
    }
}

async fn a_long_poll_gets_what_is_appended_at_another_node(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let offset = create(a, "s:1", &[TEXT], "x").await;
    let path = format!("/streams/s:1?offset={offset}&live=long-poll");
    let (polled, _) = tokio::join!(http::get(b.public, &path), async {
        b.wait_for_metric(r#"tidegate_connections{protocol="http",transport="poll"}"#, 1.).await;
        append(a, "s:1", TEXT, "y").await;
    });
    assert_eq!((polled.status, polled.text().as_str()), (200, "y"));
    assert!(polled.header("stream-cursor").is_some(), "{polled:?}");
    let path = format!("/streams/s:1?offset={}&live=long-poll", next_offset(&polled));
    let (closed, _) = tokio::join!(http::get(b.public, &path), async {
        b.wait_for_metric(r#"tidegate_connections{protocol="http",transport="poll"}"#, 1.).await;
        ask(a, "POST", "s:1", &[CLOSES], b"").await;
    });
    assert_eq!((closed.status, closed.header("stream-closed")), (204, Some("true")));
}

#[tokio::test]
async fn a_reader_goes_on_at_another_node_when_its_node_is_killed_on_redis() {
    let mut fleet = Broker::Redis.fleet(&[RULES]).await;
    let offset = {
        let [a, _] = fleet.nodes();
        create(a, "s:1", &[TEXT], "one ").await;
        let (body, offset) = read(a, "s:1", "-1").await;
        assert_eq!(body, "one ");
        append(a, "s:1", TEXT, "two").await;
        offset
    };
    fleet.kill_node();
    let [b, _] = fleet.nodes();
    assert_eq!(read(b, "s:1", &offset).await.0, "two");
    append(b, "s:1", TEXT, "!").await;
    assert_eq!(read(b, "s:1", &offset).await.0, "two!");
}
