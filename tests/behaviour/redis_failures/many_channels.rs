//! Many channels are subscribed again after an interruption.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use testkit::client::Client;
use testkit::node::Node;
use testkit::redis::Redis;
use tokio::time::sleep;

const CLIENTS: usize = 10;
const COMMANDS_PER_CLIENT: usize = 10;
const CHANNELS_PER_COMMAND: usize = 1000;

/// The longest until all channels are subscribed again.
const RESUBSCRIBE_MAX: Duration = Duration::from_secs(2);

/// The longest delay of a publication on a subscribed channel meanwhile.
const DELAY_MAX: Duration = Duration::from_millis(250);

/// A measurement: `cargo test --release --test behaviour -- --ignored --nocapture hundred_thousand`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures; too much for a machine that runs other tests at the same time"]
async fn a_hundred_thousand_channels_are_resubscribed_within_2_s_and_delay_no_other() {
    let redis = Redis::start().await;
    let settings = [
        "session.channels_max=10000",
        "session.message_bytes_max=1MiB",
        "session.queue_bytes_max=16MiB",
    ];
    let node = Node::on(&redis, &settings).await;
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let mut client = Client::json(&node).await;
        for command in 0..COMMANDS_PER_CLIENT {
            let name = |at: usize| (format!("room:{number}:{command}:{at}"), Value::Null);
            let channels: Map<_, _> = (0..CHANNELS_PER_COMMAND).map(name).collect();
            client.send_command(json!({"type": "subscribe", "id": 1, "channels": channels})).await;
            for _ in 0..CHANNELS_PER_COMMAND {
                assert_eq!(client.answer(1).await["type"], "subscribed");
            }
        }
        clients.push(client);
    }
    let all = (CLIENTS * COMMANDS_PER_CLIENT * CHANNELS_PER_COMMAND) as f64;
    node.wait_for_metric("tidegate_subscriptions_confirmed", all).await;

    let mut receiving = Vec::new();
    for mut client in clients {
        receiving.push(tokio::spawn(async move {
            for _ in 0..COMMANDS_PER_CLIENT * CHANNELS_PER_COMMAND {
                assert_eq!(client.event().await["type"], "gap");
            }
        }));
    }
    let cut = Instant::now();
    redis.kill_subscribers().await;
    // The node requests this new channel behind all others; it is then subscribed while confirmations are outstanding.
    let mut live = Client::subscribed(&node, "live").await;
    let mut longest = Duration::ZERO;
    let mut connection = redis.connection().await;
    let again = loop {
        let sent = Instant::now();
        let mut publish = redis::cmd("PUBLISH");
        publish.arg("tidegate:live").arg(1);
        let _: u64 = publish.query_async(&mut connection).await.expect("Redis publishes");
        live.event().await;
        longest = longest.max(sent.elapsed());
        if node.metric("tidegate_subscriptions_confirmed").await == all + 1. {
            break cut.elapsed();
        }
        sleep(Duration::from_millis(5)).await;
    };
    for client in receiving {
        client.await.expect("every channel has its gap");
    }
    println!("{all} channels live again after {again:?}; longest delay beside it {longest:?}");
    assert!(again < RESUBSCRIBE_MAX, "{again:?}");
    assert!(longest < DELAY_MAX, "{longest:?}");
}
