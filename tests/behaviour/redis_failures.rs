//! Redis fails and recovers: client connections stay open, and clients and operators learn of the failure.

mod absent;
mod addresses;
mod hanging;
mod interrupted;
mod many_channels;
mod muted;
mod refused;
mod restarted;
mod too_large;

use testkit::client::{Client, publication};
use testkit::node::Node;
use testkit::{GAP_REASON, eventually};

/// Asserts that the next event is a gap of this channel.
async fn expect_gap(client: &mut Client, channel: &str) {
    let gap = serde_json::json!({"type": "gap", "channel": channel, "reason": GAP_REASON});
    assert_eq!(client.event().await, gap);
}

/// Publishes on one client and asserts that the next event of the other is the publication.
async fn assert_relayed(from: &mut Client, to: &mut Client, channel: &str, data: &str) {
    from.publish(channel, data.into()).await;
    assert_eq!(to.event().await, publication(channel, data));
}

/// Waits until Redis has confirmed the subscriptions of all wanted channels.
async fn wait_until_subscribed(node: &Node, channels: f64) {
    eventually("all channels to be subscribed again", async || {
        let wanted = node.metric("tidegate_subscriptions_wanted").await;
        let confirmed = node.metric("tidegate_subscriptions_confirmed").await;
        (wanted == channels && confirmed == channels).then_some(())
    })
    .await;
}
