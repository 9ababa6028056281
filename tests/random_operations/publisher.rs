//! A publisher that does not subscribe: it sends numbered publications one at a time by one publish path.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisResult, Value};
use testkit::audit::channels::QUEUE_BYTES_MAX;
use testkit::audit::journal::{PublishOutcome, PublishPath};
use testkit::backoff::Backoff;
use testkit::log::{Position, PublisherNumber};
use testkit::server_message::{Payload, ServerMessage};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::directory::{Directory, Socket};
use crate::http_post::post;
use crate::record::PublisherRecord;

/// The longest wait for a reply: longer than a node takes to reply `unavailable`.
pub const REPLY_TIME_MAX: Duration = Duration::from_secs(4);

/// The most attempts for one publication.
const ATTEMPTS_MAX: u32 = 4;

/// A pause after which the stream of an expiring channel has expired, in milliseconds: a stream without
/// publications lives an eighth longer than its age of one second.
const EXPIRY_PAUSE_MS: std::ops::Range<u64> = 1150..2200;

pub struct Publisher {
    pub number: PublisherNumber,
    pub channel: String,
    pub path: PublishPath,
    pub pause: Duration,
    pub burst: Option<u32>,
    pub keyed: bool,
    pub large: bool,
    pub directory: Directory,
    /// The URL of Redis; `None` with the memory broker.
    pub redis: Option<String>,
    pub record: PublisherRecord,
    pub random: StdRng,
    pub socket: Option<Socket>,
    pub connection: Option<MultiplexedConnection>,
    /// The channel was a run, and has ended.
    pub has_ended: bool,
}

/// Whether the error of any publish path says that the run has ended.
pub fn says_ended(error: &str) -> bool {
    error.starts_with("ended") || error.starts_with("HTTP/1.1 409") || error.contains("ENDED")
}

impl Publisher {
    pub fn new(
        number: PublisherNumber,
        plan: (&crate::plan::Publisher, u64),
        channel: &str,
        (directory, redis): (Directory, Option<String>),
        record: PublisherRecord,
    ) -> Self {
        let (plan, seed) = plan;
        Self {
            number,
            channel: channel.to_owned(),
            path: plan.path,
            pause: plan.pause,
            burst: plan.burst,
            keyed: plan.keyed,
            large: plan.large,
            directory,
            redis,
            record,
            random: StdRng::seed_from_u64(seed),
            socket: None,
            connection: None,
            has_ended: false,
        }
    }

    /// Publishes until `stop` is true.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut remaining = self.burst;
        loop {
            let mut pause = self.pause.mul_f64(self.random.random_range(0.2..1.8));
            if let Some(burst) = self.burst
                && remaining == Some(0)
            {
                remaining = Some(self.random.random_range(1..=burst));
                pause = Duration::from_millis(self.random.random_range(EXPIRY_PAUSE_MS));
            }
            tokio::select! {
                () = sleep(pause) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            self.publish().await;
            if self.has_ended {
                return;
            }
            remaining = remaining.map(|it| it - 1);
        }
    }

    /// Sends one publication. Returns its number, and whether it was accepted.
    pub async fn publish(&mut self) -> (u64, bool) {
        let number = self.record.begin(None);
        let padding = match self.large && self.random.random_bool(0.02) {
            true => QUEUE_BYTES_MAX + self.random.random_range(0..QUEUE_BYTES_MAX),
            false => self.random.random_range(0..120),
        };
        let payload = Payload { p: self.number, n: number }.text(padding);
        self.record.set_bytes(number, payload.len());
        let key = self.keyed.then(|| format!("{}-{number}", self.number));
        let mut backoff = Backoff::default();
        let mut attempts = 1;
        loop {
            let reply = match timeout(REPLY_TIME_MAX, self.send(&payload, key.as_deref())).await {
                Ok(reply) => reply,
                Err(_) => Err("no reply".to_owned()),
            };
            if reply.as_ref().is_err_and(|error| says_ended(error)) {
                self.has_ended = true;
                // An earlier attempt may have been published before the end.
                let is_only = attempts == 1;
                let outcome =
                    if is_only { PublishOutcome::Refused } else { PublishOutcome::Unknown };
                self.record.end(number, outcome);
                return (number, false);
            }
            if let Ok(position) = reply {
                self.record.end(number, PublishOutcome::Accepted(position));
                // The idempotency key prevents a second delivery.
                if key.is_some() && self.random.random_bool(0.03) {
                    self.record.count_attempt(number);
                    let _ = timeout(REPLY_TIME_MAX, self.send(&payload, key.as_deref())).await;
                }
                return (number, true);
            }
            self.socket = None;
            self.connection = None;
            if key.is_none() || attempts == ATTEMPTS_MAX {
                self.record.end(number, PublishOutcome::Unknown);
                sleep(backoff.next(&mut self.random)).await;
                return (number, false);
            }
            sleep(backoff.next(&mut self.random)).await;
            self.record.count_attempt(number);
            attempts += 1;
        }
    }

    async fn send(&mut self, payload: &str, key: Option<&str>) -> Result<Option<Position>, String> {
        match self.path {
            PublishPath::Json | PublishPath::Plain => self.send_json(payload, key).await,
            PublishPath::Api => {
                let node = self.directory.any(&mut self.random);
                let path = format!("/api/publish/{}", self.channel);
                post(node.internal, &path, payload).await
            }
            _ => self.send_to_redis(payload, key).await,
        }
    }

    async fn send_json(
        &mut self,
        payload: &str,
        key: Option<&str>,
    ) -> Result<Option<Position>, String> {
        let mut socket = match self.socket.take() {
            Some(socket) => socket,
            None => self.directory.open(&mut self.random, "/ws", false).await?.1,
        };
        let key = key.map_or(String::new(), |key| format!(r#","idempotency_key":"{key}""#));
        let channel = &self.channel;
        let id: u32 = self.random.random();
        let command = format!(
            r#"{{"type":"publish","id":{id},"channel":"{channel}","data":{payload}{key}}}"#
        );
        let broken = |error: tokio_tungstenite::tungstenite::Error| error.to_string();
        socket.send(Message::text(command)).await.map_err(broken)?;
        loop {
            let message = socket.next().await.ok_or("ended")?.map_err(broken)?;
            let text = match message {
                Message::Text(text) => text,
                Message::Close(_) => return Err("closed".to_owned()),
                _ => continue,
            };
            let push =
                ServerMessage::parse(text.as_str()).ok_or_else(|| format!("unexpected: {text}"))?;
            if push.id == Some(id.into()) {
                self.socket = Some(socket);
                return match push.kind.as_ref() {
                    "published" => Ok(push.position),
                    _ => Err(format!(
                        "{}: {}",
                        push.code.unwrap_or_default(),
                        push.message.unwrap_or_default()
                    )),
                };
            }
        }
    }

    async fn send_to_redis(
        &mut self,
        payload: &str,
        key: Option<&str>,
    ) -> Result<Option<Position>, String> {
        let name = format!("tidegate:{}", self.channel);
        let mut command = Cmd::new();
        match self.path {
            PublishPath::Function => {
                command.arg("FCALL").arg("tidegate_publish").arg(1).arg(name).arg(payload);
                if let Some(key) = key {
                    command.arg(format!(r#"{{"id":"{key}"}}"#));
                }
            }
            PublishPath::PublishWithHeader => {
                let header = r#"{"user":"service","binary":false}"#;
                command.arg("PUBLISH").arg(name).arg(format!("\u{1e}{header}\n{payload}"));
            }
            PublishPath::PublishForged => {
                let header = self.forged_header();
                command.arg("PUBLISH").arg(name).arg(format!("\u{1e}{header}\n{payload}"));
            }
            _ => {
                command.arg("PUBLISH").arg(name).arg(payload);
            }
        }
        let reply = self.query(&command).await.map_err(|error| error.to_string())?;
        match reply {
            Value::Int(_) | Value::Nil => Ok(None),
            reply => {
                let text: String =
                    redis::from_redis_value(reply).map_err(|error| error.to_string())?;
                Position::parse(&text)
                    .map(Some)
                    .ok_or_else(|| format!("{text:?} is not a position"))
            }
        }
    }

    /// A header with the highest possible epoch, or with a realistic one.
    fn forged_header(&mut self) -> String {
        let epoch: u64 = match self.random.random_bool(0.5) {
            true => u64::MAX,
            false => self.random.random_range(1_700_000_000_000_000_000..1_900_000_000_000_000_000),
        };
        let seq: u64 = self.random.random_range(0..50);
        let previous = format!("{}-{seq}", epoch - 1);
        format!(r#"{{"user":"admin","pos":"{epoch}-{}","prev":"{previous}"}}"#, seq + 1)
    }

    pub async fn query(&mut self, command: &Cmd) -> RedisResult<Value> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let url = self.redis.clone().expect("this path requires a Redis");
                redis::Client::open(url)?.get_multiplexed_async_connection().await?
            }
        };
        let value = command.query_async(&mut connection).await?;
        self.connection = Some(connection);
        Ok(value)
    }
}
