//! Workers of runs: publishers that renew the lease of their run, and end it.

use std::time::{Duration, Instant};

use rand::Rng;
use redis::{Cmd, Value};
use testkit::audit::channels::ChannelNumber;
use testkit::audit::journal::{PublishOutcome, RunCall, RunCallJournal};
use testkit::backoff::Backoff;
use testkit::log::Position;
use testkit::server_message::Payload;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::http_post::post;
use crate::publisher::{Publisher, REPLY_TIME_MAX, says_ended};
use crate::record::CallRecord;

/// The most attempts to end a run.
const ATTEMPTS_MAX: u32 = 4;

/// The longest pause of a worker, which leaves it time to renew a lease of a second, in milliseconds.
const PAUSE_MAX: u64 = 300;

pub struct Worker {
    pub publisher: Publisher,
    pub channel: ChannelNumber,
    pub plan: crate::plan::Worker,
    pub calls: CallRecord,
}

/// How a call about a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// With the position of an end.
    Accepted(Option<Position>),
    Ended,
    /// There is no run.
    NoRun,
    Unknown,
}

impl Worker {
    /// Publishes and renews until the run is to end, or until `stop` is true; then ends it.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let started = Instant::now();
        while !self.publisher.has_ended && started.elapsed() < self.plan.ends_at {
            let random = &mut self.publisher.random;
            let pause = match random.random_bool(0.05) {
                true => Duration::from_millis(random.random_range(0..PAUSE_MAX)),
                false => self.plan.publisher.pause.mul_f64(random.random_range(0.2..1.8)),
            };
            tokio::select! {
                () = sleep(pause) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
            match self.publisher.random.random_bool(0.1) {
                true => _ = self.call(RunCall::Renew, "").await,
                false => _ = self.publisher.publish().await,
            }
        }
        if self.plan.dies {
            return;
        }
        if self.end().await != CallOutcome::Unknown {
            // All of these come too late, where Redis has not lost the run.
            self.publisher.publish().await;
            self.call(RunCall::Renew, "").await;
            self.end().await;
        }
    }

    /// Ends the run, as often as it takes to know that it has ended.
    pub async fn end(&mut self) -> CallOutcome {
        let reason = format!("done by {}", self.publisher.number);
        let last = self.plan.has_last.then(|| self.publisher.record.begin(None));
        let text = last.map_or(String::new(), |number| {
            let payload = Payload { p: self.publisher.number, n: number }.text(0);
            self.publisher.record.set_bytes(number, payload.len());
            payload
        });
        let mut backoff = Backoff::default();
        let mut attempts = 1;
        let outcome = loop {
            let outcome = self.call(RunCall::End(reason.clone()), &text).await;
            if outcome != CallOutcome::Unknown || attempts == ATTEMPTS_MAX {
                break outcome;
            }
            attempts += 1;
            if let Some(number) = last {
                self.publisher.record.count_attempt(number);
            }
            sleep(backoff.next(&mut self.publisher.random)).await;
        };
        if let Some(number) = last {
            let published = match outcome {
                // It is the publication before the end.
                CallOutcome::Accepted(Some(end)) => {
                    PublishOutcome::Accepted(Some(Position { seq: end.seq - 1, ..end }))
                }
                CallOutcome::Ended | CallOutcome::NoRun if attempts == 1 => PublishOutcome::Refused,
                _ => PublishOutcome::Unknown,
            };
            self.publisher.record.end(number, published);
        }
        outcome
    }

    async fn call(&mut self, call: RunCall, last: &str) -> CallOutcome {
        let started = Instant::now();
        let reply = match timeout(REPLY_TIME_MAX, self.send(&call, last)).await {
            Ok(reply) => reply,
            Err(_) => Err("no reply".to_owned()),
        };
        let outcome = match reply {
            Ok(position) => CallOutcome::Accepted(position),
            Err(error) if says_ended(&error) => CallOutcome::Ended,
            Err(error) if error.starts_with("HTTP/1.1 404") || error.contains("NORUN") => {
                CallOutcome::NoRun
            }
            Err(_) => {
                self.publisher.connection = None;
                CallOutcome::Unknown
            }
        };
        let written = match outcome {
            CallOutcome::Accepted(position) => PublishOutcome::Accepted(position),
            CallOutcome::Ended | CallOutcome::NoRun => PublishOutcome::Refused,
            CallOutcome::Unknown => PublishOutcome::Unknown,
        };
        self.calls.lock().expect("no panic while the lock is held").push(RunCallJournal {
            channel: self.channel,
            call,
            started,
            ended: Instant::now(),
            outcome: written,
        });
        outcome
    }

    async fn send(&mut self, call: &RunCall, last: &str) -> Result<Option<Position>, String> {
        let name = self.publisher.channel.clone();
        if !self.plan.calls_redis {
            let node = self.publisher.directory.any(&mut self.publisher.random).internal;
            return match call {
                RunCall::Renew => post(node, &format!("/api/renew/{name}"), "").await,
                RunCall::End(reason) => {
                    let mut body = serde_json::json!({ "reason": reason });
                    if !last.is_empty() {
                        body["data"] = serde_json::from_str(last).expect("a payload is JSON");
                    }
                    post(node, &format!("/api/end/{name}"), &body.to_string()).await
                }
            };
        }
        let key = format!("tidegate:{name}");
        let mut command = Cmd::new();
        match call {
            RunCall::Renew => command.arg("FCALL").arg("tidegate_renew").arg(1).arg(key),
            RunCall::End(reason) => {
                command.arg("FCALL").arg("tidegate_end").arg(1).arg(key).arg(reason).arg(last)
            }
        };
        match self.publisher.query(&command).await.map_err(|error| error.to_string())? {
            Value::BulkString(text) => {
                let text = String::from_utf8_lossy(&text);
                Ok(Some(Position::parse(&text).ok_or(format!("{text:?} is not a position"))?))
            }
            _ => Ok(None),
        }
    }
}
