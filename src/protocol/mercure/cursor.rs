//! The topics that a client follows: where it resumes, and the id of each event.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::events::EventMark;
use super::reader::PrivateReader;
use crate::framing::sse::SseEvent;
use crate::protocol::json::written;
use crate::protocol::sse::{NOT_RECOVERED, RETRY_MS, Reached, StreamPosition};
use crate::protocol::{Push, Reply, Stamp};
use crate::publication::{Channel, ReplayStart};
use crate::topics::TopicSelector;

/// The id that stands for the beginning of what is kept.
pub const EARLIEST: &str = "earliest";

/// The id of the last event that a client has, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LastId {
    /// The client wants everything that is kept.
    Earliest,
    /// No node has sent it for these topics, so that everything that is kept may be new.
    Unknown,
    At(StreamPosition),
}

impl LastId {
    pub fn read(channels: &[Channel], text: &str) -> Self {
        if text == EARLIEST {
            return Self::Earliest;
        }
        if let ([channel], Ok(position)) = (channels, text.parse()) {
            let mut at = StreamPosition::new(channels);
            at.set(channel.as_str(), Reached::At(position));
            return Self::At(at);
        }
        match StreamPosition::resumed(channels, text) {
            Ok(at) => Self::At(at),
            Err(_) => Self::Unknown,
        }
    }
}

/// The topics of a session, each with its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowedTopics {
    channels: Box<[Channel]>,
    /// What selects further channels, by patterns.
    selectors: Box<[TopicSelector]>,
    start: StreamPosition,
    /// Which channels begin with the first publication that is kept, in their order.
    from_first: Box<[bool]>,
    reader: PrivateReader,
    report: ResumeReport,
}

impl FollowedTopics {
    /// `keeps_history`: whether the rule of a channel keeps any.
    pub fn new(
        channels: Vec<Channel>,
        selectors: Vec<TopicSelector>,
        last_id: Option<&LastId>,
        keeps_history: impl Fn(&Channel) -> bool,
        reader: PrivateReader,
    ) -> Self {
        let is_kept: Box<[bool]> = channels.iter().map(keeps_history).collect();
        let new = StreamPosition::new(&channels);
        let nothing = vec![false; channels.len()].into_boxed_slice();
        let (start, from_first) = match last_id {
            None => (new, nothing),
            Some(LastId::Earliest) => (new, is_kept),
            Some(LastId::Unknown) => {
                let mut start = new;
                for channel in &channels {
                    start.set(channel.as_str(), Reached::Unknown);
                }
                (start, is_kept)
            }
            Some(LastId::At(at)) => (at.clone(), nothing),
        };
        let report = ResumeReport::default();
        let (channels, selectors) = (channels.into(), selectors.into());
        Self { channels, selectors, start, from_first, reader, report }
    }

    /// The same where these channels could not resume: they begin with the first publication that is kept, and the client
    /// is told that some are missing.
    pub fn without(&self, lost: &[Channel]) -> Self {
        let mut again = Self { report: ResumeReport::default(), ..self.clone() };
        for channel in lost {
            again.start.set(channel.as_str(), Reached::Unknown);
            if let Some(at) = again.channels.iter().position(|it| it == channel) {
                again.from_first[at] = true;
            }
        }
        again
    }

    pub fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// Whether selectors select further channels.
    pub fn has_selectors(&self) -> bool {
        !self.selectors.is_empty()
    }

    /// What the session's subscriptions report about resuming.
    pub fn report(&self) -> ResumeReport {
        self.report.clone()
    }

    /// Where each channel begins, in the order of the list.
    pub fn since(&self) -> Vec<Option<ReplayStart>> {
        let start = |(reached, from_first): (Reached, &bool)| match reached {
            _ if *from_first => Some(ReplayStart::First),
            Reached::At(position) => Some(ReplayStart::After(position)),
            Reached::New | Reached::Unknown => None,
        };
        self.start.each().zip(&self.from_first).map(start).collect()
    }

    /// The session subscribes to the channels in the order of the list. Each reply sets the position in its channel; the
    /// last one begins the stream for the client, with the reconnect delay and the id from which to resume. A channel of
    /// which something may be missing gets a `gap`.
    pub fn reply(&self, reply: &Reply) -> Option<Bytes> {
        let Reply::Subscribed { channel, position, recovered, .. } = reply else { return None };
        let is_lost = self.start.of(channel.as_str()) == Some(Reached::Unknown);
        self.report.add(channel, *recovered, is_lost);
        // A backlog follows, whose events set the position.
        let reached = position.filter(|_| *recovered != Some(true));
        let mark = match (reached, recovered) {
            (None, Some(true)) => String::new(),
            _ => EventMark::of_position(channel.as_str(), reached).text(),
        };
        let mut event = SseEvent::default().id(&mark);
        if self.channels.last() == Some(channel) {
            event = event.retry(rand::random_range(RETRY_MS));
        }
        if is_lost || *recovered == Some(false) {
            let gap = Push::Gap { channel: channel.as_str(), reason: NOT_RECOVERED };
            event = event.name("gap").data(&written::push(&gap));
        }
        Some(event.end())
    }

    pub fn stamp(&self) -> Stamp {
        let (mut at, reader) = (self.start.clone(), self.reader.clone());
        let (channels, selectors) = (self.channels.clone(), self.selectors.clone());
        let is_followed = move |topic: &str| {
            channels.iter().any(|it| it.as_str() == topic)
                || (selectors.iter().any(|it| it.matches(topic)) && reader.may_follow(topic))
        };
        let (count, reader) = (self.channels.len(), self.reader.clone());
        Box::new(move |frame| stamped(&mut at, count, &is_followed, &reader, frame))
    }
}

/// Decides whether the client gets an event, and replaces its mark by the id: the position of the stream after it, or of
/// a stream without any the id of the update. None: the client does not get it.
fn stamped(
    stream: &mut StreamPosition,
    channels: usize,
    is_followed: &impl Fn(&str) -> bool,
    reader: &PrivateReader,
    frame: Bytes,
) -> Option<Bytes> {
    const ID: &[u8] = b"id: ";
    let Some((mark, rest)) = frame.strip_prefix(ID).and_then(split_line) else {
        return Some(frame);
    };
    let mut event_id = String::new();
    if let Some(mark) = EventMark::read(mark) {
        event_id = match mark.position {
            Some(position) if mark.event_id.is_empty() => position.to_string(),
            _ => mark.event_id.to_owned(),
        };
        stream.set(mark.channel, mark.position.map_or(Reached::Unknown, Reached::At));
        // A client that follows several channels of an update gets it on the first of them. A pattern shows more channels
        // than its selector.
        let first = mark.topics.iter().find(|topic| is_followed(topic));
        if *first.unwrap_or(&mark.channel) != mark.channel || !is_followed(mark.channel) {
            return None;
        }
        let topics = mark.topics.iter().copied().chain([mark.channel]);
        if mark.is_private && !reader.may_read(topics) {
            return None;
        }
    }
    if rest == b"\n" {
        return None;
    }
    let mut out = Vec::with_capacity(frame.len() + 128);
    let id = id_of(stream, channels, &event_id);
    if !id.is_empty() {
        out.extend_from_slice(ID);
        out.extend_from_slice(&id);
        out.push(b'\n');
    }
    out.extend_from_slice(rest);
    Some(out.into())
}

/// A position if there is one channel; empty if nothing is known.
fn id_of(stream: &StreamPosition, channels: usize, event_id: &str) -> Vec<u8> {
    let mut known = stream.each().filter_map(|reached| match reached {
        Reached::At(position) => Some(position),
        Reached::New | Reached::Unknown => None,
    });
    match (known.next(), channels) {
        (None, _) => event_id.as_bytes().to_vec(),
        (Some(position), 1) => position.to_string().into_bytes(),
        (Some(_), _) => {
            let mut id = Vec::new();
            stream.write(&mut id);
            id
        }
    }
}

/// The text before the first line end, and the bytes after it.
fn split_line(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some((str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]))
}

/// Which of a session's channels continue where the client was. Filled when the session starts. Cheap to clone; all
/// clones share one state.
#[derive(Clone, Debug, Default)]
pub struct ResumeReport(Arc<Mutex<Vec<ResumedChannel>>>);

#[derive(Clone, Debug)]
struct ResumedChannel {
    channel: Channel,
    recovered: Option<bool>,
    is_lost: bool,
}

impl ResumeReport {
    fn add(&self, channel: &Channel, recovered: Option<bool>, is_lost: bool) {
        let report = ResumedChannel { channel: channel.clone(), recovered, is_lost };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(report);
    }

    /// The channels that could not continue at a position.
    pub fn lost(&self) -> Vec<Channel> {
        let reports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = reports.iter().filter(|it| it.recovered == Some(false) && !it.is_lost);
        lost.map(|it| it.channel.clone()).collect()
    }

    /// The id of the event before the first one that the client gets: the id that it sent, unless something may be
    /// missing or it gets everything that is kept.
    pub fn last_id<'a>(&self, requested: &'a str) -> &'a str {
        let reports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_whole = |it: &ResumedChannel| it.recovered != Some(false) && !it.is_lost;
        match requested != EARLIEST && reports.iter().all(is_whole) {
            true => requested,
            false => EARLIEST,
        }
    }
}

impl PartialEq for ResumeReport {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ResumeReport {}
