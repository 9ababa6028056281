use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::Instant;

use super::*;
use crate::auth::{self, Auth, Revocations};
use crate::broker;
use crate::events::Events;
use crate::hub::{Hub, Registry};
use crate::limits::Limits;
use crate::outbound::Outbound;
use crate::presence::{self, Presence};
use crate::protocol::plain::Plain;
use crate::publication::{Channel, NodeId};
use crate::rules::Rules;
use crate::session::{self, ConnectionEvent, SessionContext, SessionParameters, Users};
use crate::settings::{ClientListener, ListenAddress, Settings};
use crate::transport::websocket::WebSocket;

/// A connection with a fault: a message of the client makes it panic.
struct Faulty(WebSocket<DuplexStream>);

impl Connection for Faulty {
    fn poll_event(
        &mut self,
        cx: &mut TaskContext<'_>,
        outbound: &Outbound,
        reading: bool,
    ) -> Poll<ConnectionEvent> {
        match self.0.poll_event(cx, outbound, reading) {
            Poll::Ready(ConnectionEvent::Message(_)) => {
                panic!("a fault in the node, for this test")
            }
            poll => poll,
        }
    }

    fn next_heartbeat(&self) -> Instant {
        self.0.next_heartbeat()
    }

    fn check_heartbeat(
        &mut self,
        now: Instant,
        excused: bool,
        outbound: &Outbound,
    ) -> Option<Close> {
        self.0.check_heartbeat(now, excused, outbound)
    }

    async fn close(&mut self, close: Close, last: Option<Bytes>, outbound: &Outbound) {
        self.0.close(close, last, outbound).await;
    }
}

/// A node's services without its sockets.
fn node() -> Arc<SessionContext> {
    let mut settings = Settings::default();
    let registry = Arc::new(Registry::new(Rules::default()));
    registry.start_flushers();
    let node = NodeId::random();
    let config = broker::Config::read(&mut settings);
    let broker = broker::connect(&config, node, registry.clone().sink());
    let presence = Presence::start(&presence::Config::read(&mut settings), broker.clone());
    let config = Arc::new(session::Config::read(&mut settings));
    let auth = auth::Config::read(
        &mut settings,
        ClientListener { key: "server.listen", address: ListenAddress::Localhost(0) },
    );
    Arc::new(SessionContext::new(session::SessionState {
        hub: Hub::new(registry, broker),
        presence,
        events: Events::default(),
        users: Users::new(Revocations::new(auth.revocation_age)),
        auth: Auth::start(&auth),
        limits: Limits::default(),
        config,
        ending_timeout: Duration::from_secs(3),
        node,
    }))
}

async fn session(node: &Arc<SessionContext>) -> Box<Session> {
    let channel = Channel::new("news").unwrap();
    let protocol = Plain { channel, traceparent: None }.into();
    let parameters = SessionParameters {
        protocol,
        token: None,
        echo: true,
        since: vec![],
        closes_on_gap: false,
        refused: None,
        run: None,
    };
    Box::new(Session::start(node.clone(), parameters).await.unwrap().0)
}

fn websocket(node: &SessionContext, stream: DuplexStream) -> WebSocket<DuplexStream> {
    WebSocket::new(stream, Vec::new(), &node.config)
}

/// A client's text frame, with a mask of zeros.
fn text(text: &str) -> Vec<u8> {
    [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0], text.as_bytes()].concat()
}

#[tokio::test]
async fn a_panic_ends_only_its_own_session_and_closes_it_with_1011() {
    let node = node();
    let (mut unlucky, theirs) = duplex(1000);
    let faulty = Faulty(websocket(&node, theirs));
    let ended = tokio::spawn(run_session(session(&node).await, faulty, ()));
    let (mut other, theirs) = duplex(1000);
    let sound = websocket(&node, theirs);
    tokio::spawn(run_session(session(&node).await, sound, ()));

    unlucky.write_all(&text("break")).await.unwrap();
    let mut close = [0; 4];
    unlucky.read_exact(&mut close).await.unwrap();
    assert_eq!((close[0], &close[2..]), (0x88, &1011u16.to_be_bytes()[..]));
    drop(unlucky);
    ended.await.unwrap();
    let internal = r#"tidegate_connections_closed_total{reason="internal"} 1"#;
    assert!(telemetry::exposition(Default::default()).contains(internal));

    // What the two sessions share is intact.
    assert_eq!(node.hub.registry().connection_count(), 1);
    assert_eq!(node.hub.registry().channels()[0].subscribers, 1);
    other.write_all(&text("still here")).await.unwrap();
    let mut received = [0; 2 + "still here".len()];
    other.read_exact(&mut received).await.unwrap();
    assert_eq!(&received[2..], b"still here");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_closed_soon_after_it_is_asked_to_end() {
    let node = node();
    let (_client, theirs) = duplex(10);
    let session = session(&node).await;
    let outbound = session.outbound().clone();
    let stuck = websocket(&node, theirs);
    let ended = tokio::spawn(run_session(session, stuck, ()));
    outbound.push_own(vec![0; 1000].into()).unwrap();
    let start = Instant::now();
    assert!(outbound.ask_to_end(Close::Drain { after: Duration::ZERO }));
    ended.await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(node.hub.registry().connection_count(), 0);
}
