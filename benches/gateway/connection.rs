//! One WebSocket, event stream or MQTT connection of the load generator: non-blocking, without a library, with as little CPU as possible.

use std::io::{self, Read, Write};

use mio::net::TcpStream;

use crate::frame;
use crate::mqtt;

/// The key and its accept value are the example of RFC 6455 (section 1.3); a fixed pair saves a hash for each connection.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The endpoint and protocol of a connection.
#[derive(Clone)]
pub enum Request {
    /// A path of the plain protocol, including its query.
    Plain(String),
    /// `/ws` with the json protocol.
    Json,
    /// A path of Server-Sent Events, including its query.
    EventStream(String),
    /// Any protocol over WebSockets.
    WebSocket {
        /// Including its query.
        path: &'static str,
        /// None: none is offered.
        subprotocol: Option<&'static str>,
        /// The messages that the client sends as soon as it is connected.
        opening: Vec<Message>,
    },
    /// MQTT over TCP, and the packets that the client sends as soon as it is connected.
    Packets(Vec<u8>),
}

/// A message of a client.
#[derive(Clone)]
pub enum Message {
    Text(String),
    Binary(Vec<u8>),
}

/// How a connection divides what it receives into messages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    WebSocket,
    EventStream,
    /// Packets of MQTT, without HTTP before them.
    Packets,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Connecting,
    Upgrading,
    Open,
    Closed,
}

pub struct Connection {
    pub stream: TcpStream,
    pub phase: Phase,
    framing: Framing,
    /// Frames that are sent after the upgrade.
    opening: Vec<u8>,
    /// The received part of an incomplete frame or upgrade response.
    partial: Vec<u8>,
    unsent: Vec<u8>,
}

impl Connection {
    /// A connection that sends its request as soon as it is connected.
    pub fn new(stream: TcpStream, request: &Request) -> Self {
        let (path, subprotocol, messages) = match request {
            Request::Plain(path) | Request::EventStream(path) => (path.as_str(), None, &[][..]),
            Request::Json => ("/ws", Some("tidegate.v1.json"), &[][..]),
            Request::WebSocket { path, subprotocol, opening } => {
                (*path, *subprotocol, opening.as_slice())
            }
            Request::Packets(packets) => return Self::of_packets(stream, packets.clone()),
        };
        let protocol = subprotocol
            .map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n"))
            .unwrap_or_default();
        let mut opening = Vec::new();
        for message in messages {
            let (opcode, payload) = match message {
                Message::Text(text) => (frame::TEXT, text.as_bytes()),
                Message::Binary(bytes) => (frame::BINARY, bytes.as_slice()),
            };
            frame::push_masked(&mut opening, opcode, payload);
        }
        let framing = match request {
            Request::EventStream(_) => Framing::EventStream,
            _ => Framing::WebSocket,
        };
        let upgrade = match framing {
            Framing::EventStream => "Accept: text/event-stream\r\n".to_owned(),
            _ => format!(
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: {KEY}\r\n{protocol}"
            ),
        };
        let unsent =
            format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{upgrade}\r\n").into_bytes();
        let (phase, partial) = (Phase::Connecting, Vec::new());
        Self { stream, phase, framing, opening, partial, unsent }
    }

    fn of_packets(stream: TcpStream, unsent: Vec<u8>) -> Self {
        let (phase, framing) = (Phase::Connecting, Framing::Packets);
        Self { stream, phase, framing, opening: Vec::new(), partial: Vec::new(), unsent }
    }

    /// Queues a text frame.
    pub fn push_text(&mut self, text: &[u8]) {
        frame::push_masked(&mut self.unsent, frame::TEXT, text);
    }

    /// Call when the socket is writable: completes the connect and sends the queued bytes.
    pub fn write(&mut self) -> Result<(), String> {
        if self.phase == Phase::Connecting {
            if let Some(error) = self.stream.take_error().map_err(|error| error.to_string())? {
                return Err(format!("connecting: {error}"));
            }
            self.phase = match self.framing {
                Framing::Packets => Phase::Open,
                _ => Phase::Upgrading,
            };
        }
        let mut sent = 0;
        while sent < self.unsent.len() {
            match self.stream.write(&self.unsent[sent..]) {
                Ok(more) => sent += more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("writing: {error}")),
            }
        }
        if sent == self.unsent.len() {
            self.unsent.clear();
            // This process holds 10,000 clients that each sent a large message.
            self.unsent.shrink_to(4096);
        } else {
            self.unsent.drain(..sent);
        }
        Ok(())
    }

    /// Call when the socket is readable: reads all its bytes and passes the payload of each data frame to `received`.
    ///
    /// A read that does not fill `scratch` has emptied the socket, so no second read is needed. If the node has shut down
    /// its side (`shut`), it is needed, because only a further read reports the end.
    pub fn read(
        &mut self,
        scratch: &mut [u8],
        shut: bool,
        received: &mut impl FnMut(&[u8]),
    ) -> Result<(), String> {
        loop {
            let carried = self.partial.len();
            scratch[..carried].copy_from_slice(&self.partial);
            let filled = match self.stream.read(&mut scratch[carried..]) {
                Ok(0) => return Err("closed by the node without a close frame".into()),
                Ok(read) => carried + read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(format!("reading: {error}")),
            };
            let taken = self.take(&scratch[..filled], received)?;
            if taken == 0 && filled == scratch.len() {
                return Err("a frame larger than the read buffer".into());
            }
            self.partial.clear();
            self.partial.extend_from_slice(&scratch[taken..filled]);
            if filled < scratch.len() && !shut {
                return Ok(());
            }
        }
    }

    /// Takes the upgrade response and complete frames from the front of `bytes`. Returns the number of bytes taken.
    fn take(&mut self, bytes: &[u8], received: &mut impl FnMut(&[u8])) -> Result<usize, String> {
        let mut taken = 0;
        if self.phase == Phase::Upgrading {
            let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
                return Ok(0);
            };
            match self.framing {
                Framing::EventStream => expect_stream(&bytes[..head])?,
                _ => expect_upgraded(&bytes[..head])?,
            }
            self.phase = Phase::Open;
            taken = head + 4;
            self.unsent.append(&mut std::mem::take(&mut self.opening));
            self.write()?;
        }
        match self.framing {
            Framing::EventStream => return Ok(taken + take_events(&bytes[taken..], received)),
            Framing::Packets => return take_packets(bytes, received),
            Framing::WebSocket => {}
        }
        while let Some(frame) = frame::first(&bytes[taken..])? {
            taken += frame.length;
            match frame.opcode {
                frame::PING => {
                    frame::push_masked(&mut self.unsent, frame::PONG, frame.payload);
                    self.write()?;
                }
                frame::PONG => {}
                frame::CLOSE => {
                    return Err(format!("closed by the node: {}", close_reason(frame.payload)));
                }
                _ => received(frame.payload),
            }
        }
        Ok(taken)
    }
}

/// Passes each complete PUBLISH to `received`. Returns the number of bytes taken. Fails if the node has refused something.
fn take_packets(bytes: &[u8], received: &mut impl FnMut(&[u8])) -> Result<usize, String> {
    let mut taken = 0;
    while let Some(length) = mqtt::packet_length(&bytes[taken..]) {
        let packet = &bytes[taken..taken + length];
        match packet[0] >> 4 {
            mqtt::PUBLISH => received(packet),
            // CONNACK and SUBACK end with a code.
            mqtt::CONNACK | mqtt::SUBACK if packet[length - 1] < 0x80 => {}
            _ => return Err(format!("the node has sent the packet {packet:?}")),
        }
        taken += length;
    }
    Ok(taken)
}

/// Passes each complete event that has data to `received`. Returns the number of bytes taken.
fn take_events(bytes: &[u8], received: &mut impl FnMut(&[u8])) -> usize {
    let mut taken = 0;
    while let Some(end) = bytes[taken..].windows(2).position(|two| two == b"\n\n") {
        let event = &bytes[taken..taken + end];
        // Not a comment, and not the reconnect delay at the start.
        if event.starts_with(b"data: ") || event.starts_with(b"id: ") && event.contains(&b'{') {
            received(event);
        }
        taken += end + 2;
    }
    taken
}

fn expect_stream(head: &[u8]) -> Result<(), String> {
    let head = String::from_utf8_lossy(head);
    match head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream") {
        true => Ok(()),
        false => Err(format!("no stream: {}", head.lines().next().unwrap_or_default())),
    }
}

fn expect_upgraded(head: &[u8]) -> Result<(), String> {
    let head = String::from_utf8_lossy(head);
    if head.starts_with("HTTP/1.1 101") && head.contains(ACCEPT) {
        return Ok(());
    }
    Err(format!("not upgraded: {}", head.lines().next().unwrap_or_default()))
}

fn close_reason(payload: &[u8]) -> String {
    match payload {
        [high, low, text @ ..] => {
            format!("{} {}", u16::from_be_bytes([*high, *low]), String::from_utf8_lossy(text))
        }
        _ => "no code".into(),
    }
}
