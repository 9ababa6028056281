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

/// How often Redis ran a command.
async fn calls(redis: &Redis, command: &str) -> usize {
    let all: String = redis.query(&["INFO", "commandstats"]).await;
    let prefix = format!("cmdstat_{command}:calls=");
    let count = all.lines().find_map(|line| line.strip_prefix(&prefix)?.split(',').next());
    count.map_or(0, |count| count.parse().expect("a count"))
}

/// Joins, and receives until the list and the members who were added are all members. Asserts that each comes once, and
/// returns how many the list had.
async fn join(pusher: &mut Pusher, number: usize) -> usize {
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
    hash.len()
}

/// Redis is asked for the members a few times, and not once for each of them, and is told of each member once.
#[tokio::test]
async fn a_storm_of_joins_gives_each_member_all_others_once_and_reads_the_list_a_few_times() {
    let fleet = Broker::Redis.fleet(&[APPS, "presence.grace=0s"]).await;
    let nodes = fleet.nodes();
    let connect = |number: usize| Pusher::connect(nodes[number % 2], APP);
    let mut members = Vec::new();
    for number in 0..MEMBERS {
        members.push(connect(number).await);
    }
    let redis = fleet.server();
    let (reads, publications) = (calls(redis, "fcall").await, calls(redis, "publish").await);
    let started = std::time::Instant::now();
    let joins = members.iter_mut().enumerate().map(|(number, member)| join(member, number));
    let listed: usize = join_all(joins).await.into_iter().sum();
    let reads = calls(redis, "fcall").await - reads;
    let hgetall = calls(redis, "hgetall").await;
    let publications = calls(redis, "publish").await - publications;
    eprintln!("STORM fcall {reads} hgetall {hgetall} publish {publications} listed {listed} {:?}", started.elapsed());
    assert_eq!(publications, MEMBERS, "a publication for each member");
    assert!(reads < MEMBERS / 4, "{reads} calls of functions for {MEMBERS} joins");
    for member in &mut members {
        member.quiet().await;
    }
}
