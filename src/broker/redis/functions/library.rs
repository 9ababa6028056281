//! The library of Redis Functions that the nodes install, with the rules of all fleets in it.
//!
//! A fleet is all nodes with the same `broker.prefix`. Function names belong to a whole Redis
//! server, so fleets that share a server share the library too: a node adds its own rules to those
//! it finds there.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use ::redis::aio::MultiplexedConnection;
use ::redis::{RedisResult, Value};

use super::code::{self, NAME, VERSION, library_code, parse, to_load_signing};
use super::fleet::{LibraryFleet, lua_leases, lua_patterns, lua_rules, lua_streams, millis};
use crate::broker::config::Config;
use crate::broker::redis::rules::bypassed_history::BypassedHistory;
use crate::broker::redis::rules::rule_list::RuleList;
use crate::broker::redis::secret::Secrets;
use crate::broker::survey::RulesFound;
use crate::publication::NodeId;
use crate::rules::Rules;

/// How often a node tries to install its rules beside those of other fleets.
const TRIES: usize = 4;

/// This node's part of the library.
#[derive(Clone, Debug)]
pub struct Library {
    prefix: String,
    /// As this node's configuration has it.
    fleet: LibraryFleet,
    /// The fleet as last found or installed. A server without the library, such as one that has
    /// just joined a cluster, may hold histories from a server that had it.
    last_known: Arc<Mutex<Option<LibraryFleet>>>,
    /// The functions sign with the secret of their server.
    pub secrets: Arc<Secrets>,
}

/// What a server has of this node's fleet.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// `None`: no node has installed its rules there.
    pub fleet: Option<LibraryFleet>,
    /// The server's clock when the library was read, in milliseconds.
    pub now: u64,
    /// The same when it was first read, if it was read again to install something.
    pub started_at: u64,
    /// The library was loaded now, so other nodes have to read it again.
    pub is_new: bool,
}

impl Library {
    /// `publish`: the command that publishes. `node`: the node that installs the rules.
    pub fn new(config: &Config, publish: &str, database: i64, node: NodeId) -> Self {
        let fleet = LibraryFleet {
            publish: publish.to_owned(),
            window: millis(config.idempotency_window),
            rules: lua_rules(&config.rules.current()),
            leases: lua_leases(&config.rules.current()),
            streams: lua_streams(&config.rules.current()),
            patterns: lua_patterns(&config.rules.current(), publish),
            since: now(),
            database,
            installed_by: format!("{node} on {}", host()),
            ..LibraryFleet::default()
        };
        let secrets = Arc::new(Secrets::new(config.secret.clone()));
        Self { prefix: config.prefix.clone(), fleet, last_known: Arc::default(), secrets }
    }

    /// The same library with the current rules.
    pub fn with_rules(&self, rules: &Rules) -> Self {
        let mut fleet = LibraryFleet {
            rules: lua_rules(&rules.current()),
            leases: lua_leases(&rules.current()),
            streams: lua_streams(&rules.current()),
            patterns: lua_patterns(&rules.current(), &self.fleet.publish),
            ..self.fleet.clone()
        };
        // Equal rules get no newer time when they are read again, so those of a later node still
        // count. Changed rules are newer than all that this node knows, whatever the nodes' clocks
        // are.
        if !fleet.has_same_rules(&self.fleet) {
            let known = self.last_known().as_ref().map_or(0, |known| known.since);
            fleet.since = now().max(known.saturating_add(1));
        }
        Self { fleet, ..self.clone() }
    }

    /// The rules of this node's configuration.
    pub fn rules(&self) -> RuleList {
        self.fleet.rules()
    }

    /// Distinguishes this node's rules from other nodes', as [`LibraryFleet::hash`].
    pub fn hash(&self) -> u64 {
        self.fleet.hash()
    }

    /// Whether the fleet has the rules of this node's configuration.
    pub fn is_as_configured(&self, fleet: &LibraryFleet) -> bool {
        fleet.has_same_rules(&self.fleet)
    }

    /// Reads the installed library, and changes nothing.
    pub async fn read(&self, connection: &mut MultiplexedConnection) -> RedisResult<Found> {
        let (text, now) = read_library(connection).await?;
        let fleet = text.as_deref().and_then(|text| self.find(text));
        Ok(Found { fleet, now, started_at: now, is_new: false })
    }

    /// This fleet in the text of a library.
    fn find(&self, text: &str) -> Option<LibraryFleet> {
        parse(text).and_then(|(_, mut fleets)| fleets.remove(&self.prefix))
    }

    /// Whose rules the reply to `FUNCTION LIST … WITHCODE` has.
    pub fn found_in(&self, answer: &Value) -> RulesFound {
        match library_code(answer).as_deref().and_then(|text| self.find(text)) {
            None => RulesFound::None,
            Some(fleet) if self.is_as_configured(&fleet) => RulesFound::Same,
            Some(LibraryFleet { installed_by, database, .. }) => {
                RulesFound::Others { installed_by, database }
            }
        }
    }

    /// Installs the functions where they are missing or older, and returns the fleet's rules that
    /// are installed then. `past`: the channels on which this node's publications bypassed the
    /// history meanwhile.
    pub async fn install(
        &self,
        connection: &mut MultiplexedConnection,
        bypassed: &BypassedHistory,
    ) -> RedisResult<Found> {
        let secret = self.secrets.install(connection).await?;
        let mut found = Found::default();
        // Publications had bypassed the history until this moment at the latest.
        let mut bypassed_until = None;
        for _ in 0..TRIES {
            let (text, now) = read_library(connection).await?;
            found.now = now;
            let bypassed_until = *bypassed_until.get_or_insert(now);
            found.started_at = bypassed_until;
            let (fleet, new) = self.to_load(text.as_deref(), now, bypassed, bypassed_until);
            found.fleet = fleet;
            let Some(text) = to_load_signing(&secret, text.as_deref(), new) else { break };
            found.is_new = true;
            let mut load = ::redis::cmd("FUNCTION");
            load.arg("LOAD").arg("REPLACE").arg(text);
            let () = load.query_async(connection).await?;
            // Reads again, because a node of another fleet may have loaded the library at the same
            // time.
        }
        Ok(found)
    }

    /// This fleet as it has to be installed, and the library's text if the installed one has to be
    /// replaced.
    fn to_load(
        &self,
        found: Option<&str>,
        now: u64,
        bypassed: &BypassedHistory,
        bypassed_until: u64,
    ) -> (Option<LibraryFleet>, Option<String>) {
        let (version, mut fleets) = found.and_then(parse).unwrap_or_default();
        let theirs = fleets.remove(&self.prefix);
        if version > VERSION {
            return (theirs, None);
        }
        let mut known = self.last_known();
        let mut ours = match theirs.as_ref().or(known.as_ref()) {
            Some(theirs) => self.fleet.replacing(theirs, now),
            None => {
                LibraryFleet { kept_since: vec![now; self.fleet.rules.len()], ..self.fleet.clone() }
            }
        };
        ours.interrupt(bypassed, bypassed_until);
        *known = Some(ours.clone());
        if theirs.as_ref() == Some(&ours) && version == VERSION {
            return (Some(ours), None);
        }
        fleets.insert(self.prefix.clone(), ours.clone());
        (Some(ours), Some(code::write(&fleets)))
    }

    fn last_known(&self) -> MutexGuard<'_, Option<LibraryFleet>> {
        self.last_known.lock().expect("no code panics while it holds the lock")
    }
}

/// The library's text, and the server's clock in milliseconds.
async fn read_library(
    connection: &mut MultiplexedConnection,
) -> RedisResult<(Option<String>, u64)> {
    let mut commands = ::redis::pipe();
    commands.cmd("FUNCTION").arg("LIST").arg("LIBRARYNAME").arg(NAME).arg("WITHCODE").cmd("TIME");
    let (found, (seconds, micros)): (Value, (u64, u64)) = commands.query_async(connection).await?;
    Ok((library_code(&found), seconds.saturating_mul(1000).saturating_add(micros / 1000)))
}

/// This host's name, for operators.
fn host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.chars().take(HOST_CHARACTERS_MAX).collect()
}

const HOST_CHARACTERS_MAX: usize = 64;

/// Unix milliseconds.
fn now() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

#[cfg(test)]
mod tests;
