//! Asks each master what it is like: what it says of itself, what its user may do, and whether a
//! publication comes back. Lanes are made for it, and never started.

mod permits;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::{Pipeline, RedisError, Value};
use bytes::Bytes;
use futures_util::future::{join, join_all};
use tokio::time::{Instant, timeout};

use crate::broker::redis::SILENT;
use crate::broker::redis::announcement;
use crate::broker::redis::connection::feed::{self, Lost};
use crate::broker::redis::connection::resp::Said;
use crate::broker::redis::context::Context;
use crate::broker::redis::functions::library;
use crate::broker::redis::header;
use crate::broker::redis::lanes::lane::Lane;
use crate::broker::redis::topology;
use crate::broker::redis::url::Deployment;
use crate::broker::{Answers, Config, Master, Reading, Stage, Survey};
use crate::publication::NodeId;

/// Most masters that are asked.
const MASTERS_MAX: usize = 64;

/// How long all answers to one batch of questions may take together.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// How long it is listened to what nodes announce: each of a small fleet does within two seconds.
const LISTEN_TIME: Duration = Duration::from_millis(2500);

/// Most nodes with other rules that are named.
const NODES_MAX: usize = 10;

/// How often the way to the server and back is measured.
const PINGS: usize = 5;

/// What is asked of `CONFIG GET`, one by one, as Redis before 7 takes a single name.
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

/// Finds the masters and asks them all at once.
pub async fn survey(config: &Config, deployment: &Deployment) -> Result<Survey, String> {
    let context = Context::new(config, deployment, NodeId::random(), Arc::new(|_| {}));
    let mut layout =
        topology::look(&context, deployment).await.map_err(|unknown| unknown.to_string())?;
    // One that is about to be given its first slot has no channel to be tried.
    let serving = layout.owners.iter().flatten().map(|owner| usize::from(*owner) + 1).max();
    layout.masters.truncate(serving.unwrap_or(0));
    layout.moving.clear();
    let slots_unserved = layout.owners.iter().filter(|owner| owner.is_none()).count();
    let masters_unasked = layout.masters.len().saturating_sub(MASTERS_MAX);
    layout.masters.truncate(MASTERS_MAX);
    let is_asked = |owner: &u16| usize::from(*owner) < MASTERS_MAX;
    layout.owners.iter_mut().for_each(|owner| *owner = owner.filter(is_asked));
    context.map.apply(&layout, |address| Lane::new(address, &context));
    let lanes = context.map.lanes();
    let asking = lanes.iter().map(|lane| async {
        let answers = answers(&context, lane).await;
        Master { address: lane.address.to_string(), answers }
    });
    Ok(Survey { masters: join_all(asking).await, slots_unserved, masters_unasked })
}

/// Err: the server cannot be spoken to at all.
async fn answers(context: &Context, lane: &Lane) -> Result<Answers, String> {
    let mut connection = lane.link.open().await.map_err(|error| error.to_string())?;
    let round_trip = round_trip(&mut connection).await?;
    let mut answers = ask(&mut connection, &questions()).await?.into_iter();
    let mut nodes = BTreeSet::new();
    let mut next = || answers.next().unwrap_or(Value::Nil);
    let (info, library) = (next(), next().extract_error().map_err(|error| words(&error)));
    let (forbidden, heard) = join(
        permits::forbidden(context, lane, &mut connection),
        // Whoever may not listen learns it with the rest.
        async { timeout(LISTEN_TIME, listen(context, lane, &mut nodes)).await },
    )
    .await;
    drop(heard);
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

fn questions() -> Pipeline {
    let mut questions = Pipeline::new();
    questions.cmd("INFO");
    questions.cmd("FUNCTION").arg("LIST").arg("LIBRARYNAME").arg(library::NAME).arg("WITHCODE");
    for name in SETTINGS {
        questions.cmd("CONFIG").arg("GET").arg(name);
    }
    questions
}

/// Each question has its own answer, [`Value::ServerError`] among them.
async fn ask(
    connection: &mut MultiplexedConnection,
    questions: &Pipeline,
) -> Result<Vec<Value>, String> {
    let asking = connection.req_packed_commands(questions, 0, questions.len());
    match timeout(ANSWER_TIMEOUT, asking).await {
        Ok(answers) => answers.map_err(|error| error.to_string()),
        Err(_) => Err(SILENT.to_string()),
    }
}

async fn round_trip(connection: &mut MultiplexedConnection) -> Result<Duration, String> {
    let mut ping = Pipeline::new();
    ping.cmd("PING");
    let mut taken = [Duration::ZERO; PINGS];
    for taken in &mut taken {
        let sent = Instant::now();
        // Whoever may not even PING learns it with the rest.
        ask(connection, &ping).await?;
        *taken = sent.elapsed();
    }
    taken.sort_unstable();
    Ok(taken[PINGS / 2])
}

/// Compared with the middle of the time that the answer took.
async fn clock_ahead(connection: &mut MultiplexedConnection) -> Reading<i64> {
    let mut question = Pipeline::new();
    question.cmd("TIME");
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let before = now();
    let answer = ask(connection, &question).await?;
    let here = i64::try_from(before.midpoint(now())).unwrap_or(i64::MAX);
    let answer = answer.into_iter().next().unwrap_or(Value::Nil).extract_error();
    let (seconds, micros): (i64, i64) = answer
        .and_then(|value| Ok(::redis::from_redis_value(value)?))
        .map_err(|error| words(&error))?;
    Ok(seconds.saturating_mul(1000).saturating_add(micros / 1000).saturating_sub(here))
}

/// Publishes to a channel of its own and waits for it, as nodes do all the time.
async fn relay(
    context: &Context,
    lane: &Lane,
    connection: &mut MultiplexedConnection,
) -> Result<Duration, String> {
    let (subscribe, publish) = match context.map.is_sharded() {
        true => ("SSUBSCRIBE", "SPUBLISH"),
        false => ("SUBSCRIBE", "PUBLISH"),
    };
    let channel = context.name(&context.map.probe(lane, context.node));
    let relaying = async {
        let (mut feed, mut asking) =
            feed::open(&lane.server).await.map_err(|lost| explained(&lost))?;
        asking.ask(subscribe, std::slice::from_ref(&channel));
        asking.write().await.map_err(|lost| lost.to_string())?;
        heard(&mut feed, |said| matches!(said, Said::Subscribed { .. })).await?;
        let mut publication = Pipeline::new();
        publication.cmd(publish).arg(&channel).arg("doctor");
        let sent = Instant::now();
        let answer = ask(connection, &publication).await?;
        text(answer.into_iter().next().unwrap_or(Value::Nil))?;
        heard(&mut feed, |said| matches!(said, Said::Message { .. })).await?;
        Ok(sent.elapsed())
    };
    let silent = || "it took a publication and did not bring it back".to_owned();
    timeout(2 * ANSWER_TIMEOUT, relaying).await.unwrap_or_else(|_| Err(silent()))
}

/// Listens to what nodes tell each other, until the connection ends or the caller has enough: some name rules
/// that are not those of the configuration.
async fn listen(context: &Context, lane: &Lane, others: &mut BTreeSet<NodeId>) -> Result<(), Lost> {
    let channel = announcement::channel();
    if !context.map.owns(lane, &channel) {
        return Ok(());
    }
    let own = context.library.get().hash();
    let (mut feed, mut asking) = feed::open(&lane.server).await?;
    let subscribe = if context.map.is_sharded() { "SSUBSCRIBE" } else { "SUBSCRIBE" };
    asking.ask(subscribe, &[context.name(&channel)]);
    asking.write().await?;
    loop {
        let reading = feed.read(|said, _| {
            let Said::Message { payload, .. } = said else { return };
            let told = header::read(Bytes::copy_from_slice(payload), |_| false).payload;
            let told = announcement::told(&told).filter(|told| told.stage != Stage::Gone);
            if let Some(told) = told.filter(|told| told.rules.is_some_and(|rules| rules != own))
                && others.len() < NODES_MAX
            {
                others.insert(told.node);
            }
        });
        reading.await?;
    }
}

/// Reads until it is said, or an error is.
async fn heard(feed: &mut feed::Feed, is_it: impl Fn(&Said<'_>) -> bool) -> Result<(), String> {
    let mut answer = None;
    while answer.is_none() {
        let reading = feed.read(|said, _| match said {
            Said::Error(error) => answer = Some(Err(String::from_utf8_lossy(error).into_owned())),
            said if is_it(&said) => answer = Some(Ok(())),
            _ => {}
        });
        reading.await.map_err(|lost| lost.to_string())?;
    }
    answer.unwrap_or(Ok(()))
}

fn explained(lost: &Lost) -> String {
    match lost {
        Lost::Replica => "it is a replica, which nodes do not use".to_owned(),
        lost => lost.to_string(),
    }
}

/// The text of an answer; of several, the last one's: `CONFIG GET` says the name first.
fn text(answer: Value) -> Reading<String> {
    match answer.extract_error().map_err(|error| words(&error))? {
        Value::BulkString(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Ok(text),
        Value::Int(number) => Ok(number.to_string()),
        Value::Array(mut values) => values.pop().map_or(Ok(String::new()), text),
        Value::Map(mut pairs) => pairs.pop().map_or(Ok(String::new()), |(_, value)| text(value)),
        Value::Nil => Ok(String::new()),
        other => Err(format!("an answer that is none to the question: {other:?}")),
    }
}

/// Does a list have anything in it?
fn is_listed(answer: &Value) -> bool {
    matches!(answer, Value::Array(listed) if !listed.is_empty())
}

/// What the server said, without the crate's words around it.
fn words(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}

/// The lines `name:value` of `INFO`.
fn fields(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.trim_end().split_once(':'));
    lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn answers_are_read_in_both_protocols_forms() {
        let list = Value::Array(vec![bulk("timeout"), bulk("0")]);
        let map = Value::Map(vec![(bulk("timeout"), bulk("0"))]);
        assert_eq!([text(list), text(map)], [Ok("0".to_owned()), Ok("0".to_owned())]);
        assert_eq!(
            text(Value::Array(Vec::new())),
            Ok(String::new()),
            "Redis knows no such setting"
        );
        assert!(text(Value::Boolean(true)).is_err());
    }

    #[test]
    fn info_is_read_line_by_line() {
        let info = fields("# Server\r\nredis_version:7.0.15\r\n\r\nslave0:ip=::1,port=1\r\n");
        assert_eq!(info["redis_version"], "7.0.15");
        assert_eq!(info["slave0"], "ip=::1,port=1");
        assert_eq!(info.len(), 2);
    }
}
