//! How much a client may send a second: a warning first, then the end.

use std::time::Duration;

use tokio::time::Instant;

use crate::limits::{Bucket, Config, Limits};
use crate::telemetry::{self, Rejected};

/// How long a client that was warned may take to slow down.
const WARNING: Duration = Duration::from_secs(1);

/// After so long without another refusal the warning is forgotten.
const FORGIVEN_AFTER: Duration = Duration::from_secs(10);

/// Refusals in a row that are let pass within the warning, where the limit is lower.
const REFUSALS_MIN: u32 = 10;

/// What a client has sent, as far as there are limits for it.
#[derive(Debug)]
pub struct Rates {
    limits: Limits,
    /// None while nothing is limited: most sessions of most nodes.
    kept: Option<Box<Kept>>,
}

#[derive(Debug)]
struct Kept {
    publications: Bucket,
    commands: Bucket,
    bytes: Bucket,
    warned_at: Option<Instant>,
    refused_at: Instant,
    refusals: u32,
}

/// What a client sends more and more of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Publications,
    /// All other commands, and pings.
    Commands,
    /// Of its messages.
    Bytes,
}

/// It is too much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Excess {
    /// Refuse it, and tell the client this.
    Warn(String),
    /// It was told.
    Close,
}

impl Rates {
    pub fn new(limits: Limits) -> Self {
        Self { limits, kept: None }
    }

    /// Counts so many of a kind.
    pub fn count(&mut self, kind: Kind, amount: usize, now: Instant) -> Result<(), Excess> {
        let limits = self.limits.get();
        let per_second = kind.limit(&limits);
        if per_second == 0 {
            return Ok(());
        }
        let kept = self.kept.get_or_insert_with(|| Box::new(Kept::new(&limits, now)));
        if kept.bucket(kind).take(amount, per_second, now) {
            return Ok(());
        }
        telemetry::rejected(kind.reason(), &"a connection sends too much");
        match limits.dry_run {
            true => Ok(()),
            false => Err(kept.refuse(kind, per_second, now)),
        }
    }
}

impl Kept {
    fn new(limits: &Config, now: Instant) -> Self {
        Self {
            publications: Bucket::full(limits.publications_per_second, now),
            commands: Bucket::full(limits.commands_per_second, now),
            bytes: Bucket::full(limits.bytes_per_second, now),
            warned_at: None,
            refused_at: now,
            refusals: 0,
        }
    }

    fn bucket(&mut self, kind: Kind) -> &mut Bucket {
        match kind {
            Kind::Publications => &mut self.publications,
            Kind::Commands => &mut self.commands,
            Kind::Bytes => &mut self.bytes,
        }
    }

    fn refuse(&mut self, kind: Kind, per_second: usize, now: Instant) -> Excess {
        if now.saturating_duration_since(self.refused_at) >= FORGIVEN_AFTER {
            self.warned_at = None;
        }
        self.refused_at = now;
        let warned_at = *self.warned_at.get_or_insert_with(|| {
            self.refusals = 0;
            now
        });
        self.refusals = self.refusals.saturating_add(1);
        let many = u32::try_from(per_second).unwrap_or(u32::MAX).max(REFUSALS_MIN);
        if now.saturating_duration_since(warned_at) >= WARNING || self.refusals > many {
            return Excess::Close;
        }
        let key = kind.key();
        Excess::Warn(format!("more than {key} = {per_second}: slow down or be disconnected"))
    }
}

impl Kind {
    fn limit(self, limits: &Config) -> usize {
        match self {
            Self::Publications => limits.publications_per_second,
            Self::Commands => limits.commands_per_second,
            Self::Bytes => limits.bytes_per_second,
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Publications => "limits.publications_per_second",
            Self::Commands => "limits.commands_per_second",
            Self::Bytes => "limits.bytes_per_second",
        }
    }

    fn reason(self) -> Rejected {
        match self {
            Self::Publications => Rejected::PublicationRate,
            Self::Commands => Rejected::CommandRate,
            Self::Bytes => Rejected::ByteRate,
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
        rates.count(Kind::Publications, 1, now)
    }

    #[test]
    fn a_warning_comes_first_and_then_the_end() {
        let (mut rates, start) = (rates(false), Instant::now());
        assert!((0..20).all(|_| publish(&mut rates, start).is_ok()));
        for _ in 0..20 {
            let Err(Excess::Warn(why)) = publish(&mut rates, start) else { panic!("no warning") };
            assert!(why.contains("publications_per_second = 20"), "{why}");
        }
        assert_eq!(publish(&mut rates, start), Err(Excess::Close));
    }

    #[test]
    fn who_slows_down_is_forgiven_and_who_does_not_within_a_second_is_not() {
        let (mut rates, start) = (rates(false), Instant::now());
        let at = |seconds| start + Duration::from_secs_f64(seconds);
        let mut flood = |at| (0..21).map(|_| publish(&mut rates, at)).last().unwrap();
        assert!(matches!(flood(at(0.)), Err(Excess::Warn(_))));
        assert!(matches!(flood(at(20.)), Err(Excess::Warn(_))), "long after");
        assert_eq!(flood(at(21.5)), Err(Excess::Close), "too soon");
    }

    #[test]
    fn other_kinds_and_dry_runs_are_let_pass() {
        let (mut all, mut dry) = (rates(false), rates(true));
        let now = Instant::now();
        assert!((0..100).all(|_| all.count(Kind::Commands, 1, now).is_ok()));
        assert!((0..100).all(|_| publish(&mut dry, now).is_ok()));
    }
}
