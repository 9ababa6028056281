//! What a master relays: a publication of the survey's own, and what nodes tell each other.

use std::collections::BTreeSet;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Pipeline, Value};
use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::asking::{ANSWER_TIMEOUT, ask, text};
use crate::broker::announcement::NodeStage;
use crate::broker::redis::announcement;
use crate::broker::redis::connection::feed::{self, Feed, FeedLost};
use crate::broker::redis::connection::resp::RespMessage;
use crate::broker::redis::context::RedisContext;
use crate::broker::redis::header;
use crate::broker::redis::lanes::lane::Lane;
use crate::publication::NodeId;

/// How long it is listened to what nodes announce: each of a small fleet does within two seconds.
pub const LISTEN_TIME: Duration = Duration::from_millis(2500);

/// Most nodes with other rules that are named.
const NODES_MAX: usize = 10;

/// Publishes to a channel of its own and waits for it, as nodes do all the time.
pub async fn relay(
    context: &RedisContext,
    lane: &Lane,
    connection: &mut MultiplexedConnection,
) -> Result<Duration, String> {
    let channel = context.name(&context.map.probe(lane, context.node));
    let relaying = async {
        let (mut feed, mut asking) =
            feed::open(&lane.server).await.map_err(|lost| explained(&lost))?;
        asking.ask(context.pubsub.subscribe(), std::slice::from_ref(&channel));
        asking.write().await.map_err(|lost| lost.to_string())?;
        heard(&mut feed, |said| matches!(said, RespMessage::Subscribed { .. })).await?;
        let mut publication = Pipeline::new();
        publication.cmd(context.pubsub.publish()).arg(&channel).arg("doctor");
        let sent = Instant::now();
        let answer = ask(connection, &publication).await?;
        text(answer.into_iter().next().unwrap_or(Value::Nil))?;
        heard(&mut feed, |said| matches!(said, RespMessage::Message { .. })).await?;
        Ok(sent.elapsed())
    };
    let silent = || "it took a publication and did not bring it back".to_owned();
    timeout(2 * ANSWER_TIMEOUT, relaying).await.unwrap_or_else(|_| Err(silent()))
}

/// Listens to what nodes tell each other, until the connection ends or the caller has enough: some name rules
/// that are not those of the configuration.
pub async fn listen(
    context: &RedisContext,
    lane: &Lane,
    others: &mut BTreeSet<NodeId>,
) -> Result<(), FeedLost> {
    let channel = announcement::channel();
    if !context.map.owns(lane, &channel) {
        return Ok(());
    }
    let own = context.library.get().hash();
    let (mut feed, mut asking) = feed::open(&lane.server).await?;
    asking.ask(context.pubsub.subscribe(), &[context.name(&channel)]);
    asking.write().await?;
    loop {
        let reading = feed.read(|said, _| {
            let RespMessage::Message { payload, .. } = said else { return };
            let told = header::read(Bytes::copy_from_slice(payload), |_| false).payload;
            let told = announcement::told(&told).filter(|told| told.stage != NodeStage::Gone);
            if let Some(told) = told.filter(|told| told.rules.is_some_and(|rules| rules != own))
                && others.len() < NODES_MAX
            {
                others.insert(told.node);
            }
        });
        reading.await?;
    }
}

/// Reads until it is said, or an error is.
async fn heard(feed: &mut Feed, is_it: impl Fn(&RespMessage<'_>) -> bool) -> Result<(), String> {
    let mut answer = None;
    while answer.is_none() {
        let reading = feed.read(|said, _| match said {
            RespMessage::Error(error) => {
                answer = Some(Err(String::from_utf8_lossy(error).into_owned()));
            }
            said if is_it(&said) => answer = Some(Ok(())),
            _ => {}
        });
        reading.await.map_err(|lost| lost.to_string())?;
    }
    answer.unwrap_or(Ok(()))
}

fn explained(lost: &FeedLost) -> String {
    match lost {
        FeedLost::Replica => "it is a replica, which nodes do not use".to_owned(),
        lost => lost.to_string(),
    }
}
