//! Limits on new connections: their number, their rate, and the node's memory.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::addresses::{AddressSlot, Addresses};
use super::connection_refusal::ConnectionRefusal;
use crate::limits::{Bucket, Limits};
use crate::listener::INTERNAL_CONNECTIONS_MAX;
use crate::memory::MemoryMonitor;
use crate::telemetry;

/// File descriptors reserved for Redis, listeners, files, and for refusing clients beyond the limit.
pub const OWN_FILES: usize = 64;

/// The same plus those of the internal listener, so that it is reachable while the node is full.
pub const RESERVED_FILES: usize = OWN_FILES + INTERNAL_CONNECTIONS_MAX;

/// Raises the open-file limit to the maximum that the system allows, and returns it.
pub fn open_file_limit() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let current = match limit.maximum {
            // macOS reports no maximum, and then refuses more than its OPEN_MAX.
            None if cfg!(target_os = "macos") => limit.current.max(Some(10_240)),
            maximum => maximum,
        };
        let raised = rustix::process::Rlimit { current, ..limit };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            limit = raised;
        }
    }
    limit.current.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
}

/// How many connections the open-file limit has room for, at least one.
fn connections_for_files() -> usize {
    open_file_limit().saturating_sub(RESERVED_FILES).max(1)
}

/// Logs that the open-file limit is too low for `limits.connections_max`, so that the node accepts fewer.
pub fn warn_of_file_limit(connections_max: usize) {
    let fitting = connections_for_files();
    if connections_max > fitting {
        telemetry::connections_max_is_cut(connections_max, fitting, RESERVED_FILES);
    }
}

/// Most clients that get a refusal at a time. Further ones are closed without, so that the reserved file
/// descriptors last.
const REFUSALS_MAX: usize = 32;

/// Enforces the limits on connections with their current values.
pub struct Admission {
    limits: Limits,
    memory: MemoryMonitor,
    /// How many connections the open-file limit has room for.
    connections_for_files: usize,
    connections: AtomicUsize,
    /// Limits all handshakes of the node.
    bucket: Mutex<Bucket>,
    addresses: Arc<Addresses>,
    refusals: Arc<Semaphore>,
}

/// One counted connection. The drop releases it.
pub struct AdmissionSlot(Arc<Admission>);

impl Admission {
    pub fn new(limits: Limits, memory: MemoryMonitor) -> Arc<Self> {
        Arc::new(Self {
            connections_for_files: connections_for_files(),
            connections: AtomicUsize::new(0),
            bucket: Mutex::new(Bucket::full(limits.get().handshakes_per_second, Instant::now())),
            addresses: Addresses::new(),
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
            limits,
            memory,
        })
    }

    /// Whether the node has as many connections as it may.
    pub fn is_full(&self) -> bool {
        self.connections.load(Ordering::Relaxed) >= self.connections_max()
    }

    fn connections_max(&self) -> usize {
        match self.limits.get().connections_max {
            0 => self.connections_for_files,
            // Beyond that not even a probe would be answered.
            connections_max => connections_max.min(self.connections_for_files),
        }
    }

    /// Counts a new connection.
    pub fn admit(self: &Arc<Self>) -> Result<AdmissionSlot, ConnectionRefusal> {
        if self.memory.is_short() {
            return Err(ConnectionRefusal::Memory);
        }
        let places = self.connections_max();
        let one_more = |taken| (taken < places).then_some(taken + 1);
        match self.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more) {
            Ok(_) => Ok(AdmissionSlot(self.clone())),
            Err(_) => Err(ConnectionRefusal::ConnectionsMax),
        }
    }

    /// Checks and counts a connection of one client address. Returns None if it is not counted.
    pub fn admit_client(&self, client: IpAddr) -> Result<Option<AddressSlot>, ConnectionRefusal> {
        self.client_handshake(client)?;
        self.enter_client(client)
    }

    /// Counts one handshake of a client address.
    pub fn client_handshake(&self, client: IpAddr) -> Result<(), ConnectionRefusal> {
        let per_second = self.limits.get().handshakes_per_second_per_ip;
        match per_second == 0 || self.addresses.take(client, per_second, Instant::now()) {
            true => Ok(()),
            false => self.exceed(ConnectionRefusal::HandshakeRatePerIp, Some(client)),
        }
    }

    /// The same as [`Admission::admit_client`] for what is no handshake.
    pub fn enter_client(&self, client: IpAddr) -> Result<Option<AddressSlot>, ConnectionRefusal> {
        let now = Instant::now();
        let limits = self.limits.get();
        let (per_second, per_ip) = (limits.handshakes_per_second_per_ip, limits.connections_per_ip);
        if per_ip == 0 {
            return Ok(None);
        }
        let enter = |per_ip| self.addresses.enter(client, per_ip, per_second, now);
        enter(per_ip).or_else(|_| {
            self.exceed(ConnectionRefusal::ConnectionsPerIp, Some(client))?;
            Ok(enter(usize::MAX).unwrap_or(None))
        })
    }

    /// Counts one handshake of the node.
    pub fn handshake(&self) -> Result<(), ConnectionRefusal> {
        let per_second = self.limits.get().handshakes_per_second;
        let mut bucket = self.bucket.lock().expect("no code panics while it holds the bucket");
        match per_second == 0 || bucket.take(1, per_second, Instant::now()) {
            true => Ok(()),
            false => self.exceed(ConnectionRefusal::HandshakeRate, None),
        }
    }

    /// Handles an exceeded limit: refuses, or only counts in a dry run.
    fn exceed(
        &self,
        refusal: ConnectionRefusal,
        client: Option<IpAddr>,
    ) -> Result<(), ConnectionRefusal> {
        if !self.limits.get().dry_run {
            return Err(refusal);
        }
        refusal.count(client);
        Ok(())
    }

    /// A permit to send a refusal to a client. None: too many are being sent.
    pub fn refusal_permit(&self) -> Option<OwnedSemaphorePermit> {
        self.refusals.clone().try_acquire_owned().ok()
    }
}

impl Drop for AdmissionSlot {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Config;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn admission(config: Config) -> (Arc<Admission>, Limits) {
        let limits = Limits::new(config);
        (Admission::new(limits.clone(), MemoryMonitor::default()), limits)
    }

    #[test]
    fn the_connection_limit_follows_settings_up_and_down() {
        let of = |connections_max| Config { connections_max, ..Config::default() };
        let (admission, limits) = admission(of(2));
        let mut held = vec![admission.admit().ok(), admission.admit().ok()];
        assert_eq!(admission.admit().err(), Some(ConnectionRefusal::ConnectionsMax));
        limits.replace(of(3));
        held.push(admission.admit().ok());
        assert!(held.iter().all(Option::is_some));
        limits.replace(of(1));
        for _ in 0..2 {
            held.pop();
            assert_eq!(admission.admit().err(), Some(ConnectionRefusal::ConnectionsMax));
        }
        held.pop();
        assert!(admission.admit().is_ok());
    }

    #[test]
    fn no_setting_admits_more_connections_than_there_are_files() {
        let limits = Limits::new(Config { connections_max: usize::MAX, ..Config::default() });
        let mut admission = Admission::new(limits, MemoryMonitor::default());
        Arc::get_mut(&mut admission).unwrap().connections_for_files = 1;
        let _place = admission.admit().unwrap();
        assert_eq!(admission.admit().err(), Some(ConnectionRefusal::ConnectionsMax));
    }

    #[test]
    fn the_limit_per_address_can_change_while_clients_are_connected() {
        let of = |connections_per_ip| Config { connections_per_ip, ..Config::default() };
        let (admission, limits) = admission(of(0));
        let uncounted = admission.admit_client(CLIENT).unwrap();
        limits.replace(of(1));
        let counted = admission.admit_client(CLIENT).unwrap();
        assert!(uncounted.is_none() && counted.is_some());
        assert_eq!(admission.admit_client(CLIENT).err(), Some(ConnectionRefusal::ConnectionsPerIp));
        limits.replace(of(0));
        assert!(admission.admit_client(CLIENT).is_ok());
        drop((uncounted, counted));
        limits.replace(of(1));
        assert!(admission.admit_client(CLIENT).unwrap().is_some());
    }

    #[test]
    fn a_dry_run_admits_over_all_limits_but_connections_max() {
        let (admission, _) = admission(Config {
            connections_max: 1,
            connections_per_ip: 1,
            handshakes_per_second: 1,
            handshakes_per_second_per_ip: 1,
            dry_run: true,
            ..Config::default()
        });
        let visits: Vec<_> = (0..3).map(|_| admission.admit_client(CLIENT)).collect();
        assert!(visits.iter().all(|visit| matches!(visit, Ok(Some(_)))));
        assert!((0..3).all(|_| admission.handshake().is_ok()));
        let _place = admission.admit();
        assert_eq!(admission.admit().err(), Some(ConnectionRefusal::ConnectionsMax));
    }

    #[test]
    fn the_nodes_handshake_rate_applies_to_all_clients_together() {
        let per_second = Config { handshakes_per_second: 2, ..Config::default() };
        let (admission, limits) = admission(per_second);
        assert!(admission.handshake().is_ok() && admission.handshake().is_ok());
        assert_eq!(admission.handshake(), Err(ConnectionRefusal::HandshakeRate));
        limits.replace(Config::default());
        assert!((0..1000).all(|_| admission.handshake().is_ok()));
    }
}
