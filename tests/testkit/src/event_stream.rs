//! A client of Server-Sent Events that parses them by the HTML standard (section 9.2.6).

use std::collections::VecDeque;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::http::{self, Response};
use crate::node::Node;
use crate::soon;

/// An open stream.
pub struct EventStream<S = TcpStream> {
    stream: S,
    received: Vec<u8>,
    queued: VecDeque<SseEvent>,
    /// The fields of the event that is being parsed.
    name: String,
    data: String,
    id: String,
    /// The `Last-Event-ID` that a browser would send.
    pub last_id: String,
    /// The last `retry` of the node, in milliseconds.
    pub retry: Option<u64>,
    pub comments: usize,
    /// The headers of the response; names in lower case.
    headers: Vec<(String, String)>,
    /// The interval of the comments, as the stream tells it.
    pub ping_interval_ms: Option<u64>,
}

/// An event as a page receives it.
#[derive(Debug, PartialEq, Eq)]
pub struct SseEvent {
    pub name: String,
    pub data: String,
    pub id: String,
}

impl SseEvent {
    /// The data of an event of the node itself.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl EventStream {
    /// Opens a stream that the node accepts.
    pub async fn open(node: &Node, path: &str) -> Self {
        Self::open_after(node, path, "").await
    }

    /// Opens a stream that continues after a position.
    pub async fn open_after(node: &Node, path: &str, last_id: &str) -> Self {
        let header = match last_id {
            "" => String::new(),
            last_id => format!("Last-Event-ID: {last_id}\r\n"),
        };
        let opened = Self::request(node.public, path, &header).await;
        opened.unwrap_or_else(|refused| panic!("refused: {refused:?}"))
    }

    /// `headers`: lines, each with its CRLF. Fails with the response if it is not a stream.
    pub async fn request(address: SocketAddr, path: &str, headers: &str) -> Result<Self, Response> {
        let mut stream = http::connect(address).await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.expect("the request goes out");
        let mut received = Vec::new();
        let response = http::head(&mut stream, &mut received).await;
        match response.header("content-length") {
            None => Ok(Self::of(stream, received, &response)),
            Some(_) => Err(http::with_body(stream, received, response).await),
        }
    }

    /// Opens a stream with a tiny receive buffer.
    pub async fn with_small_buffer(node: &Node, path: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        let stream = soon("a connection", socket.connect(node.public)).await.expect("it listens");
        Self::over(stream, path).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> EventStream<S> {
    /// Opens a stream on any kind of connection.
    pub async fn over(mut stream: S, path: &str) -> Self {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("the request goes out");
        let mut received = Vec::new();
        let response = http::head(&mut stream, &mut received).await;
        Self::of(stream, received, &response)
    }

    /// A stream whose head was already read.
    pub fn of_response(stream: S, response: &Response) -> Self {
        Self::of(stream, Vec::new(), response)
    }

    fn of(stream: S, received: Vec<u8>, response: &Response) -> Self {
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(response.header("content-type"), Some("text/event-stream"));
        let (name, data, id, last_id) = Default::default();
        let coming = VecDeque::new();
        let mut events = Self {
            stream,
            received,
            queued: coming,
            name,
            data,
            id,
            last_id,
            retry: None,
            comments: 0,
            headers: response.headers.clone(),
            ping_interval_ms: None,
        };
        // Some events may have arrived together with the head.
        events.lines();
        events
    }

    /// A header of the response.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Sends bytes, which no SSE client does.
    pub async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The next event.
    pub async fn event(&mut self) -> SseEvent {
        self.try_event().await.expect("the stream continues")
    }

    /// The next event; None at the end of the stream.
    pub async fn try_event(&mut self) -> Option<SseEvent> {
        while self.queued.is_empty() {
            if !self.read().await {
                return None;
            }
        }
        self.queued.pop_front()
    }

    /// Reads until the condition holds.
    pub async fn read_until(&mut self, is_there: impl Fn(&Self) -> bool) {
        while !is_there(self) {
            assert!(self.read().await, "the stream ended");
        }
    }

    /// Returns false at the end of the stream.
    async fn read(&mut self) -> bool {
        let read = soon("an event", self.stream.read_buf(&mut self.received)).await;
        self.lines();
        read.is_ok_and(|read| read > 0)
    }

    /// Parses the complete lines.
    fn lines(&mut self) {
        while let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.received.drain(..=end).collect();
            self.line(str::from_utf8(&line[..end]).expect("a stream is UTF-8"));
        }
    }

    fn line(&mut self, line: &str) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if line.is_empty() => self.dispatch(),
            "" => {
                self.comments += 1;
                let told = value.strip_prefix("ping_interval_ms=").map(str::parse);
                self.ping_interval_ms = told.and_then(Result::ok).or(self.ping_interval_ms);
            }
            "event" => value.clone_into(&mut self.name),
            "data" => self.data += &format!("{value}\n"),
            "id" => value.clone_into(&mut self.id),
            "retry" => self.retry = Some(value.parse().expect("milliseconds")),
            _ => panic!("no field of the standard: {line}"),
        }
    }

    fn dispatch(&mut self) {
        // Not earlier: an event that is cut off does not count.
        self.id.clone_into(&mut self.last_id);
        let (name, mut data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
        if data.pop().is_some() {
            self.queued.push_back(SseEvent { name, data, id: self.last_id.clone() });
        }
    }
}
