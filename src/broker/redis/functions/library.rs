//! The library of Redis Functions that the nodes install, with the rules of all fleets in it.
//!
//! A fleet is whoever shares a `broker.prefix`. Function names belong to a whole Redis, so fleets
//! that share one share the library too: a node puts its own rules beside those it finds there.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use ::redis::aio::MultiplexedConnection;
use ::redis::{RedisResult, Value};

use super::code::{self, NAME, VERSION, library_code, parse, to_load_signing};
use super::fleet::{LibraryFleet, millis, rules_of};
use crate::broker::config::Config;
use crate::broker::redis::rules::bypassed_history::BypassedHistory;
use crate::broker::redis::rules::rule_list::RuleList;
use crate::broker::redis::secret::Secrets;
use crate::broker::survey::RulesFound;
use crate::publication::NodeId;
use crate::rules::Rules;

/// How often a node tries to get its rules in beside those of others.
const TRIES: usize = 4;

/// This node's part of the library.
#[derive(Clone, Debug)]
pub struct Library {
    prefix: String,
    /// As this node's configuration has it.
    fleet: LibraryFleet,
    /// The fleet as it was last found or installed: a server without the library, as one that has just
    /// joined a cluster, has the channels' histories from one that had it.
    known: Arc<Mutex<Option<LibraryFleet>>>,
    /// The functions sign with the secret of the server that they run in.
    pub secrets: Arc<Secrets>,
}

/// What a server has of this node's fleet.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// None: no node has installed its rules there.
    pub fleet: Option<LibraryFleet>,
    /// The server's clock when it was read, in milliseconds.
    pub now: u64,
    /// The library was loaded: other nodes are to look at it again.
    pub is_new: bool,
}

impl Library {
    /// `publish`: the command that publishes. `node`: the one that brings the rules.
    pub fn new(config: &Config, publish: &str, database: i64, node: NodeId) -> Self {
        let fleet = LibraryFleet {
            publish: publish.to_owned(),
            window: millis(config.idempotency_window),
            rules: rules_of(&config.rules),
            since: now(),
            database,
            installed_by: format!("{node} on {}", host()),
            ..LibraryFleet::default()
        };
        let secrets = Arc::new(Secrets::new(config.secret.clone()));
        Self { prefix: config.prefix.clone(), fleet, known: Arc::default(), secrets }
    }

    /// The same with the rules as they are now.
    pub fn with_rules(&self, rules: &Rules) -> Self {
        let mut fleet = LibraryFleet { rules: rules_of(rules), ..self.fleet.clone() };
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

    /// Tells this node's rules from those of another, as [`LibraryFleet::hash`] does.
    pub fn hash(&self) -> u64 {
        self.fleet.hash()
    }

    /// Is it what this node's configuration says?
    pub fn is_as_configured(&self, fleet: &LibraryFleet) -> bool {
        fleet.says_the_same(&self.fleet)
    }

    /// Reads what is there, and changes nothing.
    pub async fn read(&self, connection: &mut MultiplexedConnection) -> RedisResult<Found> {
        let (text, now) = look(connection).await?;
        Ok(Found { fleet: text.as_deref().and_then(|text| self.find(text)), now, is_new: false })
    }

    /// This fleet, in the text of a library.
    fn find(&self, text: &str) -> Option<LibraryFleet> {
        parse(text).and_then(|(_, mut fleets)| fleets.remove(&self.prefix))
    }

    /// Whose rules the answer of `FUNCTION LIST … WITHCODE` has.
    pub fn found_in(&self, answer: &Value) -> RulesFound {
        match library_code(answer).as_deref().and_then(|text| self.find(text)) {
            None => RulesFound::None,
            Some(fleet) if self.is_as_configured(&fleet) => RulesFound::Same,
            Some(LibraryFleet { installed_by, database, .. }) => {
                RulesFound::Others { installed_by, database }
            }
        }
    }

    /// Installs the functions where they are missing, or older than these; and answers whose rules are
    /// there then. `past`: what this node has published past the history meanwhile.
    pub async fn install(
        &self,
        connection: &mut MultiplexedConnection,
        past: &BypassedHistory,
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
        past: &BypassedHistory,
        past_until: u64,
    ) -> (Option<LibraryFleet>, Option<String>) {
        let (version, mut fleets) = found.and_then(parse).unwrap_or_default();
        let theirs = fleets.remove(&self.prefix);
        if version > VERSION {
            return (theirs, None);
        }
        let mut known = self.known();
        let mut ours = match theirs.as_ref().or(known.as_ref()) {
            Some(theirs) => self.fleet.after(theirs, now),
            None => {
                LibraryFleet { kept_since: vec![now; self.fleet.rules.len()], ..self.fleet.clone() }
            }
        };
        ours.interrupt(past, past_until);
        *known = Some(ours.clone());
        if theirs.as_ref() == Some(&ours) && version == VERSION {
            return (Some(ours), None);
        }
        fleets.insert(self.prefix.clone(), ours.clone());
        (Some(ours), Some(code::write(&fleets)))
    }

    fn known(&self) -> MutexGuard<'_, Option<LibraryFleet>> {
        self.known.lock().expect("no code panics while it holds the lock")
    }
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

/// Milliseconds since 1970.
fn now() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

#[cfg(test)]
mod tests;
