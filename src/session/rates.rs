//! Rate limits for what a client sends: a warning first, then the close.

mod known;

use std::time::Duration;

use tokio::time::Instant;

use self::known::KnownChannels;
use crate::close::Close;
use crate::limits::{Bucket, Config, Limits, NEW_CHANNELS_BURST};
use crate::publication::Channel;
use crate::telemetry::{self, Rejected};

/// How long a warned client may take to slow down.
const WARNING: Duration = Duration::from_secs(1);

/// After this time without a refusal the warning is reset.
const FORGIVEN_AFTER: Duration = Duration::from_secs(10);

/// Refusals after a warning that never close the session, even if the limit is lower.
const REFUSALS_MIN: u32 = 10;

/// Channels that a session may use before they are counted. Most sessions use no more, and so need no memory
/// for it.
const UNCOUNTED_CHANNELS: u8 = 16;

/// The rate limiter of one session.
#[derive(Debug)]
pub struct Rates {
    limits: Limits,
    /// None until something limited is counted: most sessions of most nodes.
    buckets: Option<Box<RateBuckets>>,
    /// How many channels the session may still use uncounted.
    uncounted: u8,
    /// Whether a client that continues is closed.
    closes: bool,
}

#[derive(Debug)]
struct RateBuckets {
    publications: Bucket,
    commands: Bucket,
    bytes: Bucket,
    channels: Bucket,
    known_channels: KnownChannels,
    warned_at: Option<Instant>,
    refused_at: Instant,
    refusals: u32,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateKind {
    Publications,
    /// All other commands, and pings.
    Commands,
    /// Payload bytes of messages.
    Bytes,
    /// Channels that the session uses for the first time.
    Channels,
}

/// The client exceeds a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Excess {
    /// Refuse the command with this message.
    Warn(String),
    /// Close the session: the client was warned already.
    Close,
}

impl Excess {
    pub fn message(self) -> String {
        match self {
            Self::Warn(message) => message,
            Self::Close => Close::RateLimited.text().to_owned(),
        }
    }
}

impl Rates {
    /// Of a session.
    pub fn new(limits: Limits) -> Self {
        Self { limits, buckets: None, uncounted: UNCOUNTED_CHANNELS, closes: true }
    }

    /// Of a client's short requests: each is refused by itself, and no session can be closed.
    pub fn of_requests(limits: Limits) -> Self {
        Self { closes: false, ..Self::new(limits) }
    }

    /// Counts a channel, unless the session used it recently. `channels_max`: most subscriptions of a
    /// session, all of which it may request at once.
    pub fn count_channel(
        &mut self,
        channel: &Channel,
        channels_max: usize,
        now: Instant,
    ) -> Result<(), Excess> {
        let limits = self.limits.get();
        let per_second = limits.new_channels_per_second;
        if per_second == 0 || self.uncounted > 0 {
            self.uncounted = self.uncounted.saturating_sub(1);
            return Ok(());
        }
        let burst = NEW_CHANNELS_BURST.max(channels_max);
        let buckets = self.buckets.get_or_insert_with(|| Box::new(RateBuckets::new(&limits, now)));
        if buckets.known_channels.contains(channel) {
            return Ok(());
        }
        if buckets.channels.take_within(1, per_second, burst, now) {
            buckets.known_channels.add(channel);
            return Ok(());
        }
        telemetry::rejected(
            RateKind::Channels.reason(),
            &"a connection uses too many new channels",
        );
        match limits.dry_run {
            true => Ok(()),
            false => Err(buckets.refuse(RateKind::Channels, per_second, self.closes, now)),
        }
    }

    /// Counts an amount of a kind.
    pub fn count(&mut self, kind: RateKind, amount: usize, now: Instant) -> Result<(), Excess> {
        let limits = self.limits.get();
        let per_second = kind.limit(&limits);
        if per_second == 0 {
            return Ok(());
        }
        let buckets = self.buckets.get_or_insert_with(|| Box::new(RateBuckets::new(&limits, now)));
        if buckets.bucket(kind).take(amount, per_second, now) {
            return Ok(());
        }
        telemetry::rejected(kind.reason(), &"a connection sends too much");
        match limits.dry_run {
            true => Ok(()),
            false => Err(buckets.refuse(kind, per_second, self.closes, now)),
        }
    }
}

impl RateBuckets {
    fn new(limits: &Config, now: Instant) -> Self {
        Self {
            publications: Bucket::full(limits.publications_per_second, now),
            commands: Bucket::full(limits.commands_per_second, now),
            bytes: Bucket::full(limits.bytes_per_second, now),
            // The first `take_within` reduces it to the burst, which is not known here.
            channels: Bucket::full(usize::MAX, now),
            known_channels: KnownChannels::default(),
            warned_at: None,
            refused_at: now,
            refusals: 0,
        }
    }

    fn bucket(&mut self, kind: RateKind) -> &mut Bucket {
        match kind {
            RateKind::Publications => &mut self.publications,
            RateKind::Commands => &mut self.commands,
            RateKind::Bytes => &mut self.bytes,
            RateKind::Channels => &mut self.channels,
        }
    }

    fn refuse(&mut self, kind: RateKind, per_second: usize, closes: bool, now: Instant) -> Excess {
        let key = kind.key();
        if !closes {
            return Excess::Warn(format!("more than {key} = {per_second}: slow down"));
        }
        if now.saturating_duration_since(self.refused_at) >= FORGIVEN_AFTER {
            self.warned_at = None;
        }
        self.refused_at = now;
        let warned_at = *self.warned_at.get_or_insert_with(|| {
            self.refusals = 0;
            now
        });
        self.refusals = self.refusals.saturating_add(1);
        let refusals_max = u32::try_from(per_second).unwrap_or(u32::MAX).max(REFUSALS_MIN);
        if now.saturating_duration_since(warned_at) >= WARNING || self.refusals > refusals_max {
            return Excess::Close;
        }
        Excess::Warn(format!("more than {key} = {per_second}: slow down or be disconnected"))
    }
}

impl RateKind {
    fn limit(self, limits: &Config) -> usize {
        match self {
            Self::Publications => limits.publications_per_second,
            Self::Commands => limits.commands_per_second,
            Self::Bytes => limits.bytes_per_second,
            Self::Channels => limits.new_channels_per_second,
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Publications => "limits.publications_per_second",
            Self::Commands => "limits.commands_per_second",
            Self::Bytes => "limits.bytes_per_second",
            Self::Channels => "limits.new_channels_per_second",
        }
    }

    fn reason(self) -> Rejected {
        match self {
            Self::Publications => Rejected::PublicationRate,
            Self::Commands => Rejected::CommandRate,
            Self::Bytes => Rejected::ByteRate,
            Self::Channels => Rejected::NewChannelRate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(dry_run: bool) -> Rates {
        Rates::new(Limits::new(Config {
            publications_per_second: 20,
            dry_run,
            ..Config::default()
        }))
    }

    fn publish(rates: &mut Rates, now: Instant) -> Result<(), Excess> {
        rates.count(RateKind::Publications, 1, now)
    }

    #[test]
    fn a_session_over_its_rate_gets_warnings_and_then_the_close() {
        let (mut rates, start) = (rates(false), Instant::now());
        assert!((0..20).all(|_| publish(&mut rates, start).is_ok()));
        for _ in 0..20 {
            let Err(Excess::Warn(why)) = publish(&mut rates, start) else { panic!("no warning") };
            assert!(why.contains("publications_per_second = 20"), "{why}");
        }
        assert_eq!(publish(&mut rates, start), Err(Excess::Close));
    }

    #[test]
    fn a_warned_session_is_closed_unless_it_slows_down_within_a_second() {
        let (mut rates, start) = (rates(false), Instant::now());
        let at = |seconds| start + Duration::from_secs_f64(seconds);
        let mut flood = |at| (0..21).map(|_| publish(&mut rates, at)).last().unwrap();
        assert!(matches!(flood(at(0.)), Err(Excess::Warn(_))));
        assert!(matches!(flood(at(20.)), Err(Excess::Warn(_))), "long after");
        assert_eq!(flood(at(21.5)), Err(Excess::Close), "too soon");
    }

    #[test]
    fn new_channels_count_against_the_rate_and_known_ones_do_not() {
        let limits = Config { new_channels_per_second: 10, ..Config::default() };
        let (mut rates, start) = (Rates::new(Limits::new(limits)), Instant::now());
        let channel = |number: usize| Channel::new(&format!("c:{number}")).unwrap();
        let mut open = |number, at| rates.count_channel(&channel(number), 128, at);
        let free = NEW_CHANNELS_BURST + usize::from(UNCOUNTED_CHANNELS);
        assert!((0..free).all(|number| open(number, start).is_ok()));
        let Err(Excess::Warn(why)) = open(free, start) else { panic!("no warning") };
        assert!(why.contains("limits.new_channels_per_second = 10"), "{why}");
        assert!((0..5000).all(|_| open(free - 1, start).is_ok()), "it is known");
        let later = start + Duration::from_secs(1);
        assert!((free..free + 10).all(|number| open(number, later).is_ok()));
        assert_eq!(open(free + 10, later), Err(Excess::Close));
    }

    #[test]
    fn as_many_new_channels_as_channels_max_are_within_the_rate() {
        let (new_channels_per_second, publications_per_second) = (1, 5);
        let limits =
            Config { new_channels_per_second, publications_per_second, ..Config::default() };
        let (mut rates, now) = (Rates::new(Limits::new(limits)), Instant::now());
        let channel = |number: usize| Channel::new(&format!("c:{number}")).unwrap();
        // Other counters of the session make no difference.
        assert!(rates.count(RateKind::Publications, 1, now).is_ok());
        assert!(
            (0..10_000).all(|number| rates.count_channel(&channel(number), 10_000, now).is_ok())
        );
    }

    #[test]
    fn unlimited_kinds_and_dry_runs_are_never_refused() {
        let (mut all, mut dry) = (rates(false), rates(true));
        let now = Instant::now();
        assert!((0..100).all(|_| all.count(RateKind::Commands, 1, now).is_ok()));
        assert!((0..100).all(|_| publish(&mut dry, now).is_ok()));
    }
}
