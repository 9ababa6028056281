//! The subscribed connection to Redis: it sends `HELLO`, subscribes to channels, and passes on what
//! it reads, one socket read at a time.

use std::time::Duration;

use ::redis::RedisConnectionInfo;
use tokio::time::timeout;

use crate::broker::redis::connection::resp::{self, InvalidResp, RespMessage};
use crate::broker::redis::connection::server::RedisServer;
use crate::broker::redis::connection::socket::{self, RedisSocket, SocketReader, SocketWriter};

/// How long each of connecting, the TLS handshake and `HELLO` may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum bytes of one socket read: a burst, after which delivered publications are written to the
/// clients.
const READ_BYTES: usize = 64 << 10;

/// Why a connection is closed.
#[derive(Debug, thiserror::Error)]
pub enum FeedLost {
    #[error("redis closed the connection")]
    Closed,
    #[error("redis did not reply in time")]
    Silent,
    #[error("redis refused HELLO: {0}")]
    Refused(String),
    #[error("the server is a replica")]
    Replica,
    #[error("redis is not ready: {0}")]
    NotReady(String),
    #[error(transparent)]
    Malformed(#[from] InvalidResp),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// The reading half.
pub struct Feed {
    stream: SocketReader,
    /// Bytes that were read and not parsed yet: after [`Feed::read`] at most the beginning of one
    /// message.
    unparsed: Vec<u8>,
    /// Bytes still to come of a message that is discarded.
    skip_bytes: usize,
}

/// The writing half. It buffers commands until the socket takes them.
pub struct CommandWriter {
    stream: SocketWriter,
    out: Vec<u8>,
    written: usize,
}

/// Connects, and sends `HELLO 3`.
pub async fn open(server: &RedisServer) -> Result<(Feed, CommandWriter), FeedLost> {
    let socket = socket::open(server, OPEN_TIMEOUT).await?;
    timeout(OPEN_TIMEOUT, greet(server, socket)).await.unwrap_or(Err(FeedLost::Silent))
}

/// Sends one command and returns its reply: text, or the server's error line. Only for a connection
/// without subscriptions.
pub async fn request(
    feed: &mut Feed,
    writer: &mut CommandWriter,
    words: &[&str],
) -> Result<Result<Vec<u8>, Vec<u8>>, FeedLost> {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    resp::write_command(&mut writer.out, words.into_iter());
    let exchange = async {
        writer.write().await?;
        let mut answer = None;
        while answer.is_none() {
            feed.read(|message, _| {
                answer = Some(match message {
                    RespMessage::Bulk(text) => Ok(text.to_vec()),
                    RespMessage::Error(error) => Err(error.to_vec()),
                    _ => Ok(Vec::new()),
                });
            })
            .await?;
        }
        Ok(answer.unwrap_or(Ok(Vec::new())))
    };
    match timeout(OPEN_TIMEOUT, exchange).await {
        Ok(answered) => answered,
        Err(_) => Err(FeedLost::Silent),
    }
}

async fn greet(
    server: &RedisServer,
    socket: RedisSocket,
) -> Result<(Feed, CommandWriter), FeedLost> {
    let (read, write) = socket.split();
    let mut feed = Feed { stream: read, unparsed: Vec::new(), skip_bytes: 0 };
    let mut writer = CommandWriter { stream: write, out: Vec::new(), written: 0 };
    writer.greet(&server.login);
    writer.write().await?;
    let mut answer = None;
    while answer.is_none() {
        feed.read(|message, _| {
            answer = Some(match message {
                RespMessage::Error(error) => {
                    Err(FeedLost::Refused(String::from_utf8_lossy(error).into_owned()))
                }
                RespMessage::Hello { replica: true } => Err(FeedLost::Replica),
                _ => Ok(()),
            });
        })
        .await?;
    }
    answer.unwrap_or(Ok(())).map(|()| (feed, writer))
}

impl Feed {
    /// Reads the socket once and passes every complete message to `take`, with whether more bytes
    /// follow it. Cancel safe: bytes are removed only after their message was passed on.
    pub async fn read(
        &mut self,
        mut take: impl FnMut(RespMessage<'_>, bool),
    ) -> Result<(), FeedLost> {
        self.unparsed.reserve(READ_BYTES);
        if self.stream.read(&mut self.unparsed).await? == 0 {
            return Err(FeedLost::Closed);
        }
        let mut at = self.skip_read();
        while at < self.unparsed.len()
            && let Some((message, taken)) = resp::next(&self.unparsed[at..])?
        {
            if let RespMessage::TooLarge { rest, .. } = message {
                self.skip_bytes = rest;
            }
            at += taken;
            take(message, at < self.unparsed.len());
            if self.skip_bytes > 0 {
                let some = self.skip_bytes.min(self.unparsed.len() - at);
                self.skip_bytes -= some;
                at += some;
            }
        }
        self.unparsed.drain(..at);
        if self.unparsed.is_empty() && self.unparsed.capacity() > 2 * READ_BYTES {
            self.unparsed = Vec::new();
        }
        Ok(())
    }

    /// The number of read bytes that belong to a discarded message.
    fn skip_read(&mut self) -> usize {
        let some = self.skip_bytes.min(self.unparsed.len());
        self.skip_bytes -= some;
        some
    }
}

impl CommandWriter {
    fn greet(&mut self, settings: &RedisConnectionInfo) {
        let mut words: Vec<&[u8]> = vec![b"HELLO", b"3"];
        if let Some(password) = settings.password() {
            let user = settings.username().unwrap_or("default");
            words.extend([b"AUTH", user.as_bytes(), password.as_bytes()]);
        }
        words.extend([&b"SETNAME"[..], b"tidegate-subscriber"]);
        resp::write_command(&mut self.out, words.into_iter());
    }

    /// Queues a command that subscribes or unsubscribes channels. [`CommandWriter::write`] sends
    /// it.
    pub fn command(&mut self, command: &str, channels: &[String]) {
        let words = [command].into_iter().chain(channels.iter().map(String::as_str));
        let words: Vec<&[u8]> = words.map(str::as_bytes).collect();
        resp::write_command(&mut self.out, words.into_iter());
    }

    /// Queues a `PING`. Its reply, a [`RespMessage::Bulk`], shows that Redis has answered all
    /// earlier commands.
    pub fn ping(&mut self, text: &str) {
        resp::write_command(&mut self.out, [&b"PING"[..], text.as_bytes()].into_iter());
    }

    /// Whether there is anything to send or to flush.
    pub fn has_pending(&self) -> bool {
        !self.out.is_empty()
    }

    /// Sends the queued commands. Cancel safe.
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
