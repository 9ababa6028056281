//! A thousand members who join a channel at once, on two nodes.

use std::collections::HashMap;

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

/// The number of the member of whom each event tells.
fn events_of_joins() -> HashMap<String, usize> {
    let of = |number| {
        let data = json!({"user_id": user(number), "user_info": info(number)}).to_string();
        format!(
            r#"{{"event":"pusher_internal:member_added","channel":"{ROOM}","data":{}}}"#,
            json!(data)
        )
    };
    (0..MEMBERS).map(|number| (of(number), number)).collect()
}

/// Joins, and receives until the list and the members who were added are all members. Asserts that each comes once.
async fn join(pusher: &mut Pusher, number: usize, events: &HashMap<String, usize>) {
    pusher.ask(ROOM, Some(json!({"user_id": user(number), "user_info": info(number)}))).await;
    let succeeded = pusher.event().await;
    assert_eq!(succeeded["event"], "pusher_internal:subscription_succeeded", "{succeeded}");
    let list = data(&succeeded)["presence"].take();
    let hash = list["hash"].as_object().expect("a list of members");
    assert_eq!(list["count"], hash.len());
    assert!(hash.contains_key(&user(number)), "a member is in its own list");
    let mut has = [false; MEMBERS];
    for (other, has) in has.iter_mut().enumerate() {
        let listed = hash.get(&user(other));
        assert!(listed.is_none_or(|listed| *listed == info(other)), "{listed:?}");
        *has = listed.is_some();
    }
    for _ in hash.len()..MEMBERS {
        let text = pusher.client.receive_text().await;
        let added = *events.get(&text).unwrap_or_else(|| panic!("no member is added by {text}"));
        assert!(!has[added], "{} comes twice", user(added));
        has[added] = true;
    }
}

/// The work grows with the members and not with their square: Redis is asked for the members fewer times than there are
/// members, and relays one publication for each. (The nodes' probes are a few more.)
#[tokio::test]
async fn a_storm_of_joins_gives_each_member_all_others_once_and_reads_the_list_a_few_times() {
    // A member that has all is not read any more, and answers no ping.
    let settings = [APPS, "presence.grace=0s", "session.ping_interval=10m"];
    let fleet = Broker::Redis.fleet(&settings).await;
    let nodes = fleet.nodes();
    let mut members = Vec::new();
    for number in 0..MEMBERS {
        members.push(Pusher::connect(nodes[number % 2], APP).await);
    }
    let events = events_of_joins();
    let before = counted(fleet.server()).await;
    let joins =
        members.iter_mut().enumerate().map(|(number, member)| join(member, number, &events));
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
