//! Connections for commands, with the required settings: no Nagle, bounded waits.

use std::io;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, ErrorKind, RedisResult};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::broker::redis::connection::server::RedisServer;
use crate::broker::redis::connection::socket::{self, RedisSocket};

/// How long each of connecting, the TLS handshake and `HELLO` may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Opens connections to one server.
#[derive(Clone, Debug)]
pub struct Link {
    server: RedisServer,
}

impl Link {
    pub fn new(server: &RedisServer) -> Self {
        Self { server: server.clone() }
    }

    /// Opens a connection for commands. The caller bounds the wait for replies.
    pub async fn open(&self) -> RedisResult<MultiplexedConnection> {
        self.open_within(CONNECT_TIMEOUT).await
    }

    /// `within`: how long each step may take. The socket is opened here and not by the crate, which
    /// tries only the first address of a host name.
    pub async fn open_within(&self, within: Duration) -> RedisResult<MultiplexedConnection> {
        match socket::open(&self.server, within).await? {
            RedisSocket::Plain(stream) => self.greet(stream, within).await,
            RedisSocket::Tls(stream) => self.greet(stream, within).await,
        }
    }

    /// The crate waits for the reply to `HELLO` without a limit.
    async fn greet(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        within: Duration,
    ) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let greeting = MultiplexedConnection::new_with_config(&self.server.login, stream, config);
        match timeout(within, greeting).await {
            Ok(Ok((connection, driver))) => {
                // The driver ends with the connection, or when its last handle is dropped.
                tokio::spawn(driver);
                Ok(connection)
            }
            Ok(Err(error)) if error.kind() == ErrorKind::Parse => {
                Err(io::Error::other("the server does not speak Redis").into())
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "timed out: the server accepts connections but does not reply",
            )
            .into()),
        }
    }
}
