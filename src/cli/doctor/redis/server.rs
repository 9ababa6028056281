//! The server's version and role, its latency, clock and connections.

use std::time::Duration;

use super::super::finding::{Finding, Level};
use super::super::sizes::many;
use super::needs::CONNECTIONS_PER_MASTER;
use crate::broker::{Answers, SurveyReading};
use crate::config::Config;

/// How many more nodes `maxclients` should leave room for.
const NODES_MORE: usize = 10;

/// A round trip within one network takes a fraction of this; each acknowledged publication needs one.
const ROUND_TRIP_MAX: Duration = Duration::from_millis(5);

/// Nodes, services and Redis must agree on the time to a second.
const CLOCK_MILLIS_MAX: u64 = 1000;

pub fn findings(answers: &Answers, config: &Config) -> Vec<Finding> {
    let mut findings = vec![relay(&answers.relay), round_trip(answers.round_trip), clock(answers)];
    match &answers.info {
        Err(why) => findings.push(unreadable("INFO", why, "+info")),
        Ok(_) => findings.extend(
            [
                Some(version(answers)),
                Some(role(answers, config)),
                clients(answers),
                loading(answers),
            ]
            .into_iter()
            .flatten(),
        ),
    }
    findings
}

/// A hint: that doctor could not read a value is not a fault of Redis.
pub fn unreadable(what: &str, why: &str, rule: &str) -> Finding {
    Finding::hint(
        what,
        format!("could not be read: {why}"),
        "doctor could not check it",
        format!(
            "grant the user {rule}, run doctor with an administrator's broker.url, or check it by hand"
        ),
    )
}

/// A field of `INFO`.
pub fn info<T: std::str::FromStr>(answers: &Answers, name: &str) -> Option<T> {
    answers.info.as_ref().ok()?.get(name)?.parse().ok()
}

/// A value of `CONFIG GET`.
pub fn setting<T: std::str::FromStr>(answers: &Answers, name: &str) -> Option<T> {
    answers.settings.get(name)?.as_ref().ok()?.parse().ok()
}

fn relay(relay: &SurveyReading<Duration>) -> Finding {
    match relay {
        Ok(taken) => Finding::ok("publish and subscribe", format!("received after {taken:.1?}")),
        Err(why) => Finding::problem(
            "publish and subscribe",
            why,
            "a node probes itself like this once a second, and is not ready while the probe fails",
            "broker.url must name the master, and its user needs SUBSCRIBE and PUBLISH on the channels of \
             broker.prefix",
        ),
    }
}

fn round_trip(taken: Duration) -> Finding {
    let level = if taken > ROUND_TRIP_MAX { Level::Hint } else { Level::Ok };
    Finding::new(
        level,
        "round trip",
        format!("{taken:.1?}"),
        "each publication is acknowledged only after one; a distant or busy Redis delays every publisher",
        "run Redis in the nodes' zone; redis-cli --latency and SLOWLOG GET show whether it is busy or distant",
    )
}

fn clock(answers: &Answers) -> Finding {
    match answers.clock_ahead_millis {
        Err(ref why) => unreadable("clock", why, "+time"),
        Ok(ahead) => {
            let apart = ahead.unsigned_abs();
            let level = if apart > CLOCK_MILLIS_MAX { Level::Warning } else { Level::Ok };
            let way = if ahead < 0 { "behind" } else { "ahead" };
            Finding::new(
                level,
                "clock",
                format!("Redis is {apart} ms {way}"),
                "history expires by Redis' clock, tokens and disconnects by the nodes': if they differ, tokens \
                 are valid too long or too short, and a disconnect misses tokens that it should end",
                "run chrony or systemd-timesyncd on both; timedatectl shows whether it works",
            )
        }
    }
}

fn version(answers: &Answers) -> Finding {
    let version: String = info(answers, "redis_version").unwrap_or_default();
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    let level = if major.is_some_and(|major| major >= 7) { Level::Ok } else { Level::Problem };
    let why = "nodes use features of Redis 7, such as functions and sharded channels";
    Finding::new(level, "version", version, why, "Redis 7 or later")
}

fn role(answers: &Answers, config: &Config) -> Finding {
    let role: String = info(answers, "role").unwrap_or_default();
    let is_cluster = info::<u8>(answers, "cluster_enabled") == Some(1);
    let is_meant = config.broker.url.is_cluster();
    let url = config.broker.url.masked();
    match role.as_str() {
        "master" if is_cluster && !is_meant => Finding::problem(
            "role",
            "it is a master of a cluster",
            "broker.url names a single server: channels of the other masters would not work",
            format!("redis+cluster:// in broker.url, now {url}"),
        ),
        "master" => Finding::ok("role", role),
        _ => Finding::problem(
            "role",
            "it is a replica",
            "replicas accept no publications to history and their role may change: nodes do not use them",
            format!("name the master in broker.url, now {url}, or sentinels (redis+sentinel://)"),
        ),
    }
}

fn clients(answers: &Answers) -> Option<Finding> {
    let connected: usize = info(answers, "connected_clients")?;
    let max: usize = setting(answers, "maxclients").or_else(|| info(answers, "maxclients"))?;
    let left = max.saturating_sub(connected);
    let level = if left < NODES_MORE * CONNECTIONS_PER_MASTER { Level::Warning } else { Level::Ok };
    Some(Finding::new(
        level,
        "clients",
        format!("{} of {}", many(connected), many(max)),
        "a node has up to 5 connections to each master; beyond maxclients, Redis refuses new nodes and \
         reconnects",
        format!(
            "CONFIG SET maxclients {}, and as many open files for Redis",
            (connected + 1000).max(10_000)
        ),
    ))
}

fn loading(answers: &Answers) -> Option<Finding> {
    (info::<u8>(answers, "loading")? == 1).then(|| {
        let why = "until it has read its data, publishing is answered unavailable";
        Finding::warning("loading", "it is reading its data", why, "wait")
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{answers, level};
    use super::*;

    #[test]
    fn a_replica_and_a_redis_before_7_are_problems() {
        let with = |info: &[(&str, &str)], subject| level(answers(info, &[]), &[], subject);
        assert_eq!(with(&[("redis_version", "6.2.14")], "version"), Some(Level::Problem));
        assert_eq!(with(&[("redis_version", "10.0.0")], "version"), Some(Level::Ok));
        assert_eq!(with(&[("role", "slave")], "role"), Some(Level::Problem));
        assert_eq!(with(&[("cluster_enabled", "1")], "role"), Some(Level::Problem));
        assert_eq!(with(&[("loading", "1")], "loading"), Some(Level::Warning));
    }

    #[test]
    fn a_distant_redis_a_wrong_clock_and_full_clients_are_reported() {
        let well = || answers(&[], &[]);
        let far = Answers { round_trip: Duration::from_millis(40), ..well() };
        assert_eq!(level(far, &[], "round trip"), Some(Level::Hint));
        let late = Answers { clock_ahead_millis: Ok(-5000), ..well() };
        assert_eq!(level(late, &[], "clock"), Some(Level::Warning));
        let mute = Answers { relay: Err("NOPERM".to_owned()), ..well() };
        assert_eq!(level(mute, &[], "publish and subscribe"), Some(Level::Problem));
        let full = answers(&[("connected_clients", "90")], &[("maxclients", "100")]);
        assert_eq!(level(full, &[], "clients"), Some(Level::Warning));
        let blind = Answers { info: Err("NOPERM".to_owned()), ..well() };
        assert_eq!(level(blind, &[], "INFO"), Some(Level::Hint));
    }
}
