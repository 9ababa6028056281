//! The `history` command.

use crate::broker::{PAGE_MAX, Page, Unavailable};
use crate::hub::Hub;
use crate::protocol::{Code, Excerpt, Id, Reply, ReplyError};
use crate::publication::{Channel, EndReason, Position, Publication, as_text_part};

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
        Ok(mut excerpt) => {
            if hub.rules().of(channel.as_str()).merges() {
                let publications = std::mem::take(&mut excerpt.publications).into_iter();
                excerpt.publications = publications.map(as_text_part).collect();
            }
            Reply::History { id, channel, excerpt }
        }
        Err(why) => refuse(Code::Unavailable, why.to_string()),
    }
}

/// The reply without private publications, if the client may not read them.
pub fn readable(mut reply: Reply, reads_private: bool) -> Reply {
    if let Reply::History { excerpt, .. } = &mut reply {
        excerpt.publications.retain(|publication| reads_private || !publication.is_private());
    }
    reply
}

/// Reads the publications that follow a position.
async fn following(
    hub: &Hub,
    channel: &Channel,
    since: Position,
    limit: usize,
) -> Result<Excerpt, Unavailable> {
    let (end, ended) = end(hub, channel).await?;
    // A position beyond the end belongs to a history that no longer exists.
    let mut unbroken = end.is_some_and(|end| end >= since);
    let mut following = Following { publications: Vec::new(), at: since };
    let mut more = true;
    while following.publications.len() < limit && more && !is_full(&following.publications) {
        let count = (limit - following.publications.len()).min(PAGE_MAX);
        let page = Page::After(following.at);
        let page = hub.broker().history(channel.clone(), page, count).await?;
        more = page.len() == count;
        unbroken &= following.append(page);
    }
    let Following { mut publications, at } = following;
    let cut = fit(publications.iter());
    more = publications.len() > cut || (more && Some(at) < end);
    publications.truncate(cut);
    if publications.is_empty() {
        // No publication follows: either `since` is the end, or the following publications were trimmed.
        unbroken = end == Some(since);
    }
    let position = publications.last().map_or(end, |last| last.position);
    let last_end = publications.pop_if(|last| last.end.is_some()).and_then(|last| last.end);
    let ended = last_end.or(ended.filter(|_| position == end && !more));
    Ok(Excerpt { publications, position, recovered: Some(unbroken), more, ended })
}

/// The publications that follow a position, while their pages are read.
struct Following {
    publications: Vec<Publication>,
    /// The position of the last one; at first the position that they follow.
    at: Position,
}

impl Following {
    /// Appends a page. Returns whether nothing is missing before or in it.
    ///
    /// Publications may be trimmed between the reads of two pages. Then the earlier pages are trimmed too and
    /// are dropped, so that nothing is missing within the excerpt.
    fn append(&mut self, page: Vec<Publication>) -> bool {
        let mut unbroken = true;
        if let Some(first) = page.first().filter(|first| !first.follows(self.at)) {
            let same_epoch = |it: &Position| it.epoch == self.at.epoch;
            if first.position.as_ref().is_some_and(same_epoch) {
                self.publications.clear();
            }
        }
        for publication in page {
            unbroken &= publication.follows(self.at);
            self.at = publication.position.unwrap_or(self.at);
            self.publications.push(publication);
        }
        unbroken
    }
}

/// Reads the newest publications.
async fn newest(hub: &Hub, channel: &Channel, limit: usize) -> Result<Excerpt, Unavailable> {
    let (end, ended) = end(hub, channel).await?;
    // The end of a run is an entry and no publication.
    let entries_max = limit + usize::from(ended.is_some());
    let mut newest_first: Vec<Publication> = Vec::new();
    let mut page = Page::Newest;
    let mut more = true;
    while newest_first.len() < entries_max && more && !is_full(&newest_first) {
        let count = (entries_max - newest_first.len()).min(PAGE_MAX);
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
    let mut publications = newest_first;
    // From the entries, because a run may have ended or begun meanwhile.
    let ended = publications.pop_if(|last| last.end.is_some()).and_then(|last| last.end);
    publications.drain(..publications.len().saturating_sub(limit));
    Ok(Excerpt { publications, position, recovered: None, more, ended })
}

/// The channel's last position, and the reason if it is the end of a run.
async fn end(
    hub: &Hub,
    channel: &Channel,
) -> Result<(Option<Position>, Option<EndReason>), Unavailable> {
    let mut ends = hub.broker().positions(vec![channel.clone()]).await;
    let end = ends.pop().unwrap_or(Ok(None))?;
    Ok(end.map_or((None, None), |end| (Some(end.position), end.ended)))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn page(epoch: u64, numbers: std::ops::Range<u64>) -> Vec<Publication> {
        let at = |seq| Publication {
            position: Some(Position { epoch, seq }),
            ..Publication::bare("x".into())
        };
        numbers.map(at).collect()
    }

    fn numbers(following: &Following) -> Vec<u64> {
        following.publications.iter().filter_map(|it| it.position).map(|it| it.seq).collect()
    }

    #[test]
    fn pages_that_follow_each_other_are_joined() {
        let mut following =
            Following { publications: Vec::new(), at: Position { epoch: 7, seq: 3 } };
        assert!(following.append(page(7, 4..6)) && following.append(page(7, 6..8)));
        assert_eq!(numbers(&following), [4, 5, 6, 7]);
    }

    #[test]
    fn pages_before_publications_that_were_trimmed_between_two_reads_are_dropped() {
        let mut following =
            Following { publications: Vec::new(), at: Position { epoch: 7, seq: 3 } };
        assert!(following.append(page(7, 4..6)));
        assert!(!following.append(page(7, 9..11)));
        assert_eq!(numbers(&following), [9, 10]);
    }

    #[test]
    fn a_history_that_begins_after_the_position_is_kept_whole() {
        let mut following =
            Following { publications: Vec::new(), at: Position { epoch: 7, seq: 3 } };
        assert!(!following.append(page(7, 5..7)));
        assert_eq!(numbers(&following), [5, 6]);
    }
}
