//! History in Redis only: services that publish into histories, streams that services can read, and
//! interruptions.

mod function_secret;
mod interrupted;
mod plain_sessions;
mod prefixes;
mod refused_writes;
mod restarted;
mod services;
mod streams;

use redis::{FromRedisValue, RedisResult};
use testkit::redis::{Redis, query};
use testkit::soon;

/// The answer of Redis to a service's command.
async fn answer<T: FromRedisValue>(redis: &Redis, command: &[&str]) -> RedisResult<T> {
    soon("an answer of Redis", query(redis.address, command)).await
}
