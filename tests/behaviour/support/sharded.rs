//! A cluster of three masters, each with a replica where a test needs one.

use std::process::Command;

use redis::Value;

use super::eventually;
use super::redis::{Redis, ask};

/// A master is gone for the others after so long.
const NODE_TIMEOUT_MILLIS: &str = "2000";

const MASTERS: usize = 3;

pub struct Sharded {
    pub servers: Vec<Redis>,
}

impl Sharded {
    pub async fn of_masters() -> Self {
        Self::start(0).await
    }

    pub async fn with_replicas() -> Self {
        Self::start(1).await
    }

    async fn start(replicas: usize) -> Self {
        let mut servers = Vec::new();
        for _ in 0..MASTERS * (1 + replicas) {
            let settings = [
                ["--cluster-enabled", "yes"],
                ["--cluster-node-timeout", NODE_TIMEOUT_MILLIS],
                ["--cluster-announce-ip", "127.0.0.1"],
                ["--repl-diskless-sync-delay", "0"],
            ];
            // The bus' port must be free as well: it is told here to lie where ports are our own.
            let bus = super::redis::free_address(super::redis::PORTS).port().to_string();
            let settings = [settings.concat(), vec!["--cluster-port", &bus]].concat();
            let mut server = Redis::absent_with(&settings);
            server.run().await;
            servers.push(server);
        }
        let mut command = Command::new("redis-cli");
        command.args(["--cluster", "create"]);
        command.args(servers.iter().map(|server| server.address.to_string()));
        command.args(["--cluster-replicas", &replicas.to_string(), "--cluster-yes"]);
        let mut create = super::process::Process::spawn("redis-cli --cluster create", &mut command);
        assert_eq!(create.exit_code().await, 0, "{:?}", create.stdout());
        let cluster = Self { servers };
        cluster.is_whole(replicas).await;
        cluster
    }

    pub fn url(&self) -> String {
        let addresses: Vec<_> =
            self.servers.iter().take(2).map(|server| server.address.to_string()).collect();
        format!("redis+cluster://{}", addresses.join(","))
    }

    /// The place of the master that has the channel, as all servers but `without` see it.
    pub async fn master_of(&self, channel: &str, without: Option<usize>) -> Option<usize> {
        let slot = self.slot(channel, without).await;
        let mut owners = Vec::new();
        for (place, server) in self.servers.iter().enumerate() {
            if Some(place) == without {
                continue;
            }
            let ranges: Vec<(u16, u16, (String, u16))> = slots(server).await?;
            let owner = ranges.iter().find(|(first, last, _)| (*first..=*last).contains(&slot));
            let (_, _, (_, port)) = owner?;
            owners.push(self.servers.iter().position(|it| it.address.port() == *port)?);
        }
        owners.windows(2).all(|pair| pair[0] == pair[1]).then_some(owners[0])
    }

    /// How many nodes subscribe to the channel, counted over all servers but `without`.
    pub async fn subscribers(&self, channel: &str, without: Option<usize>) -> u64 {
        let mut sum = 0;
        for (place, server) in self.servers.iter().enumerate() {
            if Some(place) != without {
                let question = ["PUBSUB", "SHARDNUMSUB", &format!("tidegate:{channel}")];
                let (_, count): (String, u64) =
                    ask(server.address, &question).await.expect("counts");
                sum += count;
            }
        }
        sum
    }

    /// A service that publishes, at the server that has the channel.
    pub async fn publish(&self, channel: &str, payload: &str, without: Option<usize>) {
        let master = self.master_of(channel, without).await.expect("a master");
        let command = ["SPUBLISH", &format!("tidegate:{channel}"), payload];
        ask::<u64>(self.servers[master].address, &command).await.expect("it publishes");
    }

    /// Gives the channel's slot to another master, as `redis-cli --cluster reshard` would.
    pub async fn migrate(&self, channel: &str, to: usize) {
        let from = self.master_of(channel, None).await.expect("a master");
        let slot = self.slot(channel, None).await.to_string();
        let id = async |place: usize| -> String {
            ask(self.servers[place].address, &["CLUSTER", "MYID"]).await.expect("an id")
        };
        let (from_id, to_id) = (id(from).await, id(to).await);
        for (place, state, other) in [
            (to, "IMPORTING", &from_id),
            (from, "MIGRATING", &to_id),
            (to, "NODE", &to_id),
            (from, "NODE", &to_id),
        ] {
            let command = ["CLUSTER", "SETSLOT", &slot, state, other];
            ask::<String>(self.servers[place].address, &command).await.expect("the slot moves");
        }
    }

    async fn slot(&self, channel: &str, without: Option<usize>) -> u16 {
        let place = (0..self.servers.len()).find(|place| Some(*place) != without).expect("one");
        let question = ["CLUSTER", "KEYSLOT", &format!("tidegate:{channel}")];
        ask(self.servers[place].address, &question).await.expect("a slot")
    }

    /// All slots are served, and replicas follow.
    async fn is_whole(&self, replicas: usize) {
        for server in &self.servers {
            eventually("the cluster to be whole", async || {
                let info: String = ask(server.address, &["CLUSTER", "INFO"]).await.ok()?;
                let nodes: String = ask(server.address, &["CLUSTER", "NODES"]).await.ok()?;
                let follow = nodes.lines().filter(|line| line.contains("slave")).count();
                let whole = info.contains("cluster_state:ok") && follow == MASTERS * replicas;
                let info: String = ask(server.address, &["INFO", "replication"]).await.ok()?;
                let linked = info.contains("role:master") || info.contains("link_status:up");
                (whole && linked).then_some(())
            })
            .await;
        }
    }
}

async fn slots(server: &Redis) -> Option<Vec<(u16, u16, (String, u16))>> {
    let ranges: Vec<Vec<Value>> = ask(server.address, &["CLUSTER", "SLOTS"]).await.ok()?;
    let range = |range: &Vec<Value>| {
        let number = |value: &Value| ::redis::from_redis_value_ref::<u16>(value).ok();
        let Value::Array(master) = range.get(2)? else { return None };
        let host = ::redis::from_redis_value_ref(master.first()?).ok()?;
        Some((number(&range[0])?, number(&range[1])?, (host, number(master.get(1)?)?)))
    };
    ranges.iter().map(range).collect()
}
