use std::task::Waker;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, BufWriter, duplex};

use super::*;
use crate::outbound::{Latest, Pushed};
use crate::publication::{NodeId, SessionId};
use crate::settings::Settings;

fn config() -> Arc<Config> {
    Arc::new(Config::read(&mut Settings::default()))
}

#[tokio::test]
async fn other_tasks_get_a_turn_while_a_client_floods() {
    let mut cx = Context::from_waker(Waker::noop());
    for (frame, turns_min) in
        [([0, 0x80, 0, 0, 0, 0], 6 << 20 >> 17), ([0x8A, 0x80, 0, 0, 0, 0], (1 << 20) / TURN)]
    {
        let flood = [&[0x01, 0x80, 0, 0, 0, 0][..], &frame.repeat(1 << 20)].concat();
        let outbound = Outbound::new(SessionId { node: NodeId::random(), number: 1 }, 1000);
        let mut socket = WebSocket::new(std::io::Cursor::new(flood), Vec::new(), &config());
        let mut turns = 1;
        loop {
            match socket.poll_event(&mut cx, &outbound, true) {
                Poll::Pending => turns += 1,
                Poll::Ready(ConnectionEvent::End(_)) => break,
                Poll::Ready(_) => {}
            }
        }
        assert!(turns >= turns_min, "{turns} turns of {turns_min}");
    }
}

#[tokio::test]
async fn a_client_that_resumes_reading_gets_the_newest_latest_frame() {
    let (mut client, node) = duplex(4);
    let outbound = Outbound::new(SessionId { node: NodeId::random(), number: 1 }, 1000);
    outbound.begin_subscription(1);
    let mut socket = WebSocket::new(node, Vec::new(), &config());
    let mut cx = Context::from_waker(Waker::noop());
    let latest = |skipped| Latest { pushed: Pushed::Covered, skipped };
    let push = |text: &'static str| outbound.push_latest(1, Bytes::from_static(text.as_bytes()));

    assert_eq!([push("one,"), push("two,")], [latest(false), latest(false)]);
    assert!(socket.poll_event(&mut cx, &outbound, true).is_pending());
    assert_eq!(
        [push("three,"), push("four,"), push("five,")],
        [latest(false), latest(true), latest(true)]
    );
    let mut received = [0; "one,two,five,".len()];
    let mut filled = 0;
    while filled < received.len() {
        filled += client.read(&mut received[filled..]).await.unwrap();
        assert!(socket.poll_event(&mut cx, &outbound, true).is_pending());
    }
    assert_eq!(str::from_utf8(&received), Ok("one,two,five,"));
    assert_eq!(outbound.bytes(), 0);
}

#[tokio::test]
async fn bytes_buffered_by_a_stream_are_flushed_although_no_frame_follows() {
    let (mut client, node) = duplex(4);
    let outbound = Outbound::new(SessionId { node: NodeId::random(), number: 1 }, 1000);
    // Like TLS, it accepts more than the socket does, and sends the rest only when it is flushed.
    let mut socket = WebSocket::new(BufWriter::new(node), Vec::new(), &config());
    let mut cx = Context::from_waker(Waker::noop());
    outbound.push_own(Bytes::from_static(b"held back")).unwrap();
    let mut received = Vec::new();
    while received.len() < "held back".len() {
        assert!(socket.poll_event(&mut cx, &outbound, true).is_pending());
        let mut some = [0; 4];
        let read = poll_once(client.read(&mut some)).await.expect("something was flushed");
        received.extend_from_slice(&some[..read.unwrap()]);
    }
    assert_eq!(received, b"held back");
    assert!(socket.poll_event(&mut cx, &outbound, true).is_pending());
    assert_eq!(outbound.bytes(), 0);
}

/// The future's output, if it is ready now.
async fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(it) => Some(it),
            Poll::Pending => None,
        })
    })
    .await
}
