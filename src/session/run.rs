//! The loop of a session.

use std::future::poll_fn;

use tokio::time::{Instant, sleep_until};

use super::{Connection, ConnectionEvent, Session};
use crate::close::Close;
use crate::protocol::{Push, Speak};

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
        self.greet();
        if self.state.protocol().subscribes_listed() {
            self.subscribe_listed();
        }
        let timer = sleep_until(self.next_tick(connection));
        tokio::pin!(timer);
        let close = loop {
            let reading = self.reading();
            let broker = self.context.hub.broker();
            let is_on = reading == ReadState::On;
            tokio::select! {
                biased;
                done = self.in_flight.next(), if !self.in_flight.is_empty() => self.finish(done),
                () = async { broker.wait_for_capacity().await }, if reading == ReadState::Broker => {}
                event = poll_fn(|cx| connection.poll_event(cx, &self.outbound, is_on)) => {
                    if let Some(close) = self.handle(event) {
                        break close;
                    }
                }
                () = poll_fn(|cx| self.outbound.poll_backlog(cx)), if reading == ReadState::Backlog => {}
                () = &mut timer, if self.outbound.closing().is_none() => {
                    self.tick(connection, reading);
                    timer.as_mut().reset(self.next_tick(connection));
                }
            }
            // New settings or another token may have moved the expiry forward.
            let next = self.next_tick(connection);
            if timer.deadline() > next {
                timer.as_mut().reset(next);
            }
            if let Some(look) = self.leave_or_wait() {
                timer.as_mut().reset(look);
            }
        };
        // Later publications are not delivered to this session.
        self.subscriptions.clear();
        // Boxed, because a task is as large as the largest future that it awaits.
        Box::pin(connection.close(close, &self.outbound)).await;
        close
    }

    fn reading(&self) -> ReadState {
        if self.leaving.is_some() || self.outbound.closing().is_some() {
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
        let beat = connection.next_beat();
        self.state.bearer().ends_at().map_or(beat, |end| end.min(beat))
    }

    /// Handles the timer: closes the session if its token has expired, sends a heartbeat if one is due.
    fn tick(&mut self, connection: &mut impl Connection, reading: ReadState) {
        let (now, owed) = (Instant::now(), self.outbound.bytes());
        // While reading is paused, a missing pong proves nothing. A client that takes nothing of its backlog
        // counts as dead nevertheless.
        let takes = !self.outbound.has_backlog() || owed < self.owed;
        let excused = reading != ReadState::On && takes;
        self.owed = owed;
        let end = self.state.bearer().over(now);
        if let Some(close) = end.or_else(|| connection.beat(now, excused, &self.outbound)) {
            self.outbound.close(close);
        }
    }

    fn greet(&self) {
        let welcome = Push::Welcome {
            session: self.outbound.session().to_string(),
            node: self.context.node.to_string(),
            ping_interval_ms: self.context.config.ping_interval.as_millis() as u64,
        };
        if let Some(frame) = self.format().push(&welcome) {
            self.outbound.say(frame);
        }
    }

    /// Handles an event. Some: the session is over.
    fn handle(&mut self, event: ConnectionEvent) -> Option<Close> {
        match event {
            ConnectionEvent::Message(message) => self.message(message, Instant::now()),
            ConnectionEvent::Heartbeat => {
                if let Some(close) = self.state.count_heartbeat(Instant::now()) {
                    self.leave_unless_leaving(close);
                }
            }
            ConnectionEvent::Nudge => match self.outbound.asked_to_leave() {
                Some(close) => self.leave_unless_leaving(close),
                None => self.follow_settings(),
            },
            ConnectionEvent::Close(code) => self.leave_for(Close::Client(code)),
            ConnectionEvent::Violation(close) => self.leave_for(close),
            ConnectionEvent::End(close) => return Some(close),
        }
        None
    }
}
