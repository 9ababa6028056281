//! The end of a run on each protocol.

use serde_json::json;
use testkit::client::{Client, CloseFrame};
use testkit::event_stream::EventStream;
use testkit::fleet::{Broker, for_every_broker};
use testkit::requester::Requester;

use super::{RULES, after, end, ended, work};

for_every_broker!(
    a_plain_client_is_closed_with_the_reason_after_the_last_publication,
    an_event_stream_gets_the_end_as_an_event,
    an_event_stream_of_several_channels_gets_each_end_once,
    a_poll_is_answered_with_the_end,
);

async fn a_plain_client_is_closed_with_the_reason_after_the_last_publication(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut live = [Client::plain(a, "run:1").await, Client::plain(b, "run:1").await];
    let last = work(a, "run:1", 1..=30).await;
    end(b, "run:1", "the model's limit").await;
    let begin = last.replace("-30", "-0");
    let resume = format!("run:1?since={begin}");
    let mut late = [Client::plain(a, "run:1?since=first").await, Client::plain(b, &resume).await];
    for client in live.iter_mut().chain(&mut late) {
        for number in 1..=30 {
            assert_eq!(client.receive_text().await, number.to_string());
        }
    }
    let after_all = Client::plain(b, "run:1").await;
    for mut client in live.into_iter().chain(late).chain([after_all]) {
        let CloseFrame { code, reason } = client.receive_close().await;
        assert_eq!((u16::from(code), reason.as_str()), (1000, "the model's limit"));
    }
}

async fn an_event_stream_gets_the_end_as_an_event(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut live = EventStream::open(b, "/sse/run:1").await;
    let last = work(a, "run:1", 1..=3).await;
    let position = end(a, "run:1", "done").await;
    let resumed = EventStream::open_after(b, "/sse/run:1", &after(&last, 0)).await;
    let at_end = EventStream::open_after(a, "/sse/run:1", &position).await;
    // Without a position, a stream of a run begins with its first publication.
    let mut late = EventStream::open(b, "/sse/run:1").await;
    for stream in [&mut live, &mut late] {
        for number in 1..=3 {
            assert_eq!(stream.event().await.data, number.to_string());
        }
    }
    for mut stream in [live, resumed, at_end, late] {
        let event = stream.event().await;
        assert_eq!((event.name.as_str(), event.id.as_str()), ("ended", position.as_str()));
        assert_eq!(event.json(), ended("run:1", "done", &position));
    }
}

async fn an_event_stream_of_several_channels_gets_each_end_once(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let path = "/sse?channel=run:1&channel=run:2&channel=news";
    let mut stream = EventStream::open(b, path).await;
    work(a, "run:1", 1..=1).await;
    assert_eq!(stream.event().await.json()["data"], 1);
    let one = end(a, "run:1", "done").await;
    let event = stream.event().await;
    assert_eq!(event.name, "ended");
    assert_eq!(event.json(), ended("run:1", "done", &one));
    work(a, "run:2", 1..=1).await;
    assert_eq!(stream.event().await.json()["channel"], "run:2");
    let two = end(a, "run:2", "error").await;
    assert_eq!(stream.event().await.json(), ended("run:2", "error", &two));
    // Resumed after the first end: that comes again, because it tells the state of the channel.
    let mut resumed = EventStream::open_after(a, path, &event.id).await;
    assert_eq!(resumed.event().await.json(), ended("run:1", "done", &one));
    assert_eq!(resumed.event().await.json()["channel"], "run:2");
    assert_eq!(resumed.event().await.json(), ended("run:2", "error", &two));
}

async fn a_poll_is_answered_with_the_end(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let last = work(a, "run:1", 1..=2).await;
    let mut poller = Requester::connect(b).await;
    poller.send("GET", &format!("/poll/run:1?since={last}&wait=60s"), &[], b"").await;
    b.wait_for_metric(r#"tidegate_connections{protocol="http",transport="poll"}"#, 1.).await;
    let position = end(a, "run:1", "done").await;
    let waited = poller.response().await.json();
    let expected = json!({
        "publications": [], "position": position, "recovered": true, "ended": {"reason": "done"},
    });
    assert_eq!(waited, expected);
    assert_eq!(poller.poll("run:1", &format!("since={position}&wait=60s")).await, expected);
    let all = poller.poll("run:1", "since=first&wait=60s").await;
    assert_eq!(all["publications"].as_array().unwrap().len(), 2, "{all}");
    assert_eq!(all["ended"], json!({"reason": "done"}), "{all}");
    let late = poller.poll("run:1", "wait=60s").await;
    assert_eq!(late["ended"], json!({"reason": "done"}), "{late}");
}
