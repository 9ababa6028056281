//! What there is to remember of one subscribed connection.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::broker::redis::connection::feed::Asking;
use crate::broker::redis::connection::resp::RespMessage;
use crate::broker::redis::context::RedisContext;
use crate::broker::redis::subscribing::probe::{self, OwnChannel};
use crate::publication::Channel;
use crate::telemetry;

/// How long a channel of the nodes' own may stay unconfirmed before it is asked for again.
pub const OWN_INTERVAL: Duration = Duration::from_secs(1);

/// Before one that was refused is asked for again.
const OWN_PAUSE: Backoff = Backoff::new(OWN_INTERVAL, Duration::from_secs(30));

/// Most `PING`s that are remembered. A server that is busy with a script refuses them and all else in the
/// same words, so those that it did not answer are forgotten by and by.
const PINGS_MAX: usize = 16;

/// What there is to remember of a connection.
pub struct ConnectionState {
    /// Redis said an error, so the answer that is waited for may never come.
    pub is_doubtful: bool,
    /// The numbers of `PING`s that Redis has yet to answer, in order.
    pub pings: VecDeque<u64>,
    /// When the node's own channel was last asked for.
    pub own_asked: Instant,
    pub own: watch::Sender<OwnChannel>,
    /// The number of the last probe that came back.
    pub probed: watch::Sender<u64>,
    pub kept: Vec<PinnedChannel>,
}

/// A channel that is subscribed for as long as its slot is the lane's, whatever else is wanted.
pub struct PinnedChannel {
    pub channel: Channel,
    pub confirmed: bool,
    pub asked: Option<Instant>,
    /// How often Redis refused it in a row.
    refusals: u32,
}

impl PinnedChannel {
    pub fn new(channel: Channel) -> Self {
        Self { channel, confirmed: false, asked: None, refusals: 0 }
    }

    /// Is it to be asked for now, if it is not confirmed?
    pub fn is_due(&self) -> bool {
        self.asked.is_none_or(|asked| asked.elapsed() >= OWN_PAUSE.pause_after(self.refusals))
    }

    pub fn confirm(&mut self) {
        self.confirmed = true;
        self.refusals = 0;
    }
}

impl ConnectionState {
    /// A connection that has just been asked for these.
    pub fn new(own: OwnChannel, kept: Vec<PinnedChannel>) -> Self {
        Self {
            is_doubtful: false,
            pings: VecDeque::new(),
            own_asked: Instant::now(),
            own: watch::Sender::new(own),
            probed: watch::Sender::new(0),
            kept,
        }
    }

    /// Asks for a word that says that all before it has been answered.
    pub fn ping(&mut self, asking: &mut Asking, number: u64) {
        if self.pings.len() == PINGS_MAX {
            self.pings.pop_front();
        }
        self.pings.push_back(number);
        asking.ask_echo(&number.to_string());
    }

    /// The number of the `PING` that this answers. A server that refuses a `PING` alone, as one does
    /// that cannot save to its disk, has answered it too.
    pub fn pong(&mut self, said: &RespMessage<'_>) -> Option<u64> {
        match said {
            RespMessage::Echoed(number) => {
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

    /// The channel of this name in Redis, where it is always subscribed.
    pub fn kept(&mut self, name: &[u8], context: &RedisContext) -> Option<&mut PinnedChannel> {
        let name = context.channel(name)?;
        self.kept.iter_mut().find(|kept| kept.channel.as_str() == name)
    }

    /// Has those of the kept that were asked for and are not confirmed asked for later, and says which they are.
    pub fn refuse_kept(&mut self) -> impl Iterator<Item = &Channel> {
        let refused = self.kept.iter_mut().filter(|kept| kept.asked.is_some() && !kept.confirmed);
        refused.map(|kept| {
            kept.refusals = kept.refusals.saturating_add(1);
            &kept.channel
        })
    }

    /// Notes what Redis says of a channel, where that is the node's own.
    pub fn own_is(&mut self, name: &[u8], confirmed: bool, context: &RedisContext) {
        let name = context.channel(name);
        self.own.send_if_modified(|own| {
            let changes = name == Some(own.channel.as_str()) && own.confirmed != confirmed;
            own.confirmed ^= changes;
            changes
        });
    }
}

/// Is it `PING` that this refuses? Redis answers `SUBSCRIBE` also while it cannot write or is loading.
fn is_of_ping(error: &[u8]) -> bool {
    let names_it = error.windows(b"'ping'".len()).any(|word| word == b"'ping'");
    names_it
        || [&b"MISCONF "[..], b"LOADING ", b"MASTERDOWN "].iter().any(|it| error.starts_with(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(pings: &[u64]) -> ConnectionState {
        let own = OwnChannel { channel: Channel::internal("a b"), confirmed: false };
        ConnectionState {
            pings: pings.iter().copied().collect(),
            ..ConnectionState::new(own, Vec::new())
        }
    }

    #[test]
    fn a_ping_that_is_refused_by_itself_is_answered() {
        for error in [
            &b"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to"[..],
            b"LOADING Redis is loading the dataset in memory",
            b"NOPERM this user has no permissions to run the 'ping' command",
        ] {
            assert_eq!(course(&[4, 5]).pong(&RespMessage::Error(error)), Some(4));
        }
        for error in [
            &b"NOPERM this user has no permissions to access one of the channels"[..],
            b"BUSY Redis is busy running a script.",
            b"MOVED 1 127.0.0.1:1",
        ] {
            assert_eq!(course(&[4, 5]).pong(&RespMessage::Error(error)), None);
        }
    }

    #[test]
    fn an_answer_is_also_that_to_all_that_was_asked_before() {
        let mut course = course(&[4, 5, 5, 6]);
        assert_eq!(course.pong(&RespMessage::Echoed(b"5")), Some(5));
        assert_eq!(course.pings, [6]);
        assert_eq!(course.pong(&RespMessage::Other), None);
    }
}
