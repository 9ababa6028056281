//! All clients of a lost node resume at once on another: they share one read of the history.

use futures_util::future::join_all;
use testkit::client::Client;
use testkit::eventually;
use testkit::fleet::{Broker, Fleet, for_simple_brokers};
use testkit::node::Node;

use super::{LONG, publication, publish_all, resume, subscribe, subscribed};

for_simple_brokers!(
    a_thousand_clients_that_resume_at_once_miss_nothing_and_share_the_history_reads
);

const CLIENTS: usize = 1000;

/// More than a page of the history, and less than an outbound queue holds.
const MISSED: u64 = 150;

/// A client that waits for the others reads nothing meanwhile, and so answers no ping. On a busy machine it waits
/// for longer than the default interval.
const NO_PING: &str = "session.ping_interval=10m";

/// The most reads of a history of [`MISSED`] publications: one for each page, and those that a changed set of
/// subscribers may add.
const READS_MAX: u64 = 10;

async fn a_thousand_clients_that_resume_at_once_miss_nothing_and_share_the_history_reads(
    broker: Broker,
) {
    let mut fleet = broker.fleet(&[LONG, NO_PING]).await;
    let [a, b] = fleet.nodes();
    let mut publisher = Client::json(b).await;
    let before = subscribe(&mut Client::json(a).await, "h:1").await;
    let clients = with_all_clients(a, async |mut client| {
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
    let clients = with_all_clients(b, async move |mut client| {
        // As real clients do, it tries again if Redis did not answer in time.
        let resumed = eventually("the client to resume", async || {
            let answer = resume(&mut client, "h:1", before).await;
            (answer["temporary"] != true).then_some(answer)
        });
        assert_eq!(resumed.await, subscribed("h:1", last, true));
        for number in 1..=MISSED {
            let expected = publication("h:1", number, before.plus(number));
            assert_eq!(client.event().await, expected);
        }
        client
    });
    let clients = clients.await;
    let reads = self::reads(&fleet).await - reads;
    assert!(reads <= READS_MAX, "{CLIENTS} clients caused {reads} reads");

    let next = publish_all(&mut publisher, "h:1", 0..=0).await;
    assert_eq!(next, last.plus(1));
    for mut client in clients {
        assert_eq!(client.event().await, publication("h:1", 0, next));
    }
}

/// Runs `scenario` with all clients at the same time, and returns the results.
async fn with_all_clients<T>(node: &Node, scenario: impl AsyncFn(Client) -> T) -> Vec<T> {
    let runs = (0..CLIENTS).map(async |_| scenario(Client::json_with_retries(node).await).await);
    join_all(runs).await
}

/// The number of history reads that the Redis servers have counted.
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
