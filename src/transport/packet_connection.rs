//! A connection whose messages hold packets: a part of one, or several.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::close::Close;
use crate::outbound::Outbound;
use crate::protocol::Packets;
use crate::session::{Connection, ConnectionEvent};

/// How many packets are handled before other tasks get a turn, and what they caused is written.
const TURN: usize = 64;

/// A connection of a protocol with packets. Each event holds exactly one.
pub struct PacketConnection<C> {
    connection: C,
    packets: Box<dyn Packets>,
    /// When the last packet arrived, or the connection was opened.
    heard_at: Instant,
    /// The packets since other tasks had a turn.
    work: usize,
}

impl<C: Connection> PacketConnection<C> {
    pub fn new(connection: C, packets: Box<dyn Packets>) -> Self {
        Self { connection, packets, heard_at: Instant::now(), work: 0 }
    }

    /// The event of the next packet that has arrived.
    fn next_packet(&mut self) -> Option<ConnectionEvent> {
        match self.packets.next() {
            Ok(None) => None,
            Ok(Some(packet)) => {
                self.heard_at = Instant::now();
                Some(ConnectionEvent::Message(packet))
            }
            Err(close) => Some(ConnectionEvent::Violation(close)),
        }
    }

    fn silent_until(&self) -> Option<Instant> {
        let far = Duration::from_secs(u64::from(u32::MAX));
        self.packets.silence_max().map(|silence| self.heard_at + silence.min(far))
    }
}

impl<C: Connection> Connection for PacketConnection<C> {
    fn poll_event(
        &mut self,
        cx: &mut Context<'_>,
        outbound: &Outbound,
        reading: bool,
    ) -> Poll<ConnectionEvent> {
        loop {
            let has_turn = self.work < TURN;
            if reading
                && has_turn
                && let Some(event) = self.next_packet()
            {
                self.work += 1;
                return Poll::Ready(event);
            }
            self.work = 0;
            if !has_turn {
                cx.waker().wake_by_ref();
            }
            match ready!(self.connection.poll_event(cx, outbound, reading && has_turn)) {
                ConnectionEvent::Message(data) => {
                    if let Err(close) = self.packets.add(data) {
                        return Poll::Ready(ConnectionEvent::Violation(close));
                    }
                }
                event => return Poll::Ready(event),
            }
        }
    }

    fn next_heartbeat(&self) -> Instant {
        let next = self.connection.next_heartbeat();
        self.silent_until().map_or(next, |until| until.min(next))
    }

    fn check_heartbeat(
        &mut self,
        now: Instant,
        excused: bool,
        outbound: &Outbound,
    ) -> Option<Close> {
        if excused {
            self.heard_at = now;
        }
        match self.silent_until().is_some_and(|until| now >= until) {
            true => Some(Close::PongTimeout),
            false => self.connection.check_heartbeat(now, excused, outbound),
        }
    }

    async fn close(&mut self, close: Close, last: Option<Bytes>, outbound: &Outbound) {
        self.connection.close(close, last, outbound).await;
    }
}
