//! The topology of a cluster: polls its nodes, and for each slot the newest claim counts.

use std::collections::HashMap;
use std::time::Duration;

use ::redis::{Pipeline, Value};

use super::epochs::{Epochs, SlotClaim};
use super::layout::Layout;
use super::server_poll::{PollAnswer, ServerPoll, text};
use super::source::{TopologySource, UnknownTopology};
use crate::broker::redis::connection::server::ServerAddress;
use crate::broker::redis::context::RedisContext;
use crate::broker::redis::lanes::slot::{SLOTS, Slot};

/// Maximum number of nodes polled at a time. The masters known last come first.
const POLLED_MAX: usize = 16;

/// The nodes of a cluster, and their claims so far.
pub struct Cluster {
    /// The nodes of the configuration.
    seeds: Vec<ServerAddress>,
    /// The known masters, and their replicas.
    masters: Vec<ServerAddress>,
    replicas: Vec<ServerAddress>,
    /// No node answered the last poll, so the replicas are polled too.
    no_answers: bool,
    poll: ServerPoll,
    epochs: Epochs,
}

impl Cluster {
    pub fn new(seeds: Vec<ServerAddress>) -> Self {
        Self {
            seeds,
            masters: Vec::new(),
            replicas: Vec::new(),
            no_answers: false,
            poll: ServerPoll::default(),
            epochs: Epochs::new(SLOTS),
        }
    }

    fn addresses(&self) -> Vec<ServerAddress> {
        let mut addresses = self.masters.clone();
        addresses.truncate(POLLED_MAX);
        let replicas = self.no_answers.then_some(&self.replicas).into_iter().flatten();
        for more in self.seeds.iter().take(POLLED_MAX).chain(replicas.take(POLLED_MAX)) {
            if !addresses.contains(more) {
                addresses.push(more.clone());
            }
        }
        addresses
    }
}

impl TopologySource for Cluster {
    const INTERVAL: Duration = Duration::from_secs(3);

    async fn query(&mut self, context: &RedisContext) -> Result<Layout, UnknownTopology> {
        let addresses = self.addresses();
        let enough = addresses.len() / 2 + 1;
        let logins = [context.login.clone()];
        let answers = self.poll.poll(&addresses, &logins, &context.trust, commands(), enough).await;
        self.no_answers = answers.is_err();
        let answers = answers?;
        if answers.iter().all(is_no_cluster) {
            return Err(UnknownTopology::NoCluster);
        }
        self.replicas = answers.iter().flat_map(replicas).collect();
        self.replicas.sort();
        self.replicas.dedup();
        let mut claims = vec![None; SLOTS];
        answers.iter().for_each(|answer| add_claims(&mut claims, answer));
        let mut layout = self.epochs.update(claims, answers.len() >= enough).to_layout()?;
        self.masters.clone_from(&layout.masters);
        answers.iter().for_each(|answer| add_moves(&mut layout, answer));
        Ok(layout)
    }
}

/// Both in one pipeline, so that they are consistent: the first has the addresses for clients, only
/// the second has the epochs.
fn commands() -> Pipeline {
    let mut commands = Pipeline::new();
    commands.cmd("CLUSTER").arg("SLOTS");
    commands.cmd("CLUSTER").arg("NODES");
    commands
}

/// Whether the server is Redis without cluster mode.
fn is_no_cluster(answer: &PollAnswer) -> bool {
    matches!(
        answer.values.first(),
        Some(Value::ServerError(error))
            if error.details().is_some_and(|it| it.contains("cluster support disabled"))
    )
}

/// Adds a node's claims where they are newer.
fn add_claims(claims: &mut [SlotClaim], answer: &PollAnswer) {
    let [Value::Array(ranges), nodes] = &answer.values[..] else { return };
    // Without permission for `CLUSTER NODES` all claims are equally new.
    let epochs = text(nodes).map(epochs).unwrap_or_default();
    for (first, last, id, address) in ranges.iter().filter_map(|it| range(it, &answer.server)) {
        let epoch = epochs.get(id).copied().unwrap_or(0);
        for claim in claims.iter_mut().take(last + 1).skip(first) {
            if claim.as_ref().is_none_or(|(known, _)| *known < epoch) {
                *claim = Some((epoch, address.clone()));
            }
        }
    }
}

/// Adds the slots that a master gives away. Only the master itself reports them, as
/// `[<slot>->-<id>]`. It owns them until the move ends, so other nodes' reports are ignored.
fn add_moves(layout: &mut Layout, answer: &PollAnswer) {
    let [slots, nodes] = &answer.values[..] else { return };
    let Some(nodes) = text(nodes) else { return };
    let Some(own) = nodes.lines().find(|line| line.contains("myself")) else { return };
    let own_id = own.split(' ').next();
    let giving = own.split(' ').filter_map(|word| {
        let (slot, id) = word.strip_prefix('[')?.strip_suffix(']')?.split_once("->-")?;
        Some((slot.parse::<Slot>().ok()?, id))
    });
    for (slot, id) in giving {
        let address =
            |id| address_of(slots, id, &answer.server).or_else(|| written_address(nodes, id));
        let owner = layout.owners.get(usize::from(slot)).copied().flatten();
        let owner = owner.map(|owner| layout.masters[usize::from(owner)].clone());
        let (Some(owner), Some(to)) = (owner, address(id)) else { continue };
        if own_id.and_then(address).is_none_or(|own| own != owner) {
            continue;
        }
        let index = layout.masters.iter().position(|master| *master == to);
        let to = index.unwrap_or_else(|| {
            layout.masters.push(to);
            layout.masters.len() - 1
        });
        layout.moving.insert(slot, to as u16);
    }
}

/// The address for clients of a master that has slots.
fn address_of(slots: &Value, id: &str, server: &ServerAddress) -> Option<ServerAddress> {
    let Value::Array(ranges) = slots else { return None };
    let mut masters = ranges.iter().filter_map(|it| range(it, server));
    masters.find(|(_, _, master, _)| *master == id).map(|(.., address)| address)
}

/// The address of any node, from `<id> <host>:<port>@<bus>[,<name>] …`.
fn written_address(nodes: &str, id: &str) -> Option<ServerAddress> {
    let line = nodes.lines().find(|line| line.split(' ').next() == Some(id))?;
    let (host, port) = line.split(' ').nth(1)?.split('@').next()?.rsplit_once(':')?;
    (!host.is_empty()).then_some(ServerAddress::new(host, port.parse().ok()?))
}

/// First and last slot, and their master's id and address.
fn range<'a>(
    range: &'a Value,
    server: &ServerAddress,
) -> Option<(usize, usize, &'a str, ServerAddress)> {
    let Value::Array(parts) = range else { return None };
    let [Value::Int(first), Value::Int(last), master, ..] = &parts[..] else { return None };
    let (id, address) = node(master, server)?;
    Some((usize::try_from(*first).ok()?, usize::try_from(*last).ok()?, id, address))
}

/// The replicas that one node reports.
fn replicas(answer: &PollAnswer) -> Vec<ServerAddress> {
    let Some(Value::Array(ranges)) = answer.values.first() else { return Vec::new() };
    let nodes = ranges.iter().filter_map(|range| match range {
        Value::Array(parts) => parts.get(3..),
        _ => None,
    });
    nodes.flatten().filter_map(|it| Some(node(it, &answer.server)?.1)).collect()
}

/// A node's id and address. A node that does not know its own address for clients omits the host:
/// it is the node that was asked.
fn node<'a>(node: &'a Value, server: &ServerAddress) -> Option<(&'a str, ServerAddress)> {
    let Value::Array(parts) = node else { return None };
    let [host, Value::Int(port), id, ..] = &parts[..] else { return None };
    let host = text(host).filter(|host| !host.is_empty() && *host != "?");
    let address = ServerAddress::new(host.unwrap_or(&server.host), u16::try_from(*port).ok()?);
    Some((text(id)?, address))
}

/// Each node's configuration epoch, from `<id> <address> <flags> <master> <ping> <pong> <epoch> …`.
fn epochs(nodes: &str) -> HashMap<&str, u64> {
    let epoch = |line: &'_ str| line.split(' ').nth(6)?.parse().ok();
    nodes.lines().filter_map(|line| Some((line.split(' ').next()?, epoch(line)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn named(host: &str, port: i64, id: &str) -> Value {
        Value::Array(vec![bulk(host), Value::Int(port), bulk(id), Value::Array(Vec::new())])
    }

    fn answer(ranges: &[(i64, i64, Value)], nodes: &str) -> PollAnswer {
        let range = |(first, last, master): &(i64, i64, Value)| {
            let replica = named("10.0.0.9", 1, "r");
            Value::Array(vec![Value::Int(*first), Value::Int(*last), master.clone(), replica])
        };
        PollAnswer {
            server: ServerAddress::new("10.0.0.1", 7000),
            values: vec![Value::Array(ranges.iter().map(range).collect()), bulk(nodes)],
        }
    }

    #[test]
    fn the_newest_claim_of_a_slot_counts_in_any_order_of_replies() {
        let (a, b) = (named("", 7000, "a"), named("10.0.0.2", 7001, "b"));
        let old = answer(
            &[(0, 9, a.clone())],
            "a 10.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-9\n\
             b 10.0.0.2:7001@17001 slave a 0 0 1 connected\n",
        );
        let new = answer(
            &[(0, 4, a), (5, 9, b)],
            "a 10.0.0.1:7000@17000 master - 0 0 1 connected 0-4\n\
             b 10.0.0.2:7001@17001,name myself,master - 0 0 2 connected 5-9\n",
        );
        for answers in [[&old, &new], [&new, &old]] {
            let mut claims = vec![None; 11];
            answers.iter().for_each(|answer| add_claims(&mut claims, answer));
            assert_eq!(claims[4], Some((1, ServerAddress::new("10.0.0.1", 7000))));
            assert_eq!(claims[5], Some((2, ServerAddress::new("10.0.0.2", 7001))));
            assert_eq!(claims[10], None);
        }
    }

    #[test]
    fn a_moving_slot_is_reported_only_by_its_own_master() {
        let (a, b) = (named("10.0.0.1", 7000, "a"), named("10.0.0.2", 7001, "b"));
        let mut giver = answer(
            &[(0, 4, a.clone()), (5, 9, b.clone())],
            "a 10.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-4 [3->-c] [4->-b] [9->-c]\n\
             b 10.0.0.2:7001@17001 master - 0 0 2 connected 5-9\n\
             c 10.0.0.3:7002@17002,name master - 0 0 0 connected\n",
        );
        giver.server = ServerAddress::new("10.0.0.1", 7000);
        let mut taker = answer(
            &[(0, 4, a), (5, 9, b)],
            "b 10.0.0.2:7001@17001 myself,master - 0 0 2 connected 5-9 [4-<-a]\n",
        );
        taker.server = ServerAddress::new("10.0.0.2", 7001);
        let masters =
            vec![ServerAddress::new("10.0.0.1", 7000), ServerAddress::new("10.0.0.2", 7001)];
        let owners = (0..10).map(|slot| Some(u16::from(slot > 4))).collect();
        let mut layout = Layout { masters, owners, ..Layout::default() };
        [giver, taker].iter().for_each(|answer| add_moves(&mut layout, answer));
        assert_eq!(layout.masters[2], ServerAddress::new("10.0.0.3", 7002), "it has no slot yet");
        assert_eq!(layout.moving, [(3, 2), (4, 1)].into());
    }

    #[test]
    fn a_malformed_reply_claims_no_slot() {
        let mut claims = vec![None; 2];
        for values in [vec![], vec![Value::Nil, Value::Nil], vec![Value::Array(vec![Value::Nil])]] {
            add_claims(&mut claims, &PollAnswer { server: ServerAddress::new("a", 1), values });
        }
        let far = answer(&[(0, 99_999, named("b", 1, "b")), (-1, 1, named("c", 1, "c"))], "");
        add_claims(&mut claims, &far);
        assert_eq!(
            claims,
            [Some((0, ServerAddress::new("b", 1))), Some((0, ServerAddress::new("b", 1)))]
        );
    }
}
