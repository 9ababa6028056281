//! Redis' side of presence: the functions of `presence.lua`, called as nodes would.

use std::collections::BTreeMap;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Cmd, FromRedisValue};
use serde_json::{Value, json};
use testkit::redis::{Redis, RedisSubscriber};
use testkit::{eventually, soon};

const FUNCTIONS: &str = include_str!("../../src/broker/redis/functions/presence.lua");

/// The channel's key, and the Redis channel of its joins and leaves.
const KEY: &str = "tidegate:presence {tidegate:news} news";

/// No node is late with it.
const LONG: Duration = Duration::from_secs(600);

/// A node that is silent is dead soon, but not before a busy machine has done what comes between.
const SHORT: Duration = Duration::from_secs(2);

/// A Redis with the functions, and what it tells.
struct Scene {
    redis: Redis,
    connection: MultiplexedConnection,
    told: RedisSubscriber,
}

impl Scene {
    async fn new() -> Self {
        let redis = Redis::start().await;
        let connection = redis.connection().await;
        let told = redis.subscriber("presence {tidegate:news} news").await;
        let mut scene = Self { redis, connection, told };
        let library = format!("#!lua name=presence\n{FUNCTIONS}");
        let name: String = scene.ask(::redis::cmd("FUNCTION").arg("LOAD").arg(library)).await;
        assert_eq!(name, "presence");
        scene
    }

    async fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> T {
        soon("an answer", command.query_async(&mut self.connection)).await.expect("Redis does it")
    }

    fn call(function: &str, node: &str, ttl: Duration) -> Cmd {
        let mut call = ::redis::cmd("FCALL");
        call.arg(format!("tidegate_presence_{function}")).arg(2).arg(KEY);
        call.arg(format!("{KEY} {node}")).arg(node).arg(ttl.as_millis() as u64).arg("PUBLISH");
        call
    }

    async fn write(&mut self, node: &str, ttl: Duration, members: &[(&str, u32)]) -> String {
        let mut call = Self::call("update", node, ttl);
        call.arg(1).arg(members);
        self.ask(&call).await
    }

    /// Writes members that the others have heard of.
    async fn write_silently(&mut self, node: &str, members: &[(&str, u32)]) -> String {
        let mut call = Self::call("update", node, LONG);
        call.arg(0).arg(members);
        self.ask(&call).await
    }

    async fn refresh(&mut self, node: &str, ttl: Duration) -> (String, bool) {
        self.ask(Self::call("refresh", node, ttl).arg(-1)).await
    }

    /// By a node that knows how many members it has written.
    async fn refresh_of(&mut self, node: &str, members: usize) -> String {
        let (standing, _): (String, bool) =
            self.ask(Self::call("refresh", node, LONG).arg(members)).await;
        standing
    }

    async fn refresh_until_done(&mut self, node: &str, ttl: Duration) -> usize {
        for calls in 1.. {
            let (standing, more) = self.refresh(node, ttl).await;
            assert_eq!(standing, "known");
            if !more {
                return calls;
            }
        }
        unreachable!("the range has no end")
    }

    /// At most so many members, summed over the nodes; and whether there are more.
    async fn members_of(&mut self, most: usize) -> (BTreeMap<String, u32>, bool) {
        let mut call = ::redis::cmd("FCALL");
        call.arg("tidegate_presence_members").arg(1).arg(KEY).arg(most);
        let (more, nodes): (bool, Vec<Vec<(String, u32)>>) = self.ask(&call).await;
        let mut sums = BTreeMap::new();
        for (user, sessions) in nodes.into_iter().flatten() {
            *sums.entry(user).or_default() += sessions;
        }
        (sums, more)
    }

    async fn members(&mut self) -> Vec<(String, u32)> {
        let (sums, more) = self.members_of(100).await;
        assert!(!more);
        sums.into_iter().collect()
    }

    /// The next join or leave. Whatever should not have been told would be in its place.
    async fn is_told(&mut self, change: &str, user: Option<&str>) {
        let message: Value =
            serde_json::from_slice(&self.told.receive().await).expect("it is JSON");
        assert_eq!(message, json!({"change": change, "user": user}));
    }

    /// Nothing was told before this.
    async fn is_told_nothing(&mut self) {
        let mut publish = ::redis::cmd("PUBLISH");
        let _: u64 = self.ask(publish.arg(KEY).arg(r#"{"change":"none","user":"-"}"#)).await;
        self.is_told("none", Some("-")).await;
    }
}

fn counts(members: &[(&str, u32)]) -> Vec<(String, u32)> {
    members.iter().map(|(user, sessions)| ((*user).to_owned(), *sessions)).collect()
}

#[tokio::test]
async fn members_are_kept_by_a_server_without_memory_and_nobody_joins() {
    let mut scene = Scene::new().await;
    scene.write("a", LONG, &[("=ada", 1)]).await;
    let _: String = scene.redis.query(&["CONFIG", "SET", "maxmemory", "1"]).await;
    assert_eq!(scene.refresh_of("a", 1).await, "known");
    assert_eq!(scene.members().await, [("=ada".to_owned(), 1)]);
    let mut call = Scene::call("update", "a", LONG);
    call.arg(1).arg(&[("=bo", 1)]);
    let joined: ::redis::RedisResult<String> = call.query_async(&mut scene.connection).await;
    assert!(joined.is_err_and(|error| error.code() == Some("OOM")));
}

#[tokio::test]
async fn a_user_joins_with_the_first_session_of_the_fleet_and_leaves_with_the_last() {
    let mut scene = Scene::new().await;
    assert_eq!(scene.write("a", LONG, &[("=ada", 1)]).await, "forgotten");
    scene.is_told("join", Some("ada")).await;
    assert_eq!(scene.write("a", LONG, &[("=ada", 2)]).await, "known");
    scene.write("b", LONG, &[("=ada", 1)]).await;
    assert_eq!(scene.members().await, counts(&[("=ada", 3)]));
    scene.write("a", LONG, &[("=ada", 0)]).await;
    assert_eq!(scene.members().await, counts(&[("=ada", 1)]));
    scene.is_told_nothing().await;
    scene.write("b", LONG, &[("=ada", 0)]).await;
    scene.is_told("leave", Some("ada")).await;
    scene.write("b", LONG, &[("=ada", 0)]).await;
    scene.is_told_nothing().await;
    assert_eq!(scene.members().await, []);
    let keys: Vec<String> = scene.ask(::redis::cmd("KEYS").arg("*")).await;
    assert!(keys.is_empty(), "nothing stays: {keys:?}");
}

#[tokio::test]
async fn many_change_at_once_and_names_are_told_as_they_are() {
    let mut scene = Scene::new().await;
    let members = [("-", 2), ("=", 1), ("=-", 1), ("=a \"b\"/\\ü", 4)];
    scene.write("a", LONG, &members).await;
    for user in [None, Some(""), Some("-"), Some("a \"b\"/\\ü")] {
        scene.is_told("join", user).await;
    }
    assert_eq!(scene.members().await, counts(&members));
    scene.write("a", LONG, &[("-", 0), ("=bo", 1), ("=", 0)]).await;
    scene.is_told("join", Some("bo")).await;
    scene.is_told("leave", None).await;
    scene.is_told("leave", Some("")).await;
}

#[tokio::test]
async fn plain_subscribers_of_the_channel_see_nothing_of_it() {
    let mut scene = Scene::new().await;
    let mut service = scene.redis.subscriber("news").await;
    scene.write("a", LONG, &[("=ada", 1)]).await;
    scene.is_told("join", Some("ada")).await;
    scene.redis.publish("news", "payload").await;
    assert_eq!(service.receive().await, b"payload");
}

#[tokio::test]
async fn members_of_a_silent_node_leave_unless_they_are_elsewhere() {
    let mut scene = Scene::new().await;
    scene.write("crashed", SHORT, &[("=ada", 1), ("=bo", 1)]).await;
    scene.is_told("join", Some("ada")).await;
    scene.is_told("join", Some("bo")).await;
    // A node that was heard of lately, whatever this machine does meanwhile.
    scene.write("alive", LONG, &[("=bo", 1), ("=cy", 1)]).await;
    scene.is_told("join", Some("cy")).await;
    eventually("the silent node's members to be gone", async || {
        let mut connection = scene.redis.connection().await;
        let mut call = Scene::call("refresh", "alive", LONG);
        call.arg(2);
        let (standing, more): (String, bool) =
            call.query_async(&mut connection).await.expect("Redis does it");
        assert_eq!((standing.as_str(), more), ("known", false));
        let there: bool = ::redis::cmd("EXISTS")
            .arg(format!("{KEY} crashed"))
            .query_async(&mut connection)
            .await
            .ok()?;
        (!there).then_some(())
    })
    .await;
    scene.is_told("leave", Some("ada")).await;
    scene.is_told_nothing().await;
    assert_eq!(scene.members().await, counts(&[("=bo", 1), ("=cy", 1)]));

    assert_eq!(scene.refresh("crashed", LONG).await, ("removed".to_owned(), false));
    assert_eq!(scene.write("crashed", LONG, &[("=ada", 1), ("=bo", 1)]).await, "removed");
    scene.is_told("join", Some("ada")).await;
    scene.is_told_nothing().await;
    assert_eq!(scene.refresh("crashed", LONG).await, ("known".to_owned(), false));
    assert_eq!(scene.members().await, counts(&[("=ada", 1), ("=bo", 2), ("=cy", 1)]));
}

/// The moment until which a node counts as alive, moved to the past.
async fn lapses(scene: &mut Scene, node: &str) {
    let _: u64 = scene.ask(::redis::cmd("HSET").arg(KEY).arg(node).arg(1)).await;
}

#[tokio::test]
async fn who_was_late_itself_removes_nobody() {
    let mut scene = Scene::new().await;
    scene.write("a", LONG, &[("=ada", 1)]).await;
    scene.write("b", LONG, &[("=bo", 1)]).await;
    scene.is_told("join", Some("ada")).await;
    scene.is_told("join", Some("bo")).await;
    lapses(&mut scene, "a").await;
    lapses(&mut scene, "b").await;
    assert_eq!(scene.members().await, []);
    scene.refresh("a", LONG).await;
    assert_eq!(scene.refresh("b", LONG).await, ("known".to_owned(), false));
    scene.is_told_nothing().await;
    assert_eq!(scene.members().await, counts(&[("=ada", 1), ("=bo", 1)]));
}

#[tokio::test]
async fn a_late_nodes_user_has_not_left_and_so_joins_nowhere_anew() {
    let mut scene = Scene::new().await;
    scene.write("late", LONG, &[("=ada", 1)]).await;
    scene.is_told("join", Some("ada")).await;
    lapses(&mut scene, "late").await;
    scene.write("b", LONG, &[("=ada", 1)]).await;
    scene.write("b", LONG, &[("=ada", 0), ("=bo", 1)]).await;
    scene.is_told("join", Some("bo")).await;
    scene.refresh("b", LONG).await;
    scene.is_told("leave", Some("ada")).await;
}

#[tokio::test]
async fn removing_many_takes_several_bounded_calls() {
    let mut scene = Scene::new().await;
    for chunk in 0..5 {
        let users: Vec<String> = (0..500).map(|n| format!("=u{chunk}-{n}")).collect();
        let members: Vec<(&str, u32)> = users.iter().map(|user| (user.as_str(), 1)).collect();
        scene.write_silently("crashed", &members).await;
    }
    scene.write_silently("b", &[("=bo", 1)]).await;
    lapses(&mut scene, "crashed").await;
    let (_, more) = scene.refresh("b", LONG).await;
    assert!(more);
    assert_eq!(scene.refresh("crashed", LONG).await.0, "removed", "also half way");
    assert_eq!(scene.refresh_until_done("b", LONG).await, 2);
    let mut leaves = std::collections::BTreeSet::new();
    for _ in 0..2500 {
        let message: Value = serde_json::from_slice(&scene.told.receive().await).expect("JSON");
        assert_eq!(message["change"], "leave");
        leaves.insert(message["user"].to_string());
    }
    assert_eq!(leaves.len(), 2500, "each once");
    scene.is_told_nothing().await;
}

#[tokio::test]
async fn a_redis_that_forgot_says_so_and_takes_members_back_in_silence() {
    let mut scene = Scene::new().await;
    scene.write("a", LONG, &[("=ada", 1)]).await;
    scene.is_told("join", Some("ada")).await;
    assert_eq!(scene.refresh("a", LONG).await.0, "known");
    let _: String = scene.ask(&::redis::cmd("FLUSHALL")).await;
    assert_eq!(scene.refresh("a", LONG).await, ("forgotten".to_owned(), false));
    assert_eq!(scene.write_silently("a", &[("=ada", 1)]).await, "forgotten");
    scene.is_told_nothing().await;
    assert_eq!(scene.refresh("a", LONG).await.0, "known");
    assert_eq!(scene.members().await, counts(&[("=ada", 1)]));

    let _: u64 = scene.ask(::redis::cmd("DEL").arg(format!("{KEY} a"))).await;
    assert_eq!(scene.refresh("a", LONG).await.0, "forgotten", "also when only the members are");
}

#[tokio::test]
async fn what_a_failover_lost_is_noticed_and_mended() {
    let mut scene = Scene::new().await;
    scene.write_silently("a", &[("=ada", 1), ("=bo", 1)]).await;
    assert_eq!(scene.refresh_of("a", 2).await, "known");
    assert_eq!(scene.refresh_of("a", 3).await, "forgotten", "a join was lost");
    scene.write_silently("a", &[("=ada", 1), ("=bo", 1), ("=cy", 1)]).await;
    assert_eq!(scene.refresh_of("a", 3).await, "known");
    assert_eq!(scene.refresh_of("a", 2).await, "forgotten", "a leave was lost");
    scene.write_silently("a", &[("=ada", 1), ("=bo", 1)]).await;
    assert_eq!(scene.refresh_of("a", 2).await, "known");
    assert_eq!(scene.members().await, counts(&[("=ada", 1), ("=bo", 1)]));
    scene.is_told_nothing().await;
}

#[tokio::test]
async fn an_answer_is_bounded_and_says_that_there_are_more() {
    let mut scene = Scene::new().await;
    for node in ["a", "b", "c"] {
        let users: Vec<String> = (0..200).map(|n| format!("={node}{n}")).collect();
        let members: Vec<(&str, u32)> = users.iter().map(|user| (user.as_str(), 1)).collect();
        scene.write_silently(node, &members).await;
    }
    for (most, expected) in [(600, (600, false)), (599, (599, true)), (1, (1, true))] {
        let (members, more) = scene.members_of(most).await;
        assert_eq!((members.len(), more), expected);
    }
}

#[tokio::test]
async fn all_expires_by_itself() {
    let mut scene = Scene::new().await;
    scene.write("a", LONG, &[("=ada", 1)]).await;
    for key in [KEY.to_owned(), format!("{KEY} a")] {
        let left: i64 = scene.ask(::redis::cmd("PTTL").arg(&key)).await;
        let kept = i64::try_from(LONG.as_millis()).unwrap() * 2;
        assert!(left > 0 && left <= kept, "{key}: {left} ms");
    }
}
