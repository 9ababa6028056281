//! Connects a client.

use std::net::SocketAddr;

use futures_util::StreamExt;
use testkit::server_message::ServerMessage;
use testkit::token;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Opens a session with the JSON protocol; returns it with the name of its node. Fails with the reason.
pub async fn connect(address: SocketAddr) -> Result<(String, WebSocketStream<TcpStream>), String> {
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    // With a user, because an idempotency key of an anonymous session ends with its connection.
    let url = format!("ws://{address}/ws?token={}", token::for_user("a user", &[]));
    let handshake = tokio_tungstenite::client_async(url, stream);
    let (mut socket, _) = handshake.await.map_err(|error| match error {
        Error::Http(response) => {
            let body = response.body().as_deref().unwrap_or_default();
            format!("{}: {}", response.status(), String::from_utf8_lossy(body))
        }
        error => error.to_string(),
    })?;
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => {
                let node = ServerMessage::parse(text.as_str()).and_then(|push| push.node);
                let node = node.ok_or_else(|| format!("no welcome: {text}"))?;
                return Ok((node.into_owned(), socket));
            }
            Some(Ok(Message::Ping(_))) => {}
            other => return Err(format!("no welcome: {other:?}")),
        }
    }
}
