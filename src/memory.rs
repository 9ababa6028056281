//! Watches the memory of the process. Before it runs out, the node first refuses new connections, and then closes
//! those with the most queued bytes.

mod pressure;
mod system;

use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use self::pressure::{Pressure, PressureStep};
pub use self::system::bytes as allowed_bytes;
use crate::close::Close;
use crate::limits::Limits;
use crate::outbound::Outbound;
use crate::{critical_tasks, telemetry};

/// The time between measurements.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// The same near the limit. A flood of a gigabyte per second adds 10 MB meanwhile.
const NEAR_LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A connection with fewer queued bytes is not worth closing, because it costs more otherwise.
const OWED_BYTES_MIN: usize = 4 << 10;

/// The allocator gets and returns allocations of this size directly from and to the system. Untouched, they use no
/// memory.
const LARGE_BYTES: usize = 16 << 20;

/// The current memory use. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct MemoryMonitor(Arc<MemoryMeasurement>);

#[derive(Debug, Default)]
struct MemoryMeasurement {
    used: AtomicUsize,
    max: AtomicUsize,
    is_short: AtomicBool,
}

/// Bytes in use and the limit; as an error, that this is too near the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    pub used: usize,
    pub max: usize,
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { used, max } = self;
        write!(f, "{} of {} MiB are in use", used >> 20, max >> 20)
    }
}

impl MemoryMonitor {
    /// Starts watching on the current runtime, for ever. `connections`: the connections of this node, called
    /// only when some of them must be closed.
    pub fn watch(
        limits: Limits,
        connections: impl Fn() -> Vec<Arc<Outbound>> + Send + 'static,
    ) -> Self {
        let memory = Self::default();
        let watched = memory.clone();
        critical_tasks::spawn("memory", async move {
            let system = system::bytes();
            let mut pressure = Pressure::default();
            loop {
                let max = match limits.get().memory_max {
                    0 => system / 10 * 9,
                    max => max,
                };
                // If the system does not provide it, memory is not limited.
                let used = system::resident_bytes().unwrap_or(0);
                let step = pressure.step(used, max);
                watched.note(used, max, pressure.is_short());
                if let PressureStep::Shed(bytes) = step {
                    shed(connections(), bytes, used);
                }
                if !pressure.is_short() {
                    sleep(LOOK_INTERVAL).await;
                    continue;
                }
                trigger_allocator_purge();
                sleep(NEAR_LOOK_INTERVAL).await;
            }
        });
        memory
    }

    /// Whether the process is so near its limit that it refuses new connections.
    pub fn is_short(&self) -> bool {
        self.0.is_short.load(Ordering::Relaxed)
    }

    /// Whether there is memory for more clients.
    pub fn ready(&self) -> Result<(), Short> {
        match self.is_short() {
            false => Ok(()),
            true => Err(self.usage()),
        }
    }

    pub fn usage(&self) -> Short {
        let read = |of: &AtomicUsize| of.load(Ordering::Relaxed);
        Short { used: read(&self.0.used), max: read(&self.0.max) }
    }

    fn note(&self, used: usize, max: usize, is_short: bool) {
        self.0.used.store(used, Ordering::Relaxed);
        if self.0.max.swap(max, Ordering::Relaxed) != max {
            telemetry::memory_max(max);
        }
        match (self.0.is_short.swap(is_short, Ordering::Relaxed), is_short) {
            (false, true) => telemetry::memory_short(&self.usage()),
            (true, false) => telemetry::memory_recovered(&self.usage()),
            _ => {}
        }
    }
}

/// Makes the allocator return memory that was freed a second ago. It does so when a large allocation is freed,
/// which might never happen on a node that has shed connections and refuses new ones.
fn trigger_allocator_purge() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGE_BYTES)));
}

/// Closes the connections with the most queued bytes, until `bytes` of the `used` bytes should be free.
fn shed(connections: Vec<Arc<Outbound>>, bytes: usize, used: usize) {
    let owing = |outbound: Arc<Outbound>| match outbound.closing() {
        Some(_) => None,
        None => Some((outbound.bytes(), outbound)).filter(|(owed, _)| *owed >= OWED_BYTES_MIN),
    };
    let mut owing: Vec<_> = connections.into_iter().filter_map(owing).collect();
    owing.sort_unstable_by_key(|(owed, _)| Reverse(*owed));
    // If queues share payloads, their sum exceeds the memory used, and each connection frees only its part.
    let owed: usize = owing.iter().map(|(owed, _)| *owed).sum();
    let bytes = bytes.saturating_mul((owed / used.max(1)).max(1));
    let (mut closed, mut freed) = (0, 0);
    for (owed, outbound) in owing {
        if freed >= bytes {
            break;
        }
        if outbound.close(Close::Overloaded) {
            closed += 1;
            freed += owed;
        }
    }
    if closed > 0 {
        telemetry::memory_shed(closed, freed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publication::{NodeId, SessionId};
    use bytes::Bytes;

    #[test]
    fn connections_with_the_most_queued_bytes_are_closed_first_and_no_more_than_needed() {
        let node = NodeId::random();
        let owing = |owed: usize| {
            let session = SessionId { node, number: owed as u64 };
            let outbound = Arc::new(Outbound::new(session, 1 << 20));
            outbound.begin_subscription(1);
            let _ = outbound.push(1, Bytes::from(vec![0; owed]));
            outbound
        };
        let all: Vec<_> = [0, 100, 300_000, 100_000, 200_000].map(owing).into();
        let closed = || all.iter().map(|it| it.closing().is_some()).collect::<Vec<_>>();
        shed(all.clone(), 400_000, 1_000_000);
        assert_eq!(closed(), [false, false, true, false, true]);
        assert_eq!(all[2].bytes(), 0, "what waited is dropped");
        shed(all.clone(), 400_000, 1_000_000);
        assert_eq!(closed(), [false, false, true, true, true]);
        assert_eq!(all[3].closing(), Some(Close::Overloaded));
    }

    #[test]
    fn connections_that_share_their_queued_bytes_are_closed_in_proportion() {
        let node = NodeId::random();
        let payload = Bytes::from(vec![0; 100_000]);
        let owing = |number| {
            let outbound = Arc::new(Outbound::new(SessionId { node, number }, 1 << 20));
            outbound.begin_subscription(1);
            let _ = outbound.push(1, payload.clone());
            outbound
        };
        let all: Vec<_> = (0..100).map(owing).collect();
        shed(all.clone(), 20_000, 100_000);
        assert_eq!(all.iter().filter(|it| it.closing().is_some()).count(), 20);
    }
}
