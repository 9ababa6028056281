//! A small pool of connections to one server, for commands other than publishing and subscribing.

use std::ops::DerefMut;
use std::time::Duration;

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::{Cmd, FromRedisValue, Pipeline, RedisError, RedisResult, Value};
use deadpool::Runtime;
use deadpool::managed::{
    Manager, Metrics, PoolConfig, PoolError, RecycleError, RecycleResult, Timeouts,
};
use tokio::time::timeout;

use super::link::Link;

/// How long a command may take, from waiting for a pooled connection to the reply.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);

/// Shorter than a command's timeout, so that the caller gets the connection's error.
const POOLED_CONNECT_TIMEOUT: Duration = QUERY_TIMEOUT.checked_div(2).unwrap();

/// Size of the pool. Its commands are rare: publishing and subscribing use other connections.
const POOL_SIZE: usize = 2;

/// A pool of connections for commands.
#[derive(Clone)]
pub struct Pool(deadpool::managed::Pool<Connector>);

/// Why a command got no reply.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error("no connection: {0}")]
    Pool(#[from] PoolError<RedisError>),
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error("no answer within {QUERY_TIMEOUT:?}")]
    Timeout,
}

impl Pool {
    pub fn new(link: &Link) -> Self {
        let timeouts = Timeouts {
            wait: Some(QUERY_TIMEOUT),
            create: Some(QUERY_TIMEOUT),
            recycle: Some(QUERY_TIMEOUT),
        };
        let pool = deadpool::managed::Pool::builder(Connector(link.clone()))
            .config(PoolConfig { max_size: POOL_SIZE, timeouts, ..PoolConfig::default() })
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a pool with a runtime builds");
        Self(pool)
    }

    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, QueryError> {
        bounded(async {
            let mut connection = self.get().await?;
            Ok(command.query_async(&mut *connection).await?)
        })
        .await
    }

    /// A connection for more than one command in a row. The caller wraps the whole in [`bounded`].
    pub async fn get(&self) -> Result<impl DerefMut<Target = MultiplexedConnection>, QueryError> {
        Ok(self.0.get().await?)
    }

    /// Sends several commands at once; each has its own reply, which may be a
    /// [`Value::ServerError`].
    pub async fn query_each(&self, commands: &Pipeline) -> Result<Vec<Value>, QueryError> {
        bounded(async {
            let mut connection = self.get().await?;
            Ok(connection.req_packed_commands(commands, 0, commands.len()).await?)
        })
        .await
    }
}

/// Opens the connections of a pool.
#[derive(Debug)]
struct Connector(Link);

impl Manager for Connector {
    type Type = MultiplexedConnection;
    type Error = RedisError;

    async fn create(&self) -> RedisResult<MultiplexedConnection> {
        self.0.open_within(POOLED_CONNECT_TIMEOUT).await
    }

    /// Drops a connection that does not reply, or replies to another command.
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
            false => Err(RecycleError::message("its replies belong to other commands")),
        }
    }
}

/// Bounds a command by [`QUERY_TIMEOUT`].
pub async fn bounded<T>(
    query: impl Future<Output = Result<T, QueryError>>,
) -> Result<T, QueryError> {
    timeout(QUERY_TIMEOUT, query).await.map_err(|_| QueryError::Timeout)?
}
