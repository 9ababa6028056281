//! Requests that change one stream at the same time, at two nodes.

use futures_util::future::join_all;
use testkit::fleet::{Broker, for_every_broker};

use super::{CLOSES, RULES, TEXT, append, ask, create, read};

for_every_broker!(
    appends_at_two_nodes_are_all_kept_and_none_follows_the_close,
    a_message_of_a_producer_that_is_sent_to_two_nodes_at_once_is_appended_once,
    of_streams_that_are_created_at_once_one_wins,
    a_stream_that_is_deleted_and_created_again_never_mixes_messages,
);

async fn appends_at_two_nodes_are_all_kept_and_none_follows_the_close(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let nodes = fleet.nodes();
    create(nodes[0], "s:1", &[TEXT], "").await;
    let answers = join_all((0..60).map(async |number: usize| {
        let node = nodes[number % 2];
        if number == 30 {
            let closed = ask(node, "POST", "s:1", &[CLOSES], b"").await;
            assert_eq!(closed.status, 204, "{closed:?}");
            return None;
        }
        let body = format!("<{number}>");
        let answer = ask(node, "POST", "s:1", &[TEXT], body.as_bytes()).await;
        match answer.status {
            204 => Some(body),
            409 => None,
            _ => panic!("{answer:?}"),
        }
    }))
    .await;
    for node in nodes {
        let whole = ask(node, "GET", "s:1", &[], b"").await;
        assert_eq!(whole.header("stream-closed"), Some("true"));
        let text = whole.text();
        let kept: Vec<String> = answers.iter().flatten().cloned().collect();
        assert_eq!(text.len(), kept.concat().len(), "{text} {kept:?}");
        assert!(kept.iter().all(|it| text.contains(it)), "{text} {kept:?}");
    }
}

async fn a_message_of_a_producer_that_is_sent_to_two_nodes_at_once_is_appended_once(
    broker: Broker,
) {
    let fleet = broker.fleet(&[RULES]).await;
    let nodes = fleet.nodes();
    create(nodes[0], "s:1", &[TEXT], "").await;
    for seq in 0..20 {
        let seq_text = seq.to_string();
        let producer =
            [TEXT, ("Producer-Id", "p"), ("Producer-Epoch", "0"), ("Producer-Seq", &seq_text)];
        let body = format!("{seq},");
        let answers = join_all((0..4).map(|number: usize| {
            ask(nodes[number % 2], "POST", "s:1", &producer, body.as_bytes())
        }))
        .await;
        let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 204, 204, 204], "{answers:?}");
    }
    let expected: String = (0..20).map(|seq| format!("{seq},")).collect();
    assert_eq!(read(nodes[1], "s:1", "-1").await.0, expected);
}

async fn of_streams_that_are_created_at_once_one_wins(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let nodes = fleet.nodes();
    let answers = join_all((0..10).map(async |number: usize| {
        let content_type = format!("text/x-{number}");
        let headers = [("Content-Type", &*content_type)];
        let body = number.to_string();
        let answer = ask(nodes[number % 2], "PUT", "s:1", &headers, body.as_bytes()).await;
        (answer.status, body)
    }))
    .await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(status, _)| *status == 201);
    assert_eq!(won.len(), 1, "{won:?}");
    assert!(lost.iter().all(|(status, _)| *status == 409), "{lost:?}");
    assert_eq!(read(nodes[1], "s:1", "-1").await.0, won[0].1);
}

async fn a_stream_that_is_deleted_and_created_again_never_mixes_messages(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let nodes = fleet.nodes();
    for round in 0..10 {
        let body = format!("{round}!");
        create(nodes[round % 2], "s:1", &[TEXT], &body).await;
        let reading = join_all((0..4).map(async |number: usize| {
            let answer = ask(nodes[number % 2], "GET", "s:1", &[], b"").await;
            (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
        }));
        let (deleted, read) = tokio::join!(ask(nodes[1], "DELETE", "s:1", &[], b""), reading);
        assert_eq!(deleted.status, 204, "{deleted:?}");
        for (status, text) in read {
            let is_sound = match status {
                200 => text == body,
                404 | 410 => true,
                _ => false,
            };
            assert!(is_sound, "{status} {text}");
        }
    }
    create(nodes[0], "s:1", &[TEXT], "last").await;
    append(nodes[1], "s:1", TEXT, "!").await;
    assert_eq!(read(nodes[0], "s:1", "-1").await.0, "last!");
}
