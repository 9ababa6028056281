//! `POST` to a node's internal listener, which may not be there.

use std::net::SocketAddr;

use testkit::log::Position;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Publishes a body. Ok: it was taken, at the position where one is told.
pub async fn post(to: SocketAddr, path: &str, body: &str) -> Result<Option<Position>, String> {
    let answer = exchange(to, path, body).await.map_err(|error| error.to_string())?;
    if !answer.starts_with("HTTP/1.1 202") {
        return Err(answer.lines().next().unwrap_or_default().to_owned());
    }
    let position = answer.split_once("\"position\":\"").and_then(|(_, rest)| rest.split_once('"'));
    Ok(position.and_then(|(text, _)| Position::parse(text)))
}

async fn exchange(to: SocketAddr, path: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(to).await?;
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
