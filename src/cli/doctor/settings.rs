//! Checks settings against a node's surroundings: proxies, orchestrators, anonymous clients.

mod exposure;

use std::time::Duration;

use super::finding::{Finding, Level};
use super::intermediaries::closing_between_pings;
use super::sizes::{ROOM_MIN, bytes, many};
use crate::broker::Url;
use crate::config::Config;

/// Kubernetes' default time between SIGTERM and SIGKILL.
const KUBERNETES_GRACE: Duration = Duration::from_secs(30);

/// systemd's.
const SYSTEMD_GRACE: Duration = Duration::from_secs(90);

/// The time for closing after `drain.delay` and `drain.period`, with a margin (docs/operating/upgrades.md, "Stop
/// a node").
const AFTER_DRAIN: Duration = Duration::from_secs(10);

/// A shorter ping interval costs more (phones' batteries, the node's CPU) than it detects.
const PING_MIN: Duration = Duration::from_secs(10);

/// A phone that wakes its radio, or leaves Wi-Fi, may need this long to send a pong.
const PONG_MIN: Duration = Duration::from_secs(3);

/// Redis may pause this long when it forks or fails over.
const PUBLISH_TIMEOUT_MIN: Duration = Duration::from_millis(500);

/// After this long, clients have given up or retried.
const PUBLISH_TIMEOUT_MAX: Duration = Duration::from_secs(10);

/// If one channel's history may grow beyond this many bytes, that is a hint.
const HISTORY_BYTES_MAX: usize = 256 << 20;

/// Tracing a larger share of publications costs more than it is worth.
const TRACE_RATIO_MAX: f64 = 0.1;

/// The node's surroundings.
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
        [messages(config), history(config), events(config), log(config), traces(config)]
            .into_iter()
            .flatten(),
    );
    findings.extend(exposure::findings(config));
    findings
}

fn ping(config: &Config) -> Finding {
    let interval = config.session.ping_interval;
    let measured = format!("session.ping_interval = {interval:?}");
    let cut: Vec<_> = closing_between_pings(interval)
        .map(|(name, after)| format!("{name} ({after:?})"))
        .collect();
    if !cut.is_empty() {
        return Finding::warning(
            "ping interval",
            measured,
            format!(
                "by default these close an idle connection before its next ping: {}",
                cut.join(", ")
            ),
            "session.ping_interval = \"25s\", or longer timeouts of all proxies in front",
        );
    }
    if interval < PING_MIN {
        let pings = many((ROOM_MIN as f64 / interval.as_secs_f64()) as usize);
        return Finding::hint(
            "ping interval",
            measured,
            format!(
                "10,000 connections send {pings} pings and pongs a second, and phones never sleep"
            ),
            "session.ping_interval = \"25s\" suits all common proxies",
        );
    }
    Finding::ok("ping interval", format!("{measured}: below the idle timeouts of common proxies"))
}

fn pong(config: &Config) -> Finding {
    let (interval, timeout) = (config.session.ping_interval, config.session.pong_timeout);
    let measured = format!(
        "session.pong_timeout = {timeout:?}: a vanished client is detected within {:?}",
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
        "after {grace:?}, the default here, the process is killed, and clients still connected are cut off \
         without a close frame; doctor cannot see the configured value",
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
    let why = "this node works alone: publications do not reach clients of other nodes, and history is lost with \
               the process";
    let remedy = "broker.url = \"redis://host:6379\"";
    Some(Finding::new(level, "broker", "broker.url = memory:, one node", why, remedy))
}

fn publish_timeout(config: &Config) -> Finding {
    let timeout = config.broker.publish_timeout;
    let measured = format!("broker.publish_timeout = {timeout:?}");
    let (level, why) = match timeout {
        timeout if timeout < PUBLISH_TIMEOUT_MIN => (
            Level::Hint,
            "each pause of Redis, as for a snapshot, makes nodes answer publications with unavailable",
        ),
        timeout if timeout > PUBLISH_TIMEOUT_MAX => (
            Level::Hint,
            "while Redis is unreachable, clients wait this long for an answer, and many retry",
        ),
        _ => (Level::Ok, ""),
    };
    Finding::new(level, "publish timeout", measured, why, "broker.publish_timeout = \"2s\"")
}

/// The memory of incomplete messages cannot be shed.
fn messages(config: &Config) -> Option<Finding> {
    let each = config.session.message_bytes_max;
    let worst = each.saturating_mul(config.limits.connections_max.max(ROOM_MIN));
    let level = if each > 1 << 20 { Level::Warning } else { Level::Ok };
    let measured = format!("session.message_bytes_max = {}", bytes(each));
    let why = format!(
        "a client that sends all but the last byte of a message makes the node hold it: {} connections hold {}, \
         which cannot be shed; and one such message delays all that follow it",
        many(config.limits.connections_max.max(ROOM_MIN)),
        bytes(worst)
    );
    let remedy = "1MiB or less, and large content by HTTP with only its URL published";
    Some(Finding::new(level, "message size", measured, why, remedy))
}

fn history(config: &Config) -> Option<Finding> {
    let rules = config.rules.get();
    let histories =
        rules.iter().filter_map(|rule| Some((rule, rule.policy.history?.size as usize)));
    let (rule, size) = histories.max_by_key(|(_, size)| *size)?;
    let worst = size.saturating_mul(config.session.message_bytes_max);
    let level = if worst > HISTORY_BYTES_MAX { Level::Hint } else { Level::Ok };
    let measured = format!(
        "{:?} keeps the most: {} publications, at most {} per channel",
        rule.pattern.as_str(),
        many(size),
        bytes(worst)
    );
    let why = "publications as large as clients may send would fill Redis with few channels";
    let remedy = "a smaller history.size in the rule, or a smaller session.message_bytes_max";
    Some(Finding::new(level, "history", measured, why, remedy))
}

/// None: no rule asks for events, or they have a stream.
fn events(config: &Config) -> Option<Finding> {
    let rules = config.rules.get();
    let rule = rules.iter().find(|rule| !rule.policy.events.is_empty())?;
    let measured = format!("the rule {:?} has events", rule.pattern.as_str());
    let why = "events.stream is not set, so the backend gets none";
    let remedy = "events.stream = \"tidegate:events\", or no events in the rules";
    let is_missing = config.events.stream.is_none();
    is_missing.then(|| Finding::new(Level::Hint, "events", measured, why, remedy))
}

fn log(config: &Config) -> Option<Finding> {
    // Doctor changes its own log level, so only the configured value counts.
    let written = value(config, "telemetry.log_level")?.trim_matches('"');
    let level = if ["debug", "trace"].contains(&written) { Level::Warning } else { Level::Ok };
    let why =
        "one or more lines for each connection: a storm of reconnects becomes a storm of log lines";
    let remedy = "telemetry.log_level = \"info\"; it can be changed while the node runs";
    Some(Finding::new(level, "log level", written, why, remedy))
}

fn traces(config: &Config) -> Option<Finding> {
    let ratio: f64 = value(config, "telemetry.trace_ratio")?.trim_matches('"').parse().ok()?;
    let level = if ratio > TRACE_RATIO_MAX { Level::Warning } else { Level::Ok };
    let measured = format!("telemetry.trace_ratio = {ratio}");
    let why = "each traced publication costs more than the publication itself; one in a hundred is usually enough";
    Some(Finding::new(level, "traces", measured, why, "telemetry.trace_ratio = 0.01"))
}

/// The effective value of a key, as TOML. None: there is no such key.
fn value<'a>(config: &'a Config, key: &str) -> Option<&'a str> {
    config.key_specs.iter().find(|known| known.key == key).map(|known| known.effective.as_str())
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
    fn the_default_settings_have_only_ok_findings() {
        let found = findings(&config(&[]), &Environment { is_in_kubernetes: false });
        assert!(found.iter().all(|finding| finding.level == Level::Ok), "{found:#?}");
    }

    #[test]
    fn a_ping_interval_above_a_proxys_idle_timeout_is_a_warning() {
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
    fn a_drain_longer_than_the_default_grace_period_is_a_hint() {
        assert_eq!(level(&[], "stopping"), Some(Level::Ok));
        assert_eq!(level(&["drain.period=2m"], "stopping"), Some(Level::Hint));
        let pod = found(&[], true, "stopping").unwrap();
        assert_eq!(pod.level, Level::Hint);
        assert!(pod.remedy.contains("terminationGracePeriodSeconds: 35"), "{pod:?}");
    }

    #[test]
    fn rules_with_events_without_a_stream_are_a_hint() {
        let rule = r#"rules=[{pattern="chat:*",events=true}]"#;
        assert_eq!(level(&[rule], "events"), Some(Level::Hint));
        let redis = ["broker.url=redis://127.0.0.1", "events.stream=tidegate:events", rule];
        assert_eq!(level(&redis, "events"), None);
    }

    #[test]
    fn expensive_settings_are_reported() {
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
