//! A thousand members who join a channel at once, on two nodes.

use std::collections::HashSet;

use futures_util::future::join_all;
use serde_json::{Value, json};
use testkit::fleet::Broker;
use testkit::redis::Redis;

use super::{APP, APPS, Pusher, data};

const MEMBERS: usize = 1000;
const ROOM: &str = "presence-room";

fn user(number: usize) -> String {
    format!("user-{number}")
}

fn info(number: usize) -> Value {
    json!({"name": user(number).to_uppercase()})
}

/// How often Redis has called functions, read whole hashes, and published.
async fn counted(redis: &Redis) -> [usize; 3] {
    let all: String = redis.query(&["INFO", "commandstats"]).await;
    ["fcall", "hgetall", "publish"].map(|command| {
        let prefix = format!("cmdstat_{command}:calls=");
        let count = all.lines().find_map(|line| line.strip_prefix(&prefix)?.split(',').next());
        count.map_or(0, |count| count.parse().expect("a count"))
    })
}

/// Joins, and receives until the list and the members who were added are all members. Asserts that each comes once.
async fn join(pusher: &mut Pusher, number: usize) {
    pusher.ask(ROOM, Some(json!({"user_id": user(number), "user_info": info(number)}))).await;
    let succeeded = pusher.event().await;
    assert_eq!(succeeded["event"], "pusher_internal:subscription_succeeded", "{succeeded}");
    let list = data(&succeeded)["presence"].take();
    let hash = list["hash"].as_object().expect("a list of members");
    assert_eq!(list["count"], hash.len());
    let mut seen: HashSet<String> = hash.keys().cloned().collect();
    assert!(seen.contains(&user(number)), "a member is in its own list");
    for (user, info) in hash {
        assert_eq!(info["name"], user.to_uppercase());
    }
    while seen.len() < MEMBERS {
        let event = pusher.event().await;
        assert_eq!(event["event"], "pusher_internal:member_added", "{event}");
        let member = data(&event);
        let user = member["user_id"].as_str().expect("a user").to_owned();
        assert_eq!(member["user_info"]["name"], user.to_uppercase());
        assert!(seen.insert(user), "{member} comes twice");
    }
}

/// The work grows with the members and not with their square: Redis is asked for the members fewer times than there are
/// members, and relays one publication for each. (The nodes' probes are a few more.)
#[tokio::test]
async fn a_storm_of_joins_gives_each_member_all_others_once_and_reads_the_list_a_few_times() {
    let fleet = Broker::Redis.fleet(&[APPS, "presence.grace=0s"]).await;
    let nodes = fleet.nodes();
    let mut members = Vec::new();
    for number in 0..MEMBERS {
        members.push(Pusher::connect(nodes[number % 2], APP).await);
    }
    let before = counted(fleet.server()).await;
    let joins = members.iter_mut().enumerate().map(|(number, member)| join(member, number));
    join_all(joins).await;
    let after = counted(fleet.server()).await;
    let [functions, lists, publications] = std::array::from_fn(|at| after[at] - before[at]);
    assert!(functions < MEMBERS, "{functions} calls of functions for {MEMBERS} joins");
    assert!(lists < MEMBERS, "{lists} reads of hashes for {MEMBERS} joins");
    assert!(publications < 2 * MEMBERS, "{publications} publications for {MEMBERS} joins");
    for member in &mut members {
        member.quiet().await;
    }
}
