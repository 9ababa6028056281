//! The connection of a session that runs on a stream of HTTP/2.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::time::Instant;

use super::connection::Http2Connection;
use crate::close::Close;
use crate::outbound::Outbound;
use crate::session::{Connection, ConnectionEvent};

/// A WebSocket or a streamed response on an [`Http2Connection`].
pub struct SessionStream<C> {
    stream: C,
    connection: Arc<Http2Connection>,
}

impl<C> SessionStream<C> {
    pub fn new(stream: C, connection: Arc<Http2Connection>) -> Self {
        Self { stream, connection }
    }
}

impl<C: Connection> Connection for SessionStream<C> {
    fn poll_event(
        &mut self,
        cx: &mut Context<'_>,
        outbound: &Outbound,
        reading: bool,
    ) -> Poll<ConnectionEvent> {
        self.stream.poll_event(cx, outbound, reading)
    }

    fn next_heartbeat(&self) -> Instant {
        self.stream.next_heartbeat()
    }

    fn check_heartbeat(
        &mut self,
        now: Instant,
        excused: bool,
        outbound: &Outbound,
    ) -> Option<Close> {
        self.stream.check_heartbeat(now, excused, outbound)
    }

    /// A client that is to reconnect elsewhere must not do so on the same connection.
    async fn close(&mut self, close: Close, last: Option<Bytes>, outbound: &Outbound) {
        if close.reconnects_after().is_some() {
            self.connection.leave();
        }
        self.stream.close(close, last, outbound).await;
    }
}
