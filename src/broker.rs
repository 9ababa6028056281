//! What carries publications between nodes. The hub is handed everything through one sink, in the
//! order the broker has it; nothing goes past the broker to local subscribers.

mod memory;
mod queue;
mod redis;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

pub use self::redis::Url;
use crate::publication::{Channel, NodeId, Publication};
use crate::settings::Settings;

/// The `[broker]` section.
#[derive(Clone, Debug)]
pub struct Config {
    pub url: Url,
    pub prefix: String,
    pub publish_timeout: Duration,
}

impl Config {
    pub fn read(settings: &mut Settings) -> Self {
        let mut section = settings.section("broker");
        let url = section.parsed(
            "url",
            Some("memory:"),
            "memory:, or redis://[[user]:password@]host[:port][/db]",
            Url::parse,
            Url::masked,
            "What carries publications between nodes. `memory:` is one node by itself.",
        );
        let prefix = section.parsed(
            "prefix",
            Some("tidegate:"),
            "at most 64 bytes without white space",
            |text| {
                (text.len() <= 64 && !text.contains(char::is_whitespace)).then(|| text.to_owned())
            },
            String::clone,
            "Channel `news` is the Redis channel `<prefix>news`.",
        );
        Self {
            url: url.unwrap_or(Url::Memory),
            prefix: prefix.unwrap_or_default(),
            publish_timeout: section.duration(
                "publish_timeout",
                "2s",
                Duration::from_millis(50)..=Duration::from_secs(60),
                "A publication the broker has not taken after so long is answered `unavailable`. It \
                 may still arrive: the answer can be what was lost.",
            ),
        }
    }
}

/// What the broker hands to the hub. Whoever takes it must not block.
#[derive(Debug)]
pub enum Event<'a> {
    Publication {
        channel: &'a str,
        publication: Publication,
        /// Does more follow at once? Then it is not worth a write of its own yet.
        more: bool,
    },
    /// Publications of the channel may have been missed; it is subscribed again now.
    Gap { channel: &'a Channel, reason: &'static str },
}

/// Takes the broker's events, one at a time for each channel.
pub type Sink = Arc<dyn Fn(Event<'_>) + Send + Sync>;

/// The broker could not do it now; the text says why, in words for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub &'static str);

/// Carries publications between nodes.
pub trait Broker: Send + Sync {
    /// Hands over a publication. Publications of one channel keep the order they are handed over in.
    fn publish(&self, channel: Channel, publication: Publication) -> Receipt;

    /// May sessions take more from their clients?
    fn has_room(&self) -> bool;

    /// Resolves once there is room. Cancel safe.
    fn room(&self) -> BoxFuture<'_, ()>;

    /// Wants the channel's publications. Asking again is harmless; the receipt comes once they flow.
    fn subscribe(&self, channel: &Channel) -> Receipt;

    /// No longer wants them. Takes effect a little later, in case somebody returns.
    fn unsubscribe(&self, channel: &Channel);

    /// Can it be used? If not, why.
    fn ready(&self) -> Result<(), String>;

    /// How many nodes subscribe to each of the channels.
    fn nodes(&self, channels: Vec<Channel>) -> BoxFuture<'_, Result<Vec<u64>, Unavailable>>;
}

/// Starts the broker of the configuration; its tasks run on the current runtime.
pub fn connect(config: &Config, node: NodeId, sink: Sink) -> Arc<dyn Broker> {
    match &config.url {
        Url::Memory => Arc::new(memory::Memory::start(config.publish_timeout, sink)),
        Url::Redis(server) => Arc::new(redis::Redis::start(config, server, node, sink)),
    }
}

/// Resolves when the broker has done what it was asked, or has not in time.
#[derive(Debug)]
pub struct Receipt(Answer);

#[derive(Debug)]
enum Answer {
    Now(Result<(), Unavailable>),
    Later(oneshot::Receiver<Result<(), Unavailable>>),
}

impl Receipt {
    fn now(answer: Result<(), Unavailable>) -> Self {
        Self(Answer::Now(answer))
    }

    fn later() -> (oneshot::Sender<Result<(), Unavailable>>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(Answer::Later(receiver)))
    }
}

impl Future for Receipt {
    type Output = Result<(), Unavailable>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Answer::Now(answer) => Poll::Ready(*answer),
            Answer::Later(receiver) => Pin::new(receiver)
                .poll(cx)
                .map(|answer| answer.unwrap_or(Err(Unavailable("the node is stopping")))),
        }
    }
}
