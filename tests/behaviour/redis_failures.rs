//! Redis goes away and comes back; connections stay, and nobody is left in the dark.

mod absent;
mod addresses;
mod hanging;
mod interrupted;
mod many;
mod refused;
mod restarted;
mod silent;
mod too_large;

use testkit::client::{Client, publication};
use testkit::node::Node;
use testkit::{GAP_REASON, eventually};

/// The next event is a gap of this channel.
async fn hears_gap(client: &mut Client, channel: &str) {
    let gap = serde_json::json!({"type": "gap", "channel": channel, "reason": GAP_REASON});
    assert_eq!(client.event().await, gap);
}

/// A client with `publish` on one node is heard by one on another, right away.
async fn relays(from: &mut Client, to: &mut Client, channel: &str, data: &str) {
    from.publish(channel, data.into()).await;
    assert_eq!(to.event().await, publication(channel, data));
}

/// All that is wanted of Redis is confirmed.
async fn is_subscribed_again(node: &Node, channels: f64) {
    eventually("all channels to be subscribed again", async || {
        let wanted = node.metric("tidegate_subscriptions_wanted").await;
        let confirmed = node.metric("tidegate_subscriptions_confirmed").await;
        (wanted == channels && confirmed == channels).then_some(())
    })
    .await;
}
