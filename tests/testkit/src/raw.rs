//! A client that writes raw bytes, to violate the protocol one rule at a time.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::http::{self, Response};
use crate::node::Node;
use crate::soon;

pub const FIN: u8 = 0x80;
pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;

const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// A frame as the node sent it.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// FIN, reserved bits and opcode.
    pub first: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn text(payload: &str) -> Self {
        Self { first: FIN | TEXT, payload: payload.into() }
    }

    pub fn pong(payload: &[u8]) -> Self {
        Self { first: FIN | PONG, payload: payload.into() }
    }

    /// The code of a close frame.
    pub fn close_code(&self) -> u16 {
        assert_eq!(self.first, FIN | CLOSE, "a close frame was due: {self:?}");
        let code = self.payload.first_chunk().expect("a close frame with a code");
        u16::from_be_bytes(*code)
    }
}

/// A client's frame: masked, with the shortest length.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(first, payload.len() as u64);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The head of a client's frame, including its mask.
pub fn head(first: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..=125 => bytes.push(0x80 | length as u8),
        126..=0xFFFF => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes
}

pub fn text(payload: &str) -> Vec<u8> {
    frame(FIN | TEXT, payload.as_bytes())
}

pub fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(FIN | CLOSE, &[&code.to_be_bytes(), reason].concat())
}

/// An upgrade request that every node accepts; `more` are header lines, each with its CRLF.
pub fn upgrade(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

pub struct RawClient {
    stream: TcpStream,
    received: Vec<u8>,
}

impl RawClient {
    pub async fn connect(node: &Node) -> Self {
        Self { stream: http::connect(node.public).await, received: Vec::new() }
    }

    /// To the internal listener.
    pub async fn connect_internal(node: &Node) -> Self {
        Self { stream: http::connect(node.internal).await, received: Vec::new() }
    }

    pub async fn open(node: &Node, path: &str) -> Self {
        Self::connect(node).await.upgraded(path).await
    }

    /// Connects from the address `from` of the loopback network.
    pub async fn connect_from(node: &Node, from: &str) -> Self {
        Self { stream: http::connect_from(node.public, from).await, received: Vec::new() }
    }

    /// A client with a tiny receive buffer, on a WebSocket.
    pub async fn with_small_buffer(node: &Node, path: &str) -> Self {
        Self::connect_with_small_buffer(node).await.upgraded(path).await
    }

    pub async fn connect_with_small_buffer(node: &Node) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        let connecting = socket.connect(node.public);
        let stream = soon("a connection", connecting).await.expect("the node listens");
        Self { stream, received: Vec::new() }
    }

    async fn upgraded(mut self, path: &str) -> Self {
        self.send(upgrade(path, "")).await;
        let response = self.response().await;
        assert_eq!(response.status, 101, "{response:?}");
        assert_eq!(response.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        self
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sending = self.stream.write_all(bytes.as_ref());
        soon("bytes to go out", sending).await.expect("the node reads them");
    }

    /// Sends bytes that the node may refuse to read completely.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        soon("bytes to go out", self.stream.write_all(bytes.as_ref())).await
    }

    /// The same without a deadline, for floods that the node throttles.
    pub async fn send_without_deadline(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// Closes the socket with a reset.
    pub async fn reset(self) {
        self.stream.set_zero_linger().expect("a socket takes SO_LINGER");
    }

    /// Shuts down its sending half and reads until the end.
    pub async fn half_close(mut self) {
        self.end_sending().await;
        self.read_to_end().await;
    }

    /// Shuts down its sending half.
    pub async fn end_sending(&mut self) {
        self.stream.shutdown().await.expect("the sending half closes");
    }

    /// A response without a body, as to `HEAD`.
    pub async fn response_head(&mut self) -> Response {
        http::head(&mut self.stream, &mut self.received).await
    }

    pub async fn response(&mut self) -> Response {
        http::response(&mut self.stream, &mut self.received).await
    }

    pub async fn frame(&mut self) -> Frame {
        loop {
            if let Some((frame, end)) = parse(&self.received) {
                self.received.drain(..end);
                return frame;
            }
            assert!(
                self.read().await.expect("no reset") > 0,
                "the connection ended without a frame"
            );
        }
    }

    /// The next frame that is neither ping nor pong.
    pub async fn message(&mut self) -> Frame {
        loop {
            let frame = self.frame().await;
            if !matches!(frame.first & 0xF, PING | PONG) {
                return frame;
            }
        }
    }

    pub async fn expect_text(&mut self, payload: &str) {
        assert_eq!(self.frame().await, Frame::text(payload));
    }

    /// Expects the end of the connection, without a reset or bytes before it.
    pub async fn expect_end(&mut self) {
        while self.read().await.expect("no reset") > 0 {}
        assert!(self.received.is_empty(), "{:?} before the end", self.received);
    }

    /// Reads until the connection ends in any way.
    pub async fn read_to_end(&mut self) -> Vec<u8> {
        while self.read().await.is_ok_and(|read| read > 0) {}
        std::mem::take(&mut self.received)
    }

    /// Expects a close frame with this code, then the end.
    pub async fn expect_close(&mut self, code: u16) {
        assert_eq!(self.message().await.close_code(), code);
        self.expect_end().await;
    }

    async fn read(&mut self) -> std::io::Result<usize> {
        soon("bytes of the node", self.stream.read_buf(&mut self.received)).await
    }
}

/// The first frame and its end.
fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let [first, second, rest @ ..] = bytes else { return None };
    let (length, head) = match second {
        126 => (u64::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*rest.first_chunk()?), 10),
        short => (u64::from(*short), 2),
    };
    assert!(second & 0x80 == 0, "a node's frames carry no mask");
    let needs = if length > 0xFFFF {
        10
    } else if length > 125 {
        4
    } else {
        2
    };
    assert_eq!(head, needs, "a node writes the shortest length");
    let end = head + length as usize;
    Some((Frame { first: *first, payload: bytes.get(head..end)?.to_vec() }, end))
}
