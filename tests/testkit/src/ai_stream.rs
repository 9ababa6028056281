//! A client of the AI SDK's UI message streams over HTTP/1.1: Server-Sent Events in the chunked transfer coding.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http::{self, Response};
use crate::node::Node;
use crate::soon;

/// An open stream.
pub struct AiStream {
    stream: TcpStream,
    received: Vec<u8>,
    /// The content of the transfer coding's chunks that is not yet parsed.
    content: Vec<u8>,
    /// The transfer coding's last chunk has arrived.
    is_complete: bool,
}

/// What a stream brings.
#[derive(Clone, Debug, PartialEq)]
pub enum AiEvent {
    Chunk(Value),
    /// `[DONE]`.
    Done,
    /// The body is complete.
    Complete,
    /// The connection ended before the body was complete.
    BrokenOff,
}

impl AiStream {
    /// Opens the stream of a run. Fails with the response if it is not one.
    pub async fn open(node: &Node, path: &str) -> Result<Self, Response> {
        let mut stream = http::connect(node.public).await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", node.public);
        stream.write_all(request.as_bytes()).await.expect("the request goes out");
        let mut received = Vec::new();
        let response = http::head(&mut stream, &mut received).await;
        if response.status != 200 {
            return Err(http::with_body(stream, received, response).await);
        }
        assert_eq!(response.header("content-type"), Some("text/event-stream"));
        assert_eq!(response.header("transfer-encoding"), Some("chunked"));
        assert_eq!(response.header("x-vercel-ai-ui-message-stream"), Some("v1"));
        Ok(Self { stream, received, content: Vec::new(), is_complete: false })
    }

    pub async fn event(&mut self) -> AiEvent {
        loop {
            self.decode();
            if let Some(event) = self.parse() {
                return event;
            }
            if self.is_complete {
                return AiEvent::Complete;
            }
            let read = soon("a chunk", self.stream.read_buf(&mut self.received)).await;
            if !read.is_ok_and(|read| read > 0) {
                return AiEvent::BrokenOff;
            }
        }
    }

    /// The next chunk.
    pub async fn chunk(&mut self) -> Value {
        match self.event().await {
            AiEvent::Chunk(chunk) => chunk,
            other => panic!("no chunk but {other:?}"),
        }
    }

    /// The chunks up to `[DONE]`, after which the body ends.
    pub async fn rest(&mut self) -> Vec<Value> {
        let mut chunks = Vec::new();
        loop {
            match self.event().await {
                AiEvent::Chunk(chunk) => chunks.push(chunk),
                AiEvent::Done => break assert_eq!(self.event().await, AiEvent::Complete),
                other => panic!("{other:?} after {chunks:?}"),
            }
        }
        chunks
    }

    /// Takes the content of the chunks that are whole.
    fn decode(&mut self) {
        while let Some(line) = self.received.windows(2).position(|two| two == b"\r\n") {
            let size = str::from_utf8(&self.received[..line]).expect("a size is text");
            let size = usize::from_str_radix(size, 16).expect("a size is hexadecimal");
            let end = line + 2 + size;
            let Some(behind) = self.received.get(end..end + 2) else { return };
            assert_eq!(behind, b"\r\n", "what follows a chunk");
            self.content.extend_from_slice(&self.received[line + 2..end]);
            self.received.drain(..end + 2);
            self.is_complete |= size == 0;
        }
    }

    /// Takes the next event with data; comments have none.
    fn parse(&mut self) -> Option<AiEvent> {
        while let Some(end) = self.content.windows(2).position(|two| two == b"\n\n") {
            let block: Vec<u8> = self.content.drain(..end + 2).collect();
            let block = str::from_utf8(&block).expect("a stream is UTF-8").trim_end();
            let Some(data) = block.strip_prefix("data: ") else { continue };
            return Some(match data {
                "[DONE]" => AiEvent::Done,
                json => AiEvent::Chunk(serde_json::from_str(json).expect("a chunk is JSON")),
            });
        }
        None
    }
}
