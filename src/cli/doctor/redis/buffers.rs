//! How Redis limits connections: the output buffer of a node that does not read, and timeouts of idle connections.

use super::super::finding::{Finding, Level};
use super::super::sizes::bytes;
use super::server::{info, setting, unreadable};
use crate::broker::Answers;
use crate::config::Config;

/// Redis' defaults: hard limit, soft limit, and how many seconds the soft limit may be exceeded.
const DEFAULT: Limit = Limit { hard: 32 << 20, soft: 8 << 20, seconds: 60 };

/// Below this, an ordinary pause of a busy node makes Redis disconnect it.
const HARD_MIN: usize = 4 << 20;

/// The most bytes sent to Redis with a payload: the header line, and the overhead in Redis' buffer.
const BESIDE_PAYLOAD: usize = 68 << 10;

/// `client-output-buffer-limit` of subscribers. 0 bytes: no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limit {
    hard: usize,
    soft: usize,
    seconds: usize,
}

pub fn findings(answers: &Answers, config: &Config) -> Vec<Finding> {
    let refused = |name: &str| answers.settings.get(name).and_then(|it| it.as_ref().err());
    if let Some(why) = refused("client-output-buffer-limit") {
        return vec![unreadable("CONFIG GET", why, "+config|get")];
    }
    let checks = [
        output_buffer(answers, config),
        cut_off(answers),
        largest(answers, config),
        timeout(answers),
        keepalive(answers),
    ];
    checks.into_iter().flatten().collect()
}

/// Parses `normal 0 0 0 slave … pubsub 33554432 8388608 60`.
fn limit(text: &str) -> Option<Limit> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let of = words.chunks_exact(4).find(|of| of[0] == "pubsub")?;
    let [hard, soft, seconds] = [of[1], of[2], of[3]].map(|word| word.parse().ok());
    Some(Limit { hard: hard?, soft: soft?, seconds: seconds? })
}

fn output_buffer(answers: &Answers, config: &Config) -> Option<Finding> {
    let text: String = setting(answers, "client-output-buffer-limit")?;
    let limit = limit(&text)?;
    let Limit { hard, soft, seconds } = limit;
    let say = |size| if size == 0 { "no".to_owned() } else { bytes(size) };
    let measured =
        format!("pubsub: hard limit {}, soft limit {} for {seconds} s", say(hard), say(soft));
    let is_soft_less = soft > 0 && (soft < DEFAULT.soft || seconds < DEFAULT.seconds / 2);
    let level = match hard {
        0 => Level::Hint,
        // Room for several publications of the largest size clients may send.
        hard if hard < HARD_MIN.max(4 * config.session.message_bytes_max) => Level::Problem,
        hard if hard < DEFAULT.hard || is_soft_less => Level::Warning,
        _ => Level::Ok,
    };
    let why = match hard {
        0 => "if a node hangs while its channels are busy, it fills Redis' memory until the failure is detected"
            .to_owned(),
        hard => format!(
            "Redis disconnects a node that has this much queued, and each of its channels has a gap: at 50 MB a \
             second, {} are reached after {} ms without reading",
            bytes(hard),
            hard / 50_000
        ),
    };
    let remedy = format!(
        "CONFIG SET client-output-buffer-limit 'pubsub {} {} {}', and the same in redis.conf",
        DEFAULT.hard, DEFAULT.soft, DEFAULT.seconds
    );
    Some(Finding::new(level, "output buffer limit", measured, why, remedy))
}

/// Redis counts these disconnections since 7.4.
fn cut_off(answers: &Answers) -> Option<Finding> {
    let times: usize = info(answers, "client_output_buffer_limit_disconnections")?;
    (times > 0).then(|| {
        let why = "nodes, or other subscribers, read more slowly than others published: each time, clients got a gap";
        let remedy = "more nodes, or fewer publications to each; tidegate_broker_reconnects_total shows whether \
                      nodes were disconnected";
        Finding::warning("output buffers", format!("{times} connections were closed"), why, remedy)
    })
}

/// Redis must accept publications as large as the configuration allows clients to send.
fn largest(answers: &Answers, config: &Config) -> Option<Finding> {
    let bulk: usize = setting(answers, "proto-max-bulk-len")?;
    let buffer: usize = setting(answers, "client-query-buffer-limit").filter(|it| *it > 0)?;
    let promised = config.session.message_bytes_max;
    let needed = promised + BESIDE_PAYLOAD;
    let level = if bulk.min(buffer) < needed { Level::Warning } else { Level::Ok };
    let measured = format!(
        "proto-max-bulk-len {}, client-query-buffer-limit {}; session.message_bytes_max {}",
        bytes(bulk),
        bytes(buffer),
        bytes(promised)
    );
    let why = "a larger publication is answered too_large, though clients may send it";
    let remedy = format!(
        "CONFIG SET proto-max-bulk-len and client-query-buffer-limit to {needed} or more, or a smaller \
         session.message_bytes_max"
    );
    Some(Finding::new(level, "largest publication", measured, why, remedy))
}

/// Redis exempts subscribers from `timeout`, and nodes use their other connection once a second.
fn timeout(answers: &Answers) -> Option<Finding> {
    let seconds: usize = setting(answers, "timeout")?;
    let level = if (1..5).contains(&seconds) { Level::Warning } else { Level::Ok };
    let measured = match seconds {
        0 => "timeout 0: idle connections stay open".to_owned(),
        _ => {
            format!(
                "timeout {seconds} s: it exempts subscribers, and nodes are never idle that long"
            )
        }
    };
    let why = "so short a timeout closes connections that are only between two requests";
    Some(Finding::new(level, "quiet connections", measured, why, "CONFIG SET timeout 0"))
}

fn keepalive(answers: &Answers) -> Option<Finding> {
    let seconds: usize = setting(answers, "tcp-keepalive")?;
    let level = if seconds == 0 { Level::Hint } else { Level::Ok };
    let measured = if seconds == 0 { "off".to_owned() } else { format!("every {seconds} s") };
    let why = "the connections of a node that vanished without closing them stay open, and their buffers fill up \
               to their limit";
    Some(Finding::new(level, "tcp-keepalive", measured, why, "CONFIG SET tcp-keepalive 300"))
}

#[cfg(test)]
mod tests {
    use super::super::super::host::tests::config;
    use super::super::tests::{answers, level};
    use super::*;

    #[test]
    fn a_small_or_unlimited_output_buffer_is_reported() {
        let of = |pubsub: &str, flags: &[&str]| {
            let text = format!("normal 0 0 0 slave 1 1 1 pubsub {pubsub}");
            level(
                answers(&[], &[("client-output-buffer-limit", &text)]),
                flags,
                "output buffer limit",
            )
        };
        assert_eq!(of("33554432 8388608 60", &[]), Some(Level::Ok));
        assert_eq!(of("67108864 0 0", &[]), Some(Level::Ok));
        assert_eq!(of("33554432 1048576 60", &[]), Some(Level::Warning));
        assert_eq!(of("16777216 8388608 60", &[]), Some(Level::Warning));
        assert_eq!(of("65536 32768 1", &[]), Some(Level::Problem));
        let large = ["session.message_bytes_max=16MiB"];
        assert_eq!(of("33554432 8388608 60", &large), Some(Level::Problem));
        assert_eq!(of("0 0 0", &[]), Some(Level::Hint));
    }

    #[test]
    fn short_timeouts_missing_keepalives_and_past_disconnections_are_reported() {
        let with = |settings: &[(&'static str, &str)], subject| {
            level(answers(&[], settings), &[], subject)
        };
        assert_eq!(with(&[("timeout", "2")], "quiet connections"), Some(Level::Warning));
        assert_eq!(with(&[("timeout", "300")], "quiet connections"), Some(Level::Ok));
        assert_eq!(with(&[("tcp-keepalive", "0")], "tcp-keepalive"), Some(Level::Hint));
        let cut = answers(&[("client_output_buffer_limit_disconnections", "2")], &[]);
        assert_eq!(level(cut, &[], "output buffers"), Some(Level::Warning));
    }

    #[test]
    fn unreadable_redis_settings_are_one_hint() {
        let mut answers = answers(&[], &[]);
        answers.settings.values_mut().for_each(|it| *it = Err("NOPERM …".to_owned()));
        let found = findings(&answers, &config(&[]));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].level, found[0].subject.as_str()), (Level::Hint, "CONFIG GET"));
        assert!(found[0].remedy.contains("+config|get"), "{found:?}");
    }

    #[test]
    fn a_redis_that_accepts_less_than_clients_may_send_is_a_warning() {
        let of = |bulk: &str, buffer: &str| {
            let settings = [("proto-max-bulk-len", bulk), ("client-query-buffer-limit", buffer)];
            let limit = ("client-output-buffer-limit", "normal 0 0 0 slave 1 1 1 pubsub 0 0 0");
            let settings = [&settings[..], &[limit]].concat();
            level(
                answers(&[], &settings),
                &["session.message_bytes_max=2MiB"],
                "largest publication",
            )
        };
        assert_eq!(of("536870912", "1073741824"), Some(Level::Ok));
        assert_eq!(of("1048576", "1073741824"), Some(Level::Warning));
        assert_eq!(of("536870912", "1048576"), Some(Level::Warning));
    }
}
