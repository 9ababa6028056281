//! The library of Redis Functions that the nodes install, with the rules of all fleets in it.
//!
//! A fleet is whoever shares a `broker.prefix`. Function names belong to a whole Redis, so fleets
//! that share one share the library too: a node puts its own rules beside those it finds there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::redis::aio::MultiplexedConnection;
use ::redis::{RedisResult, Value};
use serde::{Deserialize, Serialize};

use super::secret::{Secret, Secrets};
use crate::broker::Config;
use crate::rules::Rules;

/// Grows with every change of the code. A library of a later version is left alone: it knows all
/// that an earlier one did.
const VERSION: u32 = 4;

pub const NAME: &str = "tidegate";

/// How often a node tries to get its rules in beside those of others.
const TRIES: usize = 4;

const IDEMPOTENCY: &str = include_str!("idempotency.lua");
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
    /// Since when each of the rules has kept history without interruption, in milliseconds. Before
    /// version 3 nobody noted it: then since ever.
    #[serde(default)]
    kept_since: Vec<u64>,
    /// When the node started that brought them, in milliseconds: of two nodes with other rules, as
    /// while a fleet is given new ones, the later one's count.
    since: u64,
}

type Fleets = BTreeMap<String, Fleet>;

/// This node's part of the library.
#[derive(Clone, Debug)]
pub struct Library {
    prefix: String,
    /// Its `kept_since` is what this node itself knows: other times count where they are later.
    fleet: Fleet,
    /// The fleet as it was last found or installed: a server without the library, as one that has just
    /// joined a cluster, has the channels' histories from one that had it.
    known: Arc<Mutex<Option<Fleet>>>,
    /// The functions sign with the secret of the server that they run in.
    pub secrets: Arc<Secrets>,
}

impl Library {
    /// `publish`: the command that publishes.
    pub fn new(config: &Config, publish: &str) -> Self {
        let fleet = Fleet {
            publish: publish.to_owned(),
            window: millis(config.idempotency_window),
            rules: rules_of(&config.rules),
            kept_since: Vec::new(),
            since: now(),
        };
        let secrets = Arc::new(Secrets::new(config.secret.clone()));
        Self { prefix: config.prefix.clone(), fleet, known: Arc::default(), secrets }
    }

    /// The same with the rules as they are now.
    pub fn with_rules(&self, rules: &Rules) -> Self {
        let rules = rules_of(rules);
        // The same rules are no newer for being read again: those of a later node still count.
        let since = if rules == self.fleet.rules && self.fleet.since > 0 {
            self.fleet.since
        } else {
            now()
        };
        let mut fleet = Fleet { rules, since, ..self.fleet.clone() };
        fleet.kept_since = kept_since(&self.fleet, &fleet.rules, since);
        Self { fleet, ..self.clone() }
    }

    /// Installs the functions where they are missing, or older than these.
    pub async fn install(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let secret = self.secrets.install(connection).await?;
        let mut ask = ::redis::pipe();
        ask.cmd("FUNCTION").arg("LIST").arg("LIBRARYNAME").arg(NAME).arg("WITHCODE").cmd("TIME");
        for _ in 0..TRIES {
            let (found, (seconds, micros)): (Value, (u64, u64)) =
                ask.query_async(connection).await?;
            // Epochs go by the server's clock.
            let now = now().max(seconds.saturating_mul(1000).saturating_add(micros / 1000));
            let found = library_code(&found);
            let Some(text) = self.to_load_signing(&secret, found.as_deref(), now) else { break };
            let mut load = ::redis::cmd("FUNCTION");
            load.arg("LOAD").arg("REPLACE").arg(text);
            let () = load.query_async(connection).await?;
            // And look again: another fleet's node may have done the same at the same time.
        }
        Ok(())
    }

    /// The library's text with the server's secret, where the one that is there will not do.
    fn to_load_signing(&self, secret: &Secret, found: Option<&str>, now: u64) -> Option<String> {
        let is_current = |text: &&str| parse(text).is_some_and(|(version, _)| version == VERSION);
        let loaded = self.to_load(found, now);
        let text = loaded.or_else(|| found.filter(is_current).map(str::to_owned))?;
        let text = signing_with(secret, &text);
        (Some(&*text) != found).then_some(text)
    }

    /// The library's text, where the one that is there will not do.
    fn to_load(&self, found: Option<&str>, now: u64) -> Option<String> {
        let (version, mut fleets) = found.and_then(parse).unwrap_or_default();
        if version > VERSION {
            return None;
        }
        let mut known = self.known.lock().expect("no code panics while it holds the lock");
        let theirs = fleets.get(&self.prefix);
        let ours = match theirs.or(known.as_ref()) {
            Some(theirs) => self.fleet.after(theirs, now),
            None => Fleet { kept_since: vec![now; self.fleet.rules.len()], ..self.fleet.clone() },
        };
        *known = Some(ours.clone());
        if theirs == Some(&ours) && version == VERSION {
            return None;
        }
        fleets.insert(self.prefix.clone(), ours);
        Some(write(&fleets))
    }
}

fn rules_of(rules: &Rules) -> Vec<(String, u32, u64)> {
    let rules = rules.current();
    let rules = rules.iter().map(|rule| match rule.policy.history {
        Some(kept) => (rule.pattern.lua(), kept.size, millis(kept.age)),
        None => (rule.pattern.lua(), 0, 0),
    });
    rules.collect()
}

/// Milliseconds since 1970.
fn now() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().min(MILLIS_MAX) as u64
}

impl Fleet {
    fn says_the_same(&self, other: &Self) -> bool {
        let (since, kept_since) = (self.since, self.kept_since.clone());
        *self == Self { since, kept_since, ..other.clone() }
    }

    /// What is to be installed where `theirs` is.
    fn after(&self, theirs: &Self, now: u64) -> Self {
        let same = theirs.says_the_same(self);
        if theirs.since > self.since && !same {
            return theirs.clone();
        }
        let since = if same { theirs.since } else { self.since };
        let mut kept_since = match same {
            true => (0..theirs.rules.len()).map(|at| theirs.kept_since(at)).collect(),
            false => kept_since(theirs, &self.rules, now),
        };
        for (at, kept_since) in kept_since.iter_mut().enumerate() {
            *kept_since = self.kept_since(at).max(*kept_since);
        }
        Self { since, kept_since, ..self.clone() }
    }

    /// Since when the rule at this place has kept history.
    fn kept_since(&self, at: usize) -> u64 {
        self.kept_since.get(at).copied().unwrap_or(0)
    }
}

/// Since when the channels of each of the rules have had history, if until `now` they had it by
/// `before`. A channel goes by the first rule that matches, so more than one may have been about them.
fn kept_since(before: &Fleet, rules: &[(String, u32, u64)], now: u64) -> Vec<u64> {
    let of_rule = |(at, (pattern, size, _)): (usize, &(String, u32, u64))| {
        if *size == 0 {
            return 0;
        }
        // Whatever came behind this one was about none of them.
        let Some(all) = before.rules.iter().position(|(other, ..)| covers(other, pattern)) else {
            return now;
        };
        let since = |at: usize| if before.rules[at].1 == 0 { now } else { before.kept_since(at) };
        let is_about = |other: &str| {
            !are_apart(other, pattern)
                && !rules[..at].iter().any(|(earlier, ..)| covers(earlier, other))
        };
        let later = (0..all).filter(|&before_it| since(before_it) > since(all));
        let later = later.filter(|&before_it| is_about(&before.rules[before_it].0));
        later.map(since).fold(since(all), u64::max)
    };
    rules.iter().enumerate().map(of_rule).collect()
}

/// What ends a Lua pattern that takes everything from there on.
const REST: &str = "[^ ]*$";

/// Surely matches all that `other` matches. Both are Lua patterns.
fn covers(pattern: &str, other: &str) -> bool {
    let start = pattern.strip_suffix(REST).filter(|start| *start == literal(pattern));
    pattern == other || start.is_some_and(|start| literal(other).starts_with(start))
}

/// Surely no text is matched by both.
fn are_apart(one: &str, other: &str) -> bool {
    let (one, other) = (literal(one), literal(other));
    !one.starts_with(other) && !other.starts_with(one)
}

/// What a Lua pattern begins with, up to its first wildcard.
fn literal(pattern: &str) -> &str {
    let mut escaped = false;
    let end = pattern.find(|character| {
        let is_wildcard = character == '[' && !escaped;
        escaped = character == '%' && !escaped;
        is_wildcard
    });
    &pattern[..end.unwrap_or(pattern.len())]
}

/// How the line begins that holds the fleets.
const FLEETS: &str = "local FLEETS = [=[";
const FLEETS_END: &str = "]=]";

const VERSION_LINE: &str = "-- version ";

/// How the line begins and ends that holds the server's secret.
const SECRET: &str = "local SECRET = '";
const SECRET_END: &str = "'";

fn write(fleets: &Fleets) -> String {
    // JSON may hold what ends Lua's text only within strings, where it can be written otherwise.
    let json = serde_json::to_string(fleets).expect("texts and numbers are always JSON");
    let json = json.replace("]=]", "]\\u003d]");
    format!(
        "#!lua name={NAME}\n{VERSION_LINE}{VERSION}\n\
         -- Installed by Tidegate's nodes, which replace it when they start.\n\
         {SECRET}{SECRET_END}\n{FLEETS}{json}{FLEETS_END}\n\
         {IDEMPOTENCY}\n{HISTORY}\n{PRESENCE}\n{REVOCATIONS}"
    )
}

/// The same library with this secret in it.
fn signing_with(secret: &Secret, text: &str) -> String {
    let Some((head, rest)) = text.split_once(SECRET) else { return text.to_owned() };
    let end = rest.find(SECRET_END).unwrap_or(0);
    [head, SECRET, secret.as_str(), &rest[end..]].concat()
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

    const NOW: u64 = 1000;

    fn library(prefix: &str, size: u32, since: u64) -> Library {
        of_rules(prefix, &[("^h:[^ ]*$", size)], since)
    }

    fn of_rules(prefix: &str, rules: &[(&str, u32)], since: u64) -> Library {
        let rules = rules.iter().map(|(pattern, size)| ((*pattern).to_owned(), *size, 600_000));
        let fleet = Fleet {
            publish: "PUBLISH".to_owned(),
            window: 300_000,
            rules: rules.collect(),
            kept_since: Vec::new(),
            since,
        };
        let (known, secrets) = (Arc::default(), Arc::new(Secrets::new(None)));
        Library { prefix: prefix.to_owned(), fleet, known, secrets }
    }

    /// What of it is installed where nothing was.
    fn first(library: &Library) -> Fleet {
        let kept_since = vec![NOW; library.fleet.rules.len()];
        Fleet { kept_since, ..library.fleet.clone() }
    }

    /// Nodes with these rules start one after another: since when the last one's are kept.
    fn one_by_one(all: &[&[(&str, u32)]]) -> Vec<u64> {
        let mut text: Option<String> = None;
        for (number, rules) in all.iter().enumerate() {
            let number = number as u64;
            let installed = of_rules("a:", rules, number).to_load(text.as_deref(), NOW + number);
            text = installed.or(text);
        }
        parse(&text.unwrap()).unwrap().1["a:"].kept_since.clone()
    }

    #[test]
    fn of_two_nodes_with_other_rules_the_later_ones_count() {
        let text = library("a:", 5, 100).to_load(None, NOW).unwrap();
        assert_eq!(library("a:", 5, 200).to_load(Some(&text), NOW), None);
        assert_eq!(library("a:", 6, 99).to_load(Some(&text), NOW), None);
        let newer = library("a:", 6, 101).to_load(Some(&text), NOW).unwrap();
        assert!(newer.contains("[[\"^h:[^ ]*$\",6,600000]]"), "{newer}");
    }

    #[test]
    fn fleets_that_share_a_redis_keep_each_others_rules() {
        let text = library("a:", 5, 100).to_load(None, NOW).unwrap();
        let both = library("b:", 7, 1).to_load(Some(&text), NOW).unwrap();
        let (_, fleets) = parse(&both).unwrap();
        assert_eq!(fleets["a:"], first(&library("a:", 5, 100)));
        assert_eq!(fleets["b:"], first(&library("b:", 7, 1)));
    }

    #[test]
    fn a_later_version_is_left_alone_and_an_earlier_one_replaced() {
        let text = library("a:", 5, 100).to_load(None, NOW).unwrap();
        let this = format!("-- version {VERSION}\n");
        let later = text.replace(&this, "-- version 999\n");
        assert_eq!(library("b:", 5, 100).to_load(Some(&later), NOW), None);
        let earlier = text.replace(&this, "-- version 0\n");
        assert!(library("a:", 5, 100).to_load(Some(&earlier), NOW).is_some());
    }

    #[test]
    fn no_pattern_ends_the_text_it_stands_in() {
        let mut hostile = library("a:", 5, 100);
        hostile.fleet.rules[0].0 = "^x]=]\"\\\n$".to_owned();
        let text = hostile.to_load(None, NOW).unwrap();
        assert_eq!(parse(&text).unwrap().1["a:"], first(&hostile));
    }

    #[test]
    fn functions_sign_with_the_secret_of_their_server() {
        let node = library("a:", 5, 100);
        let secret = |text: &str| node.secrets.learn(text.as_bytes()).unwrap();
        let (one, other) = (secret("0123456789abcdefghijkl"), secret("ABCDEFGHIJ-_9876543210"));
        let text = node.to_load_signing(&one, None, NOW).unwrap();
        assert!(text.contains("\nlocal SECRET = '0123456789abcdefghijkl'\n"), "{text}");
        assert_eq!(node.to_load_signing(&one, Some(&text), NOW), None);
        let again = node.to_load_signing(&other, Some(&text), NOW).unwrap();
        assert_eq!(again, text.replace(one.as_str(), other.as_str()));
        // A library of before knew no secret; what a later one does with it is not known here.
        let this = format!("-- version {VERSION}\n");
        let before = text.replace(&format!("local SECRET = '{}'\n", one.as_str()), "");
        let before = before.replace(&this, "-- version 3\n");
        assert_eq!(node.to_load_signing(&one, Some(&before), NOW), Some(text.clone()));
        let later = text.replace(&this, "-- version 999\n");
        assert_eq!(node.to_load_signing(&other, Some(&later), NOW), None);
    }

    #[test]
    fn history_that_was_not_kept_in_between_is_kept_since_it_is_again() {
        let (on, off): (&[_], &[_]) = (&[("^h$", 5)], &[("^h$", 0)]);
        assert_eq!(one_by_one(&[on]), [NOW]);
        assert_eq!(one_by_one(&[on, off, on]), [NOW + 2]);
        assert_eq!(one_by_one(&[on, &[("^k$", 5)], on]), [NOW + 2]);
        let all: &[_] = &[("^[^ ]*$", 5)];
        // A rule before it took some of its channels away for a while.
        assert_eq!(one_by_one(&[all, &[("^h$", 0), ("^[^ ]*$", 5)], all]), [NOW + 2]);
        assert_eq!(one_by_one(&[&[("^h[^:/ ]*$", 0), all[0]], &[("^h1$", 5), all[0]]])[0], NOW + 1);
    }

    #[test]
    fn restarts_and_other_sizes_and_orders_interrupt_nothing() {
        let (h, k, all) = (("^h%[[^ ]*$", 5), ("^k$", 5), ("^[^ ]*$", 5));
        assert_eq!(one_by_one(&[&[h, k], &[h, k]]), [NOW, NOW]);
        assert_eq!(one_by_one(&[&[h, k], &[(k.0, 6), (h.0, 7)]]), [NOW, NOW]);
        assert_eq!(one_by_one(&[&[h, ("^k$", 0)], &[("^k$", 0), h]]), [0, NOW]);
        // What is taken out of a larger rule, and goes back into it.
        assert_eq!(one_by_one(&[&[all], &[h, all], &[all]]), [NOW]);
        assert_eq!(one_by_one(&[&[("^k$", 0), all], &[h, ("^k$", 0), all]]), [NOW, 0, NOW]);
    }

    #[test]
    fn what_nobody_noted_is_kept_since_ever() {
        let text = library("a:", 5, 100).to_load(None, NOW).unwrap();
        let old = text.replace(r#""kept_since":[1000],"#, "");
        let old = old.replace(&format!("-- version {VERSION}\n"), "-- version 2\n");
        assert_ne!(old, text);
        for size in [5, 6] {
            let new = library("a:", size, 200).to_load(Some(&old), NOW).unwrap();
            assert_eq!(parse(&new).unwrap().1["a:"].kept_since, [0]);
        }
        let both = library("b:", 5, 200).to_load(Some(&old), NOW).unwrap();
        assert_eq!(parse(&both).unwrap().1["a:"].rules, library("a:", 5, 100).fleet.rules);
    }

    #[test]
    fn a_node_tells_of_an_interruption_that_redis_never_heard_of() {
        let node = library("a:", 5, 100);
        let text = node.to_load(None, NOW).unwrap();
        let off = Library { fleet: library("a:", 0, 200).fleet, ..node.clone() };
        let mut on = library("a:", 5, 300).fleet;
        on.kept_since = kept_since(&off.fleet, &on.rules, NOW + 7);
        let on = Library { fleet: on, ..node };
        let told = on.to_load(Some(&text), NOW + 9).unwrap();
        assert_eq!(parse(&told).unwrap().1["a:"].kept_since, [NOW + 7]);
        assert_eq!(on.to_load(Some(&told), NOW + 9), None);
    }

    #[test]
    fn a_server_without_the_library_is_told_since_when() {
        let node = library("a:", 5, 100);
        node.to_load(None, NOW).unwrap();
        let elsewhere = node.to_load(None, NOW + 9).unwrap();
        assert_eq!(parse(&elsewhere).unwrap().1["a:"].kept_since, [NOW]);
    }
}
