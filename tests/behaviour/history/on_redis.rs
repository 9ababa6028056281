//! What only Redis has: services that publish into histories, streams that anybody can read, and
//! interruptions.

mod interrupted;
mod plain_sessions;
mod prefixes;
mod refused_writes;
mod restarted;
mod services;
mod signed;
mod streams;

use redis::{FromRedisValue, RedisResult};
use testkit::redis::{Redis, query};
use testkit::soon;

/// What Redis answers to a service.
async fn answer<T: FromRedisValue>(redis: &Redis, command: &[&str]) -> RedisResult<T> {
    soon("an answer of Redis", query(redis.address, command)).await
}
