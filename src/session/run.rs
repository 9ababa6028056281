//! The loop of a session.

use std::future::poll_fn;

use tokio::time::{Instant, sleep_until};

use super::{Connection, ConnectionEvent, Session};
use crate::close::Close;
use crate::events::ConnectedSession;
use crate::protocol::{Push, SessionBeat, SessionControl, Speak};

/// Whether the session reads from the connection, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadState {
    On,
    /// The session is ending.
    Ends,
    /// Too many commands are in flight.
    InFlight,
    /// The broker's queue is full.
    Broker,
    /// The backlog is not yet written; until then the client may request no more history.
    Backlog,
}

impl Session {
    /// Runs the session until one side ends it.
    ///
    /// Inputs: the broker's answers to commands; room in the broker's queue; the connection, which also
    /// writes the outbound queue; the written backlog; the timer. They are polled in this order, so that
    /// answers that arrive together leave in one write, and a pong that has arrived counts before its
    /// deadline is checked. Each arm is cancel safe: the timer and the commands in flight are kept outside
    /// the loop, the connection keeps what it has partly read or written.
    pub async fn run(mut self: Box<Self>, connection: &mut impl Connection) -> Close {
        self.send_welcome();
        self.subscribe_token_channels();
        let connected = self.report_connected();
        let timer = sleep_until(self.next_tick(connection));
        tokio::pin!(timer);
        let close = loop {
            let read_state = self.read_state();
            let broker = self.context.hub.broker();
            let is_on = read_state == ReadState::On;
            tokio::select! {
                biased;
                completed = self.in_flight.next(), if !self.in_flight.is_empty() => self.complete(completed),
                () = async { broker.wait_for_capacity().await }, if read_state == ReadState::Broker => {}
                caught_up = self.catching_up.next(), if !self.catching_up.is_empty() => {
                    self.caught_up(caught_up);
                }
                event = poll_fn(|cx| connection.poll_event(cx, &self.outbound, is_on)) => {
                    if let Some(close) = self.handle(event) {
                        break close;
                    }
                }
                () = poll_fn(|cx| self.outbound.poll_backlog(cx)), if read_state == ReadState::Backlog => {}
                () = &mut timer, if self.outbound.closing().is_none() => {
                    self.tick(connection, read_state);
                    timer.as_mut().reset(self.next_tick(connection));
                }
            }
            // New settings or another token may have moved the expiry forward.
            let next = self.next_tick(connection);
            if timer.deadline() > next {
                timer.as_mut().reset(next);
            }
            if let Some(check_at) = self.close_or_wait() {
                timer.as_mut().reset(check_at);
            }
        };
        // Later publications are not delivered to this session.
        self.subscriptions.clear();
        self.patterns = None;
        if let Some(connected) = connected {
            (*connected).end(close);
        }
        // Boxed, because a task is as large as the largest future that it awaits.
        self.publish_will(close);
        let last = self.state.protocol().last_bytes(close);
        Box::pin(connection.close(close, last, &self.outbound)).await;
        close
    }

    /// Reports the session to the backend, unless it has ended already or is that of one request.
    fn report_connected(&self) -> Option<Box<ConnectedSession>> {
        let is_reported = self.format().is_lasting() && self.outbound.closing().is_none();
        let report =
            || self.context.events.connect(self.outbound.session(), self.state.principal().user());
        is_reported.then(report).flatten()
    }

    fn read_state(&self) -> ReadState {
        if self.ending.is_some() || self.outbound.closing().is_some() {
            ReadState::Ends
        } else if !self.in_flight.has_room() {
            ReadState::InFlight
        } else if !self.context.hub.broker().has_capacity() {
            ReadState::Broker
        } else if self.outbound.has_backlog() {
            ReadState::Backlog
        } else {
            ReadState::On
        }
    }

    /// When the timer is due.
    fn next_tick(&self, connection: &impl Connection) -> Instant {
        let beat = connection.next_heartbeat();
        let beat = self.state.principal().ends_at().map_or(beat, |end| end.min(beat));
        let own = self.state.protocol().control().and_then(SessionControl::next_beat);
        own.map_or(beat, |own| own.min(beat))
    }

    /// Handles the timer: closes the session if its token has expired, sends a heartbeat if one is due.
    fn tick(&mut self, connection: &mut impl Connection, read_state: ReadState) {
        let (now, owed) = (Instant::now(), self.outbound.bytes());
        // While reading is paused, a missing pong proves nothing. A client that takes nothing of its backlog
        // counts as dead nevertheless.
        let takes = !self.outbound.has_backlog() || owed < self.queued_bytes;
        let excused = read_state != ReadState::On && takes;
        self.queued_bytes = owed;
        let end = self.state.principal().expired(now);
        if let Some(close) =
            end.or_else(|| connection.check_heartbeat(now, excused, &self.outbound))
        {
            self.outbound.close(close);
        }
        self.beat(now, excused);
    }

    /// Does what is due of the protocol's own heartbeats.
    fn beat(&self, now: Instant, excused: bool) {
        let Some(control) = self.state.protocol().control() else { return };
        match control.check_beat(now, excused) {
            SessionBeat::Send(frame) if self.outbound.bytes() == 0 => {
                self.outbound.push_own_or_close(frame);
            }
            SessionBeat::Send(_) | SessionBeat::Nothing => {}
            SessionBeat::Dead(close) => _ = self.outbound.close(close),
        }
    }

    fn send_welcome(&self) {
        let welcome = Push::Welcome {
            session: self.outbound.session().to_string(),
            node: self.context.node.to_string(),
            ping_interval_ms: self.context.config.ping_interval.as_millis() as u64,
        };
        if let Some(frame) = self.format().push(&welcome) {
            self.outbound.push_own_or_close(frame);
        }
    }

    /// Handles an event. Some: the session is over.
    fn handle(&mut self, event: ConnectionEvent) -> Option<Close> {
        match event {
            ConnectionEvent::Message(message) => self.handle_message(message, Instant::now()),
            ConnectionEvent::Heartbeat => {
                if let Some(close) = self.state.count_heartbeat(Instant::now()) {
                    self.end_unless_ending(close);
                }
            }
            ConnectionEvent::Notified => match self.outbound.asked_to_end() {
                Some(close) => self.end_unless_ending(close),
                None => {
                    self.catch_up_behind();
                    self.apply_settings();
                }
            },
            ConnectionEvent::Close(code) => self.end_for(Close::Client(code)),
            ConnectionEvent::Violation(close) => self.end_for(close),
            ConnectionEvent::End(close) => return Some(close),
        }
        None
    }
}
