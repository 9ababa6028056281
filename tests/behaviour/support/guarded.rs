//! A master and its replicas, guarded by sentinels.

use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use super::eventually;
use super::process::Process;
use super::redis::{PORTS, Redis, ask, free_address};

const SERVICE: &str = "main";

/// The sentinels agree that the master is gone after so long.
const DOWN_AFTER_MILLIS: u32 = 1000;

pub struct Guarded {
    pub servers: Vec<Redis>,
    sentinels: Vec<(SocketAddr, Process)>,
    _directories: Vec<TempDir>,
}

impl Guarded {
    /// One master, two replicas, three sentinels that know each other and them.
    pub async fn start() -> Self {
        let mut servers = vec![Redis::start().await];
        let master = servers[0].address;
        for _ in 0..2 {
            let port = master.port().to_string();
            let mut replica = Redis::absent_with(&["--replicaof", "127.0.0.1", &port]);
            replica.run().await;
            servers.push(replica);
        }
        let directories: Vec<_> =
            (0..3).map(|_| tempfile::tempdir().expect("a temporary directory")).collect();
        let sentinels = directories.iter().map(|it| sentinel(it, master)).collect();
        let guarded = Self { servers, sentinels, _directories: directories };
        guarded.is_whole().await;
        guarded
    }

    pub fn url(&self) -> String {
        let addresses: Vec<_> = self.sentinels.iter().map(|(at, _)| at.to_string()).collect();
        format!("redis+sentinel://{}/{SERVICE}", addresses.join(","))
    }

    /// The place of the master among the servers, as most sentinels have it.
    pub async fn master(&self) -> Option<usize> {
        let mut named = Vec::new();
        for (sentinel, _) in &self.sentinels {
            let question = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE];
            let [_, port] = ask::<[String; 2]>(*sentinel, &question).await.ok()?;
            named.push(self.servers.iter().position(|it| it.address.port().to_string() == port)?);
        }
        named.windows(2).all(|pair| pair[0] == pair[1]).then_some(named[0])
    }

    /// Waits for another master than this one.
    pub async fn fails_over(&self, from: usize) -> usize {
        eventually("a failover", async || self.master().await.filter(|master| *master != from))
            .await
    }

    /// Replicas follow and sentinels know each other, so that a failover can be.
    async fn is_whole(&self) {
        for replica in &self.servers[1..] {
            eventually("a replica to follow", async || {
                let info: String = ask(replica.address, &["INFO", "replication"]).await.ok()?;
                info.contains("master_link_status:up").then_some(())
            })
            .await;
        }
        for (sentinel, _) in &self.sentinels {
            eventually("sentinels to know each other", async || {
                let fields: Vec<String> =
                    ask(*sentinel, &["SENTINEL", "MASTER", SERVICE]).await.ok()?;
                let has =
                    |name: &str, value: &str| fields.chunks(2).any(|field| field == [name, value]);
                (has("num-other-sentinels", "2") && has("num-slaves", "2")).then_some(())
            })
            .await;
        }
    }
}

fn sentinel(directory: &TempDir, master: SocketAddr) -> (SocketAddr, Process) {
    let address = free_address(PORTS);
    let file = directory.path().join("sentinel.conf");
    let lines = [
        format!("port {}", address.port()),
        "bind 127.0.0.1".to_owned(),
        format!("dir {}", directory.path().display()),
        format!("sentinel monitor {SERVICE} 127.0.0.1 {} 2", master.port()),
        format!("sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MILLIS}"),
        format!("sentinel failover-timeout {SERVICE} 2000"),
    ];
    std::fs::write(&file, lines.join("\n")).expect("the file can be written");
    let mut command = Command::new("redis-server");
    let process = Process::spawn("sentinel", command.arg(file).arg("--sentinel"));
    (address, process)
}
