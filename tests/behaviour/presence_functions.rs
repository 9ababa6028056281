//! The Redis functions of `presence.lua`, called as a node calls them.

use std::collections::BTreeMap;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Cmd, FromRedisValue};
use serde_json::{Value, json};
use testkit::redis::{Redis, RedisSubscriber};
use testkit::{eventually, soon};

const NUMBERS: &str = include_str!("../../src/broker/redis/functions/numbers.lua");
const FUNCTIONS: &str = include_str!("../../src/broker/redis/functions/presence.lua");

/// The channel's key, and the Redis channel of its joins and leaves.
const KEY: &str = "tidegate:presence {tidegate:news} news";

/// A time to live that no test exceeds.
const LONG: Duration = Duration::from_secs(600);

/// A short time to live, but long enough for the next steps of the test on a busy machine.
const SHORT: Duration = Duration::from_secs(2);

/// A Redis with the functions, and a listener for the joins and leaves that they publish.
struct PresenceFunctions {
    redis: Redis,
    connection: MultiplexedConnection,
    changes: RedisSubscriber,
}

impl PresenceFunctions {
    async fn new() -> Self {
        let redis = Redis::start().await;
        let connection = redis.connection().await;
        let changes = redis.subscriber("presence {tidegate:news} news").await;
        let mut functions = Self { redis, connection, changes };
        let library = format!("#!lua name=presence\n{NUMBERS}\n{FUNCTIONS}");
        let name: String = functions.ask(::redis::cmd("FUNCTION").arg("LOAD").arg(library)).await;
        assert_eq!(name, "presence");
        functions
    }

    async fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> T {
        soon("an answer", command.query_async(&mut self.connection))
            .await
            .expect("Redis accepts the call")
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

    /// Writes members without publishing joins and leaves.
    async fn write_silently(&mut self, node: &str, members: &[(&str, u32)]) -> String {
        let mut call = Self::call("update", node, LONG);
        call.arg(0).arg(members);
        self.ask(&call).await
    }

    async fn refresh(&mut self, node: &str, ttl: Duration) -> (String, bool) {
        self.ask(Self::call("refresh", node, ttl).arg(-1)).await
    }

    /// Writes a member as nodes since version 7 of the library do, with info.
    async fn write_with_info(&mut self, node: &str, user: &str, sessions: u32, info: &str) {
        let mut call = Self::call("write", node, LONG);
        call.arg(1).arg(user).arg(sessions).arg(info);
        let _: String = self.ask(&call).await;
    }

    /// The members of all nodes with their infos, of which at most so many bytes.
    async fn list(&mut self, bytes: usize) -> Vec<(String, String)> {
        let mut call = ::redis::cmd("FCALL");
        call.arg("tidegate_presence_list").arg(1).arg(KEY).arg(100).arg(bytes);
        let (_, nodes): (bool, Vec<Vec<(String, String)>>) = self.ask(&call).await;
        let mut all = nodes.concat();
        all.sort();
        all
    }

    /// Refreshes a node that expects this number of members.
    async fn refresh_of(&mut self, node: &str, members: usize) -> String {
        let (status, _): (String, bool) =
            self.ask(Self::call("refresh", node, LONG).arg(members)).await;
        status
    }

    async fn refresh_until_done(&mut self, node: &str, ttl: Duration) -> usize {
        for calls in 1.. {
            let (status, more) = self.refresh(node, ttl).await;
            assert_eq!(status, "known");
            if !more {
                return calls;
            }
        }
        unreachable!("the range has no end")
    }

    /// At most `most` members, summed over the nodes; and whether there are more.
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

    /// Asserts that this is the next join or leave; any unexpected one would arrive in its place.
    async fn expect_change(&mut self, change: &str, user: Option<&str>) {
        let message: Value =
            serde_json::from_slice(&self.changes.receive().await).expect("it is JSON");
        assert_eq!(message, json!({"change": change, "user": user}));
    }

    /// Asserts that there has been no join or leave, by a message that must be the next one.
    async fn expect_no_change(&mut self) {
        let mut publish = ::redis::cmd("PUBLISH");
        let _: u64 = self.ask(publish.arg(KEY).arg(r#"{"change":"none","user":"-"}"#)).await;
        self.expect_change("none", Some("-")).await;
    }
}

fn owned(members: &[(&str, u32)]) -> Vec<(String, u32)> {
    members.iter().map(|(user, sessions)| ((*user).to_owned(), *sessions)).collect()
}

#[tokio::test]
async fn a_redis_without_memory_keeps_members_and_refuses_joins() {
    let mut functions = PresenceFunctions::new().await;
    functions.write("a", LONG, &[("=ada", 1)]).await;
    let _: String = functions.redis.query(&["CONFIG", "SET", "maxmemory", "1"]).await;
    assert_eq!(functions.refresh_of("a", 1).await, "known");
    assert_eq!(functions.members().await, [("=ada".to_owned(), 1)]);
    let mut call = PresenceFunctions::call("update", "a", LONG);
    call.arg(1).arg(&[("=bo", 1)]);
    let joined: ::redis::RedisResult<String> = call.query_async(&mut functions.connection).await;
    assert!(joined.is_err_and(|error| error.code() == Some("OOM")));
}

#[tokio::test]
async fn a_user_joins_with_the_first_session_of_the_fleet_and_leaves_with_the_last() {
    let mut functions = PresenceFunctions::new().await;
    assert_eq!(functions.write("a", LONG, &[("=ada", 1)]).await, "forgotten");
    functions.expect_change("join", Some("ada")).await;
    assert_eq!(functions.write("a", LONG, &[("=ada", 2)]).await, "known");
    functions.write("b", LONG, &[("=ada", 1)]).await;
    assert_eq!(functions.members().await, owned(&[("=ada", 3)]));
    functions.write("a", LONG, &[("=ada", 0)]).await;
    assert_eq!(functions.members().await, owned(&[("=ada", 1)]));
    functions.expect_no_change().await;
    functions.write("b", LONG, &[("=ada", 0)]).await;
    functions.expect_change("leave", Some("ada")).await;
    functions.write("b", LONG, &[("=ada", 0)]).await;
    functions.expect_no_change().await;
    assert_eq!(functions.members().await, []);
    let keys: Vec<String> = functions.ask(::redis::cmd("KEYS").arg("*")).await;
    assert!(keys.is_empty(), "keys remain: {keys:?}");
}

#[tokio::test]
async fn several_members_change_in_one_call_and_user_names_are_published_unchanged() {
    let mut functions = PresenceFunctions::new().await;
    let members = [("-", 2), ("=", 1), ("=-", 1), ("=a \"b\"/\\ü", 4)];
    functions.write("a", LONG, &members).await;
    for user in [None, Some(""), Some("-"), Some("a \"b\"/\\ü")] {
        functions.expect_change("join", user).await;
    }
    assert_eq!(functions.members().await, owned(&members));
    functions.write("a", LONG, &[("-", 0), ("=bo", 1), ("=", 0)]).await;
    functions.expect_change("join", Some("bo")).await;
    functions.expect_change("leave", None).await;
    functions.expect_change("leave", Some("")).await;
}

#[tokio::test]
async fn subscribers_of_the_channel_receive_no_presence_changes() {
    let mut functions = PresenceFunctions::new().await;
    let mut service = functions.redis.subscriber("news").await;
    functions.write("a", LONG, &[("=ada", 1)]).await;
    functions.expect_change("join", Some("ada")).await;
    functions.redis.publish("news", "payload").await;
    assert_eq!(service.receive().await, b"payload");
}

#[tokio::test]
async fn members_of_an_expired_node_leave_unless_they_are_on_another_node() {
    let mut functions = PresenceFunctions::new().await;
    functions.write("crashed", SHORT, &[("=ada", 1), ("=bo", 1)]).await;
    functions.expect_change("join", Some("ada")).await;
    functions.expect_change("join", Some("bo")).await;
    // A node whose time to live does not end during the test.
    functions.write("alive", LONG, &[("=bo", 1), ("=cy", 1)]).await;
    functions.expect_change("join", Some("cy")).await;
    eventually("the expired node's members to be removed", async || {
        let mut connection = functions.redis.connection().await;
        let mut call = PresenceFunctions::call("refresh", "alive", LONG);
        call.arg(2);
        let (status, more): (String, bool) =
            call.query_async(&mut connection).await.expect("Redis accepts the call");
        assert_eq!((status.as_str(), more), ("known", false));
        let exists: bool = ::redis::cmd("EXISTS")
            .arg(format!("{KEY} crashed"))
            .query_async(&mut connection)
            .await
            .ok()?;
        (!exists).then_some(())
    })
    .await;
    functions.expect_change("leave", Some("ada")).await;
    functions.expect_no_change().await;
    assert_eq!(functions.members().await, owned(&[("=bo", 1), ("=cy", 1)]));

    assert_eq!(functions.refresh("crashed", LONG).await, ("removed".to_owned(), false));
    assert_eq!(functions.write("crashed", LONG, &[("=ada", 1), ("=bo", 1)]).await, "removed");
    functions.expect_change("join", Some("ada")).await;
    functions.expect_no_change().await;
    assert_eq!(functions.refresh("crashed", LONG).await, ("known".to_owned(), false));
    assert_eq!(functions.members().await, owned(&[("=ada", 1), ("=bo", 2), ("=cy", 1)]));
}

/// Moves the time until which a node counts as alive to the past.
async fn expire(functions: &mut PresenceFunctions, node: &str) {
    let _: u64 = functions.ask(::redis::cmd("HSET").arg(KEY).arg(node).arg(1)).await;
}

#[tokio::test]
async fn a_node_that_was_late_itself_removes_no_other_node() {
    let mut functions = PresenceFunctions::new().await;
    functions.write("a", LONG, &[("=ada", 1)]).await;
    functions.write("b", LONG, &[("=bo", 1)]).await;
    functions.expect_change("join", Some("ada")).await;
    functions.expect_change("join", Some("bo")).await;
    expire(&mut functions, "a").await;
    expire(&mut functions, "b").await;
    assert_eq!(functions.members().await, []);
    functions.refresh("a", LONG).await;
    assert_eq!(functions.refresh("b", LONG).await, ("known".to_owned(), false));
    functions.expect_no_change().await;
    assert_eq!(functions.members().await, owned(&[("=ada", 1), ("=bo", 1)]));
}

#[tokio::test]
async fn a_user_of_a_late_node_has_not_left_and_so_does_not_join_again() {
    let mut functions = PresenceFunctions::new().await;
    functions.write("late", LONG, &[("=ada", 1)]).await;
    functions.expect_change("join", Some("ada")).await;
    expire(&mut functions, "late").await;
    functions.write("b", LONG, &[("=ada", 1)]).await;
    functions.write("b", LONG, &[("=ada", 0), ("=bo", 1)]).await;
    functions.expect_change("join", Some("bo")).await;
    functions.refresh("b", LONG).await;
    functions.expect_change("leave", Some("ada")).await;
}

#[tokio::test]
async fn removing_many_members_takes_several_bounded_calls() {
    let mut functions = PresenceFunctions::new().await;
    for chunk in 0..5 {
        let users: Vec<String> = (0..500).map(|n| format!("=u{chunk}-{n}")).collect();
        let members: Vec<(&str, u32)> = users.iter().map(|user| (user.as_str(), 1)).collect();
        functions.write_silently("crashed", &members).await;
    }
    functions.write_silently("b", &[("=bo", 1)]).await;
    expire(&mut functions, "crashed").await;
    let (_, more) = functions.refresh("b", LONG).await;
    assert!(more);
    assert_eq!(
        functions.refresh("crashed", LONG).await.0,
        "removed",
        "the node counts as removed during the removal"
    );
    assert_eq!(functions.refresh_until_done("b", LONG).await, 2);
    let mut leaves = std::collections::BTreeSet::new();
    for _ in 0..2500 {
        let message: Value =
            serde_json::from_slice(&functions.changes.receive().await).expect("JSON");
        assert_eq!(message["change"], "leave");
        leaves.insert(message["user"].to_string());
    }
    assert_eq!(leaves.len(), 2500, "one leave for each member");
    functions.expect_no_change().await;
}

#[tokio::test]
async fn a_redis_that_lost_members_reports_it_and_accepts_them_without_joins() {
    let mut functions = PresenceFunctions::new().await;
    functions.write("a", LONG, &[("=ada", 1)]).await;
    functions.expect_change("join", Some("ada")).await;
    assert_eq!(functions.refresh("a", LONG).await.0, "known");
    let _: String = functions.ask(&::redis::cmd("FLUSHALL")).await;
    assert_eq!(functions.refresh("a", LONG).await, ("forgotten".to_owned(), false));
    assert_eq!(functions.write_silently("a", &[("=ada", 1)]).await, "forgotten");
    functions.expect_no_change().await;
    assert_eq!(functions.refresh("a", LONG).await.0, "known");
    assert_eq!(functions.members().await, owned(&[("=ada", 1)]));

    let _: u64 = functions.ask(::redis::cmd("DEL").arg(format!("{KEY} a"))).await;
    assert_eq!(
        functions.refresh("a", LONG).await.0,
        "forgotten",
        "the members are lost, the node's time is not"
    );
}

#[tokio::test]
async fn a_join_or_leave_lost_in_a_failover_is_noticed_and_repaired() {
    let mut functions = PresenceFunctions::new().await;
    functions.write_silently("a", &[("=ada", 1), ("=bo", 1)]).await;
    assert_eq!(functions.refresh_of("a", 2).await, "known");
    assert_eq!(functions.refresh_of("a", 3).await, "forgotten", "a join was lost");
    functions.write_silently("a", &[("=ada", 1), ("=bo", 1), ("=cy", 1)]).await;
    assert_eq!(functions.refresh_of("a", 3).await, "known");
    assert_eq!(functions.refresh_of("a", 2).await, "forgotten", "a leave was lost");
    functions.write_silently("a", &[("=ada", 1), ("=bo", 1)]).await;
    assert_eq!(functions.refresh_of("a", 2).await, "known");
    assert_eq!(functions.members().await, owned(&[("=ada", 1), ("=bo", 1)]));
    functions.expect_no_change().await;
}

#[tokio::test]
async fn the_list_of_members_is_bounded_and_reports_that_there_are_more() {
    let mut functions = PresenceFunctions::new().await;
    for node in ["a", "b", "c"] {
        let users: Vec<String> = (0..200).map(|n| format!("={node}{n}")).collect();
        let members: Vec<(&str, u32)> = users.iter().map(|user| (user.as_str(), 1)).collect();
        functions.write_silently(node, &members).await;
    }
    for (most, expected) in [(600, (600, false)), (599, (599, true)), (1, (1, true))] {
        let (members, more) = functions.members_of(most).await;
        assert_eq!((members.len(), more), expected);
    }
}

#[tokio::test]
async fn all_presence_keys_expire() {
    let mut functions = PresenceFunctions::new().await;
    functions.write("a", LONG, &[("=ada", 1)]).await;
    for key in [KEY.to_owned(), format!("{KEY} a")] {
        let left: i64 = functions.ask(::redis::cmd("PTTL").arg(&key)).await;
        let kept = i64::try_from(LONG.as_millis()).unwrap() * 2;
        assert!(left > 0 && left <= kept, "{key}: {left} ms");
    }
}

#[tokio::test]
async fn nodes_of_an_earlier_version_read_and_write_members_without_infos() {
    let mut functions = PresenceFunctions::new().await;
    let info = r#"1763999999123 {"n": 1.0}"#;
    functions.write_with_info("new", "=ada", 2, info).await;
    let message: Value =
        serde_json::from_slice(&functions.changes.receive().await).expect("it is JSON");
    assert_eq!(message, json!({"change": "join", "user": "ada", "info": {"n": 1.0}}));
    // An earlier node has another session of the user, and one of its own.
    functions.write("old", LONG, &[("=ada", 1), ("=bo", 1)]).await;
    functions.expect_change("join", Some("bo")).await;

    let members = functions.members().await;
    assert_eq!(members, [("=ada".to_owned(), 3), ("=bo".to_owned(), 1)]);
    let text = |user: &str, value: &str| (user.to_owned(), value.to_owned());
    let with_info = format!("2 {info}");
    let listed = functions.list(1 << 20).await;
    assert_eq!(listed, [text("=ada", "1"), text("=ada", &with_info), text("=bo", "1")]);
    let limited = functions.list(with_info.len() - 1).await;
    assert_eq!(limited, [text("=ada", "1"), text("=ada", "2"), text("=bo", "1")]);
    assert_eq!(functions.refresh_of("new", 1).await, "known");

    // A write without info replaces it.
    functions.write_with_info("new", "=ada", 1, "").await;
    assert_eq!(functions.list(1 << 20).await[..2], [text("=ada", "1"), text("=ada", "1")]);
    functions.write_with_info("new", "=ada", 0, "").await;
    functions.write("old", LONG, &[("=ada", 0)]).await;
    functions.expect_change("leave", Some("ada")).await;
}
