//! A Redis Cluster of three masters with a replica each.

use std::net::SocketAddr;
use std::process::Command;

use ::redis::Value;

use super::eventually;
use super::node::outcome;
use super::redis::Redis;

const MASTERS: usize = 3;

pub struct Cluster {
    pub servers: Vec<Redis>,
}

/// A line of `CLUSTER NODES`.
#[derive(Clone, Debug)]
pub struct Member {
    pub id: String,
    pub address: SocketAddr,
    pub is_master: bool,
    pub fails: bool,
    /// First and last, both included.
    pub slots: Vec<(u16, u16)>,
}

impl Cluster {
    /// All slots are served, and the replicas have what their masters have.
    pub async fn start() -> Self {
        // Replicas that wait for each other are not ready to take over for seconds.
        let mut arguments = vec!["--repl-diskless-sync-delay", "0"];
        arguments.extend(["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]);
        let mut servers = Vec::new();
        for _ in 0..2 * MASTERS {
            let mut server = Redis::absent_of_cluster(&arguments);
            server.run().await;
            servers.push(server);
        }
        let mut create = Command::new("redis-cli");
        create.args(["--cluster", "create"]);
        create.args(servers.iter().map(|it| it.address.to_string()));
        create.args(["--cluster-replicas", "1", "--cluster-yes"]);
        let created = outcome(create).await;
        assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stdout));
        let cluster = Self { servers };
        cluster.is_complete().await;
        cluster
    }

    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.servers.iter().map(|it| it.address.to_string()).collect();
        format!("redis+cluster://{}", hosts.join(","))
    }

    /// The slot of a channel, as it is on Redis.
    pub async fn slot(&self, channel: &str) -> u16 {
        self.any().await.ask(&["CLUSTER", "KEYSLOT", &format!("tidegate:{channel}")]).await
    }

    /// The master of a slot: an index into `servers`.
    pub async fn owner(&self, slot: u16) -> usize {
        self.serving(slot).await.expect("every slot has a master")
    }

    /// Those that are masters now, by index.
    pub async fn masters(&self) -> Vec<usize> {
        let members = self.members().await;
        let masters = members.iter().filter(|it| it.is_master && !it.fails);
        masters.filter_map(|it| self.index(it.address)).collect()
    }

    /// Somebody else serves the slot, and all that live agree on who.
    pub async fn fails_over_from(&self, old: usize, slot: u16) {
        eventually("a failover", async || {
            let new = self.serving(slot).await.filter(|new| *new != old)?;
            for (number, server) in self.servers.iter().enumerate().filter(|(it, _)| *it != old) {
                let seen = members(server).await;
                let owner = owner_in(&seen, slot).map(|it| it.address);
                if owner != Some(self.servers[new].address) || !self.is_ok(number).await {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }

    /// Every server says that all is well, and each replica is in step with its master.
    pub async fn is_complete(&self) {
        eventually("a whole cluster", async || {
            for number in 0..self.servers.len() {
                let server = &self.servers[number];
                let is_replica =
                    server.info("replication", "role").await.as_deref() == Some("slave");
                let link = server.info("replication", "master_link_status").await;
                let fails = members(server).await.iter().any(|it| it.fails);
                if fails || !self.is_ok(number).await {
                    return None;
                }
                if is_replica && link.as_deref() != Some("up") {
                    return None;
                }
            }
            (self.masters().await.len() == MASTERS).then_some(())
        })
        .await;
    }

    /// Moves a slot with all its keys to another master, as resharding does.
    pub async fn move_slot(&self, slot: u16, to: usize) {
        let from = self.owner(slot).await;
        let members = self.members().await;
        let id = |server: usize| {
            let address = self.servers[server].address;
            let member = members.iter().find(|it| it.address == address);
            member.expect("a server is a member").id.clone()
        };
        let (slot_word, from_id, to_id) = (slot.to_string(), id(from), id(to));
        let (source, target) = (&self.servers[from], &self.servers[to]);
        let set_slot = ["CLUSTER", "SETSLOT", slot_word.as_str()];
        let _: Value = target.ask(&[&set_slot[..], &["IMPORTING", &from_id]].concat()).await;
        let _: Value = source.ask(&[&set_slot[..], &["MIGRATING", &to_id]].concat()).await;
        loop {
            let keys: Vec<String> =
                source.ask(&["CLUSTER", "GETKEYSINSLOT", &slot_word, "100"]).await;
            if keys.is_empty() {
                break;
            }
            let (host, port) = (target.address.ip().to_string(), target.address.port().to_string());
            let mut migrate = vec!["MIGRATE", &host, &port, "", "0", "5000", "KEYS"];
            migrate.extend(keys.iter().map(String::as_str));
            let _: Value = source.ask(&migrate).await;
        }
        // The new master first, so that there is no moment in which nobody has it.
        let masters = self.masters().await;
        let others = masters.into_iter().filter(|it| *it != from && *it != to);
        for server in [to, from].into_iter().chain(others) {
            let assign = [&set_slot[..], &["NODE", &to_id]].concat();
            let _: Value = self.servers[server].ask(&assign).await;
        }
    }

    async fn serving(&self, slot: u16) -> Option<usize> {
        self.index(owner_in(&self.members().await, slot)?.address)
    }

    async fn members(&self) -> Vec<Member> {
        members(self.any().await).await
    }

    /// One that runs.
    async fn any(&self) -> &Redis {
        self.servers.iter().find(|it| it.is_running()).expect("one server runs")
    }

    async fn is_ok(&self, server: usize) -> bool {
        let info: String = self.servers[server].ask(&["CLUSTER", "INFO"]).await;
        info.contains("cluster_state:ok")
    }

    fn index(&self, address: SocketAddr) -> Option<usize> {
        self.servers.iter().position(|it| it.address == address)
    }
}

/// The cluster as one server sees it.
async fn members(server: &Redis) -> Vec<Member> {
    let text: String = server.ask(&["CLUSTER", "NODES"]).await;
    text.lines().filter_map(member).collect()
}

fn owner_in(members: &[Member], slot: u16) -> Option<&Member> {
    let has = |member: &&Member| member.slots.iter().any(|(a, b)| (*a..=*b).contains(&slot));
    members.iter().filter(|it| it.is_master && !it.fails).find(has)
}

fn member(line: &str) -> Option<Member> {
    let words: Vec<&str> = line.split(' ').collect();
    let [id, address, flags, _, _, _, _, link, slots @ ..] = words.as_slice() else { return None };
    let flags: Vec<&str> = flags.split(',').collect();
    let range = |word: &&str| {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        // A slot on its way is written in brackets, and counts where it is.
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    Some(Member {
        id: (*id).to_owned(),
        address: address.split('@').next()?.parse().ok()?,
        is_master: flags.contains(&"master"),
        fails: flags.iter().any(|it| it.starts_with("fail")) || *link == "disconnected",
        slots: slots.iter().filter_map(range).collect(),
    })
}
