//! A client of Server-Sent Events, of one channel or several, that resumes with `Last-Event-ID`.
//!
//! Its journal is that of a json client: it is subscribed where the stream begins, and the position is in the ids.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use rand::Rng;
use rand::seq::IndexedRandom;
use testkit::audit::channels::ChannelNumber;
use testkit::audit::journal::{Entry, FIRST, PublicationId};
use testkit::log::Position;
use testkit::server_message::{Payload, ServerMessage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{Client, PAUSE_MAX, REMEMBERED_MAX, SILENCE_MAX};

/// The longest wait for the head of a response.
const HEAD_TIME_MAX: Duration = Duration::from_secs(4);

/// The reason of the `gap` of a channel that could not resume.
const NOT_RECOVERED: &str = "not_recovered";

/// What the client knows of its stream.
struct Stream {
    several: bool,
    /// The position from which it resumes each of its channels.
    since: Vec<(ChannelNumber, Option<Position>)>,
    /// The channels of which it is not yet known where they begin.
    pending: Vec<ChannelNumber>,
    /// Publications of those that do not resume, before the event that tells where they begin.
    early: Vec<(ChannelNumber, PublicationId, Option<Position>)>,
}

impl Stream {
    fn since(&self, channel: ChannelNumber) -> Option<Position> {
        self.since.iter().find(|(it, _)| *it == channel).and_then(|(_, since)| *since)
    }

    /// Where a channel began of which these publications came early: before the first with a position.
    fn before_early(&self, channel: ChannelNumber) -> Option<Position> {
        let mut of_channel = self.early.iter().filter(|(it, ..)| *it == channel);
        let first = of_channel.find_map(|(.., position)| *position)?;
        Some(Position { seq: first.seq.saturating_sub(1), ..first })
    }
}

/// The fields of one event.
#[derive(Default)]
struct Event {
    id: Option<String>,
    name: String,
    data: String,
    has_data: bool,
    /// The first event of a stream, and the last one, have it.
    has_retry: bool,
}

impl Event {
    fn parse(block: &str) -> Self {
        let mut event = Self::default();
        for line in block.lines() {
            match line.split_once(": ") {
                Some(("id", id)) => event.id = Some(id.to_owned()),
                Some(("event", name)) => name.clone_into(&mut event.name),
                Some(("retry", _)) => event.has_retry = true,
                Some(("data", data)) => {
                    event.data += data;
                    event.has_data = true;
                }
                _ => {}
            }
        }
        event
    }
}

impl Client {
    pub(super) async fn run_event_stream(&mut self, several: bool) {
        let (mut last_id, mut past) = (None, Vec::<String>::new());
        loop {
            let since = match self.random.random_range(..10u32) {
                0 if !*self.settle.borrow() => past.choose(&mut self.random).cloned(),
                1 if !*self.settle.borrow() => None,
                _ => last_id.clone(),
            };
            let node = self.directory.any(&mut self.random).public;
            let path = self.path(several);
            let opening = open(node, &path, since.as_deref());
            match timeout(HEAD_TIME_MAX, opening).await {
                Ok(Ok((socket, received))) => {
                    self.connections += 1;
                    self.write(Entry::Opened { node: node.to_string() });
                    let mut stream = self.begin(several, since.as_deref());
                    last_id = since;
                    let why = self
                        .read_events(socket, received, &mut stream, &mut last_id, &mut past)
                        .await;
                    self.write(Entry::Closed { why });
                }
                Ok(Err(Refused::Invalid(why))) => self.write(Entry::Unexpected(why)),
                Ok(Err(Refused::Temporary)) | Err(_) => {}
            }
            let pause = self.random.random_range(1..PAUSE_MAX);
            sleep(Duration::from_millis(pause)).await;
        }
    }

    fn path(&self, several: bool) -> String {
        let names = self.assigned.iter().map(|number| self.channels[*number].name.as_str());
        match several {
            true => format!(
                "/sse?{}",
                names.map(|name| format!("channel={name}")).collect::<Vec<_>>().join("&")
            ),
            false => format!("/sse/{}", names.collect::<String>()),
        }
    }

    /// Writes that the client subscribes from the positions in the id.
    fn begin(&mut self, several: bool, last_id: Option<&str>) -> Stream {
        // A stream of one run begins with its first publication.
        let is_run = |number: &ChannelNumber| !several && self.channels[*number].kind.is_run();
        let position = |number: &ChannelNumber| match last_id {
            Some(last_id) => self.position_in(last_id, several, *number),
            None => is_run(number).then_some(FIRST),
        };
        let since: Vec<_> =
            self.assigned.iter().map(|number| (*number, position(number))).collect();
        for (number, since) in &since {
            let id = *number as u64;
            self.write(Entry::Subscribe { id, channel: *number, since: *since, echo: true });
        }
        Stream { several, since, pending: self.assigned.clone(), early: Vec::new() }
    }

    /// The position of a channel in an id. None: it has none.
    fn position_in(&self, id: &str, several: bool, number: ChannelNumber) -> Option<Position> {
        if !several {
            return Position::parse(id);
        }
        let bytes = BASE64.decode(id).expect("the id of several channels is base64");
        position_of(&bytes, &self.channels[number].name)
    }

    async fn read_events(
        &mut self,
        mut socket: TcpStream,
        mut received: Vec<u8>,
        stream: &mut Stream,
        last_id: &mut Option<String>,
        past: &mut Vec<String>,
    ) -> String {
        let disconnect_at =
            Instant::now() + Duration::from_millis(self.random.random_range(100..4000));
        let mut received_at = Instant::now();
        let mut why = "ended".to_owned();
        loop {
            while let Some(end) = received.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = received.drain(..end + 2).collect();
                let event = Event::parse(&String::from_utf8_lossy(&block[..end]));
                if event.name == "reconnect" {
                    event.data.clone_into(&mut why);
                    continue;
                }
                self.handle_event(stream, &event);
                if let Some(id) = event.id {
                    if past.len() < REMEMBERED_MAX {
                        past.push(id.clone());
                    }
                    *last_id = Some(id);
                }
            }
            if received_at.elapsed() >= SILENCE_MAX {
                return "silent".to_owned();
            }
            let settles = *self.settle.borrow();
            if !settles && Instant::now() >= disconnect_at {
                return "the client disconnected".to_owned();
            }
            let wake = received_at + SILENCE_MAX;
            let wake = if settles { wake } else { wake.min(disconnect_at) };
            tokio::select! {
                read = socket.read_buf(&mut received) => match read {
                    Ok(0) => return why,
                    Ok(_) => received_at = Instant::now(),
                    Err(error) => return error.to_string(),
                },
                () = sleep_until(wake) => {}
            }
        }
    }

    fn handle_event(&mut self, stream: &mut Stream, event: &Event) {
        let message = ServerMessage::parse(&event.data);
        let named = message
            .as_ref()
            .and_then(|it| it.channel.as_deref())
            .and_then(|name| self.number(name));
        let is_gap = event.name == "gap";
        let lost = is_gap
            && message.as_ref().is_some_and(|it| it.reason.as_deref() == Some(NOT_RECOVERED));
        if event.has_retry {
            // All channels before have begun without an event of their own.
            let silent: Vec<_> =
                stream.pending.iter().copied().filter(|it| !(lost && named == Some(*it))).collect();
            for channel in silent {
                let position = event
                    .id
                    .as_deref()
                    .and_then(|id| self.position_in(id, stream.several, channel));
                let position = stream.before_early(channel).or(position);
                self.begins(stream, channel, position, true);
            }
            for (channel, name, position) in std::mem::take(&mut stream.early) {
                self.write(Entry::Publication { channel, name, position });
            }
        }
        if event.name == "ended" {
            return self.on_ended(stream, event, named, message);
        }
        if is_gap {
            let Some(channel) = named else {
                return self.write(Entry::Unexpected(event.data.clone()));
            };
            let position =
                event.id.as_deref().and_then(|id| self.position_in(id, stream.several, channel));
            self.begins(stream, channel, position.or(stream.before_early(channel)), !lost);
            let was_resumed = lost && stream.since(channel).is_some();
            // A resumed channel that is not recovered has said so by `recovered`.
            if !was_resumed {
                let reason = message.and_then(|it| it.reason).unwrap_or_default().into_owned();
                self.write(Entry::Gap { channel, reason });
            }
        } else if event.has_data {
            let publication = match stream.several {
                true => message.and_then(|it| Some((named?, it.data?, it.position))),
                false => {
                    let position = event.id.as_deref().and_then(Position::parse);
                    let payload = serde_json::from_str::<Payload>(&event.data).ok();
                    payload.map(|payload| (self.assigned[0], payload, position))
                }
            };
            let Some((channel, payload, position)) = publication else {
                return self.write(Entry::Unexpected(event.data.clone()));
            };
            let name = (payload.p, payload.n);
            if stream.pending.contains(&channel) && stream.since(channel).is_none() {
                return stream.early.push((channel, name, position));
            }
            self.begins(stream, channel, None, true);
            self.write(Entry::Publication { channel, name, position });
        }
    }

    fn on_ended(
        &self,
        stream: &mut Stream,
        event: &Event,
        channel: Option<ChannelNumber>,
        message: Option<ServerMessage<'_>>,
    ) {
        let (Some(channel), Some(message)) = (channel, message) else {
            return self.write(Entry::Unexpected(event.data.clone()));
        };
        self.begins(stream, channel, stream.before_early(channel).or(message.position), true);
        let early = std::mem::take(&mut stream.early);
        for (of, name, position) in early {
            match of == channel {
                true => self.write(Entry::Publication { channel, name, position }),
                false => stream.early.push((of, name, position)),
            }
        }
        let reason = message.reason.unwrap_or_default().into_owned();
        self.write(Entry::Ended { channel, reason, position: message.position });
    }

    /// Writes where a channel begins, once. `position`: where it begins if it does not resume.
    fn begins(
        &self,
        stream: &mut Stream,
        channel: ChannelNumber,
        position: Option<Position>,
        recovered: bool,
    ) {
        let Some(at) = stream.pending.iter().position(|it| *it == channel) else { return };
        stream.pending.remove(at);
        let since = stream.since(channel);
        let position = since.filter(|_| recovered).or(position);
        let (id, recovered) = (Some(channel as u64), since.map(|_| recovered));
        self.write(Entry::Subscribed { id, channel, position, recovered });
    }
}

/// Why a stream was not opened.
enum Refused {
    /// The request is wrong.
    Invalid(String),
    Temporary,
}

impl From<std::io::Error> for Refused {
    fn from(_: std::io::Error) -> Self {
        Self::Temporary
    }
}

/// Opens a stream. Returns its socket and what followed the head.
async fn open(
    to: std::net::SocketAddr,
    path: &str,
    last_id: Option<&str>,
) -> Result<(TcpStream, Vec<u8>), Refused> {
    let mut socket = TcpStream::connect(to).await?;
    let last_id = last_id.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
    socket
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: {to}\r\n{last_id}\r\n").as_bytes())
        .await?;
    let mut received = Vec::new();
    loop {
        if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            let head: Vec<u8> = received.drain(..end + 4).collect();
            let head = String::from_utf8_lossy(&head).into_owned();
            return match head.split(' ').nth(1) {
                Some("200") => Ok((socket, received)),
                Some("429" | "503") => Err(Refused::Temporary),
                _ => Err(Refused::Invalid(format!("{path}: {head}"))),
            };
        }
        if socket.read_buf(&mut received).await? == 0 {
            return Err(Refused::Temporary);
        }
    }
}

/// The position of a channel in the bytes of an id, as decision record 40 describes them.
fn position_of(bytes: &[u8], channel: &str) -> Option<Position> {
    let hash = digest(&SHA256, channel.as_bytes());
    let tag = &hash.as_ref()[..4];
    let mut rest = bytes.strip_prefix(&[1]).expect("the version of an id");
    for _ in 0..number(&mut rest) {
        let (it, after) = rest.split_at(4);
        rest = after;
        let position = Position { epoch: number(&mut rest), seq: number(&mut rest) };
        if it == tag {
            return Some(position);
        }
    }
    None
}

/// An LEB128 number.
fn number(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..).step_by(7) {
        let byte = *bytes.split_off_first().expect("an id is whole");
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    number
}
