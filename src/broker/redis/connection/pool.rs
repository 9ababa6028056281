//! A small pool of connections to one server, for questions and their answers.

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

/// How long a question may take, from waiting for a pooled connection to the answer.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(2);

/// The same for the connections of the pool: who asks is to learn what was wrong with them.
const POOLED_CONNECT_TIMEOUT: Duration = QUESTION_TIMEOUT.checked_div(2).unwrap();

/// Connections for questions. They are rare: publications and subscriptions do not use the pool.
const POOL_SIZE: usize = 2;

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
    pub fn new(link: &Link) -> Self {
        let timeouts = Timeouts {
            wait: Some(QUESTION_TIMEOUT),
            create: Some(QUESTION_TIMEOUT),
            recycle: Some(QUESTION_TIMEOUT),
        };
        let pool = deadpool::managed::Pool::builder(Connector(link.clone()))
            .config(PoolConfig { max_size: POOL_SIZE, timeouts, ..PoolConfig::default() })
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a pool with a runtime builds");
        Self(pool)
    }

    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, QuestionError> {
        bounded(async {
            let mut connection = self.get().await?;
            Ok(command.query_async(&mut *connection).await?)
        })
        .await
    }

    /// A connection, for more than one question in a row. The whole is for the caller to have [`bounded`].
    pub async fn get(
        &self,
    ) -> Result<impl DerefMut<Target = MultiplexedConnection>, QuestionError> {
        Ok(self.0.get().await?)
    }

    /// Asks several at once; each has its own answer, [`Value::ServerError`] among them.
    pub async fn query_each(&self, questions: &Pipeline) -> Result<Vec<Value>, QuestionError> {
        bounded(async {
            let mut connection = self.get().await?;
            Ok(connection.req_packed_commands(questions, 0, questions.len()).await?)
        })
        .await
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

/// Gives a question the time that it may take.
pub async fn bounded<T>(
    asking: impl Future<Output = Result<T, QuestionError>>,
) -> Result<T, QuestionError> {
    timeout(QUESTION_TIMEOUT, asking).await.map_err(|_| QuestionError::Timeout)?
}
