//! A session on its connection: its one loop.

use std::future::poll_fn;

use tokio::time::{Instant, sleep_until};

use super::{Connection, ConnectionEvent, Session};
use crate::close::Close;
use crate::protocol::{Push, Speak};

/// Is something read from the connection, and if not, why not?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadState {
    On,
    /// The session ends.
    Ends,
    /// As much as may be is in flight.
    InFlight,
    /// The broker has no room.
    Broker,
    /// The client has not yet taken what it has missed, and gets no more of that kind.
    Backlog,
}

impl Session {
    /// Converses until one side ends it.
    ///
    /// Inputs: the broker's answers to what the client asked; the broker's having room again; the
    /// connection, which also writes the outbound queue; the backlog's being written; the timer. In this order, so
    /// that answers that came together leave in one write, and a pong that has come counts before its
    /// lateness. Each arm is cancel safe: the timer and what is in flight are kept outside the loop,
    /// the connection keeps what it has half read or written.
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
                () = async { broker.room().await }, if reading == ReadState::Broker => {}
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
            // New settings or another token may have brought an earlier end.
            let next = self.next_tick(connection);
            if timer.deadline() > next {
                timer.as_mut().reset(next);
            }
            if let Some(look) = self.leave_or_wait() {
                timer.as_mut().reset(look);
            }
        };
        // What is published from here on does not reach this session.
        self.subscriptions.clear();
        // In a box, because a task is as large as the largest thing it ever waits for.
        Box::pin(connection.close(close, &self.outbound)).await;
        close
    }

    fn reading(&self) -> ReadState {
        if self.leaving.is_some() || self.outbound.closing().is_some() {
            ReadState::Ends
        } else if !self.in_flight.has_room() {
            ReadState::InFlight
        } else if !self.context.hub.broker().has_room() {
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

    /// The timer fired: the token's time may be over, or a heartbeat due.
    fn tick(&mut self, connection: &mut impl Connection, reading: ReadState) {
        let (now, owed) = (Instant::now(), self.outbound.bytes());
        // While reading is paused, a missing pong proves nothing. A client that takes nothing of its backlog is dead
        // all the same.
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

    /// Some: the conversation is over.
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
