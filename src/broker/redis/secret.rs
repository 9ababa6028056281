//! The secret in the header lines of nodes and functions, by which nodes tell their lines from text that
//! somebody else wrote and a service relayed.
//!
//! Each Redis server has one, in a library of functions of its own: `FUNCTION LOAD` without `REPLACE`
//! takes it from the first node only, so all nodes agree, and it never changes while the server lives. A
//! node that has seen one offers it to a server that has none, as after a failover that lost it.

use std::fmt;
use std::sync::Mutex;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Cmd, RedisError, RedisResult};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::broker::redis::connection::cause::Cause;
use crate::live::Live;

/// Most secrets that are believed. Servers have different ones only where nodes began at the same time
/// with servers that had none, so a fleet has a few; of more, the ones seen first are forgotten.
const SECRETS_MAX: usize = 64;

/// 128 random bits.
const RANDOM_BYTES: usize = 16;

/// Length of their text, URL-safe base64 without padding; and of the longest that is configured.
const TEXT_BYTES: usize = 22;
const TEXT_BYTES_MAX: usize = 64;

/// The library that holds it, and the function that tells it.
const NAME: &str = "tidegate_secret";

/// As text, which needs no escaping in JSON and Lua.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    fn random() -> Self {
        Self(BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; RANDOM_BYTES]>()))
    }

    /// What an operator may configure, for servers that may not be asked for one.
    pub const ALLOWED: &str = "22 to 64 characters of A-Z, a-z, 0-9, - and _";

    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let fits = (TEXT_BYTES..=TEXT_BYTES_MAX).contains(&text.len());
        (fits && text.bytes().all(is_digit)).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes the same time wherever the texts differ.
    fn is(&self, text: &str) -> bool {
        let differing = self.0.bytes().zip(text.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
        self.0.len() == text.len() && differing == 0
    }
}

/// It must not get into a log.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The secrets of all servers that this node has asked.
#[derive(Debug)]
pub struct Secrets {
    /// The one seen last is the last.
    known: Live<Vec<Secret>>,
    /// Held by who changes them.
    learning: Mutex<()>,
    /// Offered while none is known.
    own: Secret,
    /// That of the fleet's nodes, whatever servers say.
    configured: Option<Secret>,
}

impl Secrets {
    pub fn new(configured: Option<Secret>) -> Self {
        let own = Secret::random();
        Self { known: Live::default(), learning: Mutex::default(), own, configured }
    }

    /// Is it one of the fleet's nodes, or of one of its servers?
    pub fn knows(&self, text: &str) -> bool {
        let is_it = |secret: &Secret| secret.is(text);
        self.known.get().iter().any(is_it) || self.configured.as_ref().is_some_and(is_it)
    }

    /// What nodes sign with where the server's secret is not known.
    pub fn configured(&self) -> Option<&Secret> {
        self.configured.as_ref()
    }

    /// Notes the answer to [`question`]. None: it is no secret.
    pub fn learn(&self, answer: &[u8]) -> Option<Secret> {
        let secret = Secret::parse(std::str::from_utf8(answer).ok()?)?;
        if self.known.get().last() != Some(&secret) {
            let _learning = self.learning.lock().expect("no code panics while it holds the lock");
            let known = self.known.current();
            let mut known: Vec<_> = known.iter().filter(|it| **it != secret).cloned().collect();
            known.push(secret.clone());
            known.drain(..known.len().saturating_sub(SECRETS_MAX));
            self.known.replace(known);
        }
        Some(secret)
    }

    /// What the server's secret is to be where it has none.
    fn offer(&self) -> Secret {
        self.known.get().last().unwrap_or(&self.own).clone()
    }

    /// The server's secret; where it has none yet, this node's offer is it, or that of another node which
    /// was quicker.
    pub async fn install(&self, connection: &mut MultiplexedConnection) -> RedisResult<Secret> {
        let mut answer: RedisResult<Vec<u8>> = question().query_async(connection).await;
        if answer.as_ref().is_err_and(is_missing) {
            let offer = load(&self.offer());
            // Redis refuses it where there is one by now. Whatever else it says, it says again below.
            let _: RedisResult<String> = offer.query_async(connection).await;
            answer = question().query_async(connection).await;
        }
        self.learn(&answer?).ok_or_else(|| {
            let what = "the function tidegate_secret is not one that a node wrote";
            std::io::Error::other(what).into()
        })
    }
}

/// Asks a server for its secret.
pub fn question() -> Cmd {
    let mut command = ::redis::cmd("FCALL");
    command.arg(NAME).arg(0);
    command
}

/// The same, as words.
pub const QUESTION: [&str; 3] = ["FCALL", NAME, "0"];

fn load(secret: &Secret) -> Cmd {
    let mut command = ::redis::cmd("FUNCTION");
    command.arg("LOAD").arg(format!(
        "#!lua name={NAME}\n\
         -- What header lines of Tidegate's nodes and functions are known by. The first node loads it, and\n\
         -- none replaces it.\n\
         redis.register_function{{function_name = '{NAME}', flags = {{'no-writes'}},\n  \
         callback = function() return '{}' end}}",
        secret.as_str()
    ));
    command
}

/// Does the server know no such function?
fn is_missing(error: &RedisError) -> bool {
    Cause::of_error(error) == Some(Cause::NoFunction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_once_a_server_has_told_it_and_nothing_else_is() {
        let secrets = Secrets::new(None);
        let offer = secrets.offer();
        assert!(!secrets.knows(offer.as_str()), "no server has it yet");
        assert_eq!(secrets.learn(offer.as_str().as_bytes()), Some(offer.clone()));
        assert!(secrets.knows(offer.as_str()));
        let longer = format!("{}A", offer.as_str());
        for other in ["", &offer.as_str()[..21], &longer, Secret::random().as_str()] {
            assert!(!secrets.knows(other), "{other}");
        }
        let configured = Secret::parse("an-operators-own-secret");
        let configured = Secrets::new(configured);
        assert!(configured.knows("an-operators-own-secret") && !configured.knows("another"));
        for answer in [&b""[..], b"short", b"0123456789012345678901'", b"012345678901234567890\""] {
            assert_eq!(secrets.learn(answer), None);
        }
    }

    #[test]
    fn the_one_seen_last_is_offered_and_the_first_of_too_many_is_forgotten() {
        let secrets = Secrets::new(None);
        let all: Vec<_> = (0..=SECRETS_MAX).map(|_| Secret::random()).collect();
        all.iter().for_each(|it| _ = secrets.learn(it.as_str().as_bytes()));
        assert_eq!(secrets.offer(), all[SECRETS_MAX]);
        assert!(!secrets.knows(all[0].as_str()));
        assert!(all[1..].iter().all(|it| secrets.knows(it.as_str())));
        // One that is seen again is the last again.
        secrets.learn(all[1].as_str().as_bytes());
        assert_eq!(secrets.offer(), all[1]);
    }

    #[test]
    fn no_secret_gets_into_a_log() {
        let secrets = Secrets::new(None);
        let secret = secrets.offer();
        secrets.learn(secret.as_str().as_bytes());
        let text = format!("{secrets:?} {secret:?}");
        assert!(!text.contains(secret.as_str()), "{text}");
    }
}
