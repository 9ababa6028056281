//! What carries publications between nodes. The hub is handed everything through one sink, in the
//! order the broker has it; nothing goes past the broker to local subscribers.

mod announcement;
mod memory;
mod presence;
mod queue;
mod redis;
mod revocation;
mod survey;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

pub use self::announcement::{Announcement, Announcing, Stage};
pub use self::presence::{
    ATTENDANCES_MAX, Attendance, MEMBERS_MAX, Presences, RENEWALS_MAX, Renewal, Standing,
};
pub use self::redis::{Secret, Url};
/// For the fuzz targets.
#[doc(hidden)]
pub use self::redis::{connection::resp, header};
pub use self::revocation::{Known, REVOCATIONS_MAX, REVOKING_MAX, Revocation, Revoking};
pub use self::survey::{Answers, Forbidden, Master, Need, Reading, RulesFound, Survey};
use crate::publication::{Change, Channel, NodeId, Position, Publication, User};
use crate::rules::Rules;
use crate::settings::{Section, Settings};
use crate::tls::Trust;

/// The `[broker]` section.
#[derive(Clone, Debug)]
pub struct Config {
    pub url: Url,
    pub prefix: String,
    pub publish_timeout: Duration,
    /// How long an idempotency key is remembered.
    pub idempotency_window: Duration,
    /// What nodes' header lines are known by where Redis may not be asked for one.
    pub secret: Option<Secret>,
    /// Which channels keep history.
    pub rules: Rules,
    /// Whose word counts for who Redis is. None: it is spoken to without TLS.
    pub trust: Option<Trust>,
}

/// The prefix of fleets that name none.
const PREFIX: &str = "tidegate:";

impl Config {
    pub fn read(settings: &mut Settings) -> Self {
        let idempotency_window = settings.section("history").duration(
            "idempotency_window",
            "5m",
            Duration::from_secs(1)..=Duration::from_secs(24 * 3600),
            "A publication with the same idempotency key is published once within it. Holds for \
             channels with history.",
        );
        let mut section = settings.section("broker");
        let url = section.explained(
            "url",
            Some("memory:"),
            Url::FORMS,
            Url::parse,
            Url::masked,
            "What carries publications between nodes. `memory:` is one node by itself.",
        );
        let prefix = section.parsed(
            "prefix",
            Some(PREFIX),
            "at most 64 bytes without white space",
            |text| {
                (text.len() <= 64 && !text.contains(char::is_whitespace)).then(|| text.to_owned())
            },
            String::clone,
            "Channel `news` is the Redis channel `<prefix>news`. Each fleet needs its own where several \
             share a server, whatever their databases; with a database other than 0 in `broker.url` it is \
             not the default.",
        );
        let secret = section.parsed(
            "secret",
            None,
            Secret::ALLOWED,
            Secret::parse,
            |_| "***".to_owned(),
            "What the header lines of this fleet's nodes are known by, in place of the secret that nodes keep in \
             Redis. Only for a Redis that has no functions, or a user that may not call and load them; then the \
             same on all nodes.",
        );
        let url = with_sentinel_login(&mut section, url.unwrap_or(Url::Memory));
        if url.database() != 0 && prefix.as_deref() == Some(PREFIX) {
            section.fault(
                "prefix",
                format!(
                    "must be another than {PREFIX:?} where broker.url names a database other than 0, here \
                     {0}: pub/sub and functions belong to the whole server, so fleets that share one need a \
                     prefix each, such as \"tidegate{0}:\"",
                    url.database()
                ),
            );
        }
        let trust = trust(&mut section, &url);
        Self {
            url,
            trust,
            prefix: prefix.unwrap_or_default(),
            publish_timeout: section.duration(
                "publish_timeout",
                "2s",
                Duration::from_millis(50)..=Duration::from_secs(60),
                "A publication the broker has not taken after so long is answered `unavailable`. It \
                 may still arrive: the answer can be what was lost.",
            ),
            idempotency_window,
            secret,
            rules: Rules::default(),
        }
    }

    /// Which channels keep history.
    pub fn with_rules(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }
}

/// The sentinels' own login. One that nobody would ask for is a fault, as its owner has something else in
/// mind than is done.
fn with_sentinel_login(section: &mut Section<'_>, url: Url) -> Url {
    let user = section.parsed(
        "sentinel_user",
        None,
        "the name of a user",
        |text| (!text.is_empty()).then(|| text.to_owned()),
        |_| "***".to_owned(),
        "The user that nodes log in as at the sentinels, with `broker.sentinel_password`. Not set: the \
         sentinels' default user.",
    );
    let password = section.parsed(
        "sentinel_password",
        None,
        "a password",
        |text| (!text.is_empty()).then(|| text.to_owned()),
        |_| "***".to_owned(),
        "The password of the sentinels, where `broker.url` is `redis+sentinel://` or alike. Not set: they \
         are asked without a login, and where they want one with that of `broker.url`.",
    );
    let keys = ["sentinel_user", "sentinel_password"];
    if !url.has_sentinels() {
        for key in keys.into_iter().filter(|key| section.is_given(key)).collect::<Vec<_>>() {
            section.fault(key, "has no use, as broker.url names no sentinels");
        }
    } else if section.is_given(keys[0]) && !section.is_given(keys[1]) {
        section.fault(keys[0], "has no use without broker.sentinel_password");
    }
    match password {
        Some(password) => url.with_sentinel_login(user, password),
        None => url,
    }
}

/// Whom the connections to Redis trust. A certificate authority that would not be asked is a fault: who
/// names one takes it that what is said is encrypted.
fn trust(section: &mut Section<'_>, url: &Url) -> Option<Trust> {
    let ca_file = section.text(
        "ca_file",
        None,
        "the path of a file",
        |text| (!text.is_empty()).then(|| PathBuf::from(text)),
        |path| path.display().to_string(),
        "The certificate authorities that Redis' certificates are checked against, in PEM, where \
         `broker.url` is `rediss://` or alike. Not set: those of the system.",
    );
    match (url, ca_file) {
        (url, ca_file) if url.is_encrypted() => match Trust::read(ca_file.as_deref()) {
            Ok(trust) => return Some(trust),
            Err(error) => section.fault("ca_file", error.to_string()),
        },
        (Url::Redis(_), Some(_)) => section.fault(
            "ca_file",
            "has no use, as broker.url is without TLS; write rediss:// there, or leave this out",
        ),
        _ => {}
    }
    None
}

/// What the broker hands to the hub. Whoever takes it must not block.
#[derive(Debug)]
pub enum Event<'a> {
    /// The channel flows from here on. `interrupted`: it did before, and publications of the
    /// meantime were missed, for this reason.
    Subscribed { channel: &'a Channel, interrupted: Option<&'static str> },
    Publication {
        channel: &'a str,
        publication: Publication,
        /// Does more follow at once? Then it is not worth a write of its own yet.
        more: bool,
    },
    /// A publication of the channel was missed though it flows on.
    Gap { channel: &'a Channel, reason: &'static str },
    /// A user came to the channel's first session of the fleet, or left its last.
    Presence { channel: &'a str, user: User, change: Change },
    /// The user's tokens issued until `before`, in Unix milliseconds, are revoked. Comes more than
    /// once, and from other tasks than the rest.
    Revoked { user: &'a str, before: u64 },
    /// The broker has read all revocations it keeps. What it has forgotten goes into `missing`, and
    /// is kept again.
    RevocationsRead { known: &'a Known, missing: &'a mut Vec<Revocation> },
    /// A node has told of itself; this one's own words come back too. From other tasks than the rest.
    Announced(Announcement),
}

/// Takes the broker's events, one at a time for each channel; joins and leaves one at a time among
/// themselves.
pub type Sink = Arc<dyn Fn(Event<'_>) + Send + Sync>;

/// The broker could not do it now; the text says why, in words for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub &'static str);

/// The broker will never take it, as it is too large; the others are not affected.
pub const TOO_LARGE: Unavailable = Unavailable(
    "the publication is larger than redis takes (proto-max-bulk-len, client-query-buffer-limit)",
);

/// Which part of a channel's history is read, a page at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// What follows the position, oldest first.
    After(Position),
    /// What stands before the position, newest first.
    Before(Position),
    /// The newest, newest first.
    Newest,
}

/// Most publications of one [`Page`], so that neither Redis nor the node is busy with one for long.
pub const PAGE_MAX: usize = 128;

/// Carries publications between nodes and what they say of themselves, keeps the history of channels
/// whose rule asks for it, who is in a channel, and whose tokens are revoked.
pub trait Broker: Presences + Revoking + Announcing + Send + Sync {
    /// Hands over a publication. Publications of one channel keep the order they are handed over in.
    ///
    /// Resolves to its position where the channel keeps history; the same `id` is published once
    /// within `history.idempotency_window` and resolves to the first one's position.
    fn publish(&self, channel: Channel, publication: Publication) -> Receipt<Option<Position>>;

    /// May sessions take more from their clients?
    fn has_room(&self) -> bool;

    /// Resolves once there is room. Cancel safe.
    fn room(&self) -> BoxFuture<'_, ()>;

    /// Wants the channel's publications. Asking again is harmless; the receipt comes once they flow,
    /// about when [`Event::Subscribed`] does.
    fn subscribe(&self, channel: &Channel) -> Receipt<()>;

    /// No longer wants them. Takes effect a little later, in case somebody returns.
    fn unsubscribe(&self, channel: &Channel);

    /// The rules will be these in a moment. Resolves when it is ready for them, within a bounded time.
    fn follow_rules(&self, rules: &Rules) -> BoxFuture<'_, ()>;

    /// Can it be used? If not, why.
    fn ready(&self) -> Result<(), String>;

    /// How many nodes subscribe to each of the channels.
    fn nodes(&self, channels: Vec<Channel>) -> BoxFuture<'_, Result<Vec<u64>, Unavailable>>;

    /// Where the history of each of these channels ends, in their order; it is begun where there is
    /// none. None: the broker keeps none of this channel after all.
    fn positions(
        &self,
        channels: Vec<Channel>,
    ) -> BoxFuture<'_, Vec<Result<Option<Position>, Unavailable>>>;

    /// Reads up to `count` publications (at most [`PAGE_MAX`]) of a channel's history, each with its
    /// position; none that is older than the rule's age.
    fn history(
        &self,
        channel: Channel,
        page: Page,
        count: usize,
    ) -> BoxFuture<'_, Result<Vec<Publication>, Unavailable>>;
}

/// Starts the broker of the configuration; its tasks run on the current runtime.
pub fn connect(config: &Config, node: NodeId, sink: Sink) -> Arc<dyn Broker> {
    match &config.url {
        Url::Memory => Arc::new(memory::Memory::start(config, sink)),
        Url::Redis(deployment) => Arc::new(redis::Redis::start(config, deployment, node, sink)),
    }
}

/// The broker of the configuration for a command that takes part in a running fleet for a while and changes
/// nothing of it.
pub fn visit(config: &Config, node: NodeId, sink: Sink) -> Arc<dyn Broker> {
    match &config.url {
        Url::Memory => Arc::new(memory::Memory::start(config, sink)),
        Url::Redis(deployment) => Arc::new(redis::Redis::visit(config, deployment, node, sink)),
    }
}

/// Asks Redis what it is like, all masters at once; changes nothing there. Takes some ten seconds at most.
/// None: there is no Redis to ask. Err: no master could be found, and why.
pub async fn survey(config: &Config) -> Option<Result<Survey, String>> {
    match &config.url {
        Url::Memory => None,
        Url::Redis(deployment) => Some(redis::survey(config, deployment).await),
    }
}

/// Resolves when the broker has done what it was asked, or has not in time.
#[derive(Debug)]
pub struct Receipt<T>(Answer<T>);

#[derive(Debug)]
enum Answer<T> {
    Now(Result<T, Unavailable>),
    Later(oneshot::Receiver<Result<T, Unavailable>>),
}

impl<T> Receipt<T> {
    pub fn now(answer: Result<T, Unavailable>) -> Self {
        Self(Answer::Now(answer))
    }

    pub fn later() -> (oneshot::Sender<Result<T, Unavailable>>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(Answer::Later(receiver)))
    }
}

impl<T: Copy + Unpin> Future for Receipt<T> {
    type Output = Result<T, Unavailable>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Answer::Now(answer) => Poll::Ready(*answer),
            Answer::Later(receiver) => Pin::new(receiver)
                .poll(cx)
                .map(|answer| answer.unwrap_or(Err(Unavailable("the node is stopping")))),
        }
    }
}
