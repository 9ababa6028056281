//! Delivery to a channel's subscribers: encodes a publication once for each format and pushes it to each
//! outbound queue. Holds no lock while it iterates over the subscribers, and never waits.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::subscribers::Snapshot;
use crate::close::Close;
use crate::outbound::{DirectWrites, Flushers, Outbound, Pushed, QueueFull};
use crate::protocol::{Encoded, Format, Push};
use crate::publication::{Piece, Position, Publication};
use crate::rules::Delivery;
use crate::telemetry;

/// Most subscribers of a channel for which the delivering thread itself writes a publication to the sockets.
const DIRECT_WRITES_MAX: usize = 1024;

/// What happens to a subscriber that is too slow.
#[derive(Clone, Copy, Debug)]
pub enum SlowSubscriber {
    /// Its connection is closed.
    Closes,
    /// It gets only the newest publication.
    Skips,
    /// It gets nothing more for now, and later what follows this position.
    FallsBehind { after: Position },
}

impl From<Delivery> for SlowSubscriber {
    fn from(delivery: Delivery) -> Self {
        match delivery {
            Delivery::Every => Self::Closes,
            Delivery::Latest => Self::Skips,
        }
    }
}

impl From<&Piece> for SlowSubscriber {
    /// A publication that is in no history cannot be read again later.
    fn from(piece: &Piece) -> Self {
        let kept = piece.publication.position.and(piece.after);
        kept.map_or(Self::Closes, |after| Self::FallsBehind { after })
    }
}

/// Pushes frames to outbound queues, and owns the flushers that write what is not written directly.
#[derive(Default)]
pub struct FanOut {
    flushers: Arc<Flushers>,
}

impl FanOut {
    /// Starts the flushers on the current runtime.
    pub fn start_flushers(&self) {
        let workers = tokio::runtime::Handle::current().metrics().num_workers();
        self.flushers.start(workers);
    }

    /// Pushes a publication to the outbound queue of each subscriber. Never waits.
    ///
    /// Without `more` to follow, it is written directly while each subscriber's data is in the CPU cache: one
    /// iteration instead of two. A burst is queued first, and a channel with many subscribers is left to the
    /// flushers. Returns the numbers of the subscriptions that had ended, which is rarely any.
    pub fn deliver(
        &self,
        channel: &str,
        subscribers: &Snapshot,
        slow: SlowSubscriber,
        publication: &Publication,
        more: bool,
        received: Instant,
    ) -> Vec<u64> {
        let trace = telemetry::relay_began(channel, publication);
        let mut encoded = Encoded::new(channel, publication);
        let mut delivered = [0; Format::COUNT];
        let mut to_flush = Vec::new();
        let mut direct_writes =
            (!more && subscribers.slots() <= DIRECT_WRITES_MAX).then(DirectWrites::default);
        let (mut skipped, mut ended) = (0, Vec::new());
        let is_private = publication.is_private();
        for (number, subscriber) in subscribers.numbered() {
            let own = publication.session == Some(subscriber.outbound.session());
            if (own && !subscriber.echo) || (is_private && !subscriber.reads_private) {
                continue;
            }
            let frame = encoded.bytes(subscriber.format);
            let last = publication.end.as_ref().and_then(|_| subscriber.format.close_at_end());
            let pushed = match slow {
                SlowSubscriber::Closes | SlowSubscriber::FallsBehind { .. } => {
                    self.push(&subscriber.outbound, number, frame, last)
                }
                SlowSubscriber::Skips => {
                    let latest = subscriber.outbound.push_latest(number, frame);
                    skipped += u64::from(latest.skipped);
                    Ok(latest.pushed)
                }
            };
            match pushed {
                Err(QueueFull) => {
                    match slow {
                        SlowSubscriber::FallsBehind { after } => {
                            subscriber.outbound.fall_behind(number, after);
                        }
                        _ => subscriber.outbound.close_slow(),
                    }
                    continue;
                }
                Ok(Pushed::Flush) => match &mut direct_writes {
                    Some(direct_writes) => direct_writes.write(&subscriber.outbound),
                    None => to_flush.push(subscriber.outbound.clone()),
                },
                Ok(Pushed::Covered) => {}
                Ok(Pushed::Ended) => {
                    ended.push(number);
                    continue;
                }
            }
            delivered[subscriber.format as usize] += 1;
            if own {
                subscriber.outbound.count_echo();
            }
        }
        if direct_writes.is_none() {
            self.flushers.flush(to_flush, publication.payload.len());
        }
        if skipped > 0 {
            telemetry::publications_skipped(skipped);
        }
        telemetry::publication_relayed(trace, delivered, received.elapsed(), age(publication));
        ended
    }

    /// Pushes a message that is not a publication to all subscribers of a channel.
    pub fn push_to_all(&self, subscribers: &Snapshot, push: &Push<'_>) {
        let mut to_flush = Vec::new();
        let mut frames: [Option<Option<Bytes>>; Format::COUNT] = Default::default();
        let mut bytes = 0;
        for (number, subscriber) in subscribers.numbered() {
            let frame = frames[subscriber.format as usize]
                .get_or_insert_with(|| subscriber.format.push(push));
            let Some(frame) = frame.clone() else {
                if subscriber.closes_on_gap && matches!(push, Push::Gap { .. }) {
                    subscriber.outbound.close(Close::Gap);
                }
                continue;
            };
            bytes = frame.len();
            match self.push(&subscriber.outbound, number, frame, None) {
                Err(QueueFull) => subscriber.outbound.close_slow(),
                Ok(Pushed::Flush) => to_flush.push(subscriber.outbound.clone()),
                Ok(Pushed::Covered | Pushed::Ended) => {}
            }
        }
        self.flushers.flush(to_flush, bytes);
    }

    /// Queues a frame of a subscription to a pattern. False: it has ended. A client that is too slow for it is closed,
    /// whatever the channel's delivery: a frame that it does not get may be the only one of its channel.
    pub fn push_by_pattern(
        &self,
        outbound: &Arc<Outbound>,
        number: u64,
        frame: Bytes,
        to_flush: &mut Vec<Arc<Outbound>>,
    ) -> bool {
        match self.push(outbound, number, frame, None) {
            Err(QueueFull) => outbound.close_slow(),
            Ok(Pushed::Flush) => to_flush.push(outbound.clone()),
            Ok(Pushed::Covered) => {}
            Ok(Pushed::Ended) => return false,
        }
        true
    }

    /// Leaves what was queued to the flushers.
    pub fn flush(&self, to_flush: Vec<Arc<Outbound>>, bytes: usize) {
        self.flushers.flush(to_flush, bytes);
    }

    /// Pushes a frame of a subscription. `last`: why the connection ends after it. Fails only if the queue was
    /// written to the socket and is still full.
    fn push(
        &self,
        outbound: &Outbound,
        number: u64,
        frame: Bytes,
        last: Option<Close>,
    ) -> Result<Pushed, QueueFull> {
        let push = |frame| match last {
            None => outbound.push(number, frame),
            Some(close) => outbound.push_last(number, frame, close),
        };
        let pushed = push(frame.clone());
        if pushed.is_ok() || !outbound.is_with_flusher() {
            return pushed;
        }
        self.flushers.write_all();
        match push(frame.clone()) {
            // Another thread is writing this queue at the moment, so the client does not count as slow yet.
            Err(QueueFull) if outbound.is_with_flusher() => {
                outbound.push_over_bound(number, frame);
                last.map(|close| outbound.close(close));
                Ok(Pushed::Covered)
            }
            pushed => pushed,
        }
    }
}

/// A greater age comes from a wrong clock or from another unit, and is not recorded.
const AGE_MAX: Duration = Duration::from_secs(3600);

/// How long ago the first node received the publication. At least zero, because clocks differ.
fn age(publication: &Publication) -> Option<Duration> {
    let sent_at = Duration::from_micros(publication.sent_at?);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(now.saturating_sub(sent_at)).filter(|age| *age < AGE_MAX)
}
