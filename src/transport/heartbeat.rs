//! When a WebSocket is pinged, and when its client counts as dead (RFC 6455 section 5.5.2).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::close::Close;
use crate::session::Config;

/// The pings of one connection. Without I/O: takes the time and pongs, returns what to do.
pub struct Heartbeat {
    config: Arc<Config>,
    next_ping: Instant,
    /// When the last ping was sent.
    pinged_at: Instant,
    pings: u32,
    /// Whether a frame has arrived since the last ping.
    is_answered: bool,
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub enum Beat {
    /// Send a ping with this payload.
    Ping([u8; 4]),
    /// No frame has arrived within the pong timeout.
    Dead(Close),
    Wait,
}

impl Heartbeat {
    /// The first ping is sent after half to one interval, at random, so that clients that connect together
    /// are not pinged together.
    pub fn new(config: Arc<Config>, now: Instant) -> Self {
        let next_ping = now + config.ping_interval.mul_f64(rand::random_range(0.5..1.0));
        Self { config, next_ping, pinged_at: now, pings: 0, is_answered: true }
    }

    /// A frame has arrived, of whatever kind; or none could, because reading was paused.
    pub fn frame_received(&mut self) {
        self.is_answered = true;
    }

    /// Takes a pong. Returns the round trip if it answers the last ping.
    pub fn pong(&self, payload: &[u8], now: Instant) -> Option<Duration> {
        (self.pings > 0 && payload == self.pings.to_be_bytes()).then(|| now - self.pinged_at)
    }

    /// When to call [`Heartbeat::check`] next.
    pub fn next(&self) -> Instant {
        match self.is_answered {
            true => self.next_ping,
            false => self.next_ping.min(self.pong_due()),
        }
    }

    pub fn check(&mut self, now: Instant) -> Beat {
        if !self.is_answered && now >= self.pong_due() {
            return Beat::Dead(Close::PongTimeout);
        }
        if now < self.next_ping {
            return Beat::Wait;
        }
        self.next_ping = now + self.config.ping_interval;
        if !self.is_answered {
            // Another ping would postpone the end of a dead connection.
            return Beat::Wait;
        }
        self.pinged_at = now;
        self.is_answered = false;
        self.pings = self.pings.wrapping_add(1);
        Beat::Ping(self.pings.to_be_bytes())
    }

    fn pong_due(&self) -> Instant {
        self.pinged_at + self.config.pong_timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    const SECOND: Duration = Duration::from_secs(1);

    /// With the defaults: a ping every 25 seconds, a pong within 10.
    fn heartbeat() -> Heartbeat {
        Heartbeat::new(Arc::new(Config::read(&mut Settings::default())), Instant::now())
    }

    #[test]
    fn a_ping_is_due_every_interval_and_no_frame_after_one_means_dead() {
        let mut heartbeat = heartbeat();
        let first = heartbeat.next();
        assert_eq!(heartbeat.check(first - SECOND), Beat::Wait);
        assert_eq!(heartbeat.check(first), Beat::Ping(1u32.to_be_bytes()));
        assert_eq!(heartbeat.pong(&1u32.to_be_bytes(), first + SECOND), Some(SECOND));
        heartbeat.frame_received();
        assert_eq!(heartbeat.next(), first + 25 * SECOND);
        assert_eq!(heartbeat.check(first + 25 * SECOND), Beat::Ping(2u32.to_be_bytes()));
        assert_eq!(heartbeat.next(), first + 35 * SECOND);
        assert_eq!(heartbeat.check(first + 35 * SECOND), Beat::Dead(Close::PongTimeout));
    }

    #[test]
    fn any_frame_counts_as_an_answer_and_a_forged_pong_measures_nothing() {
        let mut heartbeat = heartbeat();
        let first = heartbeat.next();
        heartbeat.check(first);
        assert_eq!(heartbeat.pong(b"what?", first + SECOND), None);
        heartbeat.frame_received();
        assert_eq!(heartbeat.check(first + 10 * SECOND), Beat::Wait);
    }
}
