//! Publishing as a service does: directly to Redis, without nodes.

use std::net::SocketAddr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::time::timeout;

use crate::log::{Channel, Position};
use crate::publisher::{Publish, Unacknowledged};

const ANSWER_TIME_MAX: Duration = Duration::from_secs(3);

/// Most redirections followed for one publication.
const REDIRECTS_MAX: usize = 5;

/// How a service finds the Redis to publish to.
#[derive(Clone)]
pub enum RedisAddress {
    At(SocketAddr),
    /// Any of these reports the master.
    Sentinels {
        sentinels: Vec<SocketAddr>,
        service: &'static str,
    },
    /// Any of these redirects to the right server.
    Cluster(Vec<SocketAddr>),
}

pub struct Service {
    redis: RedisAddress,
    random: StdRng,
    connection: Option<MultiplexedConnection>,
}

impl Service {
    pub fn new(redis: RedisAddress, seed: u64) -> Self {
        Self { redis, random: StdRng::seed_from_u64(seed), connection: None }
    }

    fn command(&self, channel: &Channel, payload: &str, key: &str) -> Cmd {
        let name = format!("tidegate:{}", channel.name);
        let mut command = Cmd::new();
        match (channel.history, &self.redis) {
            (true, _) => {
                command.arg("FCALL").arg("tidegate_publish").arg(1).arg(name).arg(payload);
                command.arg(format!(r#"{{"id":"{key}"}}"#));
            }
            (false, RedisAddress::Cluster(_)) => {
                command.arg("SPUBLISH").arg(name).arg(payload);
            }
            (false, _) => {
                command.arg("PUBLISH").arg(name).arg(payload);
            }
        }
        command
    }

    /// Follows a cluster's redirections.
    async fn send(&mut self, command: &Cmd) -> RedisResult<Value> {
        let mut last = None;
        for _ in 0..REDIRECTS_MAX {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => connect(self.locate().await?).await?,
            };
            let error = match command.query_async(&mut connection).await {
                Ok(value) => {
                    self.connection = Some(connection);
                    return Ok(value);
                }
                Err(error) => error,
            };
            match (error.kind(), error.redirect_node()) {
                (ErrorKind::Server(ServerErrorKind::Moved), Some((to, _))) => {
                    self.connection = Some(connect(address(to)?).await?);
                }
                (ErrorKind::Server(ServerErrorKind::Ask), Some((to, _))) => {
                    let mut asking = connect(address(to)?).await?;
                    let mut both = redis::pipe();
                    both.cmd("ASKING").ignore().add_command(command.clone());
                    let (value,): (Value,) = both.query_async(&mut asking).await?;
                    // Until the slot has moved, the next command goes to the old master as well.
                    self.connection = Some(connection);
                    return Ok(value);
                }
                _ => return Err(error),
            }
            last = Some(error);
        }
        Err(last.expect("it was tried"))
    }

    async fn locate(&mut self) -> RedisResult<SocketAddr> {
        match &self.redis {
            RedisAddress::At(address) => Ok(*address),
            RedisAddress::Cluster(all) => {
                Ok(*all.choose(&mut self.random).expect("a cluster has servers"))
            }
            RedisAddress::Sentinels { sentinels, service } => {
                let number = self.random.random_range(..sentinels.len());
                let mut connection = connect(sentinels[number]).await?;
                let mut question = redis::cmd("SENTINEL");
                question.arg("GET-MASTER-ADDR-BY-NAME").arg(*service);
                let (host, port): (String, u16) = question.query_async(&mut connection).await?;
                address(&format!("{host}:{port}"))
            }
        }
    }
}

impl Publish for Service {
    async fn publish(
        &mut self,
        channel: &Channel,
        payload: &str,
        key: &str,
    ) -> Result<Option<Position>, Unacknowledged> {
        let command = self.command(channel, payload, key);
        let published = timeout(ANSWER_TIME_MAX, self.send(&command)).await;
        let answer = match published {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                self.connection = None;
                return Err(Unacknowledged(error.to_string()));
            }
            Err(_) => {
                self.connection = None;
                return Err(Unacknowledged("Redis did not answer".to_owned()));
            }
        };
        match answer {
            // The number of receivers proves nothing: nodes may be disconnected, and then report a gap.
            Value::Int(_) if !channel.history => Ok(None),
            answer => {
                let text: String = redis::from_redis_value(answer)
                    .map_err(|error| Unacknowledged(error.to_string()))?;
                match Position::parse(&text) {
                    Some(position) => Ok(Some(position)),
                    None => Err(Unacknowledged(format!("{text:?} is no position"))),
                }
            }
        }
    }
}

async fn connect(address: SocketAddr) -> RedisResult<MultiplexedConnection> {
    redis::Client::open(format!("redis://{address}"))?.get_multiplexed_async_connection().await
}

fn address(text: &str) -> RedisResult<SocketAddr> {
    let invalid = || RedisError::from((ErrorKind::Parse, "no address", text.to_owned()));
    text.parse().map_err(|_| invalid())
}
