//! A master, two replicas and three sentinels that watch over them.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use super::eventually;
use super::process::Process;
use super::redis::{PORTS, Redis, free_address};

const SERVERS: usize = 3;
const SENTINELS: usize = 3;

/// What the sentinels call the master.
pub const SERVICE: &str = "mymaster";

pub struct Sentinel {
    /// The master comes first until there is a failover.
    pub servers: Vec<Redis>,
    watchers: Vec<Watcher>,
}

struct Watcher {
    address: SocketAddr,
    _process: Process,
    _directory: TempDir,
}

impl Sentinel {
    /// All know each other, and the replicas have what the master has.
    pub async fn start() -> Self {
        // Replicas that wait for each other would delay the start by seconds.
        let arguments = ["--repl-diskless-sync-delay", "0"];
        let mut servers: Vec<Redis> =
            (0..SERVERS).map(|_| Redis::absent_with(&arguments)).collect();
        let master = servers[0].address;
        for (number, server) in servers.iter_mut().enumerate() {
            match number {
                0 => server.run().await,
                _ => server.run_with(&replica_of(master)).await,
            }
        }
        let watchers = (0..SENTINELS).map(|_| Watcher::start(master)).collect();
        let sentinel = Self { servers, watchers };
        sentinel.is_complete().await;
        sentinel
    }

    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.watchers.iter().map(|it| it.address.to_string()).collect();
        format!("redis+sentinel://{}/{SERVICE}", hosts.join(","))
    }

    pub fn sentinels(&self) -> Vec<SocketAddr> {
        self.watchers.iter().map(|it| it.address).collect()
    }

    /// Who is master, as a sentinel knows it: an index into `servers`.
    pub async fn master(&self) -> usize {
        let address = master_of(self.watchers[0].address).await;
        let is_it = |server: &Redis| server.address == address;
        self.servers.iter().position(is_it).expect("the master is one of ours")
    }

    /// Every sentinel knows of another master than this one, and that one knows it too.
    pub async fn fails_over_from(&self, old: usize) {
        let old = self.servers[old].address;
        eventually("a failover", async || {
            for watcher in &self.watchers {
                let master = master_of(watcher.address).await;
                let server =
                    self.servers.iter().find(|it| it.address == master && master != old)?;
                if server.info("replication", "role").await.as_deref() != Some("master") {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }

    /// A server that was killed comes back, empty, as a replica of whoever is master now.
    pub async fn bring_back(&mut self, server: usize) {
        let master = self.servers[self.master().await].address;
        self.servers[server].run_with(&replica_of(master)).await;
    }

    /// Two sentinels beside each, two replicas, and both of them in step with the master.
    pub async fn is_complete(&self) {
        eventually("master, replicas and sentinels to know each other", async || {
            for watcher in &self.watchers {
                let others = state(watcher.address, "num-other-sentinels").await;
                let replicas = state(watcher.address, "num-slaves").await;
                if (others.as_str(), replicas.as_str()) != ("2", "2") {
                    return None;
                }
            }
            let master = self.master().await;
            for (number, server) in self.servers.iter().enumerate() {
                let link = server.info("replication", "master_link_status").await;
                if number != master && link.as_deref() != Some("up") {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }
}

impl Watcher {
    fn start(master: SocketAddr) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let address = free_address(PORTS);
        let settings = format!(
            "port {}\nbind 127.0.0.1\ndir {}\n\
             sentinel monitor {SERVICE} {} {} 2\n\
             sentinel down-after-milliseconds {SERVICE} 1000\n\
             sentinel failover-timeout {SERVICE} 5000\n\
             sentinel parallel-syncs {SERVICE} 1\n",
            address.port(),
            directory.path().display(),
            master.ip(),
            master.port(),
        );
        let file = directory.path().join("sentinel.conf");
        fs::write(&file, settings).expect("the settings are written");
        // Debian's redis-server has no redis-sentinel beside it.
        let mut command = Command::new("redis-server");
        command.arg(&file).arg("--sentinel");
        let process = Process::spawn("redis-sentinel", &mut command);
        Self { address, _process: process, _directory: directory }
    }
}

fn replica_of(master: SocketAddr) -> [String; 3] {
    ["--replicaof".to_owned(), master.ip().to_string(), master.port().to_string()]
}

/// What a sentinel says of the master; empty while it does not answer.
async fn state(sentinel: SocketAddr, field: &str) -> String {
    let Some(words) = ask(sentinel, &["SENTINEL", "MASTER", SERVICE]).await else {
        return String::new();
    };
    let pair = words.chunks(2).find(|pair| pair[0] == field);
    pair.and_then(|pair| pair.get(1).cloned()).unwrap_or_default()
}

async fn master_of(sentinel: SocketAddr) -> SocketAddr {
    eventually("a sentinel to know the master", async || {
        let words = ask(sentinel, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]).await?;
        let [host, port] = words.as_slice() else { return None };
        format!("{host}:{port}").parse().ok()
    })
    .await
}

async fn ask(sentinel: SocketAddr, words: &[&str]) -> Option<Vec<String>> {
    let client = ::redis::Client::open(format!("redis://{sentinel}")).expect("a url");
    let mut connection = client.get_multiplexed_async_connection().await.ok()?;
    ::redis::cmd(words[0]).arg(&words[1..]).query_async(&mut connection).await.ok()
}
