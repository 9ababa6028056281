//! The library of Redis Functions that the nodes install, with the rules of all fleets in it.
//!
//! A fleet is whoever shares a `broker.prefix`. Function names belong to a whole Redis, so fleets
//! that share one share the library too: a node puts its own rules beside those it finds there.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::redis::aio::MultiplexedConnection;
use ::redis::{RedisResult, Value};
use serde::{Deserialize, Serialize};

use crate::broker::Config;
use crate::rules::Rules;

/// Grows with every change of the code. A library of a later version is left alone: it knows all
/// that an earlier one did.
const VERSION: u32 = 2;

const NAME: &str = "tidegate";

/// How often a node tries to get its rules in beside those of others.
const TRIES: usize = 4;

const HISTORY: &str = include_str!("history.lua");
const PRESENCE: &str = super::presence::FUNCTIONS;
const REVOCATIONS: &str = super::revocation::FUNCTIONS;

/// Longest time an idempotency key or an entry is kept, as Redis takes it, in milliseconds.
const MILLIS_MAX: u128 = 1 << 48;

/// What the functions are told of one fleet.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Fleet {
    /// The command that publishes: `PUBLISH`, or `SPUBLISH` on a cluster.
    publish: String,
    /// How long an idempotency key is remembered, in milliseconds.
    window: u64,
    /// Lua pattern of the channel's name, entries to keep (0: none), and their age in milliseconds.
    rules: Vec<(String, u32, u64)>,
    /// When the node started that brought them, in milliseconds: of two nodes with other rules, as
    /// while a fleet is given new ones, the later one's count.
    since: u64,
}

type Fleets = BTreeMap<String, Fleet>;

/// This node's part of the library.
#[derive(Clone, Debug)]
pub struct Library {
    prefix: String,
    fleet: Fleet,
}

impl Library {
    /// `publish`: the command that publishes.
    pub fn new(config: &Config, publish: &str) -> Self {
        let fleet = Fleet {
            publish: publish.to_owned(),
            window: millis(config.idempotency_window),
            rules: Vec::new(),
            since: 0,
        };
        Self { prefix: config.prefix.clone(), fleet }.with_rules(&config.rules)
    }

    /// The same with the rules as they are now.
    pub fn with_rules(&self, rules: &Rules) -> Self {
        let rules = rules.current();
        let rules = rules.iter().map(|rule| match rule.policy.history {
            Some(kept) => (rule.pattern.lua(), kept.size, millis(kept.age)),
            None => (rule.pattern.lua(), 0, 0),
        });
        let now = millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        let rules: Vec<_> = rules.collect();
        // The same rules are no newer for being read again: those of a later node still count.
        let since =
            if rules == self.fleet.rules && self.fleet.since > 0 { self.fleet.since } else { now };
        let fleet = Fleet { rules, since, ..self.fleet.clone() };
        Self { prefix: self.prefix.clone(), fleet }
    }

    /// Installs the functions where they are missing, or older than these.
    pub async fn install(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let mut list = ::redis::cmd("FUNCTION");
        list.arg("LIST").arg("LIBRARYNAME").arg(NAME).arg("WITHCODE");
        for _ in 0..TRIES {
            let found: Value = list.query_async(connection).await?;
            let Some(text) = self.to_load(library_code(&found).as_deref()) else { break };
            let mut load = ::redis::cmd("FUNCTION");
            load.arg("LOAD").arg("REPLACE").arg(text);
            let () = load.query_async(connection).await?;
            // And look again: another fleet's node may have done the same at the same time.
        }
        Ok(())
    }

    /// The library's text, where the one that is there will not do.
    fn to_load(&self, found: Option<&str>) -> Option<String> {
        let (version, mut fleets) = found.and_then(parse).unwrap_or_default();
        if version > VERSION {
            return None;
        }
        let theirs = fleets.get(&self.prefix);
        let will_do =
            theirs.is_some_and(|it| it.since > self.fleet.since || it.says_the_same(&self.fleet));
        if will_do && version == VERSION {
            return None;
        }
        if !will_do {
            fleets.insert(self.prefix.clone(), self.fleet.clone());
        }
        Some(write(&fleets))
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().min(MILLIS_MAX) as u64
}

impl Fleet {
    fn says_the_same(&self, other: &Self) -> bool {
        *self == Self { since: self.since, ..other.clone() }
    }
}

/// How the line begins that holds the fleets.
const FLEETS: &str = "local FLEETS = [=[";
const FLEETS_END: &str = "]=]";

const VERSION_LINE: &str = "-- version ";

fn write(fleets: &Fleets) -> String {
    // JSON may hold what ends Lua's text only within strings, where it can be written otherwise.
    let json = serde_json::to_string(fleets).expect("texts and numbers are always JSON");
    let json = json.replace("]=]", "]\\u003d]");
    format!(
        "#!lua name={NAME}\n{VERSION_LINE}{VERSION}\n\
         -- Installed by Tidegate's nodes, which replace it when they start.\n\
         {FLEETS}{json}{FLEETS_END}\n{HISTORY}\n{PRESENCE}\n{REVOCATIONS}"
    )
}

/// Version and fleets of a library that a node wrote.
fn parse(text: &str) -> Option<(u32, Fleets)> {
    let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start));
    let version = line(VERSION_LINE)?.parse().ok()?;
    let fleets = serde_json::from_str(line(FLEETS)?.strip_suffix(FLEETS_END)?).ok()?;
    Some((version, fleets))
}

/// The code in the answer of `FUNCTION LIST`, which is a list or a map by the protocol's version.
fn library_code(answer: &Value) -> Option<String> {
    let text = |value: &Value| match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        Value::VerbatimString { text, .. } => Some(text.clone()),
        _ => None,
    };
    match answer {
        Value::Array(items) => {
            let named =
                items.windows(2).find(|pair| text(&pair[0]).as_deref() == Some("library_code"));
            match named {
                Some(pair) => text(&pair[1]),
                None => items.iter().find_map(library_code),
            }
        }
        Value::Map(pairs) => pairs
            .iter()
            .find(|(name, _)| text(name).as_deref() == Some("library_code"))
            .and_then(|(_, code)| text(code)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(prefix: &str, size: u32, since: u64) -> Library {
        let rules = vec![("^h:.*$".to_owned(), size, 600_000)];
        let fleet = Fleet { publish: "PUBLISH".to_owned(), window: 300_000, rules, since };
        Library { prefix: prefix.to_owned(), fleet }
    }

    #[test]
    fn of_two_nodes_with_other_rules_the_later_ones_count() {
        let text = library("a:", 5, 100).to_load(None).unwrap();
        assert_eq!(library("a:", 5, 200).to_load(Some(&text)), None);
        assert_eq!(library("a:", 6, 99).to_load(Some(&text)), None);
        let newer = library("a:", 6, 101).to_load(Some(&text)).unwrap();
        assert!(newer.contains("[[\"^h:.*$\",6,600000]]"), "{newer}");
    }

    #[test]
    fn fleets_that_share_a_redis_keep_each_others_rules() {
        let text = library("a:", 5, 100).to_load(None).unwrap();
        let both = library("b:", 7, 1).to_load(Some(&text)).unwrap();
        let (_, fleets) = parse(&both).unwrap();
        assert_eq!(fleets["a:"], library("a:", 5, 100).fleet);
        assert_eq!(fleets["b:"], library("b:", 7, 1).fleet);
    }

    #[test]
    fn a_later_version_is_left_alone_and_an_earlier_one_replaced() {
        let text = library("a:", 5, 100).to_load(None).unwrap();
        let this = format!("-- version {VERSION}\n");
        let later = text.replace(&this, "-- version 999\n");
        assert_eq!(library("b:", 5, 100).to_load(Some(&later)), None);
        let earlier = text.replace(&this, "-- version 0\n");
        assert!(library("a:", 5, 100).to_load(Some(&earlier)).is_some());
    }

    #[test]
    fn no_pattern_ends_the_text_it_stands_in() {
        let mut hostile = library("a:", 5, 100);
        hostile.fleet.rules[0].0 = "^x]=]\"\\\n$".to_owned();
        let text = hostile.to_load(None).unwrap();
        assert_eq!(parse(&text).unwrap().1["a:"], hostile.fleet);
    }
}
