//! The library of Redis Functions that the nodes install, with the rules of all fleets in it.
//!
//! A fleet is whoever shares a `broker.prefix`. Function names belong to a whole Redis, so fleets
//! that share one share the library too: a node puts its own rules beside those it finds there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::redis::aio::MultiplexedConnection;
use ::redis::{RedisResult, Value};
use serde::{Deserialize, Serialize};

use super::interruptions::kept_since;
use crate::broker::redis::rules::routing::{PastHistory, RuleList};
use crate::broker::redis::secret::{Secret, Secrets};
use crate::broker::{Config, RulesFound};
use crate::publication::NodeId;
use crate::rules::Rules;

/// Grows with every change of the code. A library of a later version is left alone: it knows all
/// that an earlier one did.
const VERSION: u32 = 6;

pub const NAME: &str = "tidegate";

/// How often a node tries to get its rules in beside those of others.
const TRIES: usize = 4;

const IDEMPOTENCY: &str = include_str!("idempotency.lua");
const HISTORY: &str = include_str!("history.lua");
const PRESENCE: &str = crate::broker::redis::presence::calls::FUNCTIONS;
const REVOCATIONS: &str = crate::broker::redis::revocation::calls::FUNCTIONS;

/// Longest time an idempotency key or an entry is kept, as Redis takes it, in milliseconds.
const MILLIS_MAX: u128 = 1 << 48;

/// How long after they were installed other rules take effect: as long as it takes all nodes to hear of
/// them and to append where they are to. The functions believe no time that is further away.
const SETTLE_MILLIS: u64 = 1000;
const SETTLE_MILLIS_MAX: u64 = 2 * SETTLE_MILLIS;

/// What the functions are told of one fleet.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Fleet {
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
    /// The database of the node that brought them: pub/sub and functions belong to the whole server.
    #[serde(default)]
    database: i64,
    /// The node that brought them, and its host.
    #[serde(default)]
    installed_by: String,
    /// From when on the rules hold, in milliseconds of the server's clock; until then, those of `before`.
    #[serde(default)]
    from: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<Kept>,
}

/// Rules, and since when each has kept history, as in [`Fleet`].
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Kept {
    pub rules: Vec<(String, u32, u64)>,
    #[serde(default)]
    kept_since: Vec<u64>,
}

type Fleets = BTreeMap<String, Fleet>;

/// This node's part of the library.
#[derive(Clone, Debug)]
pub struct Library {
    prefix: String,
    /// As this node's configuration has it.
    fleet: Fleet,
    /// The fleet as it was last found or installed: a server without the library, as one that has just
    /// joined a cluster, has the channels' histories from one that had it.
    known: Arc<Mutex<Option<Fleet>>>,
    /// The functions sign with the secret of the server that they run in.
    pub secrets: Arc<Secrets>,
}

/// What a server has of this node's fleet.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// None: no node has installed its rules there.
    pub fleet: Option<Fleet>,
    /// The server's clock when it was read, in milliseconds.
    pub now: u64,
    /// The library was loaded: other nodes are to look at it again.
    pub is_new: bool,
}

impl Library {
    /// `publish`: the command that publishes. `node`: the one that brings the rules.
    pub fn new(config: &Config, publish: &str, database: i64, node: NodeId) -> Self {
        let fleet = Fleet {
            publish: publish.to_owned(),
            window: millis(config.idempotency_window),
            rules: rules_of(&config.rules),
            since: now(),
            database,
            installed_by: format!("{node} on {}", host()),
            ..Fleet::default()
        };
        let secrets = Arc::new(Secrets::new(config.secret.clone()));
        Self { prefix: config.prefix.clone(), fleet, known: Arc::default(), secrets }
    }

    /// The same with the rules as they are now.
    pub fn with_rules(&self, rules: &Rules) -> Self {
        let mut fleet = Fleet { rules: rules_of(rules), ..self.fleet.clone() };
        // The same rules are no newer for being read again: those of a later node still count. Others
        // are newer than all this node knows, whatever the nodes' clocks say.
        if fleet.rules != self.fleet.rules {
            let known = self.known().as_ref().map_or(0, |known| known.since);
            fleet.since = now().max(known.saturating_add(1));
        }
        Self { fleet, ..self.clone() }
    }

    /// The rules of this node's configuration.
    pub fn rules(&self) -> RuleList {
        self.fleet.rules()
    }

    /// Rules as Redis would have them.
    pub fn list(rules: &Rules) -> RuleList {
        RuleList::new(&rules_of(rules), &[])
    }

    /// Tells rules of one node from those of another: the same for the same, on every host and in every
    /// version.
    pub fn hash(&self) -> u64 {
        let Fleet { publish, window, rules, database, .. } = &self.fleet;
        let text = serde_json::to_vec(&(publish, window, rules, database));
        // FNV-1a.
        text.expect("texts and numbers are always JSON")
            .into_iter()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
            })
    }

    /// Is it what this node's configuration says?
    pub fn is_as_configured(&self, fleet: &Fleet) -> bool {
        fleet.says_the_same(&self.fleet)
    }

    /// Reads what is there, and changes nothing.
    pub async fn read(&self, connection: &mut MultiplexedConnection) -> RedisResult<Found> {
        let (text, now) = look(connection).await?;
        Ok(Found { fleet: text.as_deref().and_then(|text| self.find(text)), now, is_new: false })
    }

    /// This fleet, in the text of a library.
    fn find(&self, text: &str) -> Option<Fleet> {
        parse(text).and_then(|(_, mut fleets)| fleets.remove(&self.prefix))
    }

    /// Whose rules the answer of `FUNCTION LIST … WITHCODE` has.
    pub fn found_in(&self, answer: &Value) -> RulesFound {
        match library_code(answer).as_deref().and_then(|text| self.find(text)) {
            None => RulesFound::None,
            Some(fleet) if self.is_as_configured(&fleet) => RulesFound::Same,
            Some(Fleet { installed_by, database, .. }) => {
                RulesFound::Others { installed_by, database }
            }
        }
    }

    /// Installs the functions where they are missing, or older than these; and answers whose rules are
    /// there then. `past`: what this node has published past the history meanwhile.
    pub async fn install(
        &self,
        connection: &mut MultiplexedConnection,
        past: &PastHistory,
    ) -> RedisResult<Found> {
        let secret = self.secrets.install(connection).await?;
        let mut found = Found::default();
        // What was published past the history was so by then.
        let mut past_until = None;
        for _ in 0..TRIES {
            let (text, now) = look(connection).await?;
            found.now = now;
            let past_until = *past_until.get_or_insert(now);
            let (fleet, new) = self.to_load(text.as_deref(), now, past, past_until);
            found.fleet = fleet;
            let Some(text) = to_load_signing(&secret, text.as_deref(), new) else { break };
            found.is_new = true;
            let mut load = ::redis::cmd("FUNCTION");
            load.arg("LOAD").arg("REPLACE").arg(text);
            let () = load.query_async(connection).await?;
            // And look again: another fleet's node may have done the same at the same time.
        }
        Ok(found)
    }

    /// This fleet as it is to be there; and the library's text, where the one that is there will not do.
    fn to_load(
        &self,
        found: Option<&str>,
        now: u64,
        past: &PastHistory,
        past_until: u64,
    ) -> (Option<Fleet>, Option<String>) {
        let (version, mut fleets) = found.and_then(parse).unwrap_or_default();
        let theirs = fleets.remove(&self.prefix);
        if version > VERSION {
            return (theirs, None);
        }
        let mut known = self.known();
        let mut ours = match theirs.as_ref().or(known.as_ref()) {
            Some(theirs) => self.fleet.after(theirs, now),
            None => Fleet { kept_since: vec![now; self.fleet.rules.len()], ..self.fleet.clone() },
        };
        ours.interrupt(past, past_until);
        *known = Some(ours.clone());
        if theirs.as_ref() == Some(&ours) && version == VERSION {
            return (Some(ours), None);
        }
        fleets.insert(self.prefix.clone(), ours.clone());
        (Some(ours), Some(write(&fleets)))
    }

    fn known(&self) -> MutexGuard<'_, Option<Fleet>> {
        self.known.lock().expect("no code panics while it holds the lock")
    }
}

/// The library's text with the server's secret, where the one that is there will not do. `new`: the text that is
/// to be loaded, where it has other rules.
fn to_load_signing(secret: &Secret, found: Option<&str>, new: Option<String>) -> Option<String> {
    let is_current = |text: &&str| parse(text).is_some_and(|(version, _)| version == VERSION);
    let text = new.or_else(|| found.filter(is_current).map(str::to_owned))?;
    let text = signing_with(secret, &text);
    (Some(&*text) != found).then_some(text)
}

/// The library's text, and the server's clock in milliseconds.
async fn look(connection: &mut MultiplexedConnection) -> RedisResult<(Option<String>, u64)> {
    let mut ask = ::redis::pipe();
    ask.cmd("FUNCTION").arg("LIST").arg("LIBRARYNAME").arg(NAME).arg("WITHCODE").cmd("TIME");
    let (found, (seconds, micros)): (Value, (u64, u64)) = ask.query_async(connection).await?;
    Ok((library_code(&found), seconds.saturating_mul(1000).saturating_add(micros / 1000)))
}

/// This machine's name, for operators who look for it.
fn host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.chars().take(HOST_CHARACTERS_MAX).collect()
}

const HOST_CHARACTERS_MAX: usize = 64;

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
        let of = |it: &Self| (it.publish.clone(), it.window, it.rules.clone(), it.database);
        of(self) == of(other)
    }

    /// The rules, whether they hold already or not.
    pub fn rules(&self) -> RuleList {
        RuleList::new(&self.rules, &self.kept_since)
    }

    /// The rules that hold until those of [`Fleet::rules`] do, and for how long, in milliseconds. None:
    /// those do.
    pub fn rules_before(&self, now: u64) -> Option<(RuleList, u64)> {
        let before = self.before.as_ref()?;
        let left = self.from.saturating_sub(now);
        let rules = || RuleList::new(&before.rules, &before.kept_since);
        // The server of another clock may have said it.
        (1..=SETTLE_MILLIS_MAX).contains(&left).then(|| (rules(), left))
    }

    /// The node that brought them, and its host.
    pub fn installed_by(&self) -> &str {
        &self.installed_by
    }

    /// What is to be installed where `theirs` is.
    fn after(&self, theirs: &Self, now: u64) -> Self {
        if theirs.since >= self.since || theirs.says_the_same(self) {
            return theirs.clone();
        }
        let before = match theirs.before.as_ref().filter(|_| theirs.rules_before(now).is_some()) {
            Some(before) => before.clone(),
            None => Kept { rules: theirs.rules.clone(), kept_since: theirs.kept_since.clone() },
        };
        let from = now.saturating_add(SETTLE_MILLIS);
        let kept_since = kept_since(&before, &self.rules, from);
        Self { kept_since, from, before: Some(before), ..self.clone() }
    }

    /// History was interrupted until then for some channels, as far as rules that hold keep it.
    fn interrupt(&mut self, past: &PastHistory, until: u64) {
        if past.is_empty() || self.rules_before(until).is_some() {
            return;
        }
        let rules = self.rules();
        self.kept_since.resize(self.rules.len(), 0);
        for (at, kept_since) in self.kept_since.iter_mut().enumerate() {
            if *kept_since < until && past.concerns(&rules, at) {
                *kept_since = until;
            }
        }
    }
}

impl Kept {
    /// Since when the rule at this place has kept history.
    pub fn kept_since(&self, at: usize) -> u64 {
        self.kept_since.get(at).copied().unwrap_or(0)
    }
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
mod tests;
