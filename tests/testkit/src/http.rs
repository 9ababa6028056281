//! A minimal HTTP/1.1 client.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::soon;

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("the body is text")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", String::from_utf8_lossy(&self.body)))
    }
}

pub async fn get(address: SocketAddr, path: &str) -> Response {
    request(address, "GET", path, &[], b"").await
}

pub async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let mut bytes = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        bytes.push_str(&format!("{name}: {value}\r\n"));
    }
    bytes.push_str("\r\n");
    let mut stream = connect(address).await;
    stream.write_all(&[bytes.as_bytes(), body].concat()).await.expect("the request goes out");
    let mut buffer = Vec::new();
    let mut response = head(&mut stream, &mut buffer).await;
    if method != "HEAD" {
        read_body(&mut stream, &mut buffer, &mut response).await;
    }
    response
}

pub async fn connect(address: SocketAddr) -> TcpStream {
    let stream = soon("a connection", TcpStream::connect(address)).await.expect("a listener");
    stream.set_nodelay(true).expect("a socket takes TCP_NODELAY");
    stream
}

/// Connects from another loopback address.
pub async fn connect_from(address: SocketAddr, from: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    let from = format!("{from}:0").parse().expect("an address");
    socket.bind(from).expect("all of 127/8 is here");
    let stream = soon("a connection", socket.connect(address)).await.expect("a listener");
    stream.set_nodelay(true).expect("a socket takes TCP_NODELAY");
    stream
}

/// Reads one response; bytes after it stay in `buffer`.
pub async fn response(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Response {
    let mut response = head(stream, buffer).await;
    read_body(stream, buffer, &mut response).await;
    response
}

/// Reads the head of a response; bytes after it stay in `buffer`.
pub async fn head(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Response {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|it| it == b"\r\n\r\n") {
            break at + 4;
        }
        let read = soon("a response", stream.read_buf(buffer)).await.expect("the socket reads");
        assert!(read > 0, "the connection ended within {:?}", String::from_utf8_lossy(buffer));
    };
    let head: Vec<u8> = buffer.drain(..end).collect();
    let head = String::from_utf8(head).expect("a head is text");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status line");
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
    Response {
        status: status.parse().expect("a status"),
        headers: headers.collect(),
        body: Vec::new(),
    }
}

/// Reads the body of a response whose head was already read.
pub async fn with_body(
    mut stream: TcpStream,
    mut buffer: Vec<u8>,
    mut response: Response,
) -> Response {
    read_body(&mut stream, &mut buffer, &mut response).await;
    response
}

async fn read_body(stream: &mut TcpStream, buffer: &mut Vec<u8>, response: &mut Response) {
    let length = response.header("content-length").map_or(0, |it| it.parse().expect("a length"));
    while buffer.len() < length {
        let read = soon("a body", stream.read_buf(buffer)).await.expect("the socket reads");
        assert!(read > 0, "the connection ended within a body");
    }
    response.body = buffer.drain(..length).collect();
}
