//! A connection to Redis that is only listened to: it greets, asks for channels, and hands on what
//! Redis says, read by read.

use std::time::Duration;

use ::redis::RedisConnectionInfo;
use tokio::time::timeout;

use crate::broker::redis::connection::resp::{self, InvalidResp, RespMessage};
use crate::broker::redis::connection::server::RedisServer;
use crate::broker::redis::connection::socket::{self, RedisSocket, SocketReader, SocketWriter};

/// How long each of connecting, TLS, and the greeting may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes that are read at a time: a burst, after which what was delivered is written.
const READ_BYTES: usize = 64 << 10;

/// Why a connection is given up.
#[derive(Debug, thiserror::Error)]
pub enum FeedLost {
    #[error("redis closed the connection")]
    Closed,
    #[error("redis is connected but silent")]
    Silent,
    #[error("redis refused the greeting: {0}")]
    Refused(String),
    #[error("it is a replica")]
    Replica,
    #[error("redis is not ready: {0}")]
    Unready(String),
    #[error(transparent)]
    Malformed(#[from] InvalidResp),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// The reading half.
pub struct Feed {
    stream: SocketReader,
    /// Read and not yet understood: the beginning of one message at most, after [`Feed::read`].
    carry: Vec<u8>,
    /// Bytes still to come of a message that is thrown away.
    skip: usize,
}

/// The writing half. Commands wait in it until Redis takes them.
pub struct Asking {
    stream: SocketWriter,
    out: Vec<u8>,
    written: usize,
}

/// Connects, and greets with `HELLO 3`.
pub async fn open(server: &RedisServer) -> Result<(Feed, Asking), FeedLost> {
    let socket = socket::open(server, OPEN_TIMEOUT).await?;
    timeout(OPEN_TIMEOUT, greet(server, socket)).await.unwrap_or(Err(FeedLost::Silent))
}

/// Asks for one thing and waits for the answer: text, or an error as the server wrote it. For a
/// connection that is subscribed to nothing yet.
pub async fn ask(
    feed: &mut Feed,
    asking: &mut Asking,
    words: &[&str],
) -> Result<Result<Vec<u8>, Vec<u8>>, FeedLost> {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    resp::write_command(&mut asking.out, words.into_iter());
    let answering = async {
        asking.write().await?;
        let mut answer = None;
        while answer.is_none() {
            feed.read(|said, _| {
                answer = Some(match said {
                    RespMessage::Echoed(text) => Ok(text.to_vec()),
                    RespMessage::Error(error) => Err(error.to_vec()),
                    _ => Ok(Vec::new()),
                });
            })
            .await?;
        }
        Ok(answer.unwrap_or(Ok(Vec::new())))
    };
    match timeout(OPEN_TIMEOUT, answering).await {
        Ok(answered) => answered,
        Err(_) => Err(FeedLost::Silent),
    }
}

async fn greet(server: &RedisServer, socket: RedisSocket) -> Result<(Feed, Asking), FeedLost> {
    let (read, write) = socket.split();
    let mut feed = Feed { stream: read, carry: Vec::new(), skip: 0 };
    let mut asking = Asking { stream: write, out: Vec::new(), written: 0 };
    asking.greet(&server.login);
    asking.write().await?;
    let mut answer = None;
    while answer.is_none() {
        feed.read(|said, _| {
            answer = Some(match said {
                RespMessage::Error(error) => {
                    Err(FeedLost::Refused(String::from_utf8_lossy(error).into_owned()))
                }
                RespMessage::Greeted { replica: true } => Err(FeedLost::Replica),
                _ => Ok(()),
            });
        })
        .await?;
    }
    answer.unwrap_or(Ok(())).map(|()| (feed, asking))
}

impl Feed {
    /// Reads once and hands all that was said whole to `take`, which is also told whether more was
    /// read behind it. Cancel safe: nothing is taken before it is handed on.
    pub async fn read(
        &mut self,
        mut take: impl FnMut(RespMessage<'_>, bool),
    ) -> Result<(), FeedLost> {
        self.carry.reserve(READ_BYTES);
        if self.stream.read(&mut self.carry).await? == 0 {
            return Err(FeedLost::Closed);
        }
        let mut at = self.skipped();
        while at < self.carry.len()
            && let Some((said, taken)) = resp::next(&self.carry[at..])?
        {
            if let RespMessage::TooLarge { rest, .. } = said {
                self.skip = rest;
            }
            at += taken;
            take(said, at < self.carry.len());
            if self.skip > 0 {
                let some = self.skip.min(self.carry.len() - at);
                self.skip -= some;
                at += some;
            }
        }
        self.carry.drain(..at);
        if self.carry.is_empty() && self.carry.capacity() > 2 * READ_BYTES {
            self.carry = Vec::new();
        }
        Ok(())
    }

    /// How much of what was read belongs to a message that is thrown away.
    fn skipped(&mut self) -> usize {
        let some = self.skip.min(self.carry.len());
        self.skip -= some;
        some
    }
}

impl Asking {
    fn greet(&mut self, settings: &RedisConnectionInfo) {
        let mut words: Vec<&[u8]> = vec![b"HELLO", b"3"];
        if let Some(password) = settings.password() {
            let user = settings.username().unwrap_or("default");
            words.extend([b"AUTH", user.as_bytes(), password.as_bytes()]);
        }
        words.extend([&b"SETNAME"[..], b"tidegate-subscriber"]);
        resp::write_command(&mut self.out, words.into_iter());
    }

    /// Asks for channels, or to leave them. They are not sent before [`Asking::write`].
    pub fn ask(&mut self, command: &str, channels: &[String]) {
        let words = [command].into_iter().chain(channels.iter().map(String::as_str));
        let words: Vec<&[u8]> = words.map(str::as_bytes).collect();
        resp::write_command(&mut self.out, words.into_iter());
    }

    /// Asks for a [`RespMessage::Echoed`], which tells that all that was asked before has been answered.
    pub fn ask_echo(&mut self, text: &str) {
        resp::write_command(&mut self.out, [&b"PING"[..], text.as_bytes()].into_iter());
    }

    /// Is there anything to send, or to flush?
    pub fn is_waiting(&self) -> bool {
        !self.out.is_empty()
    }

    /// Sends what waits. Cancel safe.
    pub async fn write(&mut self) -> Result<(), FeedLost> {
        while self.written < self.out.len() {
            self.written += self.stream.write(&self.out[self.written..]).await?;
        }
        self.stream.flush().await?;
        self.out = Vec::new();
        self.written = 0;
        Ok(())
    }
}
