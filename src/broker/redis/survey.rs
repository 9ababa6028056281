//! Queries each master for `tidegate doctor`: its replies, its user's permissions, and whether it
//! relays a publication. The lanes are created for their addresses and never started.

mod permits;
mod relay;
mod replies;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::redis::aio::MultiplexedConnection;
use ::redis::{Pipeline, Value};
use futures_util::future::{join, join_all};
use tokio::time::{Instant, timeout};

use self::relay::{LISTEN_TIME, collect_other_rules, relay};
use self::replies::{error_text, query, text};
use super::context::RedisContext;
use super::functions::code;
use super::lanes::lane::Lane;
use super::topology;
use super::topology::layout::Layout;
use super::url::Deployment;
use crate::broker::config::Config;
use crate::broker::survey::{Answers, MasterSurvey, Survey, SurveyReading};
use crate::publication::NodeId;

/// Maximum number of masters that are queried.
const MASTERS_MAX: usize = 64;

/// How many round trips are measured.
const PINGS: usize = 5;

/// Settings read with `CONFIG GET`, one by one, because Redis before 7 takes a single name.
const SETTINGS: [&str; 10] = [
    "appendonly",
    "client-output-buffer-limit",
    "client-query-buffer-limit",
    "maxclients",
    "maxmemory",
    "maxmemory-policy",
    "min-replicas-to-write",
    "proto-max-bulk-len",
    "tcp-keepalive",
    "timeout",
];

/// Finds the masters and queries all of them at once.
pub async fn survey(config: &Config, deployment: &Deployment) -> Result<Survey, String> {
    let context = RedisContext::new(config, deployment, NodeId::random(), Arc::new(|_| {}));
    let mut layout =
        topology::query(&context, deployment).await.map_err(|unknown| unknown.to_string())?;
    let slots_unserved = layout.owners.iter().filter(|owner| owner.is_none()).count();
    let masters_not_queried = limit(&mut layout);
    context.map.apply(&layout, |address| context.lane(address));
    let lanes = context.map.lanes();
    let surveys = lanes.iter().map(|lane| async {
        let answers = answers(&context, lane).await;
        MasterSurvey { address: lane.address.to_string(), answers }
    });
    Ok(Survey { masters: join_all(surveys).await, slots_unserved, masters_not_queried })
}

/// Keeps the masters that are queried, and returns how many more there are.
fn limit(layout: &mut Layout) -> usize {
    // A master without slots has no channel to try.
    let serving = layout.owners.iter().flatten().map(|owner| usize::from(*owner) + 1).max();
    layout.masters.truncate(serving.unwrap_or(0));
    layout.moving.clear();
    let not_queried = layout.masters.len().saturating_sub(MASTERS_MAX);
    layout.masters.truncate(MASTERS_MAX);
    let is_queried = |owner: &u16| usize::from(*owner) < MASTERS_MAX;
    layout.owners.iter_mut().for_each(|owner| *owner = owner.filter(is_queried));
    not_queried
}

/// `Err`: the server cannot be reached at all.
async fn answers(context: &RedisContext, lane: &Lane) -> Result<Answers, String> {
    let mut connection = lane.link.open().await.map_err(|error| error.to_string())?;
    let round_trip = round_trip(&mut connection).await?;
    let mut answers = query(&mut connection, &commands()).await?.into_iter();
    let mut nodes = BTreeSet::new();
    let mut next = || answers.next().unwrap_or(Value::Nil);
    let (info, library) = (next(), next().extract_error().map_err(|error| error_text(&error)));
    let (forbidden, collected) = join(
        permits::forbidden(context, lane, &mut connection),
        // A user that may not subscribe gets the error of the relay below.
        async { timeout(LISTEN_TIME, collect_other_rules(context, lane, &mut nodes)).await },
    )
    .await;
    drop(collected);
    Ok(Answers {
        info: text(info).map(|text| fields(&text)),
        has_functions: library.as_ref().map(is_listed).map_err(Clone::clone),
        rules: library.map(|library| context.library.get().found_in(&library)),
        settings: SETTINGS.map(|name| (name, text(next()))).into(),
        round_trip,
        clock_ahead_millis: clock_ahead(&mut connection).await,
        forbidden: forbidden?,
        nodes_with_other_rules: nodes.into_iter().collect(),
        relay: relay(context, lane, &mut connection).await,
    })
}

fn commands() -> Pipeline {
    let mut commands = Pipeline::new();
    commands.cmd("INFO");
    commands.cmd("FUNCTION").arg("LIST").arg("LIBRARYNAME").arg(code::NAME).arg("WITHCODE");
    for name in SETTINGS {
        commands.cmd("CONFIG").arg("GET").arg(name);
    }
    commands
}

async fn round_trip(connection: &mut MultiplexedConnection) -> Result<Duration, String> {
    let mut ping = Pipeline::new();
    ping.cmd("PING");
    let mut times = [Duration::ZERO; PINGS];
    for time in &mut times {
        let sent = Instant::now();
        // A user that may not even `PING` gets that error with the missing permissions.
        query(connection, &ping).await?;
        *time = sent.elapsed();
    }
    times.sort_unstable();
    Ok(times[PINGS / 2])
}

/// Compared with the middle between sending and reply.
async fn clock_ahead(connection: &mut MultiplexedConnection) -> SurveyReading<i64> {
    let mut question = Pipeline::new();
    question.cmd("TIME");
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let before = now();
    let answer = query(connection, &question).await?;
    let here = i64::try_from(before.midpoint(now())).unwrap_or(i64::MAX);
    let answer = answer.into_iter().next().unwrap_or(Value::Nil).extract_error();
    let (seconds, micros): (i64, i64) = answer
        .and_then(|value| Ok(::redis::from_redis_value(value)?))
        .map_err(|error| error_text(&error))?;
    Ok(seconds.saturating_mul(1000).saturating_add(micros / 1000).saturating_sub(here))
}

/// Whether the reply is a list with an entry.
fn is_listed(answer: &Value) -> bool {
    matches!(answer, Value::Array(listed) if !listed.is_empty())
}

/// The `name:value` lines of `INFO`.
fn fields(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.trim_end().split_once(':'));
    lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_is_read_line_by_line() {
        let info = fields("# Server\r\nredis_version:7.0.15\r\n\r\nslave0:ip=::1,port=1\r\n");
        assert_eq!(info["redis_version"], "7.0.15");
        assert_eq!(info["slave0"], "ip=::1,port=1");
        assert_eq!(info.len(), 2);
    }
}
