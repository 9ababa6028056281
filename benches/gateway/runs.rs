//! A streamed text with 1,000 viewers: the CPU and the frames of a run whose publications are joined (`merge`, every 40 ms),
//! compared with the same run without.
//!
//! Each kind has its own node, and their rounds alternate. Every viewer must have the whole text.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::client::{Clients, Progress};
use crate::cores::Cores;
use crate::fanout::{SUBSCRIBERS, median_ratio, range};
use crate::json;
use crate::node::Node;
use crate::redis::Redis;
use crate::table::{Goal, Length, Table};

const CHANNEL: &str = "run:bench";

/// As a model writes: 100 tokens a second.
const INTERVAL: Duration = Duration::from_millis(10);
const TOKENS: usize = 200;

/// Five bytes, as most tokens.
const TOKEN: &str = "word ";

/// A node with its viewers, and its results: one value a round.
struct Viewed {
    name: &'static str,
    node: Node,
    viewers: Clients,
    worker: Clients,
    /// CPU-seconds per million tokens that viewers got.
    costs: Vec<f64>,
    /// Frames per token.
    frames: Vec<f64>,
}

pub fn measure(length: Length, table: &mut Table) -> Result<()> {
    let redis = Redis::start(Cores::Any)?;
    let mut single = Viewed::start("single", "", &redis)?;
    let mut merged = Viewed::start("merged", r#",merge="text",rollup="40ms""#, &redis)?;
    for _ in 0..length.choose(10, 4) {
        single.round()?;
        merged.round()?;
    }
    for viewed in [&single, &merged] {
        println!("  {}: CPU {}", viewed.name, range(&viewed.costs));
        println!("  {}: frames a token {}", viewed.name, range(&viewed.frames));
    }
    for (what, unit, merged, single) in [
        ("runs, CPU of merged to single", "CPU-s per million", &merged.costs, &single.costs),
        ("runs, frames of merged to single", "frames a token", &merged.frames, &single.frames),
    ] {
        let values = (crate::table::median(merged), crate::table::median(single));
        table.add_with_floor(what, values, unit, median_ratio(merged, single), Goal::AtMost(0.34));
    }
    Ok(())
}

impl Viewed {
    fn start(name: &'static str, merge: &str, redis: &Redis) -> Result<Self> {
        // A prefix of its own, so that no other node gets its publications.
        let prefix = format!("broker.prefix=bench-runs-{name}:");
        let rules = format!(
            r#"rules=[{{pattern="**",history={{size=1000,age="10m"}},run={{lease="1h"{merge}}}}}]"#
        );
        let mut node = Node::start_with(redis, Cores::Any, &[&prefix, &rules])?;
        let mut viewers = json::sessions(node.address, SUBSCRIBERS)?;
        json::subscribe(&mut viewers, |_| vec![CHANNEL.into()])?;
        node.wait_subscribed(SUBSCRIBERS, 1)?;
        let worker = json::sessions(node.address, 1)?;
        Ok(Self { name, node, viewers, worker, costs: Vec::new(), frames: Vec::new() })
    }

    fn round(&mut self) -> Result<()> {
        let Self { node, viewers, worker, .. } = self;
        let command =
            format!(r#"{{"type":"publish","id":1,"channel":"{CHANNEL}","text":"{TOKEN}"}}"#);
        let mut bytes = vec![0_usize; viewers.len()];
        let (mut frames, mut total) = (0_usize, 0_usize);
        let before = node.process.cpu()?;
        let start = Instant::now();
        let mut progress = Progress::new();
        let mut sent = 0;
        while total < TOKENS * TOKEN.len() * viewers.len() {
            if sent < TOKENS && start.elapsed() >= INTERVAL * sent as u32 {
                worker.push(0, command.as_bytes());
                worker.flush(0)?;
                worker.turn(Duration::ZERO, |_, _| {})?;
                sent += 1;
            }
            std::thread::sleep(Duration::from_millis(1));
            let mut fault = None;
            viewers.turn(Duration::ZERO, |viewer, frame| match text_bytes(frame) {
                Some(more) => {
                    bytes[viewer] += more;
                    total += more;
                    frames += 1;
                }
                None => fault = Some(String::from_utf8_lossy(frame).into_owned()),
            })?;
            ensure!(fault.is_none(), "a frame without text: {}", fault.unwrap_or_default());
            progress.record(total as u64).with_context(|| format!("{total} bytes of text"))?;
        }
        let cpu = node.process.cpu_since(&before)?.as_secs_f64();
        let whole = TOKENS * TOKEN.len();
        ensure!(bytes.iter().all(|it| *it == whole), "a viewer did not get {whole} bytes");
        let tokens = (TOKENS * viewers.len()) as f64;
        self.costs.push(cpu / tokens * 1e6);
        self.frames.push(frames as f64 / tokens);
        Ok(())
    }
}

/// The length of a publication's text, in which nothing is escaped.
fn text_bytes(frame: &[u8]) -> Option<usize> {
    let frame = std::str::from_utf8(frame).ok()?;
    let (_, text) = frame.split_once(r#""text":""#)?;
    text.find('"')
}
