//! Server-Sent Events: the CPU of a delivery to 1,000 streams at a fixed rate, compared with json over WebSockets, and the
//! memory of idle streams.
//!
//! Each kind of client has its own node, and their rounds alternate.

use anyhow::Result;

use crate::connection::Request;
use crate::contender::{Contender, compare};
use crate::cores::Cores;
use crate::memory::idle;
use crate::redis::Redis;
use crate::table::{Goal, Length, Table};

/// Channels of each stream of several.
const CHANNELS: usize = 5;

const HISTORY: &str = r#"rules=[{pattern="**",history={size=100,age="10m"}}]"#;

pub fn measure(length: Length, table: &mut Table) -> Result<()> {
    let redis = Redis::start(Cores::Any)?;
    let several = path_of_several("bench");
    let event_streams = |name, path: &str, settings: &[&str]| {
        let request = Request::EventStream(path.into());
        Contender::start(name, &redis, &request, settings)
    };
    let contenders = vec![
        Contender::start("json over WebSockets", &redis, &Request::Json, &[])?,
        event_streams("event streams", "/sse/bench", &[])?,
        event_streams("event streams of 5 channels", &several, &[])?,
        event_streams("the same with history", &several, &[HISTORY])?,
    ];
    compare(contenders, &[Goal::AtMost(1.1), Goal::None, Goal::None], length, table)?;
    memory(table)
}

fn memory(table: &mut Table) -> Result<()> {
    let one = |number| Request::EventStream(format!("/sse/mem-{number}"));
    idle("memory, idle event streams", one, 1, Goal::AtMost(4096.0), table)?;
    let several = |number| Request::EventStream(path_of_several(&format!("mem-{number}")));
    idle("memory, idle event streams of 5 channels", several, CHANNELS, Goal::None, table)
}

fn path_of_several(first: &str) -> String {
    let others = (1..CHANNELS).map(|number| format!("&channel={first}-{number}"));
    format!("/sse?channel={first}{}", others.collect::<String>())
}
