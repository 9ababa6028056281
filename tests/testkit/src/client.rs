//! A WebSocket client that follows the protocol, like a browser or a library.

use std::collections::VecDeque;
use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::client::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderName;
use tokio_tungstenite::tungstenite::protocol::Role;

pub use tokio_tungstenite::tungstenite::protocol::CloseFrame;
pub use tokio_tungstenite::tungstenite::{Error, Message};

use crate::http::{self, connect};
use crate::node::Node;
use crate::soon;

/// Most handshake attempts of a client that is disconnected during them.
const HANDSHAKES_MAX: u32 = 20;

pub struct Client<S = TcpStream> {
    socket: WebSocketStream<S>,
    /// Events of the json protocol that were received while waiting for a reply.
    unclaimed: VecDeque<Value>,
    /// The `welcome` of the json protocol.
    pub welcome: Value,
    /// The response to the handshake.
    pub response: Response,
}

impl Client {
    pub async fn plain(node: &Node, channel: &str) -> Self {
        Self::open(node, &format!("/ws/{channel}")).await
    }

    pub async fn json(node: &Node) -> Self {
        Self::open(node, "/ws").await.with_welcome().await
    }

    /// Retries if the node closes the connection before it responds, as real clients do. Thousands of clients
    /// in one process need it on a busy machine: some send their request only after the node's handshake
    /// timeout.
    pub async fn json_with_retries(node: &Node) -> Self {
        for _ in 1..HANDSHAKES_MAX {
            match Self::try_open(node, "/ws").await {
                Ok(client) => return client.with_welcome().await,
                Err(Error::Io(_) | Error::Protocol(ProtocolError::HandshakeIncomplete)) => {}
                Err(error) => panic!("the upgrade is refused: {error}"),
            }
        }
        Self::json(node).await
    }

    pub async fn subscribed(node: &Node, channel: &str) -> Self {
        let mut client = Self::json(node).await;
        client.subscribe(channel).await;
        client
    }

    pub async fn open(node: &Node, path: &str) -> Self {
        Self::try_open(node, path).await.expect("the upgrade is accepted")
    }

    /// Opens a session of the protocol that the subprotocol names.
    pub async fn with_subprotocol(node: &Node, path: &str, subprotocol: &str) -> Self {
        let stream = connect(node.public).await;
        let mut request =
            format!("ws://{}{path}", node.public).into_client_request().expect("a url");
        let subprotocol = subprotocol.parse().expect("a header's value");
        request.headers_mut().insert("sec-websocket-protocol", subprotocol);
        let opened = Self::try_request(stream, request).await;
        opened.expect("the upgrade is accepted")
    }

    async fn try_open(node: &Node, path: &str) -> Result<Self, Error> {
        Self::try_open_at(node.public, path).await
    }

    /// Connects through a proxy in front of a node.
    pub async fn open_at(address: SocketAddr, path: &str) -> Self {
        Self::try_open_at(address, path).await.expect("the upgrade is accepted")
    }

    async fn try_open_at(address: SocketAddr, path: &str) -> Result<Self, Error> {
        Self::try_over(connect(address).await, address, path).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Uses a stream that is already connected to the address.
    pub async fn try_over(stream: S, address: SocketAddr, path: &str) -> Result<Self, Error> {
        let url = format!("ws://{address}{path}");
        Self::try_request(stream, url.into_client_request().expect("a url")).await
    }

    async fn try_request(stream: S, request: Request) -> Result<Self, Error> {
        let handshake = tokio_tungstenite::client_async(request, stream);
        let (socket, response) = soon("a handshake", handshake).await?;
        Ok(Self { socket, unclaimed: VecDeque::new(), welcome: Value::Null, response })
    }

    /// Uses a stream whose handshake was already answered.
    pub async fn after_handshake(stream: S, response: &http::Response) -> Self {
        let socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
        let mut head = Response::new(None);
        for (name, value) in &response.headers {
            let name = HeaderName::try_from(name).expect("a header's name");
            head.headers_mut().insert(name, value.parse().expect("a header's value"));
        }
        Self { socket, unclaimed: VecDeque::new(), welcome: Value::Null, response: head }
    }

    pub async fn with_welcome(mut self) -> Self {
        self.welcome = self.event().await;
        self
    }

    pub async fn send(&mut self, message: impl Into<Message>) {
        soon("a message to go out", self.socket.send(message.into())).await.expect("it is sent");
    }

    /// Sends a message that the node may refuse to read completely.
    pub async fn try_send(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        soon("a message to go out", self.socket.send(message.into())).await
    }

    /// The next text or binary message.
    pub async fn receive(&mut self) -> Message {
        match self.next().await {
            Message::Close(frame) => panic!("closed with {frame:?}"),
            message => message,
        }
    }

    pub async fn receive_text(&mut self) -> String {
        match self.receive().await {
            Message::Text(text) => text.as_str().to_owned(),
            other => panic!("no text: {other:?}"),
        }
    }

    /// Waits for the close frame and discards the messages before it.
    pub async fn receive_close(&mut self) -> CloseFrame {
        loop {
            if let Message::Close(frame) = self.next().await {
                return frame.expect("a close frame has a code");
            }
        }
    }

    pub async fn close(mut self) {
        soon("a close", self.socket.close(None)).await.expect("the close goes out");
        while let Some(Ok(_)) = soon("the end", self.socket.next()).await {}
    }

    /// The next object, or None once the connection has ended in any way.
    pub async fn try_event(&mut self) -> Option<Value> {
        if let Some(event) = self.unclaimed.pop_front() {
            return Some(without_times(event));
        }
        loop {
            match soon("a message", self.socket.next()).await? {
                Ok(Message::Text(text)) => {
                    return serde_json::from_str(&text).ok().map(without_times);
                }
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(_) | Err(_) => return None,
            }
        }
    }

    /// The next frame other than pings and pongs.
    pub async fn next_frame(&mut self) -> Message {
        self.next().await
    }

    async fn next(&mut self) -> Message {
        loop {
            let message = soon("a message", self.socket.next()).await;
            let message = message.expect("a close frame comes first").expect("the node behaves");
            if !matches!(message, Message::Ping(_) | Message::Pong(_)) {
                return message;
            }
        }
    }
}

/// The json protocol.
impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub async fn send_command(&mut self, command: Value) {
        self.send(command.to_string()).await;
    }

    /// The next object, its publications without `time`, which no test can predict.
    pub async fn event(&mut self) -> Value {
        without_times(self.timed_event().await)
    }

    /// The next object as the node sent it.
    pub async fn timed_event(&mut self) -> Value {
        match self.unclaimed.pop_front() {
            Some(event) => event,
            None => self.receive_json().await,
        }
    }

    /// The reply to the command with this id, its publications without `time`; other events are kept for
    /// `event`.
    pub async fn answer(&mut self, id: i64) -> Value {
        without_times(self.timed_answer(id).await)
    }

    /// The reply as the node sent it.
    pub async fn timed_answer(&mut self, id: i64) -> Value {
        if let Some(at) = self.unclaimed.iter().position(|event| event["id"] == id) {
            return self.unclaimed.remove(at).expect("it was just found");
        }
        loop {
            let event = self.receive_json().await;
            if event["id"] == id {
                return event;
            }
            self.unclaimed.push_back(event);
        }
    }

    /// Sends a command and returns its reply.
    pub async fn request(&mut self, command: Value) -> Value {
        let id = command["id"].as_i64().expect("a command with an id");
        self.send_command(command).await;
        self.answer(id).await
    }

    pub async fn subscribe(&mut self, channel: &str) {
        let answer = self.request(json!({"type": "subscribe", "id": 1, "channel": channel})).await;
        assert_eq!(answer, json!({"type": "subscribed", "id": 1, "channel": channel}));
    }

    pub async fn publish(&mut self, channel: &str, data: Value) {
        let command = json!({"type": "publish", "id": 2, "channel": channel, "data": data});
        assert_eq!(self.request(command).await, json!({"type": "published", "id": 2}));
    }

    async fn receive_json(&mut self) -> Value {
        let text = self.receive_text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text:?}"))
    }
}

/// The event that a json client receives for a JSON payload.
pub fn publication(channel: &str, data: impl Into<Value>) -> Value {
    json!({"type": "publication", "channel": channel, "data": data.into()})
}

/// A publication or a `history` reply without the times.
pub fn without_times(mut event: Value) -> Value {
    let remove_time = |publication: &mut Value| {
        if let Some(time) = publication.as_object_mut().and_then(|fields| fields.remove("time")) {
            assert!(time.is_u64(), "{time} is not a time in Unix milliseconds");
        }
    };
    match event["type"].as_str() {
        Some("publication") => remove_time(&mut event),
        Some("history") => {
            event["publications"].as_array_mut().into_iter().flatten().for_each(remove_time);
        }
        _ => {}
    }
    event
}
