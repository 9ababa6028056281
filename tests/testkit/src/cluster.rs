//! A Redis Cluster of three masters, with a replica each for failover tests.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Weak};

use ::redis::Value;
use tokio::sync::Mutex;

use crate::authority::Authority;
use crate::eventually;
use crate::node::run_to_end;
use crate::redis::{Redis, free_address, query};

pub const MASTERS: usize = 3;

/// The others consider a master failed after this time.
const NODE_TIMEOUT_MILLIS: &str = "2000";

/// Keys moved to another server by one command.
const KEYS_MAX: &str = "100";

pub struct Cluster {
    pub servers: Vec<Redis>,
    /// The TLS addresses, one for each server, or none.
    encrypted: Vec<SocketAddr>,
}

/// A line of `CLUSTER NODES`.
struct ClusterMember {
    address: SocketAddr,
    is_master: bool,
    fails: bool,
    /// First and last, both included.
    slots: Vec<(u16, u16)>,
}

impl Cluster {
    pub async fn without_replicas() -> Self {
        Self::start(0, None).await
    }

    /// Its servers use TLS with each other and with clients of [`Cluster::url`].
    pub async fn with_tls(authority: &Authority) -> Self {
        Self::start(0, Some(authority)).await
    }

    pub async fn with_replicas() -> Self {
        Self::start(1, None).await
    }

    /// One without replicas, shared by all running tests that do not change it. Each test needs its own
    /// `broker.prefix`.
    pub async fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(cluster) = shared.upgrade() {
            return cluster;
        }
        let cluster = Arc::new(Self::without_replicas().await);
        *shared = Arc::downgrade(&cluster);
        cluster
    }

    /// Waits until all slots are served and the replicas are in sync.
    async fn start(replicas_each: usize, authority: Option<&Authority>) -> Self {
        let (mut servers, mut encrypted) = (Vec::new(), Vec::new());
        for _ in 0..MASTERS * (1 + replicas_each) {
            let settings = settings();
            let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
            let mut server = match authority {
                None => Redis::stopped_with(&settings),
                Some(authority) => {
                    let settings = [&settings[..], &["--tls-cluster", "yes"]].concat();
                    let (server, address) = Redis::stopped_with_tls(authority, &settings);
                    encrypted.push(address);
                    server
                }
            };
            server.run().await;
            servers.push(server);
        }
        let mut create = Command::new("redis-cli");
        if let Some(authority) = authority {
            create.arg("--tls").arg("--cacert").arg(authority.certificate_file());
        }
        create.args(["--cluster", "create"]);
        let plain: Vec<SocketAddr> = servers.iter().map(|it| it.address).collect();
        let addresses = if encrypted.is_empty() { &plain } else { &encrypted };
        create.args(addresses.iter().map(SocketAddr::to_string));
        create.args(["--cluster-replicas", &replicas_each.to_string(), "--cluster-yes"]);
        let created = run_to_end(create).await;
        assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stdout));
        let cluster = Self { servers, encrypted };
        cluster.wait_until_complete().await;
        cluster
    }

    /// A URL with two of the servers: nodes discover the others.
    pub fn url(&self) -> String {
        let (scheme, addresses) = match self.encrypted.is_empty() {
            true => ("redis", self.servers.iter().map(|it| it.address).collect()),
            false => ("rediss", self.encrypted.clone()),
        };
        let hosts: Vec<String> = addresses.iter().take(2).map(SocketAddr::to_string).collect();
        format!("{scheme}+cluster://{}", hosts.join(","))
    }

    /// The master of a channel, once all responsive servers agree: an index into `servers`.
    pub async fn master_of(&self, channel: &str) -> usize {
        let slot = self.slot(channel).await;
        eventually("servers to agree on a master", async || self.agreed_owner(slot).await).await
    }

    /// The current masters, by index.
    pub async fn masters(&self) -> Vec<usize> {
        let members = eventually("a server to answer", async || members(self.any()).await).await;
        let masters = members.iter().filter(|it| it.is_master && !it.fails);
        masters.filter_map(|it| self.index(it.address)).collect()
    }

    /// Waits until another server is the channel's master and all responsive servers agree; returns its index.
    pub async fn wait_for_failover(&self, old: usize, channel: &str) -> usize {
        let slot = self.slot(channel).await;
        eventually("a failover", async || {
            for server in self.answering() {
                is_ok(server).await.then_some(())?;
            }
            self.agreed_owner(slot).await.filter(|new| *new != old)
        })
        .await
    }

    /// Waits until every server reports `cluster_state:ok` and each replica is in sync with its master.
    pub async fn wait_until_complete(&self) {
        eventually("a whole cluster", async || {
            for server in &self.servers {
                let seen = members(server).await?;
                let masters = seen.iter().filter(|it| it.is_master).count();
                let is_whole = seen.len() == self.servers.len() && masters == MASTERS;
                if !is_whole || seen.iter().any(|it| it.fails) || !is_ok(server).await {
                    return None;
                }
                let is_master = server.info("replication", "role").await? == "master";
                let link = server.info("replication", "master_link_status").await;
                if !is_master && link.as_deref() != Some("up") {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }

    /// Moves a channel's slot with all its keys to another master, as resharding does.
    pub async fn migrate(&self, channel: &str, to: usize) {
        let from = self.begin_move(channel, to).await;
        self.end_move(channel, from, to).await;
    }

    /// Adds a server without slots; returns its index.
    pub async fn add_server(&mut self) -> usize {
        let settings = settings();
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let mut server = Redis::stopped_with(&settings);
        server.run().await;
        let (address, bus) = (self.servers[0].address, bus_port(&self.servers[0]).await);
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let _: Value = server.query(&["CLUSTER", "MEET", &host, &port, &bus]).await;
        self.servers.push(server);
        eventually("a server to be met by all", async || {
            for server in &self.servers {
                let seen = members(server).await?;
                let is_known = seen.len() == self.servers.len() && !seen.iter().any(|it| it.fails);
                (is_known && is_ok(server).await).then_some(())?;
            }
            Some(())
        })
        .await;
        self.servers.len() - 1
    }

    /// Cancels the move of a slot.
    pub async fn cancel_move(&self, channel: &str, from: usize, to: usize) {
        let slot = self.slot(channel).await.to_string();
        for server in [from, to] {
            let _: Value =
                self.servers[server].query(&["CLUSTER", "SETSLOT", &slot, "STABLE"]).await;
        }
    }

    /// Starts moving a channel's slot; its keys stay for now. Returns the old master.
    pub async fn begin_move(&self, channel: &str, to: usize) -> usize {
        let from = self.master_of(channel).await;
        let slot = self.slot(channel).await.to_string();
        let (from_id, to_id) = (self.id(from).await, self.id(to).await);
        self.set_slot(to, &slot, "IMPORTING", &from_id).await;
        self.set_slot(from, &slot, "MIGRATING", &to_id).await;
        from
    }

    /// Moves the channel's key; returns whether it existed.
    pub async fn move_key(&self, channel: &str, from: usize, to: usize) -> bool {
        let target = self.servers[to].address;
        let (host, port) = (target.ip().to_string(), target.port().to_string());
        let key = format!("tidegate:{channel}");
        let words = ["MIGRATE", &host, &port, &key, "0", "5000"];
        let answer: String = self.servers[from].query(&words).await;
        answer == "OK"
    }

    /// Moves the remaining keys and assigns the slot to the new master.
    pub async fn end_move(&self, channel: &str, from: usize, to: usize) {
        let slot = self.slot(channel).await.to_string();
        self.move_keys(&slot, from, to).await;
        let id = self.id(to).await;
        // The new master first, so that the slot always has a master.
        let others = self.masters().await.into_iter().filter(|it| *it != from && *it != to);
        for server in [to, from].into_iter().chain(others) {
            self.set_slot(server, &slot, "NODE", &id).await;
        }
    }

    async fn set_slot(&self, server: usize, slot: &str, state: &str, other: &str) {
        let words = ["CLUSTER", "SETSLOT", slot, state, other];
        let _: Value = self.servers[server].query(&words).await;
    }

    async fn id(&self, server: usize) -> String {
        self.servers[server].query(&["CLUSTER", "MYID"]).await
    }

    /// Publishes as a service, on the channel's master.
    pub async fn publish(&self, channel: &str, payload: &str) {
        let master = self.master_of(channel).await;
        let words = ["SPUBLISH", &format!("tidegate:{channel}"), payload];
        let _: u64 = self.servers[master].query(&words).await;
    }

    /// The number of subscribed nodes, over all responsive servers.
    pub async fn subscribers(&self, channel: &str) -> u64 {
        let mut sum = 0;
        for server in self.answering() {
            let words = ["PUBSUB", "SHARDNUMSUB", &format!("tidegate:{channel}")];
            let (_, count): (String, u64) = server.query(&words).await;
            sum += count;
        }
        sum
    }

    async fn move_keys(&self, slot: &str, from: usize, to: usize) {
        let target = self.servers[to].address;
        let (host, port) = (target.ip().to_string(), target.port().to_string());
        loop {
            let words = ["CLUSTER", "GETKEYSINSLOT", slot, KEYS_MAX];
            let keys: Vec<String> = self.servers[from].query(&words).await;
            if keys.is_empty() {
                break;
            }
            let mut migrate = vec!["MIGRATE", &host, &port, "", "0", "5000", "KEYS"];
            migrate.extend(keys.iter().map(String::as_str));
            let _: Value = self.servers[from].query(&migrate).await;
        }
    }

    /// The slot of a channel's key.
    async fn slot(&self, channel: &str) -> u16 {
        self.any().query(&["CLUSTER", "KEYSLOT", &format!("tidegate:{channel}")]).await
    }

    /// None while the responsive servers disagree.
    async fn agreed_owner(&self, slot: u16) -> Option<usize> {
        let mut named = Vec::new();
        for server in self.answering() {
            let members = members(server).await?;
            named.push(self.index(owner(&members, slot)?.address)?);
        }
        named.windows(2).all(|pair| pair[0] == pair[1]).then_some(named[0])
    }

    fn answering(&self) -> impl Iterator<Item = &Redis> {
        self.servers.iter().filter(|it| it.is_responsive())
    }

    fn any(&self) -> &Redis {
        self.answering().next().expect("one server answers")
    }

    fn index(&self, address: SocketAddr) -> Option<usize> {
        self.servers.iter().position(|it| it.address == address)
    }
}

fn settings() -> Vec<String> {
    // The default bus port, 10,000 above the server's own, might not be free.
    let bus = free_address().port().to_string();
    let settings = [
        ["--cluster-enabled", "yes"],
        ["--cluster-node-timeout", NODE_TIMEOUT_MILLIS],
        ["--cluster-announce-ip", "127.0.0.1"],
        ["--cluster-port", &bus],
        // Otherwise replicas wait for each other and are not ready for a failover for seconds.
        ["--repl-diskless-sync-delay", "0"],
    ];
    settings.concat().into_iter().map(str::to_owned).collect()
}

/// The port of a server's cluster bus.
async fn bus_port(server: &Redis) -> String {
    let (_, port): (String, String) = server.query(&["CONFIG", "GET", "cluster-port"]).await;
    port
}

async fn is_ok(server: &Redis) -> bool {
    let info: Option<String> = query(server.address, &["CLUSTER", "INFO"]).await.ok();
    info.is_some_and(|info| info.contains("cluster_state:ok"))
}

/// The cluster as one server reports it. None while it loads its master's data.
async fn members(server: &Redis) -> Option<Vec<ClusterMember>> {
    let text: String = query(server.address, &["CLUSTER", "NODES"]).await.ok()?;
    Some(text.lines().filter_map(member).collect())
}

fn owner(members: &[ClusterMember], slot: u16) -> Option<&ClusterMember> {
    let has = |member: &&ClusterMember| member.slots.iter().any(|(a, b)| (*a..=*b).contains(&slot));
    members.iter().filter(|it| it.is_master && !it.fails).find(has)
}

fn member(line: &str) -> Option<ClusterMember> {
    let words: Vec<&str> = line.split(' ').collect();
    let [_, address, flags, _, _, _, _, link, slots @ ..] = words.as_slice() else { return None };
    let flags: Vec<&str> = flags.split(',').collect();
    let range = |word: &&str| {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        // A moving slot is written in brackets, and belongs to its old master.
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    Some(ClusterMember {
        address: address.split('@').next()?.parse().ok()?,
        is_master: flags.contains(&"master"),
        fails: flags.iter().any(|it| it.starts_with("fail")) || *link == "disconnected",
        slots: slots.iter().filter_map(range).collect(),
    })
}
