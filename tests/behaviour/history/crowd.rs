//! All clients of a node come back at once: they share one reading of the history.

use futures_util::future::join_all;
use testkit::client::Client;
use testkit::fleet::{Broker, Fleet, for_simple_brokers};
use testkit::node::Node;

use super::{LONG, publication, publish_all, resume, subscribe, subscribed};

for_simple_brokers!(they_all_miss_nothing_and_the_history_is_read_once);

const CLIENTS: usize = 1000;

/// More than a page, and less than an outbound queue takes.
const MISSED: u64 = 150;

/// Readings of a history of [`MISSED`], a page each, and what a change of subscribers may add.
const READS_MAX: u64 = 10;

async fn they_all_miss_nothing_and_the_history_is_read_once(broker: Broker) {
    let mut fleet = broker.fleet(&[LONG]).await;
    let [a, b] = fleet.nodes();
    let mut publisher = Client::json(b).await;
    let before = subscribe(&mut Client::json(a).await, "h:1").await;
    let clients = all(a, async |mut client| {
        let at = subscribe(&mut client, "h:1").await;
        (client, at)
    });
    let clients = clients.await;
    assert!(clients.iter().all(|(_, at)| *at == before));
    fleet.kill_node();
    drop(clients);
    let last = publish_all(&mut publisher, "h:1", 1..=MISSED).await;

    let reads = reads(&fleet).await;
    let [_, b] = fleet.nodes();
    let clients = all(b, async move |mut client| {
        assert_eq!(resume(&mut client, "h:1", before).await, subscribed("h:1", last, true));
        for number in 1..=MISSED {
            let due = publication("h:1", number, before.plus(number));
            assert_eq!(client.event().await, due);
        }
        client
    });
    let clients = clients.await;
    let reads = self::reads(&fleet).await - reads;
    assert!(reads <= READS_MAX, "{CLIENTS} clients took {reads} readings");

    let next = publish_all(&mut publisher, "h:1", 0..=0).await;
    assert_eq!(next, last.plus(1));
    for mut client in clients {
        assert_eq!(client.event().await, publication("h:1", 0, next));
    }
}

/// Lives the story with every client at the same time; what became of each.
async fn all<T>(node: &Node, story: impl AsyncFn(Client) -> T) -> Vec<T> {
    let lives = (0..CLIENTS).map(async |_| story(Client::json_with_retries(node).await).await);
    join_all(lives).await
}

/// How often a history has been read from Redis.
async fn reads(fleet: &Fleet) -> u64 {
    let mut sum = 0;
    for redis in fleet.servers() {
        for command in ["cmdstat_xrange", "cmdstat_xrevrange"] {
            let Some(stat) = redis.info("commandstats", command).await else { continue };
            let calls = stat.strip_prefix("calls=").and_then(|stat| stat.split(',').next());
            sum += calls.expect("a count").parse::<u64>().expect("a number");
        }
    }
    sum
}
