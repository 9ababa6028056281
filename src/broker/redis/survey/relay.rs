//! What a master relays: a publication of the command's own, and the announcements of nodes.

use std::collections::BTreeSet;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Pipeline, Value};
use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::replies::{ANSWER_TIMEOUT, query, text};
use crate::broker::announcement::NodeStage;
use crate::broker::redis::announcement;
use crate::broker::redis::connection::feed::{self, Feed, FeedLost};
use crate::broker::redis::connection::resp::RespMessage;
use crate::broker::redis::context::RedisContext;
use crate::broker::redis::header;
use crate::broker::redis::lanes::lane::Lane;
use crate::publication::NodeId;

/// How long announcements are collected: each node of a small fleet announces within two seconds.
pub const LISTEN_TIME: Duration = Duration::from_millis(2500);

/// Maximum number of nodes with other rules that are reported.
const NODES_MAX: usize = 10;

/// Publishes to a probe channel and waits for the publication, as nodes do all the time.
pub async fn relay(
    context: &RedisContext,
    lane: &Lane,
    connection: &mut MultiplexedConnection,
) -> Result<Duration, String> {
    let channel = context.name(&context.map.probe(lane, context.node));
    let relaying = async {
        let (mut feed, mut writer) =
            feed::open(&lane.server).await.map_err(|lost| error_text(&lost))?;
        writer.command(context.pubsub.subscribe(), std::slice::from_ref(&channel));
        writer.write().await.map_err(|lost| lost.to_string())?;
        wait_for(&mut feed, |message| matches!(message, RespMessage::Subscribed { .. })).await?;
        let mut publication = Pipeline::new();
        publication.cmd(context.pubsub.publish()).arg(&channel).arg("doctor");
        let sent = Instant::now();
        let answer = query(connection, &publication).await?;
        text(answer.into_iter().next().unwrap_or(Value::Nil))?;
        wait_for(&mut feed, |message| matches!(message, RespMessage::Message { .. })).await?;
        Ok(sent.elapsed())
    };
    let silent = || "it took a publication and did not relay it".to_owned();
    timeout(2 * ANSWER_TIMEOUT, relaying).await.unwrap_or_else(|_| Err(silent()))
}

/// Collects nodes that announce rules other than the configuration's, until the connection ends or
/// the caller cancels.
pub async fn collect_other_rules(
    context: &RedisContext,
    lane: &Lane,
    others: &mut BTreeSet<NodeId>,
) -> Result<(), FeedLost> {
    let channel = announcement::channel();
    if !context.map.owns(lane, &channel) {
        return Ok(());
    }
    let own = context.library.get().hash();
    let (mut feed, mut writer) = feed::open(&lane.server).await?;
    writer.command(context.pubsub.subscribe(), &[context.name(&channel)]);
    writer.write().await?;
    loop {
        let reading = feed.read(|message, _| {
            let RespMessage::Message { payload, .. } = message else { return };
            let announcement = header::read(Bytes::copy_from_slice(payload), |_| false).payload;
            let announcement = announcement::read(&announcement)
                .filter(|announcement| announcement.stage != NodeStage::Gone);
            if let Some(announcement) = announcement
                .filter(|announcement| announcement.rules.is_some_and(|rules| rules != own))
                && others.len() < NODES_MAX
            {
                others.insert(announcement.node);
            }
        });
        reading.await?;
    }
}

/// Reads until a matching message or an error arrives.
async fn wait_for(feed: &mut Feed, is_it: impl Fn(&RespMessage<'_>) -> bool) -> Result<(), String> {
    let mut answer = None;
    while answer.is_none() {
        let reading = feed.read(|message, _| match message {
            RespMessage::Error(error) => {
                answer = Some(Err(String::from_utf8_lossy(error).into_owned()));
            }
            message if is_it(&message) => answer = Some(Ok(())),
            _ => {}
        });
        reading.await.map_err(|lost| lost.to_string())?;
    }
    answer.unwrap_or(Ok(()))
}

fn error_text(lost: &FeedLost) -> String {
    match lost {
        FeedLost::Replica => "it is a replica, which nodes do not use".to_owned(),
        lost => lost.to_string(),
    }
}
