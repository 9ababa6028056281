//! What is set, against what stands around a node: proxies, orchestrators, strangers.

mod exposure;

use std::time::Duration;

use super::finding::{Finding, Level};
use super::intermediaries::that_cut;
use super::sizes::{ROOM_MIN, bytes, many};
use crate::broker::Url;
use crate::config::Config;

/// How long Kubernetes waits after SIGTERM unless it is told otherwise.
const KUBERNETES_GRACE: Duration = Duration::from_secs(30);

/// The same of systemd.
const SYSTEMD_GRACE: Duration = Duration::from_secs(90);

/// What closing takes after `drain.delay` and `drain.period`, with some to spare (docs/operating/upgrades.md, "Stop a
/// node").
const AFTER_DRAIN: Duration = Duration::from_secs(10);

/// A ping each so often costs a phone's battery and the node more than what it finds.
const PING_MIN: Duration = Duration::from_secs(10);

/// A phone that wakes its radio, or changes from Wi-Fi, may take so long for a pong.
const PONG_MIN: Duration = Duration::from_secs(3);

/// Redis hangs so long when it forks or fails over.
const PUBLISH_TIMEOUT_MIN: Duration = Duration::from_millis(500);

/// Clients have given up, or sent it again, by then.
const PUBLISH_TIMEOUT_MAX: Duration = Duration::from_secs(10);

/// What one channel's history may grow to, in bytes, before it is worth a word.
const HISTORY_BYTES_MAX: usize = 256 << 20;

/// The share of publications traced beyond which it costs more than it tells.
const TRACE_RATIO_MAX: f64 = 0.1;

/// What stands around the node.
#[derive(Clone, Copy, Debug)]
pub struct Environment {
    pub is_in_kubernetes: bool,
}

impl Environment {
    pub fn read() -> Self {
        Self { is_in_kubernetes: std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() }
    }
}

pub fn findings(config: &Config, around: &Environment) -> Vec<Finding> {
    let mut findings = vec![ping(config), pong(config), stopping(config, around)];
    findings.extend(broker(config, around));
    findings.push(publish_timeout(config));
    findings.extend(
        [messages(config), history(config), log(config), traces(config)].into_iter().flatten(),
    );
    findings.extend(exposure::findings(config));
    findings
}

fn ping(config: &Config) -> Finding {
    let interval = config.session.ping_interval;
    let measured = format!("session.ping_interval = {interval:?}");
    let cut: Vec<_> =
        that_cut(interval).map(|(name, after)| format!("{name} ({after:?})")).collect();
    if !cut.is_empty() {
        return Finding::warning(
            "ping interval",
            measured,
            format!(
                "by default these cut off a quiet connection before its next ping: {}",
                cut.join(", ")
            ),
            "session.ping_interval = \"25s\", or longer timeouts of all that stands in front",
        );
    }
    if interval < PING_MIN {
        let pings = many((ROOM_MIN as f64 / interval.as_secs_f64()) as usize);
        return Finding::hint(
            "ping interval",
            measured,
            format!(
                "10,000 connections are {pings} pings and pongs a second, and phones never sleep"
            ),
            "session.ping_interval = \"25s\" suits all common proxies",
        );
    }
    Finding::ok("ping interval", format!("{measured}: below the idle timeouts of common proxies"))
}

fn pong(config: &Config) -> Finding {
    let (interval, timeout) = (config.session.ping_interval, config.session.pong_timeout);
    let measured = format!(
        "session.pong_timeout = {timeout:?}: who vanished is found out within {:?}",
        interval + timeout
    );
    let level = if timeout < PONG_MIN { Level::Hint } else { Level::Ok };
    let why = "a phone that changes networks takes longer to answer, and is closed with 4009";
    Finding::new(level, "pong timeout", measured, why, "session.pong_timeout = \"10s\"")
}

fn stopping(config: &Config, around: &Environment) -> Finding {
    let takes = config.drain.delay + config.drain.period;
    let needed = (takes + AFTER_DRAIN).as_secs();
    let measured = format!("drain.delay and drain.period take {takes:?}");
    let (grace, remedy) = match around.is_in_kubernetes {
        true => {
            (KUBERNETES_GRACE, format!("terminationGracePeriodSeconds: {needed} in the pod's spec"))
        }
        false => (
            SYSTEMD_GRACE,
            format!("TimeoutStopSec={needed} in the systemd unit, docker stop -t {needed}"),
        ),
    };
    let level = if needed > grace.as_secs() { Level::Hint } else { Level::Ok };
    let why = format!(
        "after {grace:?}, the default here, the process is killed, and who is still connected is cut off \
         without a close; what is set cannot be seen from inside"
    );
    Finding::new(level, "stopping", measured, why, remedy)
}

fn broker(config: &Config, around: &Environment) -> Option<Finding> {
    if !matches!(config.broker.url, Url::Memory) {
        return None;
    }
    let beyond = !config.server.listen.ip().is_loopback();
    let level = match beyond {
        true if around.is_in_kubernetes => Level::Warning,
        true => Level::Hint,
        false => Level::Ok,
    };
    let why = "this node is by itself: clients of another one are not reached, and history ends with the \
               process";
    let remedy = "broker.url = \"redis://host:6379\"";
    Some(Finding::new(level, "broker", "broker.url = memory:, one node", why, remedy))
}

fn publish_timeout(config: &Config) -> Finding {
    let timeout = config.broker.publish_timeout;
    let measured = format!("broker.publish_timeout = {timeout:?}");
    let (level, why) = match timeout {
        timeout if timeout < PUBLISH_TIMEOUT_MIN => (
            Level::Hint,
            "each pause of Redis, as for a snapshot, answers publications with unavailable",
        ),
        timeout if timeout > PUBLISH_TIMEOUT_MAX => (
            Level::Hint,
            "while Redis is away, clients wait so long for an answer, and many send it again",
        ),
        _ => (Level::Ok, ""),
    };
    Finding::new(level, "publish timeout", measured, why, "broker.publish_timeout = \"2s\"")
}

/// Messages that have begun are memory that is not shed.
fn messages(config: &Config) -> Option<Finding> {
    let each = config.session.message_bytes_max;
    let worst = each.saturating_mul(config.limits.connections_max.max(ROOM_MIN));
    let level = if each > 1 << 20 { Level::Warning } else { Level::Ok };
    let measured = format!("session.message_bytes_max = {}", bytes(each));
    let why = format!(
        "who sends all but the last byte of a message makes the node hold it: {} connections {}, which \
         cannot be shed; and one such message delays all that follow it",
        many(config.limits.connections_max.max(ROOM_MIN)),
        bytes(worst)
    );
    let remedy = "1MiB or less, and large things by HTTP with only their address published";
    Some(Finding::new(level, "message size", measured, why, remedy))
}

fn history(config: &Config) -> Option<Finding> {
    let rules = config.rules.get();
    let kept = rules.iter().filter_map(|rule| Some((rule, rule.policy.history?.size as usize)));
    let (rule, size) = kept.max_by_key(|(_, size)| *size)?;
    let worst = size.saturating_mul(config.session.message_bytes_max);
    let level = if worst > HISTORY_BYTES_MAX { Level::Hint } else { Level::Ok };
    let measured = format!(
        "{:?} keeps most: {} publications, {} at most a channel",
        rule.pattern.as_str(),
        many(size),
        bytes(worst)
    );
    let why = "publications as large as clients may send would fill Redis with few channels";
    let remedy = "a smaller history.size in the rule, or a smaller session.message_bytes_max";
    Some(Finding::new(level, "history", measured, why, remedy))
}

fn log(config: &Config) -> Option<Finding> {
    // Doctor itself is quiet, so what was written counts.
    let written = value(config, "telemetry.log_level")?.trim_matches('"');
    let level = if ["debug", "trace"].contains(&written) { Level::Warning } else { Level::Ok };
    let why = "a line and more for each connection: a storm of reconnects is a storm of log lines";
    let remedy = "telemetry.log_level = \"info\"; it may be changed while the node runs";
    Some(Finding::new(level, "log level", written, why, remedy))
}

fn traces(config: &Config) -> Option<Finding> {
    let ratio: f64 = value(config, "telemetry.trace_ratio")?.trim_matches('"').parse().ok()?;
    let level = if ratio > TRACE_RATIO_MAX { Level::Warning } else { Level::Ok };
    let measured = format!("telemetry.trace_ratio = {ratio}");
    let why = "each traced publication costs more than the publication itself; one in a hundred tells enough";
    Some(Finding::new(level, "traces", measured, why, "telemetry.trace_ratio = 0.01"))
}

/// The effective value of a key, as TOML. None: there is no such key.
fn value<'a>(config: &'a Config, key: &str) -> Option<&'a str> {
    config.known.iter().find(|known| known.key == key).map(|known| known.effective.as_str())
}

#[cfg(test)]
pub mod tests {
    use super::super::host::tests::config;
    use super::*;

    pub fn level(flags: &[&str], subject: &str) -> Option<Level> {
        found(flags, false, subject).map(|finding| finding.level)
    }

    fn found(flags: &[&str], is_in_kubernetes: bool, subject: &str) -> Option<Finding> {
        let found = findings(&config(flags), &Environment { is_in_kubernetes });
        found.into_iter().find(|finding| finding.subject == subject)
    }

    #[test]
    fn the_defaults_are_well() {
        let found = findings(&config(&[]), &Environment { is_in_kubernetes: false });
        assert!(found.iter().all(|finding| finding.level == Level::Ok), "{found:#?}");
    }

    #[test]
    fn pings_come_before_proxies_lose_patience() {
        let of = |interval: &str| {
            found(&[&format!("session.ping_interval={interval}")], false, "ping interval")
        };
        assert_eq!(of("25s").map(|it| it.level), Some(Level::Ok));
        let minute = of("60s").unwrap();
        assert_eq!(minute.level, Level::Warning);
        assert!(minute.why.contains("nginx (60s)") && !minute.why.contains("Envoy"), "{minute:?}");
        let second = of("1s").unwrap();
        assert_eq!(second.level, Level::Hint);
        assert!(second.why.contains("10,000 pings"), "{second:?}");
        assert_eq!(level(&["session.pong_timeout=1s"], "pong timeout"), Some(Level::Hint));
    }

    #[test]
    fn whoever_stops_the_node_waits_long_enough() {
        assert_eq!(level(&[], "stopping"), Some(Level::Ok));
        assert_eq!(level(&["drain.period=2m"], "stopping"), Some(Level::Hint));
        let pod = found(&[], true, "stopping").unwrap();
        assert_eq!(pod.level, Level::Hint);
        assert!(pod.remedy.contains("terminationGracePeriodSeconds: 35"), "{pod:?}");
    }

    #[test]
    fn what_costs_more_than_it_brings_is_told() {
        assert_eq!(level(&["telemetry.log_level=debug"], "log level"), Some(Level::Warning));
        assert_eq!(
            level(&["session.message_bytes_max=16MiB"], "message size"),
            Some(Level::Warning)
        );
        let history = r#"rules=[{pattern="chat:*",history={size=100000,age="1m"}}]"#;
        assert_eq!(level(&[history], "history"), Some(Level::Hint));
        assert_eq!(level(&["broker.publish_timeout=100ms"], "publish timeout"), Some(Level::Hint));
        let open = ["server.listen=0.0.0.0:8080", "auth.mode=none"];
        assert_eq!(level(&open, "broker"), Some(Level::Hint));
    }
}
