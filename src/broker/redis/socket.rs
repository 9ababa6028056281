//! The socket of the subscribed connection, in two halves: TCP as it is, or TLS over it.

use std::io;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::server::{Address, Server};
use crate::tls;

/// What is read of. Halves of TLS share a lock, which TCP's do without.
pub enum Reading {
    Plain(OwnedReadHalf),
    Tls(ReadHalf<TlsStream<TcpStream>>),
}

/// What is written to.
pub enum Writing {
    Plain(OwnedWriteHalf),
    Tls(WriteHalf<TlsStream<TcpStream>>),
}

/// Connects; with TLS, the server has shown that it is who it should be.
pub async fn open(server: &Server) -> io::Result<(Reading, Writing)> {
    let Address { host, port } = &server.address;
    let stream = TcpStream::connect((&**host, *port)).await?;
    stream.set_nodelay(true)?;
    let Some(trust) = &server.trust else {
        let (read, write) = stream.into_split();
        return Ok((Reading::Plain(read), Writing::Plain(write)));
    };
    let name = ServerName::try_from(host.to_string()).map_err(io::Error::other)?;
    let handshake = TlsConnector::from(trust.config.clone()).connect(name, stream);
    let stream = handshake.await.map_err(|error| match tls::explanation(&error) {
        Some(words) => io::Error::new(error.kind(), words),
        None => error,
    })?;
    let (read, write) = tokio::io::split(stream);
    Ok((Reading::Tls(read), Writing::Tls(write)))
}

impl Reading {
    /// Appends what has come, at most the room that `to` has. 0: the end. Cancel safe.
    pub async fn read(&mut self, to: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read_buf(to).await,
            Self::Tls(stream) => stream.read_buf(to).await,
        }
    }
}

impl Writing {
    /// Takes some of it. Cancel safe.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes).await,
            Self::Tls(stream) => stream.write(bytes).await,
        }
    }

    /// Sends what TLS holds back until it is asked. Cancel safe; to be asked again then.
    pub async fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(stream) => stream.flush().await,
        }
    }
}
