//! Connections for commands, with the settings that matter: no Nagle, bounded waits.

use std::io;
use std::time::Duration;

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, Value,
};
use deadpool::Runtime;
use deadpool::managed::{
    Manager, Metrics, PoolConfig, PoolError, RecycleError, RecycleResult, Timeouts,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};

use crate::broker::redis::connection::server::Server;
use crate::broker::redis::connection::socket::{self, Socket};
use crate::broker::redis::functions::library::{Found, Library};
use crate::broker::redis::rules::routing::PastHistory;

/// How long each step of making a connection may take: connecting, TLS, and the greeting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a question may take, from waiting for a pooled connection to the answer.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(2);

/// The same for the connections of the pool: who asks is to learn what was wrong with them.
const POOLED_CONNECT_TIMEOUT: Duration = QUESTION_TIMEOUT.checked_div(2).unwrap();

/// Connections for questions. They are rare: publications and subscriptions do not use the pool.
const POOL_SIZE: usize = 2;

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

    pub fn pool(&self) -> Pool {
        let timeouts = Timeouts {
            wait: Some(QUESTION_TIMEOUT),
            create: Some(QUESTION_TIMEOUT),
            recycle: Some(QUESTION_TIMEOUT),
        };
        let pool = deadpool::managed::Pool::builder(Connector(self.clone()))
            .config(PoolConfig { max_size: POOL_SIZE, timeouts, ..PoolConfig::default() })
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a pool with a runtime builds");
        Pool(pool)
    }
}

/// Makes the connections of a pool.
#[derive(Debug)]
struct Connector(Link);

impl Manager for Connector {
    type Type = MultiplexedConnection;
    type Error = RedisError;

    async fn create(&self) -> RedisResult<MultiplexedConnection> {
        self.0.open_within(POOLED_CONNECT_TIMEOUT).await
    }

    /// One that does not answer, or not to this question, is thrown away.
    async fn recycle(
        &self,
        connection: &mut MultiplexedConnection,
        uses: &Metrics,
    ) -> RecycleResult<RedisError> {
        let number = uses.recycle_count.to_string();
        let mut ping = ::redis::cmd("PING");
        let answer: String = ping.arg(&number).query_async(connection).await?;
        match answer == number {
            true => Ok(()),
            false => Err(RecycleError::message("its answers belong to other questions")),
        }
    }
}

/// Connections for questions and their answers.
#[derive(Clone)]
pub struct Pool(deadpool::managed::Pool<Connector>);

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum QuestionError {
    #[error("no connection: {0}")]
    Pool(#[from] PoolError<RedisError>),
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error("no answer within {QUESTION_TIMEOUT:?}")]
    Timeout,
}

impl Pool {
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, QuestionError> {
        bounded(async {
            let mut connection = self.0.get().await?;
            Ok(command.query_async(&mut *connection).await?)
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
    timeout(QUESTION_TIMEOUT, asking).await.map_err(|_| QuestionError::Timeout)?
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
