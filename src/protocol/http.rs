//! Short HTTP requests: a command as a request, its reply as a JSON body; and polls, whose answer is the next
//! publications of a channel.

use bytes::Bytes;

use super::json::{publication, written};
use super::poll_reply::PollFrame;
use super::{
    Command, DecodeError, Decoded, Encode, Format, Message, Packets, Push, Reply, ReplyError,
    SessionControl, Speak, Stamp, Will,
};
use crate::close::Close;
use crate::publication::{Channel, Publication, ReplayStart, SessionId};

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Http {
    /// One command. The body of the request becomes the payload of a publication.
    Command(Box<Command>),
    /// The next publications of the channel.
    Poll(Channel),
}

impl Speak for Http {
    fn begin(&mut self, _: SessionId) {}

    fn packets(&self) -> Option<Box<dyn Packets>> {
        None
    }

    fn decode(&self, message: Message, _: usize) -> Decoded {
        let Self::Command(command) = self else {
            return Err(DecodeError::Close(Close::Unsupported("a poll has no body")));
        };
        let mut command = Command::clone(command);
        if let Command::Publish { publication, .. } = &mut command {
            (publication.payload, publication.kind) = (message.payload, message.kind);
        }
        Ok(vec![Ok(command)])
    }

    /// The body of the response: the reply of the json protocol without `type`, as a line.
    fn reply(&self, reply: &Reply) -> Option<Bytes> {
        Some(without_type(&written::reply(reply)).into())
    }

    fn nothing_kept(&self, _: &Channel) -> Option<Bytes> {
        None
    }

    fn refuse(&self, error: ReplyError, _: Close) -> Result<Reply, Close> {
        Ok(Reply::Error(error))
    }

    fn format(&self) -> Format {
        Format::Http
    }

    fn subscription(&self, _: &Channel) -> (Format, Option<Stamp>) {
        (self.format(), None)
    }

    fn last_bytes(&self, close: Close) -> Option<Bytes> {
        self.format().close(close)
    }

    fn channels(&self) -> &[Channel] {
        match self {
            Self::Command(_) => &[],
            Self::Poll(channel) => std::slice::from_ref(channel),
        }
    }

    fn start_of_run(&mut self) -> Option<ReplayStart> {
        None
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
        matches!(self, Self::Command(command) if matches!(**command, Command::Publish { .. }))
    }

    fn subscribes_listed(&self) -> bool {
        false
    }

    fn control(&self) -> Option<&dyn SessionControl> {
        None
    }
}

/// `{"type":"published","position":"1-2"}` as the line `{"position":"1-2"}`.
fn without_type(json: &[u8]) -> Vec<u8> {
    const BEGIN: &[u8] = br#"{"type":""#;
    let fields = json.strip_prefix(BEGIN).and_then(|rest| {
        let end = rest.iter().position(|byte| *byte == b'"')?;
        Some(&rest[end + 1..])
    });
    let fields = fields.unwrap_or(b"}");
    let mut line = vec![b'{'];
    line.extend_from_slice(fields.strip_prefix(b",").unwrap_or(fields));
    line.push(b'\n');
    line
}

/// The frames of a waiting poll, of which a [`PollReply`](super::PollReply) makes the body.
pub struct HttpBodies;

impl Encode for HttpBodies {
    fn publication(_: &str, publication: &Publication) -> Bytes {
        PollFrame::publication(publication.position, publication::object(publication).get())
    }

    fn push(push: &Push<'_>) -> Option<Bytes> {
        match push {
            Push::Gap { .. } | Push::PatternGap { .. } => Some(PollFrame::gap()),
            Push::Ended { reason, position, .. } => Some(PollFrame::ended(*position, reason)),
            Push::Welcome { .. } | Push::Presence { .. } | Push::Reconnect { .. } => None,
        }
    }

    fn close_at_end() -> Option<Close> {
        None
    }

    fn heartbeat() -> Option<Bytes> {
        None
    }

    fn close(_: Close) -> Option<Bytes> {
        None
    }

    fn breaks_off(_: Close) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Excerpt;
    use crate::publication::{Members, PayloadKind, Position};

    fn line(reply: &Reply) -> String {
        let channel = Channel::new("a").unwrap();
        let command = Http::Command(Box::new(Command::Presence { id: None, channel }));
        String::from_utf8(command.reply(reply).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn the_body_of_a_response_is_the_json_reply_without_its_type() {
        let channel = Channel::new("a\"type\"").unwrap();
        let position = Some(Position { epoch: 7, seq: 5 });
        assert_eq!(line(&Reply::Published { id: None, position: None }), "{}\n");
        assert_eq!(line(&Reply::Published { id: None, position }), "{\"position\":\"7-5\"}\n");
        let members = Members::default();
        let presence = Reply::Presence { id: None, channel: channel.clone(), members };
        let expected = "{\"channel\":\"a\\\"type\\\"\",\"members\":[]}\n";
        assert_eq!(line(&presence), expected);
        let excerpt = Excerpt { position, ..Excerpt::default() };
        let history = Reply::History { id: None, channel, excerpt };
        let expected = "{\"channel\":\"a\\\"type\\\"\",\"publications\":[],\"position\":\"7-5\"}\n";
        assert_eq!(line(&history), expected);
    }

    #[test]
    fn the_body_of_a_request_becomes_the_payload() {
        let channel = Channel::new("a").unwrap();
        let publication = Publication {
            id: Some("k".into()),
            ..Publication::new(Bytes::new(), PayloadKind::Text)
        };
        let command = Command::Publish { id: None, channel, publication };
        let message = Message { kind: PayloadKind::Binary, payload: Bytes::from_static(b"\xff") };
        let decoded = Http::Command(Box::new(command)).decode(message, 1).unwrap().remove(0);
        let Ok(Command::Publish { publication, .. }) = decoded else { panic!("{decoded:?}") };
        assert_eq!(
            (&publication.payload[..], publication.kind),
            (&b"\xff"[..], PayloadKind::Binary)
        );
        assert_eq!(publication.id.as_deref(), Some("k"));
    }
}
