//! Redis' side: the function of `revocations.lua`, called as nodes would.

use std::time::{SystemTime, UNIX_EPOCH};

use ::redis::aio::MultiplexedConnection;
use testkit::redis::{Redis, RedisSubscriber};
use testkit::soon;

use super::KEY;

const FUNCTIONS: &str = include_str!("../../../src/broker/redis/functions/revocations.lua");

const HOUR_MILLIS: u64 = 3_600_000;

struct Scene {
    redis: Redis,
    connection: MultiplexedConnection,
    told: RedisSubscriber,
    key: String,
}

impl Scene {
    async fn new() -> Self {
        let redis = Redis::start().await;
        let library = format!("#!lua name=revocations\n{FUNCTIONS}");
        let _: String = redis.query(&["FUNCTION", "LOAD", &library]).await;
        let (connection, told) = (redis.connection().await, redis.subscriber(KEY).await);
        Self { redis, connection, told, key: format!("tidegate:{KEY}") }
    }

    /// Returns how many were new.
    async fn revoke(&mut self, keep: u64, most: usize, users: &[(&str, u64)]) -> u64 {
        let mut call = ::redis::cmd("FCALL");
        call.arg("tidegate_revoke").arg(1).arg(&self.key).arg(keep).arg(most).arg("PUBLISH");
        call.arg(users);
        soon("an answer", call.query_async(&mut self.connection)).await.expect("Redis does it")
    }

    /// Users and times, earliest first.
    async fn kept(&self) -> Vec<(String, u64)> {
        let pairs: Vec<(String, f64)> =
            self.redis.query(&["ZRANGE", &self.key, "0", "-1", "WITHSCORES"]).await;
        pairs.into_iter().map(|(user, before)| (user, before as u64)).collect()
    }

    async fn hears(&mut self, expected: &str) {
        assert_eq!(String::from_utf8_lossy(&self.told.receive().await), expected);
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later").as_millis() as u64
}

#[tokio::test]
async fn the_latest_counts_and_only_what_is_new_is_told() {
    let (mut scene, now) = (Scene::new().await, now());
    assert_eq!(scene.revoke(HOUR_MILLIS, 10, &[("ada", now), ("b o", now - 5)]).await, 2);
    assert_eq!(scene.revoke(HOUR_MILLIS, 10, &[("ada", now), ("b o", now - 9)]).await, 0);
    assert_eq!(scene.revoke(HOUR_MILLIS, 10, &[("b o", now + 1)]).await, 1);
    scene.hears(&format!("{now} ada")).await;
    scene.hears(&format!("{} b o", now - 5)).await;
    scene.hears(&format!("{} b o", now + 1)).await;
    let expected = [("ada".to_owned(), now), ("b o".to_owned(), now + 1)];
    assert_eq!(scene.kept().await, expected);
}

#[tokio::test]
async fn what_is_over_goes_and_in_the_end_the_key_itself() {
    let (mut scene, now) = (Scene::new().await, now());
    let long = 3 * HOUR_MILLIS;
    scene.revoke(long, 10, &[("old", now - 2 * HOUR_MILLIS), ("young", now)]).await;
    assert_eq!(scene.kept().await.len(), 2);
    scene.revoke(HOUR_MILLIS, 10, &[("ada", now)]).await;
    let users: Vec<_> = scene.kept().await.into_iter().map(|(user, _)| user).collect();
    assert_eq!(users, ["ada", "young"]);
    let left: u64 = scene.redis.query(&["PTTL", &scene.key]).await;
    assert!((HOUR_MILLIS / 2..=HOUR_MILLIS).contains(&left), "{left}");
}

#[tokio::test]
async fn the_oldest_give_way_a_bounded_number_at_a_time() {
    let (mut scene, now) = (Scene::new().await, now());
    let names: Vec<_> = (0..1500).map(|number| format!("user{number}")).collect();
    let users: Vec<_> = names.iter().zip(now - 1500..).map(|(it, at)| (it.as_str(), at)).collect();
    scene.revoke(HOUR_MILLIS, 2000, &users).await;
    assert_eq!(scene.kept().await.len(), 1500);
    scene.revoke(HOUR_MILLIS, 100, &[("last", now)]).await;
    assert_eq!(scene.kept().await.len(), 501);
    scene.revoke(HOUR_MILLIS, 100, &[("very last", now + 1)]).await;
    let kept = scene.kept().await;
    assert_eq!(kept.len(), 100);
    assert_eq!(kept[98..], [("last".to_owned(), now), ("very last".to_owned(), now + 1)]);
}
