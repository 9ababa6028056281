//! Server-Sent Events of several channels on one stream: each event's data is the json `publication` object,
//! which names its channel, and its id is the position of the whole stream.
//!
//! All such streams share a publication's bytes, but their ids differ. So the shared bytes begin with a mark
//! instead: an `id` with the publication's own position and channel. Each stream's [`Stamp`] replaces it when
//! the event leaves the outbound queue, where the order of the channels' events is final.

use bytes::Bytes;

use super::stream_position::{InvalidStreamPosition, Reached, StreamPosition};
use super::{NOT_RECOVERED, RETRY_MS, Sse, SseEvents};
use crate::close::Close;
use crate::framing::sse::SseEvent;
use crate::protocol::json::{publication, written};
use crate::protocol::{
    Decoded, Encode, Format, Message, Packets, Push, Reply, ReplyError, SessionControl, Speak,
    Stamp, Will,
};
use crate::publication::{Channel, Position, Publication, ReplayStart, SessionId};

/// A session of several channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SseChannels {
    channels: Box<[Channel]>,
    /// Where it resumes.
    start: Box<StreamPosition>,
    /// Whether the stream begins with an event `subscribed` for each channel.
    tells_subscribed: bool,
}

impl SseChannels {
    /// `last_id`: the id of the last event that the client received. Fails if it is not such an id.
    pub fn new(
        channels: Vec<Channel>,
        last_id: Option<&str>,
    ) -> Result<Self, InvalidStreamPosition> {
        let start = match last_id {
            Some(text) => StreamPosition::resumed(&channels, text)?,
            None => StreamPosition::new(&channels),
        };
        Ok(Self { channels: channels.into(), start: Box::new(start), tells_subscribed: false })
    }

    /// Begins the stream with an event `subscribed` for each channel, whose position is where the channel's
    /// publications of this stream begin. A client reads what is before it from the history.
    pub fn telling_subscribed(self) -> Self {
        Self { tells_subscribed: true, ..self }
    }

    /// The position from which each channel resumes, in the order of the list.
    pub fn since(&self) -> Vec<Option<Position>> {
        let since = |reached| match reached {
            Reached::At(position) => Some(position),
            Reached::New | Reached::Unknown => None,
        };
        self.start.each().map(since).collect()
    }
}

impl Speak for SseChannels {
    fn begin(&mut self, _: SessionId) {}

    fn packets(&self) -> Option<Box<dyn Packets>> {
        None
    }

    fn decode(&self, _: Message, _: usize) -> Decoded {
        Sse::refuse_message()
    }

    /// The session subscribes to the channels in the order of the list. Each reply sets the stream's position
    /// in its channel. The last one begins the stream for the client, with the reconnect delay and the position
    /// from which to resume. A channel of which something may be missing gets a `gap`.
    fn reply(&self, reply: &Reply) -> Option<Bytes> {
        let Reply::Subscribed { channel, position, recovered, .. } = reply else { return None };
        // A backlog follows, whose events set the position.
        let reached = (*recovered != Some(true)).then_some(*position);
        let mut event = SseEvent::default().id(&match reached {
            Some(position) => Mark { channel: channel.as_str(), position }.to_string(),
            None => String::new(),
        });
        if self.channels.last() == Some(channel) {
            event = event.retry(rand::random_range(RETRY_MS));
        }
        if *recovered == Some(false) || self.start.of(channel.as_str()) == Some(Reached::Unknown) {
            let gap = Push::Gap { channel: channel.as_str(), reason: NOT_RECOVERED };
            event = event.name("gap").data(&written::push(&gap));
            if self.tells_subscribed {
                let subscribed = SseEvent::default().name("subscribed");
                let told = subscribed.data(&written::reply(reply)).end();
                return Some([event.end(), told].concat().into());
            }
        } else if self.tells_subscribed {
            event = event.name("subscribed").data(&written::reply(reply));
        }
        Some(event.end())
    }

    fn nothing_kept(&self, _: &Channel) -> Option<Bytes> {
        None
    }

    fn refuse(&self, _: ReplyError, close: Close) -> Result<Reply, Close> {
        Err(close)
    }

    fn format(&self) -> Format {
        Format::SseChannels
    }

    fn subscription(&self, _: &Channel) -> (Format, Option<Stamp>) {
        (self.format(), None)
    }

    fn last_bytes(&self, close: Close) -> Option<Bytes> {
        self.format().close(close)
    }

    fn channels(&self) -> &[Channel] {
        &self.channels
    }

    fn start_of_run(&mut self) -> Option<ReplayStart> {
        None
    }

    fn stamp(&self) -> Option<Stamp> {
        let mut position = StreamPosition::clone(&self.start);
        Some(Box::new(move |frame| stamped(&mut position, frame)))
    }

    fn member_stamp(&self) -> Option<Stamp> {
        None
    }

    fn takes_tokens(&self) -> bool {
        true
    }

    fn take_will(&self, _: Close) -> Option<Will> {
        None
    }

    fn publishes(&self) -> bool {
        false
    }

    fn subscribes_listed(&self) -> bool {
        false
    }

    fn control(&self) -> Option<&dyn SessionControl> {
        None
    }
}

/// What the shared bytes of an event have as their id: a channel, and the position in it. None: the channel
/// keeps no history.
struct Mark<'a> {
    channel: &'a str,
    position: Option<Position>,
}

impl std::fmt::Display for Mark<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.position {
            // A channel's name contains no space.
            Some(position) => write!(f, "{} {position}", self.channel),
            None => f.write_str(self.channel),
        }
    }
}

/// Replaces the mark of an event by the stream's position, after the event. None: the event has nothing else.
fn stamped(stream: &mut StreamPosition, frame: Bytes) -> Option<Bytes> {
    const ID: &[u8] = b"id: ";
    let Some((mark, rest)) = frame.strip_prefix(ID).and_then(split_line) else {
        return Some(frame);
    };
    match mark.split_once(' ') {
        Some((channel, position)) => {
            if let Ok(position) = position.parse() {
                stream.set(channel, Reached::At(position));
            }
        }
        None => stream.set(mark, Reached::Unknown),
    }
    if rest == b"\n" {
        return None;
    }
    let mut out = Vec::with_capacity(frame.len() + 128);
    out.extend_from_slice(ID);
    stream.write(&mut out);
    out.push(b'\n');
    out.extend_from_slice(rest);
    Some(out.into())
}

/// The text before the first line end, and the bytes after it.
fn split_line(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some((str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]))
}

/// json `publication` objects, each as the data of an event.
pub struct SseChannelEvents;

impl Encode for SseChannelEvents {
    /// Without a position the event needs no id: a client keeps the one before it.
    fn publication(channel: &str, publication: &Publication) -> Bytes {
        let mut event = SseEvent::default();
        if let position @ Some(_) = publication.position {
            event = event.id(&Mark { channel, position }.to_string());
        }
        event.data(&publication::publication(channel, publication)).end()
    }

    fn push(push: &Push<'_>) -> Option<Bytes> {
        let Push::Ended { channel, position: position @ Some(_), .. } = push else {
            return SseEvents::push(push);
        };
        let mark = Mark { channel, position: *position }.to_string();
        Some(SseEvent::default().id(&mark).name("ended").data(&written::push(push)).end())
    }

    fn close_at_end() -> Option<Close> {
        None
    }

    fn heartbeat() -> Option<Bytes> {
        SseEvents::heartbeat()
    }

    fn close(close: Close) -> Option<Bytes> {
        SseEvents::close(close)
    }

    fn breaks_off(_: Close) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels(names: &[&str]) -> Vec<Channel> {
        names.iter().map(|name| Channel::new(name).unwrap()).collect()
    }

    fn at(seq: u64) -> Option<Position> {
        Some(Position { epoch: 7, seq })
    }

    /// A client of the stream: the session, its stamp, and what arrives.
    struct Client {
        session: SseChannels,
        stamp: Stamp,
    }

    impl Client {
        fn new(names: &[&str], last_id: Option<&str>) -> Self {
            let session = SseChannels::new(channels(names), last_id).unwrap();
            let stamp = session.stamp().unwrap();
            Self { session, stamp }
        }

        /// What the client gets for a `subscribed`, without the reconnect delay.
        fn subscribed(
            &mut self,
            channel: &str,
            position: Option<Position>,
            recovered: Option<bool>,
        ) -> Option<Event> {
            let channel = Channel::new(channel).unwrap();
            let reply = Reply::Subscribed { id: None, channel, position, recovered };
            (self.stamp)(self.session.reply(&reply)?).map(Event::of)
        }

        fn publication(&mut self, channel: &str, seq: Option<u64>) -> Event {
            let position = seq.and_then(at);
            let publication = Publication { position, ..Publication::bare("1".into()) };
            let shared = SseChannelEvents::publication(channel, &publication);
            Event::of((self.stamp)(shared).expect("publications are written"))
        }
    }

    #[derive(Debug, PartialEq)]
    struct Event {
        id: Option<String>,
        name: Option<String>,
        data: Option<String>,
    }

    impl Event {
        fn of(bytes: Bytes) -> Self {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            assert!(text.ends_with("\n\n"), "{text:?}");
            let field = |name| text.lines().find_map(|line| line.strip_prefix(name));
            let [id, name, data] =
                ["id: ", "event: ", "data: "].map(|name| field(name).map(str::to_owned));
            Self { id, name, data }
        }

        /// How far its id says that the stream is in these channels.
        fn reached(&self, names: &[&str]) -> Vec<Reached> {
            let id = self.id.as_ref().expect("it has an id");
            StreamPosition::resumed(&channels(names), id).unwrap().each().collect()
        }
    }

    #[test]
    fn a_fresh_stream_of_several_channels_begins_with_one_id_over_all_of_them() {
        let mut client = Client::new(&["a", "b", "c"], None);
        assert_eq!(client.subscribed("a", at(5), None), None);
        assert_eq!(client.subscribed("b", None, None), None);
        let first = client.subscribed("c", at(1), None).unwrap();
        assert_eq!((&first.name, &first.data), (&None, &None), "a page gets no event for it");
        let [a, c] = [5, 1].map(|seq| Reached::At(at(seq).unwrap()));
        assert_eq!(first.reached(&["a", "b", "c"]), [a, Reached::Unknown, c]);
    }

    #[test]
    fn a_stream_that_tells_subscribed_begins_with_where_it_begins_in_each_channel() {
        let mut client = Client::new(&["a", "b"], None);
        client.session = client.session.telling_subscribed();
        for (channel, position, expected) in [
            ("a", at(5), r#"{"type":"subscribed","channel":"a","position":"7-5"}"#),
            ("b", None, r#"{"type":"subscribed","channel":"b"}"#),
        ] {
            let event = client.subscribed(channel, position, None).unwrap();
            assert_eq!(event.name.as_deref(), Some("subscribed"));
            assert_eq!(event.data.as_deref(), Some(expected));
        }
    }

    #[test]
    fn the_id_of_each_event_says_how_far_the_stream_is_in_every_channel() {
        let mut client = Client::new(&["a", "b"], None);
        client.subscribed("a", at(5), None);
        client.subscribed("b", at(1), None);
        for (channel, seq, expected) in [("a", 6, [6, 1]), ("b", 2, [6, 2]), ("a", 7, [7, 2])] {
            let event = client.publication(channel, Some(seq));
            let expected = expected.map(|seq| Reached::At(at(seq).unwrap()));
            assert_eq!(event.reached(&["a", "b"]), expected);
            let data = event.data.unwrap();
            assert!(data.contains(&format!(r#""channel":"{channel}","data":1"#)), "{data}");
        }
        assert_eq!(client.publication("a", None).id, None, "the id before it remains valid");
    }

    #[test]
    fn a_stream_that_resumes_keeps_the_positions_of_channels_that_are_not_subscribed_yet() {
        let mut before = Client::new(&["a", "b"], None);
        before.subscribed("a", at(5), None);
        let id = before.subscribed("b", at(1), None).unwrap().id.unwrap();

        let mut client = Client::new(&["b", "new", "a"], Some(&id));
        assert_eq!(client.session.since(), [at(1), None, at(5)]);
        assert_eq!(client.subscribed("b", at(3), Some(true)), None);
        let [b, a] = [2, 5].map(|seq| Reached::At(at(seq).unwrap()));
        let first = client.publication("b", Some(2));
        assert_eq!(first.reached(&["b", "new", "a"]), [b, Reached::New, a]);
        client.subscribed("new", None, None);
        let last = client.subscribed("a", at(5), Some(true)).unwrap();
        assert_eq!(last.reached(&["b", "new", "a"]), [b, Reached::Unknown, a]);
    }

    #[test]
    fn a_stream_that_resumes_gets_a_gap_for_each_channel_of_which_something_may_be_missing() {
        let mut before = Client::new(&["lost", "none", "fine"], None);
        before.subscribed("lost", at(5), None);
        before.subscribed("none", None, None);
        let id = before.subscribed("fine", at(1), None).unwrap().id.unwrap();

        let mut client = Client::new(&["lost", "none", "fine", "new"], Some(&id));
        for (channel, position, recovered) in [("lost", at(9), Some(false)), ("none", None, None)] {
            let gap = client.subscribed(channel, position, recovered).unwrap();
            assert_eq!(gap.name.as_deref(), Some("gap"));
            let expected =
                format!(r#"{{"type":"gap","channel":"{channel}","reason":"not_recovered"}}"#);
            assert_eq!(gap.data, Some(expected));
        }
        assert_eq!(client.subscribed("fine", at(1), Some(true)), None);
        let first = client.subscribed("new", None, None).unwrap();
        assert_eq!(first.name, None, "a new channel has no gap");
        let reached = first.reached(&["lost", "none", "fine", "new"]);
        let [lost, fine] = [9, 1].map(|seq| Reached::At(at(seq).unwrap()));
        assert_eq!(reached, [lost, Reached::Unknown, fine, Reached::Unknown]);
    }
}
