//! Whether Redis keeps the nodes' data: history, presence, revocations.

use super::super::finding::{Finding, Level};
use super::super::sizes::bytes;
use super::needs::{keeps_history, keeps_presence};
use super::server::{info, setting};

use crate::broker::{Answers, Url};
use crate::config::Config;

/// Percentages of memory in use: from the first, little is left for a burst; from the second, for anything.
const FULL_PERCENT: usize = 75;
const OVERFULL_PERCENT: usize = 90;

/// A replica whose last acknowledgement is older than this many seconds counts as missing.
const LAG_SECONDS_MAX: u64 = 10;

pub fn findings(answers: &Answers, config: &Config) -> Vec<Finding> {
    let mut findings: Vec<_> = [
        memory(answers, config),
        eviction(answers, config),
        evicted(answers),
        persistence(answers, config),
        saving(answers),
        replicas(answers, config),
    ]
    .into_iter()
    .flatten()
    .collect();
    if keeps_history(config) || keeps_presence(config) {
        findings.extend(functions(answers));
    }
    findings
}

fn memory(answers: &Answers, config: &Config) -> Option<Finding> {
    let used: usize = info(answers, "used_memory")?;
    let max: usize = setting(answers, "maxmemory").or_else(|| info(answers, "maxmemory"))?;
    let keeps = keeps_history(config);
    if max == 0 {
        let level = if keeps { Level::Hint } else { Level::Ok };
        return Some(Finding::new(
            level,
            "memory",
            format!("{} used, no maxmemory", bytes(used)),
            "history grows with the number of channels; without a limit, Redis grows until the system kills it, \
             and loses everything",
            "CONFIG SET maxmemory to about two thirds of the host, to leave room for what a snapshot copies",
        ));
    }
    let percent = used / (max / 100).max(1);
    let level = match percent {
        OVERFULL_PERCENT.. if keeps => Level::Problem,
        FULL_PERCENT.. => Level::Warning,
        _ => Level::Ok,
    };
    Some(Finding::new(
        level,
        "memory",
        format!("{} of {} used, {percent} %", bytes(used), bytes(max)),
        "once memory is full, publications to channels with history are answered unavailable",
        "CONFIG SET maxmemory to more, shorter history in the rules, or a cluster",
    ))
}

fn eviction(answers: &Answers, config: &Config) -> Option<Finding> {
    let policy: String = setting(answers, "maxmemory-policy")
        .or_else(|| info(answers, "maxmemory_policy"))
        .filter(|policy: &String| !policy.is_empty())?;
    let max: usize = setting(answers, "maxmemory").or_else(|| info(answers, "maxmemory"))?;
    let keeps = keeps_history(config) || keeps_presence(config);
    let level = match (policy.as_str(), max) {
        ("noeviction", _) => Level::Ok,
        // Redis applies the policy only if there is a limit.
        (_, 0) => Level::Hint,
        _ if keeps => Level::Problem,
        _ => Level::Warning,
    };
    Some(Finding::new(
        level,
        "maxmemory-policy",
        policy,
        "when Redis is full, it evicts histories, presence and revocations: clients get a gap, and revoked \
         tokens may be accepted again",
        "CONFIG SET maxmemory-policy noeviction, and the same in redis.conf",
    ))
}

fn evicted(answers: &Answers) -> Option<Finding> {
    let keys: usize = info(answers, "evicted_keys")?;
    (keys > 0).then(|| {
        let why = "some of them may have been histories, whose subscribers got a gap";
        let remedy = "CONFIG SET maxmemory-policy noeviction, and more memory";
        Finding::warning("evicted keys", format!("{keys} since it started"), why, remedy)
    })
}

fn persistence(answers: &Answers, config: &Config) -> Option<Finding> {
    if !keeps_history(config) {
        return None;
    }
    let appends: String = setting(answers, "appendonly").or_else(|| {
        info(answers, "aof_enabled").map(|on: u8| if on == 1 { "yes" } else { "no" }.to_owned())
    })?;
    let level = if appends == "yes" { Level::Ok } else { Level::Hint };
    Some(Finding::new(
        level,
        "persistence",
        format!("appendonly {appends}"),
        "a restart of Redis loses history: subscribers get a gap, and clients that resume get recovered: \
         false",
        "CONFIG SET appendonly yes, and the same in redis.conf",
    ))
}

/// Redis refuses writes once saving a snapshot or the append-only file has failed.
fn saving(answers: &Answers) -> Option<Finding> {
    let failed = |name: &&str| info::<String>(answers, name).is_some_and(|status| status == "err");
    let failed = ["rdb_last_bgsave_status", "aof_last_write_status"].into_iter().find(failed)?;
    Some(Finding::problem(
        "saving",
        format!("{failed} is err"),
        "Redis refuses writes while it cannot save (MISCONF): publications to history and disconnects are \
         answered unavailable",
        "Redis' log shows the reason, most often a full disk or missing permission for its directory",
    ))
}

fn replicas(answers: &Answers, config: &Config) -> Option<Finding> {
    let connected: usize = info(answers, "connected_slaves")?;
    let needed: usize = setting(answers, "min-replicas-to-write").unwrap_or(0);
    let lines =
        (0..connected).filter_map(|number| info::<String>(answers, &format!("slave{number}")));
    let good = lines.filter(|line| is_good(line)).count();
    let measured = match connected {
        0 => "none".to_owned(),
        _ => format!("{good} of {connected} keep up"),
    };
    let is_guarded = matches!(&config.broker.url, Url::Redis(it) if !it.is_single());
    let level = match good {
        good if good < needed => Level::Problem,
        good if good < connected || (good == 0 && is_guarded) => Level::Warning,
        _ => Level::Ok,
    };
    let (why, remedy) = match level {
        Level::Problem => (
            format!("min-replicas-to-write is {needed}: Redis refuses writes, and publications to history are \
                     answered unavailable"),
            "start the replicas again, or CONFIG SET min-replicas-to-write to the number that exists",
        ),
        _ => (
            "without a replica that keeps up, a failure of this master makes its channels unavailable and loses \
             its data"
            .to_owned(),
            "add one, or check its log for why it does not keep up",
        ),
    };
    Some(Finding::new(level, "replicas", measured, why, remedy))
}

/// Parses `ip=…,port=…,state=online,offset=…,lag=0`.
fn is_good(line: &str) -> bool {
    let field =
        |name: &str| line.split(',').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    let lag = field("lag").and_then(|lag| lag.parse().ok()).unwrap_or(0);
    field("state") == Some("online") && lag <= LAG_SECONDS_MAX
}

fn functions(answers: &Answers) -> Option<Finding> {
    match answers.has_functions {
        Ok(true) => Some(Finding::ok("functions", "installed")),
        Ok(false) => {
            Some(Finding::ok("functions", "not installed yet; the first node installs them"))
        }
        // Reported with the user's other missing permissions.
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{HISTORY, answers, level};
    use super::*;

    #[test]
    fn an_eviction_policy_is_a_problem_where_history_is_kept() {
        let of = |policy, max, flags: &[&str]| {
            let settings = [("maxmemory-policy", policy), ("maxmemory", max)];
            level(answers(&[], &settings), flags, "maxmemory-policy")
        };
        assert_eq!(of("allkeys-lru", "1000000000", &[HISTORY]), Some(Level::Problem));
        assert_eq!(of("volatile-ttl", "1000000000", &[]), Some(Level::Warning));
        assert_eq!(of("allkeys-lru", "0", &[HISTORY]), Some(Level::Hint));
        assert_eq!(of("noeviction", "1000000000", &[HISTORY]), Some(Level::Ok));
        let evicted = answers(&[("evicted_keys", "9")], &[]);
        assert_eq!(level(evicted, &[], "evicted keys"), Some(Level::Warning));
    }

    #[test]
    fn nearly_full_redis_memory_is_reported() {
        let of = |used, max, flags: &[&str]| {
            level(answers(&[("used_memory", used)], &[("maxmemory", max)]), flags, "memory")
        };
        assert_eq!(of("950", "1000", &[HISTORY]), Some(Level::Problem));
        assert_eq!(of("950", "1000", &[]), Some(Level::Warning));
        assert_eq!(of("100", "1000", &[HISTORY]), Some(Level::Ok));
        assert_eq!(of("100", "0", &[HISTORY]), Some(Level::Hint));
        assert_eq!(of("100", "0", &[]), Some(Level::Ok));
    }

    #[test]
    fn missing_persistence_is_reported_where_history_is_kept() {
        let off = || answers(&[], &[("appendonly", "no")]);
        assert_eq!(level(off(), &[HISTORY], "persistence"), Some(Level::Hint));
        assert_eq!(level(off(), &[], "persistence"), None);
        let full = answers(&[("rdb_last_bgsave_status", "err")], &[]);
        assert_eq!(level(full, &[], "saving"), Some(Level::Problem));
    }

    #[test]
    fn missing_and_lagging_replicas_are_reported() {
        let online = "ip=127.0.0.1,port=1,state=online,offset=1,lag=0";
        let of = |replicas: &[(&str, &str)], needed, flags: &[&str]| {
            let connected = replicas.len().to_string();
            let info = [replicas, &[("connected_slaves", connected.as_str())]].concat();
            level(answers(&info, &[("min-replicas-to-write", needed)]), flags, "replicas")
        };
        assert_eq!(of(&[], "0", &[]), Some(Level::Ok));
        assert_eq!(of(&[], "0", &["broker.url=redis+sentinel://a/main"]), Some(Level::Warning));
        assert_eq!(of(&[], "1", &[]), Some(Level::Problem));
        assert_eq!(of(&[("slave0", online)], "1", &[]), Some(Level::Ok));
        assert_eq!(of(&[("slave0", "state=online,lag=60")], "0", &[]), Some(Level::Warning));
        assert_eq!(of(&[("slave0", "state=wait_bgsave,lag=0")], "0", &[]), Some(Level::Warning));
    }
}
