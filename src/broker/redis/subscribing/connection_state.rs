//! The state of one subscribed connection.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::broker::redis::connection::feed::CommandWriter;
use crate::broker::redis::connection::resp::RespMessage;
use crate::broker::redis::context::RedisContext;
use crate::broker::redis::subscribing::pattern_routes::PatternRoutes;
use crate::broker::redis::subscribing::probe::{self, ProbeChannel};
use crate::publication::Channel;
use crate::telemetry;

/// How long one of the nodes' own channels may stay unconfirmed before it is requested again.
pub const CONFIRM_TIMEOUT: Duration = Duration::from_secs(1);

/// Pause before a refused pinned channel is requested again.
const REFUSED_PAUSE: Backoff = Backoff::new(CONFIRM_TIMEOUT, Duration::from_secs(30));

/// Maximum number of remembered `PING`s. A server that is busy with a script refuses them like
/// every other command, so unanswered ones are forgotten over time.
const PINGS_MAX: usize = 16;

/// The state of a subscribed connection.
pub struct ConnectionState {
    /// Redis sent an error, so an expected reply may never come.
    pub had_error: bool,
    /// The numbers of the unanswered `PING`s, in order.
    pub pings: VecDeque<u64>,
    /// When the probe channel was last requested.
    pub probe_requested_at: Instant,
    pub probe: watch::Sender<ProbeChannel>,
    /// The number of the last probe that came back.
    pub last_probe: watch::Sender<u64>,
    pub pinned: Vec<PinnedChannel>,
    /// By which subscription each publication is delivered.
    pub routes: PatternRoutes,
    /// The last message confirmed a pattern, and the patterns were told of an interruption.
    pub globs_told: bool,
    /// How many shared channels were confirmed after an interruption since the last tick.
    pub shared_interrupted: u32,
}

/// A channel that stays subscribed while its slot belongs to the lane, with or without subscribers.
pub struct PinnedChannel {
    pub channel: Channel,
    pub confirmed: bool,
    pub requested_at: Option<Instant>,
    /// Consecutive refusals by Redis.
    refusals: u32,
}

impl PinnedChannel {
    pub fn new(channel: Channel) -> Self {
        Self { channel, confirmed: false, requested_at: None, refusals: 0 }
    }

    /// Whether it should be requested now if it is not confirmed.
    pub fn is_due(&self) -> bool {
        self.requested_at.is_none_or(|requested_at| {
            requested_at.elapsed() >= REFUSED_PAUSE.pause_after(self.refusals)
        })
    }

    pub fn confirm(&mut self) {
        self.confirmed = true;
        self.refusals = 0;
    }
}

impl ConnectionState {
    /// A new connection, on which these channels have been requested.
    pub fn new(probe: ProbeChannel, pinned: Vec<PinnedChannel>) -> Self {
        Self {
            had_error: false,
            pings: VecDeque::new(),
            probe_requested_at: Instant::now(),
            probe: watch::Sender::new(probe),
            last_probe: watch::Sender::new(0),
            pinned,
            routes: PatternRoutes::default(),
            shared_interrupted: 0,
            globs_told: false,
        }
    }

    /// Sends a `PING`, whose reply shows that Redis has answered all earlier commands.
    pub fn ping(&mut self, writer: &mut CommandWriter, number: u64) {
        if self.pings.len() == PINGS_MAX {
            self.pings.pop_front();
        }
        self.pings.push_back(number);
        writer.ping(&number.to_string());
    }

    /// The number of the `PING` that this message answers. A server that refuses only `PING`, such
    /// as one that cannot save to its disk, has answered it too.
    pub fn pong(&mut self, message: &RespMessage<'_>) -> Option<u64> {
        match message {
            RespMessage::Bulk(number) => {
                let number = probe::number(number);
                while self.pings.pop_front_if(|ping| *ping <= number).is_some() {}
                Some(number)
            }
            RespMessage::Error(error) if is_of_ping(error) => {
                telemetry::broker_refused("PING", "", &String::from_utf8_lossy(error));
                self.pings.pop_front()
            }
            _ => None,
        }
    }

    /// The pinned channel with this name in Redis.
    pub fn pinned_channel(
        &mut self,
        name: &[u8],
        context: &RedisContext,
    ) -> Option<&mut PinnedChannel> {
        let name = context.channel(name)?;
        self.pinned.iter_mut().find(|pinned| pinned.channel.as_str() == name)
    }

    /// Delays the next request of pinned channels that are requested and unconfirmed, and returns
    /// them.
    pub fn refuse_pinned(&mut self) -> impl Iterator<Item = &Channel> {
        let refused = self
            .pinned
            .iter_mut()
            .filter(|pinned| pinned.requested_at.is_some() && !pinned.confirmed);
        refused.map(|pinned| {
            pinned.refusals = pinned.refusals.saturating_add(1);
            &pinned.channel
        })
    }

    /// Records whether the probe channel is confirmed, if the name is its name.
    pub fn set_probe_confirmed(&mut self, name: &[u8], confirmed: bool, context: &RedisContext) {
        let name = context.channel(name);
        self.probe.send_if_modified(|probe| {
            let changes = name == Some(probe.channel.as_str()) && probe.confirmed != confirmed;
            probe.confirmed ^= changes;
            changes
        });
    }
}

/// Whether the error refuses a `PING`. Redis accepts `SUBSCRIBE` also while it cannot write or is
/// loading.
fn is_of_ping(error: &[u8]) -> bool {
    let names_it = error.windows(b"'ping'".len()).any(|word| word == b"'ping'");
    names_it
        || [&b"MISCONF "[..], b"LOADING ", b"MASTERDOWN "].iter().any(|it| error.starts_with(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(pings: &[u64]) -> ConnectionState {
        let probe = ProbeChannel { channel: Channel::internal("a b"), confirmed: false };
        ConnectionState {
            pings: pings.iter().copied().collect(),
            ..ConnectionState::new(probe, Vec::new())
        }
    }

    #[test]
    fn a_refused_ping_counts_as_answered() {
        for error in [
            &b"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to"[..],
            b"LOADING Redis is loading the dataset in memory",
            b"NOPERM this user has no permissions to run the 'ping' command",
        ] {
            assert_eq!(state(&[4, 5]).pong(&RespMessage::Error(error)), Some(4));
        }
        for error in [
            &b"NOPERM this user has no permissions to access one of the channels"[..],
            b"BUSY Redis is busy running a script.",
            b"MOVED 1 127.0.0.1:1",
        ] {
            assert_eq!(state(&[4, 5]).pong(&RespMessage::Error(error)), None);
        }
    }

    #[test]
    fn a_ping_reply_answers_all_earlier_pings() {
        let mut state = state(&[4, 5, 5, 6]);
        assert_eq!(state.pong(&RespMessage::Bulk(b"5")), Some(5));
        assert_eq!(state.pings, [6]);
        assert_eq!(state.pong(&RespMessage::Other), None);
    }
}
