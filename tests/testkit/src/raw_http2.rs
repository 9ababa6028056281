//! A client that writes raw frames of HTTP/2 (RFC 9113 section 4.1), to violate the protocol one rule at a time.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::http;
use crate::node::Node;
use crate::soon;

pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// `ENHANCE_YOUR_CALM` (RFC 9113 section 7).
pub const ENHANCE_YOUR_CALM: u32 = 0xb;

/// A frame as the node sent it.
#[derive(Debug)]
pub struct Http2Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The bytes of a complete `GET`, without any compression (RFC 7541 section 6.2.2).
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    // `:method: GET` and `:scheme: http` are entries of the static table.
    let mut block = vec![0x82, 0x86];
    for (index, value) in [(0x04, path), (0x01, "localhost")] {
        block.extend([index, u8::try_from(value.len()).expect("a short value")]);
        block.extend(value.as_bytes());
    }
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block)
}

/// The bytes of a request for a WebSocket (RFC 8441 section 4).
pub fn extended_connect(stream: u32, path: &str) -> Vec<u8> {
    let literal = |block: &mut Vec<u8>, text: &str| {
        block.push(u8::try_from(text.len()).expect("a short text"));
        block.extend(text.as_bytes());
    };
    let mut block = vec![0x86];
    // The names of the first three are entries of the static table.
    for (index, value) in [(0x02, "CONNECT"), (0x04, path), (0x01, "localhost")] {
        block.push(index);
        literal(&mut block, value);
    }
    for (name, value) in [(":protocol", "websocket"), ("sec-websocket-version", "13")] {
        block.push(0x00);
        literal(&mut block, name);
        literal(&mut block, value);
    }
    frame(HEADERS, END_HEADERS, stream, &block)
}

pub struct RawHttp2 {
    stream: TcpStream,
    received: Vec<u8>,
}

impl RawHttp2 {
    /// Sends the preface and these settings.
    pub async fn connect(node: &Node, settings: &[(u16, u32)]) -> Self {
        let stream = http::connect(node.public).await;
        let mut client = Self { stream, received: Vec::new() };
        let mut payload = Vec::new();
        for (name, value) in settings {
            payload.extend(name.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        client.send(PREFACE).await.expect("it is sent");
        client.send(&frame(SETTINGS, 0, 0, &payload)).await.expect("it is sent");
        client
    }

    /// Fails if the node has closed the connection.
    pub async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        soon("bytes to go out", self.stream.write_all(bytes)).await
    }

    /// The next frame. None: the node has closed the connection.
    pub async fn frame(&mut self) -> Option<Http2Frame> {
        loop {
            if let Some(frame) = self.received_frame() {
                return Some(frame);
            }
            match soon("a frame", self.stream.read_buf(&mut self.received)).await {
                Ok(read) if read > 0 => {}
                _ => return None,
            }
        }
    }

    fn received_frame(&mut self) -> Option<Http2Frame> {
        let [a, b, c, kind, flags, rest @ ..] = self.received.get(..9)? else { return None };
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let stream = u32::from_be_bytes(rest.try_into().expect("four bytes"));
        let (kind, flags) = (*kind, *flags);
        let payload = self.received.get(9..9 + length)?.to_vec();
        self.received.drain(..9 + length);
        Some(Http2Frame { kind, flags, stream, payload })
    }

    /// The next frame of this kind. None: the node has closed the connection.
    pub async fn frame_of(&mut self, kind: u8) -> Option<Http2Frame> {
        loop {
            let frame = self.frame().await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// The error code of the node's GOAWAY. None: it has closed the connection without one.
    pub async fn goaway_code(&mut self) -> Option<u32> {
        let payload = self.frame_of(GOAWAY).await?.payload;
        Some(u32::from_be_bytes(payload[4..8].try_into().expect("four bytes")))
    }

    /// What the client reads and what it writes, for a flood.
    pub fn into_halves(self) -> (ReadHalf, WriteHalf) {
        let (read, write) = self.stream.into_split();
        (ReadHalf(read), WriteHalf(write))
    }
}

pub struct ReadHalf(OwnedReadHalf);

impl ReadHalf {
    /// Reads until the connection ends in any way.
    pub async fn read_to_end(&mut self) {
        let mut bytes = vec![0; 64 << 10];
        while self.0.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
    }
}

pub struct WriteHalf(OwnedWriteHalf);

impl WriteHalf {
    /// Has no deadline: the node may throttle a flood. Fails if the node has closed the connection.
    pub async fn send_without_deadline(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes).await
    }
}
