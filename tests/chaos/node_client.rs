//! Publishes as a json client on any node.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rand::SeedableRng;
use rand::rngs::StdRng;
use testkit::log::{Channel, Position};
use testkit::publisher::{Publish, Unacknowledged};
use testkit::server_message::ServerMessage;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::directory::Directory;
use crate::subscriber::SocketKind;

/// The longest wait for a reply: longer than a node takes to reply `unavailable`.
const REPLY_TIME_MAX: Duration = Duration::from_secs(4);

pub struct NodeClient {
    directory: Directory,
    random: StdRng,
    socket: Option<WebSocketStream<TcpStream>>,
    /// The id of the last command.
    id: u64,
}

impl NodeClient {
    pub fn new(directory: Directory, seed: u64) -> Self {
        Self { directory, random: StdRng::seed_from_u64(seed), socket: None, id: 0 }
    }
}

impl Publish for NodeClient {
    async fn publish(
        &mut self,
        channel: &Channel,
        payload: &str,
        key: &str,
    ) -> Result<Option<Position>, Unacknowledged> {
        let mut socket = match self.socket.take() {
            Some(socket) => socket,
            None => {
                let connected = self.directory.connect(&mut self.random, SocketKind::Usual).await;
                connected.map_err(Unacknowledged)?.1
            }
        };
        self.id += 1;
        let command = format!(
            r#"{{"type":"publish","id":{},"channel":"{}","data":{payload},"idempotency_key":"{key}"}}"#,
            self.id, channel.name
        );
        match timeout(REPLY_TIME_MAX, request(&mut socket, command, self.id)).await {
            // The connection stays open, also after an error.
            Ok(Ok(answer)) => {
                self.socket = Some(socket);
                answer
            }
            Ok(Err(why)) => Err(Unacknowledged(why)),
            Err(_) => Err(Unacknowledged("a node did not reply".to_owned())),
        }
    }
}

/// Sends a publish command and waits for its reply. The outer error ends the connection.
async fn request(
    socket: &mut WebSocketStream<TcpStream>,
    command: String,
    id: u64,
) -> Result<Result<Option<Position>, Unacknowledged>, String> {
    socket.send(Message::text(command)).await.map_err(|error| error.to_string())?;
    loop {
        let message = socket.next().await.ok_or("ended")?.map_err(|error| error.to_string())?;
        let text = match message {
            Message::Text(text) => text,
            Message::Close(_) => return Err("closed".to_owned()),
            _ => continue,
        };
        let push =
            ServerMessage::parse(text.as_str()).ok_or_else(|| format!("unexpected: {text}"))?;
        if push.id == Some(id) {
            return Ok(match push.kind.as_ref() {
                "published" => Ok(push.position),
                _ => Err(Unacknowledged(push.message.unwrap_or_default().into_owned())),
            });
        }
    }
}
