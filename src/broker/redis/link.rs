//! Connections for commands, with the settings that matter: no Nagle, bounded waits.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, FromRedisValue, Pipeline,
    RedisError, RedisResult, Value,
};
use deadpool_redis::{PoolConfig, PoolError, Runtime, Timeouts};
use tokio::time::Instant;

use super::functions::{Found, Library};
use super::routing::PastHistory;
use super::server::Server;
use crate::tls;

/// How long a connection may take to be made and greeted.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a question may take, from waiting for a pooled connection to the answer.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(2);

/// Connections for questions. They are rare: publications and subscriptions do not use the pool.
const POOL_SIZE: usize = 2;

/// The server, and how to reach it.
#[derive(Clone)]
pub struct Link {
    client: Client,
}

impl Link {
    pub fn new(server: &Server) -> Self {
        Self { client: server.client() }
    }

    /// A connection for commands. Waits for answers are the caller's to bound.
    ///
    /// The crate bounds only the TCP connect: a server that accepts and then says nothing would
    /// hold the greeting for ever.
    pub async fn open(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(None);
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(connected) => connected.map_err(|error| self.explained(error)),
            Err(_) => Err(self.explained(io::Error::from(io::ErrorKind::TimedOut).into())),
        }
    }

    /// A failed TLS handshake, or greeting, in words; other errors as they are.
    fn explained(&self, error: RedisError) -> RedisError {
        if error.kind() == ErrorKind::Parse {
            return io::Error::other("what answers there does not speak Redis").into();
        }
        let cause = error.source().and_then(|it| it.downcast_ref::<Arc<dyn Error + Send + Sync>>());
        let cause = cause.and_then(|cause| cause.downcast_ref::<io::Error>());
        let info = self.client.get_connection_info();
        let is_encrypted = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        match cause.and_then(tls::explanation) {
            Some(words) => io::Error::other(words).into(),
            // Redis without TLS takes the handshake for the beginning of a line.
            None if is_encrypted && error.is_timeout() => {
                let words = "timed out; so does a server that does not speak TLS on this port";
                io::Error::new(io::ErrorKind::TimedOut, words).into()
            }
            None => error,
        }
    }

    pub fn pool(&self) -> Pool {
        let info = self.client.get_connection_info().clone();
        let manager = deadpool_redis::Manager::new(info).expect("a checked connection info opens");
        let timeouts = Timeouts {
            wait: Some(QUESTION_TIMEOUT),
            create: Some(QUESTION_TIMEOUT),
            recycle: Some(QUESTION_TIMEOUT),
        };
        let pool = deadpool_redis::Pool::builder(manager)
            .config(PoolConfig { max_size: POOL_SIZE, timeouts, ..PoolConfig::default() })
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a pool with a runtime builds");
        Pool(pool)
    }
}

/// Connections for questions and their answers.
#[derive(Clone)]
pub struct Pool(deadpool_redis::Pool);

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum QuestionError {
    #[error("no connection: {0}")]
    Pool(#[from] PoolError),
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error("no answer within {QUESTION_TIMEOUT:?}")]
    Timeout,
}

impl Pool {
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, QuestionError> {
        bounded(async {
            let mut connection = self.0.get().await?;
            Ok(command.query_async(&mut connection).await?)
        })
        .await
    }

    /// Installs the functions where they are missing, or only reads them.
    pub async fn install(
        &self,
        library: &Library,
        past: &PastHistory,
        only_reads: bool,
    ) -> Result<Found, QuestionError> {
        bounded(async {
            let mut connection = self.0.get().await?;
            Ok(match only_reads {
                true => library.read(&mut connection).await?,
                false => library.install(&mut connection, past).await?,
            })
        })
        .await
    }

    /// Asks several at once; each has its own answer, [`Value::ServerError`] among them.
    pub async fn query_each(&self, questions: &Pipeline) -> Result<Vec<Value>, QuestionError> {
        bounded(async {
            let mut connection = self.0.get().await?;
            Ok(connection.req_packed_commands(questions, 0, questions.len()).await?)
        })
        .await
    }
}

async fn bounded<T>(
    asking: impl Future<Output = Result<T, QuestionError>>,
) -> Result<T, QuestionError> {
    tokio::time::timeout(QUESTION_TIMEOUT, asking).await.map_err(|_| QuestionError::Timeout)?
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
