//! Requests about streams, as their headers and queries give them.

use bytes::Bytes;
use hyper::{HeaderMap, Method};
use percent_encoding::percent_decode_str;

use super::answer::StreamAnswer;
use super::content::ContentType;
use super::expiry::StreamExpiry;
use super::offset::StreamOffset;
use crate::publication::Channel;

/// What the paths of streams begin with.
const PATH: &str = "/streams/";

/// Longest id of a producer, and longest `Stream-Seq`, in bytes.
pub const ID_BYTES_MAX: usize = 255;

/// Largest epoch and sequence number: numbers of JavaScript are exact up to here.
const NUMBER_MAX: u64 = (1 << 53) - 1;

/// A request about a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamRequest {
    Create(CreateRequest),
    Append(AppendRequest),
    Read(ReadRequest),
    Describe,
    Delete,
}

/// `PUT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateRequest {
    pub content_type: Option<ContentType>,
    pub expiry: Option<StreamExpiry>,
    pub closed: bool,
    pub fork: Option<ForkRequest>,
    pub body: Bytes,
}

/// From where a stream inherits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForkRequest {
    pub from: Channel,
    /// None: at its end.
    pub offset: Option<StreamOffset>,
    /// How many messages or bytes behind the offset are inherited too.
    pub sub_offset: u64,
}

/// `POST`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendRequest {
    /// None only where the body is empty.
    pub content_type: Option<ContentType>,
    pub closes: bool,
    /// `Stream-Seq`.
    pub seq: Option<String>,
    pub producer: Option<Producer>,
    pub body: Bytes,
}

/// A producer's message: who sends it, and its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producer {
    pub id: String,
    pub epoch: u64,
    pub seq: u64,
}

/// `GET`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    pub offset: StreamOffset,
    /// The cursor that the client has got, for a live read.
    pub cursor: Option<u64>,
    /// Whether the client waits for what is appended next.
    pub is_live: bool,
    /// `If-None-Match`.
    pub known: Option<String>,
}

/// The parameters of the query, decoded.
#[derive(Clone, Debug, Default)]
pub struct StreamQuery {
    pub offset: Option<String>,
    pub live: Option<String>,
    pub cursor: Option<String>,
}

type Refused = StreamAnswer;

impl StreamRequest {
    /// `body`: that of the request.
    pub fn read(
        method: &Method,
        headers: &HeaderMap,
        query: &StreamQuery,
        body: Bytes,
    ) -> Result<Self, Refused> {
        match *method {
            Method::PUT => create(headers, body).map(Self::Create),
            Method::POST => append(headers, body).map(Self::Append),
            Method::HEAD => Ok(Self::Describe),
            Method::DELETE => Ok(Self::Delete),
            _ => read(headers, query).map(Self::Read),
        }
    }
}

fn create(headers: &HeaderMap, body: Bytes) -> Result<CreateRequest, Refused> {
    let ttl = header(headers, "stream-ttl")?;
    let time = header(headers, "stream-expires-at")?;
    let expiry = match (ttl, time) {
        (None, None) => None,
        (Some(ttl), None) => Some(StreamExpiry::parse_ttl(ttl).ok_or_else(|| {
            StreamAnswer::bad_request("Stream-TTL is a whole number of seconds, such as 3600")
        })?),
        (None, Some(time)) => Some(StreamExpiry::parse_time(time).ok_or_else(|| {
            StreamAnswer::bad_request(
                "Stream-Expires-At is an RFC 3339 time, such as 2030-01-31T12:00:00Z",
            )
        })?),
        (Some(_), Some(_)) => {
            return Err(StreamAnswer::bad_request("give either Stream-TTL or Stream-Expires-At"));
        }
    };
    if expiry.as_ref().is_some_and(StreamExpiry::is_over) {
        return Err(StreamAnswer::bad_request("Stream-Expires-At is over already"));
    }
    Ok(CreateRequest {
        content_type: content_type(headers)?,
        expiry,
        closed: is_closed(headers),
        fork: fork(headers)?,
        body,
    })
}

fn fork(headers: &HeaderMap) -> Result<Option<ForkRequest>, Refused> {
    let offset = header(headers, "stream-fork-offset")?;
    let sub_offset = header(headers, "stream-fork-sub-offset")?;
    let Some(from) = header(headers, "stream-forked-from")? else {
        return match (offset, sub_offset) {
            (None, None) => Ok(None),
            _ => Err(StreamAnswer::bad_request(
                "Stream-Fork-Offset and Stream-Fork-Sub-Offset need Stream-Forked-From",
            )),
        };
    };
    let offset = offset.map(|text| match text.parse() {
        Ok(StreamOffset::Now) | Err(_) => Err(StreamAnswer::bad_request(
            "Stream-Fork-Offset is an offset that the node has returned as Stream-Next-Offset",
        )),
        Ok(offset) => Ok(offset),
    });
    let sub_offset = match sub_offset {
        None => 0,
        Some(text) => whole_number(text).ok_or_else(|| {
            StreamAnswer::bad_request("Stream-Fork-Sub-Offset is a whole number, such as 2")
        })?,
    };
    let from = stream_of(from).ok_or_else(|| {
        StreamAnswer::bad_request("Stream-Forked-From is the path of a stream, such as /streams/a")
    })?;
    Ok(Some(ForkRequest { from, offset: offset.transpose()?, sub_offset }))
}

/// The channel of a path, with or without what all paths of streams begin with.
fn stream_of(path: &str) -> Option<Channel> {
    let name = path.strip_prefix(PATH).or_else(|| path.strip_prefix('/')).unwrap_or(path);
    Channel::new(&percent_decode_str(name).decode_utf8().ok()?).ok()
}

fn append(headers: &HeaderMap, body: Bytes) -> Result<AppendRequest, Refused> {
    let closes = is_closed(headers);
    if body.is_empty() && !closes {
        return Err(StreamAnswer::bad_request(
            "the body is empty: it is what is appended, unless Stream-Closed: true closes the stream",
        ));
    }
    // The type of nothing is of no account.
    let content_type = if body.is_empty() { None } else { content_type(headers)? };
    if !body.is_empty() && content_type.is_none() {
        return Err(StreamAnswer::bad_request("Content-Type must be given: that of the stream"));
    }
    let seq = header(headers, "stream-seq")?;
    if seq.is_some_and(|seq| seq.is_empty() || seq.len() > ID_BYTES_MAX) {
        return Err(StreamAnswer::bad_request(format!("Stream-Seq is 1 to {ID_BYTES_MAX} bytes")));
    }
    let (seq, producer) = (seq.map(str::to_owned), producer(headers)?);
    Ok(AppendRequest { content_type, closes, seq, producer, body })
}

fn producer(headers: &HeaderMap) -> Result<Option<Producer>, Refused> {
    let id = header(headers, "producer-id")?;
    let numbers = [header(headers, "producer-epoch")?, header(headers, "producer-seq")?];
    let (id, [epoch, seq]) = match (id, numbers) {
        (None, [None, None]) => return Ok(None),
        (Some(id), [Some(epoch), Some(seq)]) => (id, [epoch, seq]),
        _ => {
            return Err(StreamAnswer::bad_request(
                "Producer-Id, Producer-Epoch and Producer-Seq must be given together",
            ));
        }
    };
    if id.is_empty() || id.len() > ID_BYTES_MAX {
        return Err(StreamAnswer::bad_request(format!("Producer-Id is 1 to {ID_BYTES_MAX} bytes")));
    }
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number| is_number && *number <= NUMBER_MAX)
    };
    match (number(epoch), number(seq)) {
        (Some(epoch), Some(seq)) => Ok(Some(Producer { id: id.to_owned(), epoch, seq })),
        _ => Err(StreamAnswer::bad_request(format!(
            "Producer-Epoch and Producer-Seq are whole numbers, 0 to {NUMBER_MAX}"
        ))),
    }
}

fn read(headers: &HeaderMap, query: &StreamQuery) -> Result<ReadRequest, Refused> {
    let offset = query.offset.as_deref().map(str::parse).transpose();
    let offset: Option<StreamOffset> = offset.map_err(|error: super::offset::InvalidOffset| {
        StreamAnswer::bad_request(error.to_string())
    })?;
    let is_live = match query.live.as_deref() {
        None => false,
        Some("long-poll" | "sse") => true,
        Some(_) => return Err(StreamAnswer::bad_request("live is long-poll or sse")),
    };
    if is_live && offset.is_none() {
        return Err(StreamAnswer::bad_request("a live read needs offset, such as offset=-1"));
    }
    let cursor = query.cursor.as_deref().and_then(whole_number);
    let known = header(headers, "if-none-match")?.map(str::to_owned);
    Ok(ReadRequest { offset: offset.unwrap_or(StreamOffset::Start), cursor, is_live, known })
}

fn content_type(headers: &HeaderMap) -> Result<Option<ContentType>, Refused> {
    let Some(text) = header(headers, "content-type")? else { return Ok(None) };
    match ContentType::parse(text) {
        Some(content_type) => Ok(Some(content_type)),
        None => Err(StreamAnswer::bad_request("Content-Type is a media type, such as text/plain")),
    }
}

/// Any other value than `true` counts as if the header were absent.
fn is_closed(headers: &HeaderMap) -> bool {
    let value = headers.get(super::answer::CLOSED).map(|value| value.as_bytes().trim_ascii());
    value.is_some_and(|value| value.eq_ignore_ascii_case(b"true"))
}

/// A number without sign or leading zeros.
fn whole_number(text: &str) -> Option<u64> {
    let is_canonical = text == "0" || !text.starts_with('0');
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number && is_canonical)
}

/// The value of a header. Refuses one that is given twice, and one that is no text.
fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, Refused> {
    let mut values = headers.get_all(name).iter();
    let (value, second) = (values.next(), values.next());
    match (value.map(|value| str::from_utf8(value.as_bytes())), second) {
        (None, _) => Ok(None),
        (Some(Ok(text)), None) => Ok(Some(text.trim_ascii())),
        _ => Err(StreamAnswer::bad_request(format!("{name} is given once, as text"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(
        method: Method,
        given: &[(&'static str, &str)],
        body: &'static str,
    ) -> StreamRequest {
        try_request(method, given, body).expect("the request is valid")
    }

    fn try_request(
        method: Method,
        given: &[(&'static str, &str)],
        body: &'static str,
    ) -> Result<StreamRequest, u16> {
        let mut headers = HeaderMap::new();
        given.iter().for_each(|(name, value)| _ = headers.append(*name, value.parse().unwrap()));
        let read = StreamRequest::read(&method, &headers, &StreamQuery::default(), body.into());
        read.map_err(|refused| refused.status.as_u16())
    }

    #[test]
    fn a_producer_is_given_whole_or_not_at_all() {
        let json = ("content-type", "text/plain");
        let all = [json, ("producer-id", "p"), ("producer-epoch", "1"), ("producer-seq", "02")];
        let StreamRequest::Append(append) = request(Method::POST, &all, "x") else { panic!() };
        assert_eq!(append.producer, Some(Producer { id: "p".to_owned(), epoch: 1, seq: 2 }));
        for missing in 1..all.len() {
            let some = all.iter().enumerate().filter(|(at, _)| *at != missing);
            let some: Vec<_> = some.map(|(_, it)| *it).collect();
            assert_eq!(try_request(Method::POST, &some, "x"), Err(400), "{some:?}");
        }
        for bad in ["", "-1", "1.5", "x", "9007199254740992"] {
            let some = [json, ("producer-id", "p"), ("producer-epoch", bad), ("producer-seq", "0")];
            assert_eq!(try_request(Method::POST, &some, "x"), Err(400), "{bad}");
        }
    }

    #[test]
    fn an_empty_body_only_closes_a_stream() {
        assert_eq!(try_request(Method::POST, &[("content-type", "text/plain")], ""), Err(400));
        assert_eq!(try_request(Method::POST, &[("stream-closed", "1")], ""), Err(400));
        let closes = request(Method::POST, &[("stream-closed", "TRUE"), ("content-type", "x")], "");
        assert!(matches!(closes, StreamRequest::Append(AppendRequest { closes: true, .. })));
        assert_eq!(try_request(Method::POST, &[], "x"), Err(400));
    }
}
