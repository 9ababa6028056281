//! Decodes commands. A message that is not a JSON object ends the connection; any other fault gets an error
//! reply.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

use super::fault::{NOT_AN_OBJECT, bad_request, malformed};
use super::pattern;
use super::raw_command::RawCommand;
use super::readable::is_readable_json;
use super::start;
use crate::close::Close;
use crate::protocol::{
    Command, DecodeError, Decoded, HISTORY_LIMIT, HISTORY_LIMIT_MAX, IDEMPOTENCY_KEY_BYTES_MAX,
    Message, ReplyError, Token,
};
use crate::publication::{Channel, PayloadKind, Position, Publication};

pub fn decode(message: &Message) -> Decoded {
    if message.kind == PayloadKind::Binary {
        return Err(DecodeError::Close(Close::Unsupported(
            "the json protocol has text frames only",
        )));
    }
    // serde would deserialize an array into the struct, field by field.
    let is_object = message.payload.trim_ascii_start().starts_with(b"{");
    let raw = match serde_json::from_slice::<RawCommand<'_>>(&message.payload) {
        Ok(raw) if is_object => raw,
        Err(error) if is_object => return Err(malformed(&message.payload, &error)),
        _ => return Err(NOT_AN_OBJECT),
    };
    let id = raw.id();
    let refuse = |what: String| DecodeError::Answer(bad_request(raw.id(), what));
    match raw.kind.as_deref().unwrap_or_default() {
        "subscribe" => subscribe(&raw).map_err(refuse),
        "unsubscribe" if raw.pattern.is_some() => pattern::unsubscribe(&raw).map_err(refuse),
        "unsubscribe" => {
            let channel = channel(&raw).map_err(refuse)?;
            Ok(vec![Ok(Command::Unsubscribe { id, channel })])
        }
        "publish" => {
            let channel = channel(&raw).map_err(refuse)?;
            let publication = publication(&raw).map_err(refuse)?;
            Ok(vec![Ok(Command::Publish { id, channel, publication })])
        }
        "ping" => Ok(vec![Ok(Command::Ping { id })]),
        "history" => {
            let channel = channel(&raw).map_err(refuse)?;
            let since = raw.since.as_deref().map(position).transpose().map_err(refuse)?;
            let limit = limit(raw.limit).map_err(refuse)?;
            Ok(vec![Ok(Command::History { id, channel, since, limit })])
        }
        "presence" => {
            let channel = channel(&raw).map_err(refuse)?;
            Ok(vec![Ok(Command::Presence { id, channel })])
        }
        "auth" => match &raw.token {
            Some(token) => {
                Ok(vec![Ok(Command::Auth { id, token: Token(token.clone().into_owned()) })])
            }
            None => Err(refuse("token is missing".into())),
        },
        "" => Err(refuse(format!("type is missing: it is {TYPES}"))),
        _ => Err(refuse(format!("type must be {TYPES}"))),
    }
}

const TYPES: &str = "one of subscribe, unsubscribe, publish, presence, history, auth, ping";

fn subscribe(raw: &RawCommand<'_>) -> Result<Vec<Result<Command, ReplyError>>, String> {
    if raw.pattern.is_some() {
        return pattern::subscribe(raw);
    }
    let echo = raw.echo.unwrap_or(true);
    let command =
        |channel, start| Command::Subscribe { id: raw.id(), channel, start, echo, grant: None };
    let start = start::of_fields(raw.since.as_deref(), raw.last)?;
    match &raw.channels {
        None => Ok(vec![Ok(command(channel(raw)?, start))]),
        Some(_) if raw.channel.is_some() => Err("give either channel or channels".into()),
        Some(_) if start.is_some() => {
            Err("with channels, each channel has its own position, `first` or {\"last\":20}".into())
        }
        Some(channels) if channels.is_empty() => {
            Err("channels is an object of at least one channel and its position or null".into())
        }
        Some(channels) => Ok(channels
            .iter()
            .map(|(name, value)| {
                Channel::new(name)
                    .map_err(|error| error.to_string())
                    .and_then(|channel| Ok(command(channel, start::of_listed(value)?)))
                    .map_err(|what| ReplyError {
                        channel: Some(name.clone()),
                        ..bad_request(raw.id(), what)
                    })
            })
            .collect()),
    }
}

fn channel(raw: &RawCommand<'_>) -> Result<Channel, String> {
    let name = raw.channel.as_ref().ok_or("channel is missing")?;
    Channel::new(name).map_err(|error| error.to_string())
}

fn limit(limit: Option<i64>) -> Result<usize, String> {
    match limit.map(usize::try_from) {
        None => Ok(HISTORY_LIMIT),
        Some(Ok(limit @ 1..=HISTORY_LIMIT_MAX)) => Ok(limit),
        Some(_) => Err(format!("limit is a whole number, 1 to {HISTORY_LIMIT_MAX}")),
    }
}

fn position(text: &str) -> Result<Position, String> {
    text.parse().map_err(|error| format!("since: {error}"))
}

const UNREADABLE: &str = "data contains JSON that strict parsers refuse: half a surrogate pair, a \
    number beyond a double, or more than 124 levels of nesting";

fn publication(raw: &RawCommand<'_>) -> Result<Publication, String> {
    let (kind, payload) = match (raw.data, &raw.text, &raw.base64) {
        (Some(data), None, None) if !is_readable_json(data.get()) => return Err(UNREADABLE.into()),
        (Some(data), None, None) => (PayloadKind::Text, data.get().as_bytes().to_vec()),
        (None, Some(text), None) => (PayloadKind::Text, text.as_bytes().to_vec()),
        (None, None, Some(base64)) => {
            let bytes = BASE64.decode(base64.as_bytes());
            (PayloadKind::Binary, bytes.map_err(|error| format!("base64: {error}"))?)
        }
        _ => return Err("give the payload in one of data (JSON), text and base64".into()),
    };
    let fits = |key: &str| (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len());
    if raw.idempotency_key.as_deref().is_some_and(|key| !fits(key)) {
        return Err("idempotency_key is 1 to 255 bytes long".into());
    }
    Ok(Publication {
        id: raw.idempotency_key.as_deref().map(Into::into),
        // An invalid one is ignored: the standard says to continue without it.
        traceparent: raw.traceparent.as_deref().and_then(|it| it.parse().ok()),
        ..Publication::new(Bytes::from(payload), kind)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Code;
    use crate::publication::ReplayStart;

    fn decode_text(text: &str) -> Decoded {
        decode(&Message {
            kind: PayloadKind::Text,
            payload: Bytes::copy_from_slice(text.as_bytes()),
        })
    }

    fn answer(text: &str) -> ReplyError {
        match decode_text(text) {
            Err(DecodeError::Answer(error)) => error,
            other => panic!("{text} gave {other:?}"),
        }
    }

    fn published(text: &str) -> Publication {
        match decode_text(text).unwrap().remove(0).unwrap() {
            Command::Publish { publication, .. } => publication,
            other => panic!("{text} gave {other:?}"),
        }
    }

    #[test]
    fn a_message_that_is_not_a_json_object_ends_the_connection() {
        for text in ["", "hi", "[]", "1", "{", r#"{"type":"ping"} x"#, "null", r#"["ping",1]"#] {
            assert_eq!(decode_text(text), Err(NOT_AN_OBJECT), "{text}");
        }
    }

    #[test]
    fn faults_in_a_json_command_are_answered_with_its_id() {
        for (text, part) in [
            (r#"{"id":7}"#, "type is missing: it is one of subscribe, "),
            (r#"{"type":null,"id":7}"#, "type is missing"),
            (r#"{"type":"dance","id":7}"#, "type must be one of subscribe, unsubscribe"),
            (r#"{"type":"publish","id":7}"#, "channel is missing"),
            (r#"{"type":"publish","id":7,"channel":"a"}"#, "data (JSON), text and base64"),
            (r#"{"type":"publish","id":7,"channel":"a","data":1,"text":""}"#, "one of"),
            (r#"{"type":"publish","id":7,"channel":"a b","data":1}"#, "white space"),
            (r#"{"type":"publish","id":7,"channel":5}"#, "channel must be a string"),
            (r#"{"type":5,"id":7}"#, "type must be a string"),
            (
                r#"{"type":"subscribe","id":7,"channel":"a","echo":"no"}"#,
                "echo must be true or false",
            ),
            (
                r#"{"type":"history","id":7,"channel":"a","limit":1.5}"#,
                "limit must be a whole number",
            ),
            (r#"{"type":"subscribe","id":7,"channels":["a"]}"#, "channels must be an object"),
            (r#"{"type":"ping","id":7,"type":"ping"}"#, "duplicate field `type`"),
            (r#"{"type":"publish","id":7,"channel":"a","base64":"*"}"#, "base64"),
            (r#"{"type":"subscribe","id":7,"channel":"a","since":"x"}"#, "position"),
            (r#"{"type":"subscribe","id":7,"channels":{}}"#, "at least one"),
            (
                r#"{"type":"subscribe","id":7,"channel":"a","last":0}"#,
                "last is a whole number, 1 to 1000",
            ),
            (
                r#"{"type":"subscribe","id":7,"channel":"a","last":"5"}"#,
                "last must be a whole number",
            ),
            (r#"{"type":"subscribe","id":7,"channel":"a","since":5}"#, "since must be a string"),
            (
                r#"{"type":"subscribe","id":7,"channel":"a","since":"first","last":5}"#,
                "either since or last",
            ),
            (
                r#"{"type":"subscribe","id":7,"channels":{"a":null},"last":5}"#,
                "each channel has its own",
            ),
            (r#"{"type":"history","id":7,"channel":"a","limit":0}"#, "1 to 1000"),
            (r#"{"type":"history","id":7,"channel":"a","since":"x"}"#, "position"),
            (r#"{"type":"auth","id":7}"#, "token is missing"),
        ] {
            let error = answer(text);
            assert_eq!((error.id, error.code), (Some(7.into()), Code::BadRequest), "{text}");
            assert!(error.message.contains(part), "{text} gave {:?}", error.message);
        }
        let error = answer(r#"{"type":"ping","id":"one"}"#);
        assert_eq!((error.id, &*error.message), (None, "id must be a whole number"));
    }

    #[test]
    fn payloads_of_json_commands_are_taken_unchanged() {
        let data = published(r#"{"type":"publish","channel":"a","data":{"b": 1.0}}"#);
        assert_eq!((&data.payload[..], data.kind), (&br#"{"b": 1.0}"#[..], PayloadKind::Text));
        assert_eq!(
            &published(r#"{"type":"publish","channel":"a","data":null}"#).payload[..],
            b"null"
        );
        let text = published(r#"{"type":"publish","channel":"a","text":"h\u00e9"}"#);
        assert_eq!(&text.payload[..], "hé".as_bytes());
        let binary = published(r#"{"type":"publish","channel":"a","base64":"/wA="}"#);
        assert_eq!((&binary.payload[..], binary.kind), (&b"\xff\x00"[..], PayloadKind::Binary));
    }

    #[test]
    fn an_invalid_traceparent_in_a_json_command_is_ignored() {
        let traceparent = |text: &str| {
            let raw =
                format!(r#"{{"type":"publish","channel":"a","data":1,"traceparent":"{text}"}}"#);
            published(&raw).traceparent.map(|it| it.to_string())
        };
        let valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        assert_eq!(traceparent(valid).as_deref(), Some(valid));
        assert_eq!(traceparent(&valid.to_uppercase()), None);
        assert_eq!(traceparent("7"), None);
    }

    #[test]
    fn a_list_of_channels_decodes_to_one_result_per_channel() {
        let text = r#"{"type":"subscribe","id":2,"channels":{"b":"1763-41","a":null,"c d":null}}"#;
        let outcomes = decode_text(text).unwrap();
        let start = Some(ReplayStart::After(Position { epoch: 1763, seq: 41 }));
        let channel = |name| Channel::new(name).unwrap();
        assert_eq!(
            outcomes[..2],
            [
                Ok(Command::Subscribe {
                    id: Some(2.into()),
                    channel: channel("b"),
                    start,
                    echo: true,
                    grant: None,
                }),
                Ok(Command::Subscribe {
                    id: Some(2.into()),
                    channel: channel("a"),
                    start: None,
                    echo: true,
                    grant: None,
                }),
            ]
        );
        let error = outcomes[2].as_ref().unwrap_err();
        assert_eq!((error.code, error.channel.as_deref()), (Code::BadRequest, Some("c d")));
    }

    #[test]
    fn each_channel_of_a_list_has_its_own_start() {
        let start = |value: &str| {
            let text = format!(r#"{{"type":"subscribe","channels":{{"a":{value}}}}}"#);
            match decode_text(&text).unwrap().remove(0) {
                Ok(Command::Subscribe { start, .. }) => Ok(start),
                Err(error) => Err(error.message),
                other => panic!("{text} gave {other:?}"),
            }
        };
        let after = ReplayStart::After(Position { epoch: 7, seq: 5 });
        for (value, expected) in [
            ("null", None),
            (r#""7-5""#, Some(after)),
            (r#""first""#, Some(ReplayStart::First)),
            (r#"{"last":20}"#, Some(ReplayStart::Newest(20))),
            (r#"{"since":"7-5"}"#, Some(after)),
            ("{}", None),
        ] {
            assert_eq!(start(value), Ok(expected), "{value}");
        }
        for (value, part) in [
            ("5", "a position, `first`"),
            (r#""x""#, "since is a position"),
            (r#"{"last":1001}"#, "1 to 1000"),
            (r#"{"last":"5"}"#, "a position, `first`"),
            (r#"{"last":5,"since":"first"}"#, "either since or last"),
        ] {
            assert!(start(value).is_err_and(|error| error.contains(part)), "{value}");
        }
    }
}
