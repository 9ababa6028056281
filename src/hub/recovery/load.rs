//! Reads a channel's history backwards, as far as new subscribers need.

use crate::broker::{Broker, PAGE_MAX, Page, Unavailable};
use crate::hub::recent_publications::{BACKLOG_BYTES_MAX, LoadRequest, LoadedHistory};
use crate::hub::registry::Registry;
use crate::publication::{Channel, Position, Publication};

pub async fn load(registry: &Registry, broker: &dyn Broker, channel: Channel) {
    let channels = &registry.channels;
    let request = channels
        .with_cursor(&channel, |cursor, _| Some(cursor.positions.recent()?.load_request()))
        .flatten();
    let Some(request) = request else { return };
    let loaded = read(broker, &channel, request).await;
    channels.with_cursor(&channel, |cursor, _| {
        if let Some(recent) = cursor.positions.recent() {
            recent.finish_load(request, loaded);
        }
    });
}

async fn read(
    broker: &dyn Broker,
    channel: &Channel,
    request: LoadRequest,
) -> Result<LoadedHistory, Unavailable> {
    let mut loaded = match request.start {
        Some(start) => read_back(broker, channel, start, request).await?,
        // The chain already starts with the first publication.
        None => LoadedHistory { is_all: true, ..LoadedHistory::default() },
    };
    if let Some(end) = request.trim_up_to {
        loaded.kept_from = Some(kept_from(broker, channel, end).await?);
    }
    Ok(loaded)
}

/// Reads from `start` back as far as requested.
async fn read_back(
    broker: &dyn Broker,
    channel: &Channel,
    start: Position,
    LoadRequest { oldest, count, .. }: LoadRequest,
) -> Result<LoadedHistory, Unavailable> {
    let mut newest_first: Vec<Publication> = Vec::new();
    let mut bytes = 0;
    let mut page = Page::Before(after(start));
    let loaded = |newest_first, is_all| LoadedHistory { newest_first, is_all, kept_from: None };
    loop {
        let some = broker.history(channel.clone(), page, PAGE_MAX).await?;
        let is_end = some.len() < PAGE_MAX;
        bytes += some.iter().map(|publication| publication.payload.len()).sum::<usize>();
        newest_first.extend(some);
        let first = newest_first.last().and_then(|publication| publication.position);
        page = match first {
            _ if is_end || bytes > BACKLOG_BYTES_MAX => return Ok(loaded(newest_first, true)),
            // One more than requested, because its position tells where the chain starts.
            Some(first) if first <= oldest && newest_first.len() >= count => {
                return Ok(loaded(newest_first, false));
            }
            Some(first) => Page::Before(first),
            None => return Ok(loaded(newest_first, true)),
        };
    }
}

/// The position of the first publication that the history keeps. If it keeps none, the position after `end`.
async fn kept_from(
    broker: &dyn Broker,
    channel: &Channel,
    end: Position,
) -> Result<Position, Unavailable> {
    // The broker trims by age when it is asked for the end. If it cannot, it keeps more for a while.
    let _ = broker.positions(vec![channel.clone()]).await;
    let first = broker.history(channel.clone(), Page::After(Position::MIN), 1).await?;
    Ok(first.first().and_then(|first| first.position).unwrap_or_else(|| after(end)))
}

fn after(position: Position) -> Position {
    Position { seq: position.seq.saturating_add(1), ..position }
}
