//! Redis' CPU for an acknowledged publication into a channel with history, compared with a channel without history, from
//! the same node.
//!
//! At full speed, a plain `PUBLISH` is so cheap (a microsecond, 512 to a pipeline) that the call of a Redis function is a
//! visible part; at the rate of a typical service, most of Redis' CPU is reading requests, which both need.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::client::Progress;
use crate::cores::Cores;
use crate::json;
use crate::node::Node;
use crate::redis::Redis;
use crate::table::{Goal, Length, Table, number};

const SESSIONS: usize = 64;

/// Publications a second of all sessions together, in the paced part.
const PACE: f64 = 2_000.0;

/// Publications of a session in flight at a time, at full speed.
const WINDOW: u64 = 64;

const RULES: &str =
    r#"rules=[{pattern="kept:*",history={size=200,age="10m"}},{pattern="plain:*"}]"#;

pub fn measure(length: Length, table: &mut Table) -> Result<()> {
    let duration = Duration::from_secs(length.choose(8, 3));
    let redis = Redis::start(Cores::Any)?;
    let node = Node::start_with(&redis, Cores::Any, &[RULES])?;
    for (pace, name) in [(Some(PACE), "2,000 a second"), (None, "at full speed")] {
        let cost = |channels| -> Result<f64> {
            let before = redis.process.cpu()?;
            let acknowledged = publish(&node, channels, pace, duration)?;
            let cost = redis.process.cpu_since(&before)?.as_secs_f64() / acknowledged as f64;
            println!(
                "  {channels}, {name}: {} acks/s, {} us of Redis' CPU each",
                number(acknowledged as f64 / duration.as_secs_f64()),
                number(cost * 1e6)
            );
            Ok(cost)
        };
        let (plain, kept) = (cost("plain")?, cost("kept")?);
        table.add(
            &format!("history, Redis' CPU, {name}"),
            kept / plain,
            "times a plain PUBLISH",
            Goal::AtMost(2.5),
        );
    }
    Ok(())
}

/// Publishes for `duration`; returns how many were acknowledged within it.
fn publish(node: &Node, channels: &str, pace: Option<f64>, duration: Duration) -> Result<u64> {
    let mut clients = json::sessions(node.address, SESSIONS)?;
    let mut in_flight = [0_u64; SESSIONS];
    let (mut sent, mut acknowledged, mut refused) = (0_u64, 0_u64, None);
    let mut progress = Progress::new();
    let start = Instant::now();
    while start.elapsed() < duration {
        let due = pace.map_or(u64::MAX, |pace| (start.elapsed().as_secs_f64() * pace) as u64);
        for (session, in_flight) in in_flight.iter_mut().enumerate() {
            let before = sent;
            while *in_flight < WINDOW && sent < due {
                sent += 1;
                *in_flight += 1;
                clients.push(session, &publication(channels, session, sent));
                if pace.is_some() {
                    break;
                }
            }
            if sent > before {
                clients.flush(session)?;
            }
        }
        clients.turn(Duration::from_millis(1), |session, answer| {
            if json::is(answer, "published") {
                in_flight[session] -= 1;
                acknowledged += 1;
            } else {
                refused = Some(String::from_utf8_lossy(answer).into_owned());
            }
        })?;
        if let Some(answer) = refused {
            bail!("a publication was answered by {answer}");
        }
        progress
            .record(acknowledged)
            .with_context(|| format!("{acknowledged} publications acknowledged"))?;
    }
    Ok(acknowledged)
}

/// A json command with about 128 bytes of data.
fn publication(channels: &str, session: usize, id: u64) -> Vec<u8> {
    let text = "x".repeat(100);
    format!(
        r#"{{"type":"publish","id":{id},"channel":"{channels}:{session}","data":{{"number":{id},"text":"{text}"}}}}"#
    )
    .into_bytes()
}
