//! Publishing through a node's sessions into Redis: acknowledged publications a second.
//!
//! The channels have no subscribers, so only the publish path is measured: frame, command, pipeline, Redis' answer, reply.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::client::Progress;
use crate::cores::Cores;
use crate::json;
use crate::node::Node;
use crate::redis::Redis;
use crate::table::{Goal, Length, Table, number};

const SESSIONS: usize = 64;

pub fn measure(length: Length, table: &mut Table) -> Result<()> {
    let duration = Duration::from_secs(length.choose(8, 3));
    let redis = Redis::start(Cores::Any)?;
    let node = Node::start(&redis, Cores::Any)?;
    for (window, goal) in [(64, Goal::AtLeast(200_000.0)), (1, Goal::None)] {
        let (acknowledged, cpu) = publish(&node, window, duration)?;
        println!(
            "  window {window}: {} us of the node's CPU a publication",
            number(cpu / acknowledged as f64 * 1e6)
        );
        let measure = format!("publish, 64 sessions, {window} in flight");
        table.add(&measure, acknowledged as f64 / duration.as_secs_f64(), "acks/s", goal);
    }
    Ok(())
}

/// Keeps `window` publications of each session in flight for `duration`. Returns the number acknowledged within it, and
/// the node's CPU-seconds.
fn publish(node: &Node, window: u64, duration: Duration) -> Result<(u64, f64)> {
    let mut clients = json::sessions(node.address, SESSIONS)?;
    let mut sessions = vec![Session::default(); SESSIONS];
    let mut message = Vec::new();
    let (mut acknowledged, mut refused) = (0_u64, None);
    let mut progress = Progress::new();
    let before = node.process.cpu()?;
    let start = Instant::now();
    while start.elapsed() < duration {
        for (number, session) in sessions.iter_mut().enumerate() {
            if session.published - session.acknowledged < window {
                while session.published - session.acknowledged < window {
                    session.published += 1;
                    write_publication(&mut message, number, session.published);
                    clients.push(number, &message);
                }
                clients.flush(number)?;
            }
        }
        clients.turn(Duration::from_millis(1), |number, answer| {
            if json::is(answer, "published") {
                sessions[number].acknowledged += 1;
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
    let cpu = node.process.cpu_since(&before)?.as_secs_f64();
    Ok((acknowledged, cpu))
}

#[derive(Clone, Copy, Default)]
struct Session {
    published: u64,
    acknowledged: u64,
}

/// A json command with about 200 bytes of data.
fn write_publication(message: &mut Vec<u8>, session: usize, id: u64) {
    use std::io::Write;
    const TEXT: &str = "Ships that pass in the night, and speak each other in passing, only a signal shown \
                        and a distant voice in the darkness; so on the ocean of life, we pass and speak";
    message.clear();
    write!(
        message,
        r#"{{"type":"publish","id":{id},"channel":"bench:{session}","data":{{"number":{id},"text":"{TEXT}"}}}}"#
    )
    .expect("writing into memory does not fail");
}
