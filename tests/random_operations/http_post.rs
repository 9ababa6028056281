//! `POST` to the internal listener of a node that may not be running.

use std::net::SocketAddr;

use testkit::log::Position;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends a request. Returns the position if the reply has one. Fails with the status and the body if the node did not
/// accept it.
pub async fn post(to: SocketAddr, path: &str, body: &str) -> Result<Option<Position>, String> {
    let reply = exchange(to, path, body).await.map_err(|error| error.to_string())?;
    if !["HTTP/1.1 200", "HTTP/1.1 202"].iter().any(|status| reply.starts_with(status)) {
        let (head, body) = reply.split_once("\r\n\r\n").unwrap_or((&reply, ""));
        return Err(format!("{} {body}", head.lines().next().unwrap_or_default()));
    }
    let position = reply.split_once("\"position\":\"").and_then(|(_, rest)| rest.split_once('"'));
    Ok(position.and_then(|(text, _)| Position::parse(text)))
}

async fn exchange(to: SocketAddr, path: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(to).await?;
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await?;
    Ok(String::from_utf8_lossy(&reply).into_owned())
}
