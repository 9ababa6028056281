//! A socket to a server: TCP, or TLS over it. The subscribed connection uses its two halves; the
//! crate's connections for commands use it whole.

use std::io;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::broker::redis::connection::server::{RedisServer, ServerAddress};
use crate::dial::dial;
use crate::tls;

/// Redis without TLS reads the handshake as the beginning of a line, and waits for its end.
const NO_HANDSHAKE: &str = "timed out, as with a server that does not speak TLS on this port";

pub enum RedisSocket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The reading half. Halves of TLS share a lock; those of TCP do not.
pub enum SocketReader {
    Plain(OwnedReadHalf),
    Tls(ReadHalf<TlsStream<TcpStream>>),
}

/// The writing half.
pub enum SocketWriter {
    Plain(OwnedWriteHalf),
    Tls(WriteHalf<TlsStream<TcpStream>>),
}

/// Connects; with TLS, also checks the server's certificate. `within`: how long each of connecting
/// and the handshake may take.
pub async fn open(server: &RedisServer, within: Duration) -> io::Result<RedisSocket> {
    let ServerAddress { host, port } = &server.address;
    let stream = dial(host, *port, within).await?;
    let Some(trust) = &server.trust else { return Ok(RedisSocket::Plain(stream)) };
    let name = ServerName::try_from(host.to_string()).map_err(io::Error::other)?;
    let handshake = TlsConnector::from(trust.config.clone()).connect(name, stream);
    match timeout(within, handshake).await {
        Ok(Ok(stream)) => Ok(RedisSocket::Tls(Box::new(stream))),
        Ok(Err(error)) => Err(match tls::explanation(&error) {
            Some(words) => io::Error::new(error.kind(), words),
            None => error,
        }),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, NO_HANDSHAKE)),
    }
}

impl RedisSocket {
    pub fn split(self) -> (SocketReader, SocketWriter) {
        match self {
            Self::Plain(stream) => {
                let (read, write) = stream.into_split();
                (SocketReader::Plain(read), SocketWriter::Plain(write))
            }
            Self::Tls(stream) => {
                let (read, write) = tokio::io::split(*stream);
                (SocketReader::Tls(read), SocketWriter::Tls(write))
            }
        }
    }
}

impl SocketReader {
    /// Appends what has arrived, at most the spare capacity of `to`. 0: the end of the stream.
    /// Cancel safe.
    pub async fn read(&mut self, to: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read_buf(to).await,
            Self::Tls(stream) => stream.read_buf(to).await,
        }
    }
}

impl SocketWriter {
    /// Writes some of the bytes. Cancel safe.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes).await,
            Self::Tls(stream) => stream.write(bytes).await,
        }
    }

    /// Sends bytes that TLS has buffered. Cancel safe; call it again after a cancellation.
    pub async fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(stream) => stream.flush().await,
        }
    }
}
