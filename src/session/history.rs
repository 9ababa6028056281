//! The `history` command.

use crate::broker::{PAGE_MAX, Page, Unavailable};
use crate::hub::Hub;
use crate::protocol::{Code, Excerpt, Id, Reply, ReplyError};
use crate::publication::{Channel, Position, Publication};

/// Most payload bytes of one reply. A reply holds at least one publication, whatever its size.
const BYTES_MAX: usize = 512 << 10;

/// Reads the reply to a `history` command.
pub async fn read(
    hub: Hub,
    id: Option<Id>,
    channel: Channel,
    since: Option<Position>,
    limit: usize,
) -> Reply {
    let refuse = |code, message| {
        let channel = Some(channel.to_string());
        Reply::Error(ReplyError { id: id.clone(), channel, code, message })
    };
    if hub.rules().of(channel.as_str()).history.is_none() {
        return refuse(Code::NotFound, hub.rules().explain_not_kept("history", channel.as_str()));
    }
    let read = match since {
        Some(since) => following(&hub, &channel, since, limit).await,
        None => newest(&hub, &channel, limit).await,
    };
    match read {
        Ok(excerpt) => Reply::History { id, channel, excerpt },
        Err(why) => refuse(Code::Unavailable, why.to_string()),
    }
}

/// Reads the publications that follow a position.
async fn following(
    hub: &Hub,
    channel: &Channel,
    since: Position,
    limit: usize,
) -> Result<Excerpt, Unavailable> {
    let end = end(hub, channel).await?;
    let mut publications = Vec::new();
    let mut at = since;
    // A position beyond the end belongs to a history that no longer exists.
    let mut unbroken = end.is_some_and(|end| end >= since);
    let mut more = true;
    while publications.len() < limit && more && !is_full(&publications) {
        let count = (limit - publications.len()).min(PAGE_MAX);
        let page = hub.broker().history(channel.clone(), Page::After(at), count).await?;
        more = page.len() == count;
        for publication in page {
            unbroken &= publication.follows(at);
            at = publication.position.unwrap_or(at);
            publications.push(publication);
        }
    }
    let cut = fit(publications.iter());
    more = publications.len() > cut || (more && Some(at) < end);
    publications.truncate(cut);
    if publications.is_empty() {
        // No publication follows: either `since` is the end, or the following publications were trimmed.
        unbroken = end == Some(since);
    }
    let position = publications.last().map_or(end, |last| last.position);
    Ok(Excerpt { publications, position, recovered: Some(unbroken), more })
}

/// Reads the newest publications.
async fn newest(hub: &Hub, channel: &Channel, limit: usize) -> Result<Excerpt, Unavailable> {
    let end = end(hub, channel).await?;
    let mut newest_first: Vec<Publication> = Vec::new();
    let mut page = Page::Newest;
    let mut more = true;
    while newest_first.len() < limit && more && !is_full(&newest_first) {
        let count = (limit - newest_first.len()).min(PAGE_MAX);
        let some = hub.broker().history(channel.clone(), page, count).await?;
        more = some.len() == count;
        newest_first.extend(some);
        if let Some(first) = newest_first.last().and_then(|it| it.position) {
            page = Page::Before(first);
        }
    }
    let cut = fit(newest_first.iter());
    more = newest_first.len() > cut;
    newest_first.truncate(cut);
    let position = newest_first.first().map_or(end, |newest| newest.position);
    newest_first.reverse();
    Ok(Excerpt { publications: newest_first, position, recovered: None, more })
}

/// The position of the channel's last publication.
async fn end(hub: &Hub, channel: &Channel) -> Result<Option<Position>, Unavailable> {
    let mut ends = hub.broker().positions(vec![channel.clone()]).await;
    ends.pop().unwrap_or(Ok(None))
}

/// Whether the publications exceed one reply.
fn is_full(publications: &[Publication]) -> bool {
    fit(publications.iter()) < publications.len()
}

/// How many of the publications fit into one reply.
fn fit<'a>(publications: impl Iterator<Item = &'a Publication>) -> usize {
    let mut bytes = 0;
    let fitting = publications.take_while(|publication| {
        bytes += publication.payload.len();
        bytes <= BYTES_MAX
    });
    fitting.count().max(1)
}
