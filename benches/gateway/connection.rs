//! One WebSocket of the load generator: non-blocking, by hand, as cheap as it can be.

use std::io::{self, Read, Write};

use mio::net::TcpStream;

use crate::frame;

/// The key and the answer to it are RFC 6455's own example; a fixed pair saves a hash a connection.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What a connection asks for.
#[derive(Clone)]
pub enum Request {
    /// A path of the plain protocol, query included.
    Plain(String),
    /// `/ws` with the json protocol.
    Json,
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
    /// The beginning of a frame or of the answer to the upgrade; at most one of them.
    partial: Vec<u8>,
    unsent: Vec<u8>,
}

impl Connection {
    /// A connection that sends its request as soon as it is connected.
    pub fn new(stream: TcpStream, request: &Request) -> Self {
        let (path, protocol) = match request {
            Request::Plain(path) => (path.as_str(), ""),
            Request::Json => ("/ws", "Sec-WebSocket-Protocol: tidegate.v1.json\r\n"),
        };
        let unsent = format!(
            "GET {path} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{protocol}\r\n"
        );
        Self { stream, phase: Phase::Connecting, partial: Vec::new(), unsent: unsent.into_bytes() }
    }

    /// Appends a text frame to what is sent next.
    pub fn push_text(&mut self, text: &[u8]) {
        frame::push_masked(&mut self.unsent, frame::TEXT, text);
    }

    /// The socket takes bytes: finishes connecting and sends what waits.
    pub fn write(&mut self) -> Result<(), String> {
        if self.phase == Phase::Connecting {
            if let Some(error) = self.stream.take_error().map_err(|error| error.to_string())? {
                return Err(format!("connecting: {error}"));
            }
            self.phase = Phase::Upgrading;
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
            // Ten thousand clients that each sent a large message live in this process.
            self.unsent.shrink_to(4096);
        } else {
            self.unsent.drain(..sent);
        }
        Ok(())
    }

    /// The socket has bytes: reads until it has none, and hands over the payload of each data frame.
    ///
    /// A read that leaves room in `scratch` has emptied the socket, which saves a second read to learn that; not so
    /// when the node has shut its side, as that is only seen by reading on.
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

    /// Takes the answer to the upgrade and whole frames from the front of `bytes`: how many bytes that was.
    fn take(&mut self, bytes: &[u8], received: &mut impl FnMut(&[u8])) -> Result<usize, String> {
        let mut taken = 0;
        if self.phase == Phase::Upgrading {
            let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
                return Ok(0);
            };
            expect_upgraded(&bytes[..head])?;
            self.phase = Phase::Open;
            taken = head + 4;
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
