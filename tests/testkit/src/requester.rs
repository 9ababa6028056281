//! A client that sends HTTP requests one after another on one connection, and polls channels.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::http::{self, Response};
use crate::node::Node;
use crate::soon;

pub struct Requester {
    address: SocketAddr,
    stream: TcpStream,
    received: Vec<u8>,
}

impl Requester {
    /// Connects to the public listener.
    pub async fn connect(node: &Node) -> Self {
        let stream = http::connect(node.public).await;
        Self { address: node.public, stream, received: Vec::new() }
    }

    /// Sends a request without waiting for its response.
    pub async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let request = [head.as_bytes(), body].concat();
        let sending = self.stream.write_all(&request);
        soon("a request to go out", sending).await.expect("the node reads it");
    }

    pub async fn response(&mut self) -> Response {
        http::response(&mut self.stream, &mut self.received).await
    }

    pub async fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        self.send(method, path, headers, body).await;
        self.response().await
    }

    pub async fn get(&mut self, path: &str) -> Response {
        self.request("GET", path, &[], b"").await
    }

    pub async fn post(&mut self, path: &str, body: &[u8]) -> Response {
        self.request("POST", path, &[], body).await
    }

    /// Sends a poll, and returns its answer, which must be successful.
    pub async fn poll(&mut self, channel: &str, query: &str) -> Value {
        let response = self.get(&format!("/poll/{channel}?{query}")).await;
        assert_eq!(response.status, 200, "{response:?}");
        response.json()
    }
}

/// Polls a channel from position to position, and collects the publications in `data`.
pub struct Poller {
    pub channel: String,
    pub position: String,
    pub received: Vec<Value>,
}

impl Poller {
    /// Begins at the channel's current position.
    pub async fn start(node: &Node, channel: &str) -> Self {
        let answer = Requester::connect(node).await.poll(channel, "wait=0s").await;
        Self { channel: channel.to_owned(), position: position(&answer), received: Vec::new() }
    }

    /// Polls once. Returns the status if it is not 200.
    pub async fn poll(&mut self, requester: &mut Requester) -> Result<(), u16> {
        let path = format!("/poll/{}?since={}&wait=2s", self.channel, self.position);
        let response = requester.get(&path).await;
        if response.status != 200 {
            return Err(response.status);
        }
        let answer = response.json();
        assert_eq!(answer["recovered"], true, "{answer}");
        self.position = position(&answer);
        let publications = answer["publications"].as_array().expect("a list");
        self.received.extend(publications.iter().map(|publication| publication["data"].clone()));
        Ok(())
    }
}

/// The position of an answer.
pub fn position(answer: &Value) -> String {
    answer["position"].as_str().unwrap_or_else(|| panic!("no position: {answer}")).to_owned()
}
