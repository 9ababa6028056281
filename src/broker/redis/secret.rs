//! The secret in the header lines of nodes and functions. It lets nodes tell their lines from text
//! that another client wrote and a service relayed.
//!
//! Each Redis server has one secret, in a function library of its own. `FUNCTION LOAD` without
//! `REPLACE` accepts it from the first node only, so all nodes agree, and it never changes while
//! the server lives. A node that has seen a secret offers it to a server that has none, such as
//! after a failover that lost it.

use std::fmt;
use std::sync::Mutex;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Cmd, RedisError, RedisResult};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::broker::redis::connection::cause::Cause;
use crate::live::Live;

/// Maximum number of trusted secrets. Servers differ only where nodes started at the same time with
/// servers that had none, so a fleet has few secrets. Beyond the maximum the first ones seen are
/// forgotten.
const SECRETS_MAX: usize = 64;

/// 128 random bits.
const RANDOM_BYTES: usize = 16;

/// Length of a random secret's text (URL-safe base64 without padding), and maximum length of a
/// configured one.
const TEXT_BYTES: usize = 22;
const TEXT_BYTES_MAX: usize = 64;

/// The library that holds the secret, and the function that returns it.
const NAME: &str = "tidegate_secret";

/// The secret's text, which needs no escaping in JSON and Lua.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    fn random() -> Self {
        Self(BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; RANDOM_BYTES]>()))
    }

    /// What an operator may configure, for servers whose secret may not be read.
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
    fn equals(&self, text: &str) -> bool {
        let differing = self.0.bytes().zip(text.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
        self.0.len() == text.len() && differing == 0
    }
}

/// Keeps the secret out of logs.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The secrets of all servers that this node has asked.
#[derive(Debug)]
pub struct Secrets {
    /// In the order they were seen, the latest last.
    known: Live<Vec<Secret>>,
    /// Locked while the secrets change.
    learning: Mutex<()>,
    /// Offered while no secret is known.
    own: Secret,
    /// The fleet's configured secret, valid whatever the servers return.
    configured: Option<Secret>,
}

impl Secrets {
    pub fn new(configured: Option<Secret>) -> Self {
        let own = Secret::random();
        Self { known: Live::default(), learning: Mutex::default(), own, configured }
    }

    /// Whether the text is a secret of the fleet's nodes or of one of its servers.
    pub fn is_known(&self, text: &str) -> bool {
        let matches = |secret: &Secret| secret.equals(text);
        self.known.get().iter().any(matches) || self.configured.as_ref().is_some_and(matches)
    }

    /// The secret that nodes sign with where the server's is not known.
    pub fn configured(&self) -> Option<&Secret> {
        self.configured.as_ref()
    }

    /// Records the reply to [`get_command`]. `None`: it is no secret.
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

    /// The secret for a server that has none.
    fn offer(&self) -> Secret {
        self.known.get().last().unwrap_or(&self.own).clone()
    }

    /// The server's secret. A server without one takes this node's offer, or that of another node
    /// that was faster.
    pub async fn install(&self, connection: &mut MultiplexedConnection) -> RedisResult<Secret> {
        let mut answer: RedisResult<Vec<u8>> = get_command().query_async(connection).await;
        if answer.as_ref().is_err_and(is_function_missing) {
            let offer = load(&self.offer());
            // Redis refuses the library where it has one by now. Any other error repeats below.
            let _: RedisResult<String> = offer.query_async(connection).await;
            answer = get_command().query_async(connection).await;
        }
        self.learn(&answer?).ok_or_else(|| {
            let what = "the function tidegate_secret is not one that a node wrote";
            std::io::Error::other(what).into()
        })
    }
}

/// The command that reads a server's secret.
pub fn get_command() -> Cmd {
    let mut command = ::redis::cmd("FCALL");
    command.arg(NAME).arg(0);
    command
}

/// The same command as words.
pub const GET_WORDS: [&str; 3] = ["FCALL", NAME, "0"];

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

/// Whether the server has no such function.
fn is_function_missing(error: &RedisError) -> bool {
    Cause::of_error(error) == Some(Cause::NoFunction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_secrets_that_a_server_returned_or_the_operator_configured_are_known() {
        let secrets = Secrets::new(None);
        let offer = secrets.offer();
        assert!(!secrets.is_known(offer.as_str()), "no server has it yet");
        assert_eq!(secrets.learn(offer.as_str().as_bytes()), Some(offer.clone()));
        assert!(secrets.is_known(offer.as_str()));
        let longer = format!("{}A", offer.as_str());
        for other in ["", &offer.as_str()[..21], &longer, Secret::random().as_str()] {
            assert!(!secrets.is_known(other), "{other}");
        }
        let configured = Secret::parse("an-operators-own-secret");
        let configured = Secrets::new(configured);
        assert!(configured.is_known("an-operators-own-secret") && !configured.is_known("another"));
        for answer in [&b""[..], b"short", b"0123456789012345678901'", b"012345678901234567890\""] {
            assert_eq!(secrets.learn(answer), None);
        }
    }

    #[test]
    fn the_latest_secret_is_offered_and_the_oldest_beyond_the_maximum_is_forgotten() {
        let secrets = Secrets::new(None);
        let all: Vec<_> = (0..=SECRETS_MAX).map(|_| Secret::random()).collect();
        all.iter().for_each(|it| _ = secrets.learn(it.as_str().as_bytes()));
        assert_eq!(secrets.offer(), all[SECRETS_MAX]);
        assert!(!secrets.is_known(all[0].as_str()));
        assert!(all[1..].iter().all(|it| secrets.is_known(it.as_str())));
        // A secret that is seen again becomes the latest.
        secrets.learn(all[1].as_str().as_bytes());
        assert_eq!(secrets.offer(), all[1]);
    }

    #[test]
    fn the_debug_output_of_secrets_shows_none_of_them() {
        let secrets = Secrets::new(None);
        let secret = secrets.offer();
        secrets.learn(secret.as_str().as_bytes());
        let text = format!("{secrets:?} {secret:?}");
        assert!(!text.contains(secret.as_str()), "{text}");
    }
}
