//! Connections for commands, with the settings that matter: no Nagle, bounded waits.

use std::io;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, ErrorKind, RedisResult};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};

use crate::broker::redis::connection::server::Server;
use crate::broker::redis::connection::socket::{self, Socket};

/// How long each step of making a connection may take: connecting, TLS, and the greeting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The server, and how to reach it.
#[derive(Clone, Debug)]
pub struct Link {
    server: Server,
}

impl Link {
    pub fn new(server: &Server) -> Self {
        Self { server: server.clone() }
    }

    /// A connection for commands. Waits for answers are the caller's to bound.
    pub async fn open(&self) -> RedisResult<MultiplexedConnection> {
        self.open_within(CONNECT_TIMEOUT).await
    }

    /// The same; `within`: how long each step may take. The socket is made here and not by the crate,
    /// which takes the first address of a name and waits for that one alone.
    pub async fn open_within(&self, within: Duration) -> RedisResult<MultiplexedConnection> {
        match socket::open(&self.server, within).await? {
            Socket::Plain(stream) => self.greet(stream, within).await,
            Socket::Tls(stream) => self.greet(stream, within).await,
        }
    }

    /// The crate waits for the greeting for ever.
    async fn greet(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        within: Duration,
    ) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let greeting = MultiplexedConnection::new_with_config(&self.server.login, stream, config);
        match timeout(within, greeting).await {
            Ok(Ok((connection, driver))) => {
                // It ends with the connection, or with the last who holds it.
                tokio::spawn(driver);
                Ok(connection)
            }
            Ok(Err(error)) if error.kind() == ErrorKind::Parse => {
                Err(io::Error::other("what answers there does not speak Redis").into())
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "timed out: it is connected but silent",
            )
            .into()),
        }
    }
}

/// Pauses between attempts, for ever: doubling from 50 ms to 1 s, each cut by up to half at random so
/// that the nodes of a fleet do not return in one instant.
#[derive(Debug, Default)]
pub struct Backoff {
    attempts: u32,
    /// When the connection that was lost had been made.
    connected_at: Option<Instant>,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(1);

    /// A connection that lasted so long was a good one.
    const LASTING: Duration = Duration::from_secs(5);

    /// A connection was made. It counts as good once it has lasted a while; till then a server that
    /// accepts and hangs up at once is not asked again without a pause.
    pub fn connected(&mut self) {
        self.connected_at = Some(Instant::now());
    }

    /// The pause before the next attempt.
    pub fn next(&mut self) -> Duration {
        if self.connected_at.take().is_some_and(|at| at.elapsed() > Self::LASTING) {
            self.attempts = 0;
        }
        let doubled = Self::FIRST * 2u32.pow(self.attempts.min(6));
        self.attempts += 1;
        doubled.min(Self::LONGEST).mul_f64(rand::random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_to_a_bound_and_start_over_after_a_connection_that_lasted() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..20).map(|_| backoff.next()).collect();
        assert!(pauses[0] <= Backoff::FIRST && pauses[0] >= Backoff::FIRST / 2);
        assert!(pauses[19] <= Backoff::LONGEST && pauses[19] >= Backoff::LONGEST / 2);
        backoff.connected();
        tokio::time::sleep(Backoff::LASTING * 2).await;
        assert!(backoff.next() <= Backoff::FIRST);
    }
}
