//! Server-Sent Events: the publications of one channel, or of several, for a client that only reads.

mod channels;
mod stream_position;

use bytes::Bytes;

pub use self::channels::{SseChannelEvents, SseChannels};
pub use self::stream_position::{
    CHANNELS_MAX, InvalidStreamPosition, text_bytes_max as id_bytes_max,
};
pub(in crate::protocol) use self::stream_position::{Reached, StreamPosition};

use super::json::written;
use super::{
    DecodeError, Decoded, Encode, Format, Message, Packets, Push, Reply, ReplyError,
    SessionControl, Speak, Stamp, Will,
};
use crate::close::Close;
use crate::framing::sse::{COMMENT, SseEvent};
use crate::publication::{Channel, PayloadKind, Publication, ReplayStart, SessionId};

/// The content type of the response.
pub const CONTENT_TYPE: &str = "text/event-stream";

/// The client's reconnect delay in milliseconds is drawn from this range for each connection, so that the
/// clients of a lost node do not reconnect all at once.
pub(in crate::protocol) const RETRY_MS: std::ops::Range<u64> = 1000..3000;

/// The `gap` reason for a resuming client when the publications after its position no longer exist.
pub(in crate::protocol) const NOT_RECOVERED: &str = "not_recovered";

/// The comment at the beginning of a stream that tells the milliseconds between two comments.
const PING_INTERVAL: &str = "ping_interval_ms";

/// A session of one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sse {
    pub channel: Channel,
    /// The stream begins with the past of the channel, all or the newest of it.
    pub replays: bool,
}

impl Sse {
    fn refuse_message() -> Decoded {
        Err(DecodeError::Close(Close::Unsupported(
            "the client must not send data on this connection",
        )))
    }
}

impl Speak for Sse {
    fn begin(&mut self, _: SessionId) {}

    fn packets(&self) -> Option<Box<dyn Packets>> {
        None
    }

    fn decode(&self, _: Message, _: usize) -> Decoded {
        Self::refuse_message()
    }

    /// The stream begins with the reconnect delay and, unless a backlog follows, with the position from which
    /// to resume after a disconnect. Such a block has no data, so a page gets no event for it.
    fn reply(&self, reply: &Reply) -> Option<Bytes> {
        let Reply::Subscribed { channel, position, recovered, .. } = reply else { return None };
        let mut first = SseEvent::default().retry(rand::random_range(RETRY_MS));
        let has_backlog = self.replays || *recovered == Some(true);
        if let Some(position) = position.filter(|_| !has_backlog) {
            first = first.id(&position.to_string());
        }
        if *recovered == Some(false) {
            let gap = Push::Gap { channel: channel.as_str(), reason: NOT_RECOVERED };
            first = first.name("gap").data(&written::push(&gap));
        }
        Some(first.end())
    }

    fn nothing_kept(&self, _: &Channel) -> Option<Bytes> {
        None
    }

    fn refuse(&self, _: ReplyError, close: Close) -> Result<Reply, Close> {
        Err(close)
    }

    fn format(&self) -> Format {
        Format::Sse
    }

    fn subscription(&self, _: &Channel) -> (Format, Option<Stamp>) {
        (self.format(), None)
    }

    fn last_bytes(&self, close: Close) -> Option<Bytes> {
        self.format().close(close)
    }

    fn channels(&self) -> &[Channel] {
        std::slice::from_ref(&self.channel)
    }

    fn start_of_run(&mut self) -> Option<ReplayStart> {
        self.replays = true;
        Some(ReplayStart::First)
    }

    fn stamp(&self) -> Option<Stamp> {
        None
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

/// Payloads, unchanged, each as the data of an event.
pub struct SseEvents;

impl Encode for SseEvents {
    fn publication(_: &str, publication: &Publication) -> Bytes {
        let mut event = SseEvent::default();
        if let Some(position) = publication.position {
            event = event.id(&position.to_string());
        }
        match publication.kind {
            PayloadKind::Text | PayloadKind::TextPart => event.data(&publication.payload).end(),
            PayloadKind::Binary => {
                use base64::Engine;
                let base64 = base64::engine::general_purpose::STANDARD.encode(&publication.payload);
                event.name("binary").data(base64.as_bytes()).end()
            }
        }
    }

    fn push(push: &Push<'_>) -> Option<Bytes> {
        let event = match push {
            Push::Gap { .. } | Push::PatternGap { .. } => SseEvent::default().name("gap"),
            Push::Ended { position, .. } => {
                let event = match position {
                    Some(position) => SseEvent::default().id(&position.to_string()),
                    None => SseEvent::default(),
                };
                event.name("ended")
            }
            Push::Reconnect { after, .. } => {
                SseEvent::default().retry(after.as_millis() as u64).name("reconnect")
            }
            // A client that knows the interval of the comments can tell a dead stream from a quiet one.
            Push::Welcome { ping_interval_ms, .. } => {
                let told = format!("{PING_INTERVAL}={ping_interval_ms}");
                return Some(SseEvent::default().comment(&told).end());
            }
            Push::Presence { .. } => return None,
        };
        Some(event.data(&written::push(push)).end())
    }

    fn close_at_end() -> Option<Close> {
        None
    }

    fn heartbeat() -> Option<Bytes> {
        Some(Bytes::from_static(COMMENT))
    }

    /// A browser reconnects by itself. The `reconnect` event distinguishes a temporary reason from a
    /// permanent one.
    fn close(close: Close) -> Option<Bytes> {
        let after = std::time::Duration::from_millis(rand::random_range(RETRY_MS));
        let again = Push::Reconnect { after, reason: close.label() };
        close.is_temporary().then(|| Self::push(&again)).flatten()
    }

    fn breaks_off(_: Close) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publication::{EndReason, Position};

    fn text(bytes: Option<Bytes>) -> String {
        String::from_utf8(bytes.unwrap().to_vec()).unwrap()
    }

    fn first(position: Option<Position>, recovered: Option<bool>) -> String {
        let channel = Channel::new("a").unwrap();
        let reply = Reply::Subscribed { id: None, channel: channel.clone(), position, recovered };
        let text = text(Sse { channel, replays: false }.reply(&reply));
        let (retry, rest) = text.split_once('\n').unwrap();
        assert!(RETRY_MS.contains(&retry.strip_prefix("retry: ").unwrap().parse().unwrap()));
        rest.to_owned()
    }

    #[test]
    fn an_sse_stream_begins_with_the_position_unless_a_backlog_follows() {
        let position = Some(Position { epoch: 7, seq: 5 });
        assert_eq!(first(None, None), "\n");
        assert_eq!(first(position, None), "id: 7-5\n\n");
        assert_eq!(first(position, Some(true)), "\n");
        let gap = r#"{"type":"gap","channel":"a","reason":"not_recovered"}"#;
        assert_eq!(first(position, Some(false)), format!("id: 7-5\nevent: gap\ndata: {gap}\n\n"));
    }

    #[test]
    fn an_sse_publication_is_an_event_with_binary_payloads_in_base64() {
        let position = Some(Position { epoch: 7, seq: 5 });
        let kept = Publication { position, ..Publication::bare("{\n}".into()) };
        let binary = Publication::bare(Bytes::from_static(b"\xff\x00"));
        let event =
            |publication: &Publication| text(Some(SseEvents::publication("a", publication)));
        assert_eq!(event(&kept), "id: 7-5\ndata: {\ndata: }\n\n");
        assert_eq!(event(&binary), "event: binary\ndata: /wA=\n\n");
    }

    #[test]
    fn the_end_of_a_run_is_an_sse_event_with_the_position_of_the_end() {
        let position = Some(Position { epoch: 7, seq: 5 });
        let end = Publication {
            end: EndReason::new("done").ok(),
            position,
            ..Publication::bare(Bytes::new())
        };
        let data = r#"{"type":"ended","channel":"a","reason":"done","position":"7-5"}"#;
        let event = text(Some(Format::Sse.publication("a", &end)));
        assert_eq!(event, format!("id: 7-5\nevent: ended\ndata: {data}\n\n"));
        let event = text(Some(Format::SseChannels.publication("a", &end)));
        assert_eq!(event, format!("id: a 7-5\nevent: ended\ndata: {data}\n\n"));
    }

    #[test]
    fn an_sse_stream_tells_the_interval_of_its_comments() {
        let (session, node) = (String::new(), String::new());
        let welcome = Push::Welcome { session, node, ping_interval_ms: 25_000 };
        assert_eq!(text(SseEvents::push(&welcome)), ": ping_interval_ms=25000\n\n");
    }

    #[test]
    fn an_sse_stream_ends_with_a_reconnect_event_for_temporary_reasons_only() {
        assert_eq!(SseEvents::close(Close::Expired), None);
        let end = text(SseEvents::close(Close::Unavailable));
        assert!(end.starts_with("retry: ") && end.contains("\nevent: reconnect\ndata: {"), "{end}");
    }
}
