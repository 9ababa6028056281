//! A master, two replicas and three sentinels that monitor them.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Weak};

use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::eventually;
use crate::process::Process;
use crate::redis::{Redis, free_address, query};

const SERVERS: usize = 3;
const SENTINELS: usize = 3;

/// The sentinels' name for the master.
pub const SERVICE: &str = "mymaster";

/// The sentinels consider the master down after this time.
const DOWN_AFTER_MILLIS: u32 = 1000;

/// An election without a winner is repeated after twice this time, so that several fit into a test's
/// timeout. Each step of a failover has this time too, which must be enough on a busy machine.
const FAILOVER_TIMEOUT_MILLIS: u32 = 3000;

pub struct Sentinel {
    /// The master comes first until there is a failover.
    pub servers: Vec<Redis>,
    sentinels: Vec<SentinelProcess>,
}

pub struct SentinelProcess {
    pub address: SocketAddr,
    _process: Process,
    _directory: TempDir,
}

impl Sentinel {
    /// Waits until all sentinels know each other and the replicas are in sync.
    pub async fn start() -> Self {
        // Otherwise replicas wait for each other, which delays the start by seconds.
        let arguments = ["--repl-diskless-sync-delay", "0"];
        let mut servers: Vec<Redis> =
            (0..SERVERS).map(|_| Redis::stopped_with(&arguments)).collect();
        let master = servers[0].address;
        for (number, server) in servers.iter_mut().enumerate() {
            match number {
                0 => server.run().await,
                _ => server.run_with(&replica_of(master)).await,
            }
        }
        // Before the sentinels start: a sentinel that misses a replica looks again only after ten seconds.
        for replica in &servers[1..] {
            eventually("a replica to follow", async || follows(replica).await.then_some(())).await;
        }
        let watchers = (0..SENTINELS).map(|_| SentinelProcess::start(master, "")).collect();
        let sentinel = Self { servers, sentinels: watchers };
        sentinel.wait_until_complete().await;
        sentinel
    }

    /// Shared by all running tests that do not change it. Each test needs its own `broker.prefix`.
    pub async fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Sentinel>> = Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(sentinel) = shared.upgrade() {
            return sentinel;
        }
        let sentinel = Arc::new(Self::start().await);
        *shared = Arc::downgrade(&sentinel);
        sentinel
    }

    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.addresses().iter().map(ToString::to_string).collect();
        format!("redis+sentinel://{}/{SERVICE}", hosts.join(","))
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sentinels.iter().map(|it| it.address).collect()
    }

    /// The current master, once all sentinels agree: an index into `servers`.
    pub async fn master(&self) -> usize {
        eventually("sentinels to agree on a master", async || self.agreed_master().await).await
    }

    /// Waits until every sentinel reports another master that has this role; returns its index.
    pub async fn wait_for_failover(&self, old: usize) -> usize {
        eventually("a failover", async || {
            let new = self.agreed_master().await.filter(|new| *new != old)?;
            let role = self.servers[new].info("replication", "role").await;
            (role.as_deref() == Some("master")).then_some(new)
        })
        .await
    }

    /// Restarts a killed server, empty, as a replica of the current master.
    pub async fn restart_as_replica(&mut self, server: usize) {
        let master = self.servers[self.master().await].address;
        self.servers[server].run_with(&replica_of(master)).await;
    }

    /// Waits until every sentinel knows the two others and two replicas, and both replicas are in sync.
    pub async fn wait_until_complete(&self) {
        eventually("master, replicas and sentinels to know each other", async || {
            for watcher in &self.sentinels {
                let question = ["SENTINEL", "MASTER", SERVICE];
                let fields: Vec<String> = query(watcher.address, &question).await.ok()?;
                let has = |name: &str, value: &str| fields.chunks(2).any(|it| it == [name, value]);
                if !has("num-other-sentinels", "2") || !has("num-slaves", "2") {
                    return None;
                }
            }
            let master = self.agreed_master().await?;
            for (_, server) in self.servers.iter().enumerate().filter(|(it, _)| *it != master) {
                if !follows(server).await {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }

    /// None while the sentinels disagree.
    async fn agreed_master(&self) -> Option<usize> {
        let mut named = Vec::new();
        for watcher in &self.sentinels {
            let question = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE];
            let [host, port]: [String; 2] = query(watcher.address, &question).await.ok()?;
            let address: SocketAddr = format!("{host}:{port}").parse().ok()?;
            named.push(self.servers.iter().position(|it| it.address == address)?);
        }
        named.windows(2).all(|pair| pair[0] == pair[1]).then_some(named[0])
    }
}

impl SentinelProcess {
    /// One sentinel of this master, with `more` lines in its settings.
    pub fn start(master: SocketAddr, more: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let address = free_address();
        let settings = format!(
            "port {}\nbind 127.0.0.1\ndir {}\n\
             sentinel monitor {SERVICE} {} {} 2\n\
             sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MILLIS}\n\
             sentinel failover-timeout {SERVICE} {FAILOVER_TIMEOUT_MILLIS}\n\
             sentinel parallel-syncs {SERVICE} 1\n{more}\n",
            address.port(),
            directory.path().display(),
            master.ip(),
            master.port(),
        );
        let file = directory.path().join("sentinel.conf");
        fs::write(&file, settings).expect("the settings are written");
        // Debian's redis-server package has no redis-sentinel.
        let mut command = Command::new("redis-server");
        command.arg(&file).arg("--sentinel");
        let process = Process::spawn("redis-sentinel", command);
        Self { address, _process: process, _directory: directory }
    }
}

fn replica_of(master: SocketAddr) -> [String; 3] {
    ["--replicaof".to_owned(), master.ip().to_string(), master.port().to_string()]
}

/// Whether it is a replica in sync with its master.
async fn follows(server: &Redis) -> bool {
    server.info("replication", "master_link_status").await.as_deref() == Some("up")
}
