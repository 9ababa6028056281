//! Reads a channel's history backwards, as far as resuming clients need.

use crate::broker::{Broker, PAGE_MAX, Page, Unavailable};
use crate::hub::recent_publications::BACKLOG_BYTES_MAX;
use crate::hub::registry::Registry;
use crate::publication::{Channel, Position, Publication};

pub async fn load(registry: &Registry, broker: &dyn Broker, channel: Channel) {
    let channels = &registry.channels;
    let range =
        channels.with_cursor(&channel, |cursor, _| cursor.positions.recent()?.range()).flatten();
    let read = match range {
        Some((start, oldest)) => read(broker, &channel, start, oldest).await,
        // The chain already starts with the first publication.
        None => Ok((Vec::new(), true)),
    };
    channels.with_cursor(&channel, |cursor, _| match (cursor.positions.recent(), read) {
        (Some(recent), Ok((newest_first, is_all))) => recent.add_loaded(newest_first, is_all),
        (Some(recent), Err(why)) => recent.fail_waiters(why),
        (None, _) => {}
    });
}

/// Reads from `start` back to `oldest`. Returns the publications, newest first, and whether nothing precedes
/// them, or nothing that a client may get.
async fn read(
    broker: &dyn Broker,
    channel: &Channel,
    start: Position,
    oldest: Position,
) -> Result<(Vec<Publication>, bool), Unavailable> {
    let mut newest_first: Vec<Publication> = Vec::new();
    let mut bytes = 0;
    let mut page = Page::Before(Position { seq: start.seq.saturating_add(1), ..start });
    loop {
        let some = broker.history(channel.clone(), page, PAGE_MAX).await?;
        let is_end = some.len() < PAGE_MAX;
        bytes += some.iter().map(|publication| publication.payload.len()).sum::<usize>();
        newest_first.extend(some);
        let first = newest_first.last().and_then(|publication| publication.position);
        page = match first {
            _ if is_end || bytes > BACKLOG_BYTES_MAX => return Ok((newest_first, true)),
            // One more than requested, because its position tells where the chain starts.
            Some(first) if first <= oldest => return Ok((newest_first, false)),
            Some(first) => Page::Before(first),
            None => return Ok((newest_first, true)),
        };
    }
}
