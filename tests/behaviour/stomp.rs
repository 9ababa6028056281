//! STOMP 1.0, 1.1 and 1.2 as the specification says: what is agreed at the begin, frames however they are cut, subscriptions,
//! acknowledgements, transactions, heart-beats, and what ends a connection.

mod acknowledging;
mod closing;
mod connecting;
mod heartbeats;
mod hostile;
mod sending;
mod subscribing;
mod transactions;

use std::collections::VecDeque;

use testkit::client::{Client, CloseFrame, Message};
use testkit::node::Node;

/// Channels whose names begin with `h:` keep their publications.
pub const HISTORY: &str =
    r#"rules=[{pattern="h:**",history={size=1000,age="10m"}},{pattern="**"}]"#;

/// A client that has sent CONNECT and got CONNECTED.
pub struct Stomp {
    client: Client,
    /// The headers of CONNECTED.
    connected: Frame,
    number: u32,
    /// Messages that came before a receipt.
    unread: VecDeque<Frame>,
}

/// A frame of the node.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub command: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub is_binary: bool,
}

impl Frame {
    /// The only frame of a message.
    fn of(message: Message) -> Self {
        let is_binary = matches!(message, Message::Binary(_));
        let bytes = message.into_data();
        let text = String::from_utf8_lossy(&bytes);
        let end = text.find("\n\n").unwrap_or_else(|| panic!("no frame: {text:?}"));
        let mut lines = text[..end].lines();
        let command = lines.next().unwrap_or_default().to_owned();
        let split = |line: &str| line.split_once(':').map(|(a, b)| (a.to_owned(), b.to_owned()));
        let headers = lines.map(|line| split(line).expect("a header")).collect();
        let at = bytes.windows(2).position(|two| two == b"\n\n").expect("the empty line") + 2;
        let body = bytes[at..].strip_suffix(b"\0").expect("a NUL at the end").to_vec();
        Self { command, headers, body, is_binary }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| &**value)
    }

    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("a text")
    }

    /// Asserts that it is an ERROR that says this.
    #[track_caller]
    fn assert_error(&self, part: &str) {
        assert!(self.command == "ERROR" && self.text().contains(part), "{part}: {self:?}");
    }
}

impl Stomp {
    /// Upgrades without a CONNECT.
    async fn upgraded(node: &Node) -> Client {
        Client::with_subprotocol(node, "/ws", "v12.stomp, v11.stomp, v10.stomp").await
    }

    pub async fn connect(node: &Node) -> Self {
        Self::connect_with(node, "accept-version:1.0,1.1,1.2\nhost:localhost\n").await
    }

    async fn connect_with(node: &Node, headers: &str) -> Self {
        let mut client = Self::upgraded(node).await;
        client.send(format!("CONNECT\n{headers}\n\0")).await;
        let connected = Frame::of(client.receive().await);
        assert_eq!(connected.command, "CONNECTED", "{connected:?}");
        Self { client, connected, number: 0, unread: VecDeque::new() }
    }

    pub async fn send(&mut self, command: &str, headers: &str, body: &str) {
        self.client.send(format!("{command}\n{headers}\n{body}\0")).await;
    }

    /// Sends a frame in a binary message.
    pub async fn send_bytes(&mut self, command: &str, headers: &str, body: &[u8]) {
        let head = format!("{command}\n{headers}content-length:{}\n\n", body.len());
        self.client.send([head.as_bytes(), body, b"\0"].concat()).await;
    }

    /// The next frame that is no heart-beat.
    pub async fn frame(&mut self) -> Frame {
        match self.unread.pop_front() {
            Some(frame) => frame,
            None => self.received().await,
        }
    }

    async fn received(&mut self) -> Frame {
        loop {
            let message = self.client.receive().await;
            if message != Message::text("\n") {
                return Frame::of(message);
            }
        }
    }

    /// Sends a frame, and waits for its receipt. Messages before it are kept for `frame`.
    pub async fn request(&mut self, command: &str, headers: &str, body: &str) -> Frame {
        self.number += 1;
        let receipt = format!("r{}", self.number);
        self.send(command, &format!("{headers}receipt:{receipt}\n"), body).await;
        loop {
            let frame = self.received().await;
            match &*frame.command {
                "MESSAGE" => self.unread.push_back(frame),
                "RECEIPT" if frame.header("receipt-id") == Some(&*receipt) => return frame,
                _ => panic!("no receipt {receipt}: {frame:?}"),
            }
        }
    }

    pub async fn subscribed(node: &Node, destination: &str) -> Self {
        let mut stomp = Self::connect(node).await;
        stomp.request("SUBSCRIBE", &format!("id:0\ndestination:{destination}\n"), "").await;
        stomp
    }

    /// Sends a frame that is refused: the ERROR and the code of the close.
    async fn refused(&mut self, command: &str, headers: &str, body: &str) -> (Frame, u16) {
        self.send(command, headers, body).await;
        (self.frame().await, self.closed().await.code.into())
    }

    async fn closed(&mut self) -> CloseFrame {
        self.client.receive_close().await
    }

    /// Asserts that nothing has arrived before the receipt of another frame.
    async fn quiet(&mut self) {
        let transaction = format!("transaction:quiet{}\n", self.number);
        self.request("BEGIN", &transaction, "").await;
        self.request("ABORT", &transaction, "").await;
        assert_eq!(self.unread, []);
    }
}

/// Publishes as a service.
async fn publish(node: &Node, channel: &str, payload: &[u8]) {
    let answer = node.post(&format!("/api/publish/{channel}"), &[], payload).await;
    assert_eq!(answer.status, 202, "{answer:?}");
}
