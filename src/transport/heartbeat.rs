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
    heard: bool,
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
        Self { config, next_ping, pinged_at: now, pings: 0, heard: true }
    }

    /// A frame has arrived, of whatever kind; or none could, because reading was paused.
    pub fn heard(&mut self) {
        self.heard = true;
    }

    /// Takes a pong. Returns the round trip if it answers the last ping.
    pub fn pong(&self, payload: &[u8], now: Instant) -> Option<Duration> {
        (self.pings > 0 && payload == self.pings.to_be_bytes()).then(|| now - self.pinged_at)
    }

    /// When to call [`Heartbeat::beat`] next.
    pub fn next(&self) -> Instant {
        match self.heard {
            true => self.next_ping,
            false => self.next_ping.min(self.pong_due()),
        }
    }

    pub fn beat(&mut self, now: Instant) -> Beat {
        if !self.heard && now >= self.pong_due() {
            return Beat::Dead(Close::PongTimeout);
        }
        if now < self.next_ping {
            return Beat::Wait;
        }
        self.next_ping = now + self.config.ping_interval;
        if !self.heard {
            // Another ping would postpone the end of a dead connection.
            return Beat::Wait;
        }
        self.pinged_at = now;
        self.heard = false;
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
    fn a_ping_is_due_every_interval_and_silence_after_one_is_death() {
        let mut heartbeat = heartbeat();
        let first = heartbeat.next();
        assert_eq!(heartbeat.beat(first - SECOND), Beat::Wait);
        assert_eq!(heartbeat.beat(first), Beat::Ping(1u32.to_be_bytes()));
        assert_eq!(heartbeat.pong(&1u32.to_be_bytes(), first + SECOND), Some(SECOND));
        heartbeat.heard();
        assert_eq!(heartbeat.next(), first + 25 * SECOND);
        assert_eq!(heartbeat.beat(first + 25 * SECOND), Beat::Ping(2u32.to_be_bytes()));
        assert_eq!(heartbeat.next(), first + 35 * SECOND);
        assert_eq!(heartbeat.beat(first + 35 * SECOND), Beat::Dead(Close::PongTimeout));
    }

    #[test]
    fn any_frame_counts_as_life_and_a_forged_pong_measures_nothing() {
        let mut heartbeat = heartbeat();
        let first = heartbeat.next();
        heartbeat.beat(first);
        assert_eq!(heartbeat.pong(b"what?", first + SECOND), None);
        heartbeat.heard();
        assert_eq!(heartbeat.beat(first + 10 * SECOND), Beat::Wait);
    }
}
