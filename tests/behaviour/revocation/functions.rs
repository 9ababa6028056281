//! The Redis function of `revocations.lua`, called as a node calls it.

use std::time::{SystemTime, UNIX_EPOCH};

use ::redis::aio::MultiplexedConnection;
use testkit::redis::{Redis, RedisSubscriber};
use testkit::soon;

use super::KEY;

const NUMBERS: &str = include_str!("../../../src/broker/redis/functions/numbers.lua");
const FUNCTIONS: &str = include_str!("../../../src/broker/redis/functions/revocations.lua");

const HOUR_MILLIS: u64 = 3_600_000;

struct RevocationFunctions {
    redis: Redis,
    connection: MultiplexedConnection,
    published: RedisSubscriber,
    key: String,
}

impl RevocationFunctions {
    async fn new() -> Self {
        let redis = Redis::start().await;
        let library = format!("#!lua name=revocations\n{NUMBERS}\n{FUNCTIONS}");
        let _: String = redis.query(&["FUNCTION", "LOAD", &library]).await;
        let (connection, published) = (redis.connection().await, redis.subscriber(KEY).await);
        Self { redis, connection, published, key: format!("tidegate:{KEY}") }
    }

    /// Revokes users, and returns the number of new revocations.
    async fn revoke(&mut self, keep: u64, most: usize, users: &[(&str, u64)]) -> u64 {
        let mut call = ::redis::cmd("FCALL");
        call.arg("tidegate_revoke").arg(1).arg(&self.key).arg(keep).arg(most).arg("PUBLISH");
        call.arg(users);
        soon("an answer", call.query_async(&mut self.connection))
            .await
            .expect("Redis accepts the call")
    }

    /// The stored users and times, earliest first.
    async fn kept(&self) -> Vec<(String, u64)> {
        let pairs: Vec<(String, f64)> =
            self.redis.query(&["ZRANGE", &self.key, "0", "-1", "WITHSCORES"]).await;
        pairs.into_iter().map(|(user, before)| (user, before as u64)).collect()
    }

    async fn expect_published(&mut self, expected: &str) {
        assert_eq!(String::from_utf8_lossy(&self.published.receive().await), expected);
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970").as_millis()
        as u64
}

#[tokio::test]
async fn the_function_keeps_a_users_latest_revocation_and_publishes_only_new_ones() {
    let (mut functions, now) = (RevocationFunctions::new().await, now());
    assert_eq!(functions.revoke(HOUR_MILLIS, 10, &[("ada", now), ("b o", now - 5)]).await, 2);
    assert_eq!(functions.revoke(HOUR_MILLIS, 10, &[("ada", now), ("b o", now - 9)]).await, 0);
    assert_eq!(functions.revoke(HOUR_MILLIS, 10, &[("b o", now + 1)]).await, 1);
    functions.expect_published(&format!("{now} ada")).await;
    functions.expect_published(&format!("{} b o", now - 5)).await;
    functions.expect_published(&format!("{} b o", now + 1)).await;
    let expected = [("ada".to_owned(), now), ("b o".to_owned(), now + 1)];
    assert_eq!(functions.kept().await, expected);
}

#[tokio::test]
async fn the_function_removes_expired_revocations_and_the_key_expires() {
    let (mut functions, now) = (RevocationFunctions::new().await, now());
    let long = 3 * HOUR_MILLIS;
    functions.revoke(long, 10, &[("old", now - 2 * HOUR_MILLIS), ("young", now)]).await;
    assert_eq!(functions.kept().await.len(), 2);
    functions.revoke(HOUR_MILLIS, 10, &[("ada", now)]).await;
    let users: Vec<_> = functions.kept().await.into_iter().map(|(user, _)| user).collect();
    assert_eq!(users, ["ada", "young"]);
    let left: u64 = functions.redis.query(&["PTTL", &functions.key]).await;
    assert!((HOUR_MILLIS / 2..=HOUR_MILLIS).contains(&left), "{left}");
}

#[tokio::test]
async fn the_function_removes_the_oldest_revocations_a_bounded_number_at_a_time() {
    let (mut functions, now) = (RevocationFunctions::new().await, now());
    let names: Vec<_> = (0..1500).map(|number| format!("user{number}")).collect();
    let users: Vec<_> = names.iter().zip(now - 1500..).map(|(it, at)| (it.as_str(), at)).collect();
    functions.revoke(HOUR_MILLIS, 2000, &users).await;
    assert_eq!(functions.kept().await.len(), 1500);
    functions.revoke(HOUR_MILLIS, 100, &[("last", now)]).await;
    assert_eq!(functions.kept().await.len(), 501);
    functions.revoke(HOUR_MILLIS, 100, &[("very last", now + 1)]).await;
    let kept = functions.kept().await;
    assert_eq!(kept.len(), 100);
    assert_eq!(kept[98..], [("last".to_owned(), now), ("very last".to_owned(), now + 1)]);
}
