//! Publishing: what waits in the queue goes out as one pipeline over one connection, so that
//! batches grow by themselves under load and publications of a channel keep their order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::{Pipeline, Value};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::header;
use super::link::{Backoff, Link};
use super::state::{Part, State};
use crate::broker::Unavailable;
use crate::broker::queue::{Item, LATE, Queue};
use crate::publication::{NodeId, Position};
use crate::telemetry;

/// Most publications in one pipeline.
const BATCH_MAX: usize = 512;

/// Payload bytes in one pipeline beyond which the next publication waits for the next. The crate's
/// connection keeps a buffer as large as the largest pipeline.
const BATCH_BYTES_MAX: usize = 256 << 10;

/// The least time Redis is given, also for a batch whose deadline is nearly over: a connection just
/// made again must not be given up for publications that waited for it.
const ANSWER_TIME_MIN: Duration = Duration::from_millis(200);

const UNANSWERED: Unavailable =
    Unavailable("redis did not answer: the publication may or may not have gone out");
const REFUSED: Unavailable = Unavailable("redis refused the publication");

/// Publishes what the queue holds until every sender of it is gone.
pub async fn run(
    link: Link,
    prefix: Arc<str>,
    node: NodeId,
    queue: Queue,
    items: mpsc::Receiver<Item>,
    state: Arc<State>,
) {
    let mut publisher = Publisher { prefix, node, items, held: VecDeque::new(), refused: false };
    queue.set_stuck(Some(Instant::now()));
    let mut backoff = Backoff::default();
    loop {
        let connection = tokio::select! {
            connection = connect(&link, &mut backoff, &state) => connection,
            () = publisher.expire() => return,
        };
        backoff.connected();
        state.works(Part::Publisher);
        queue.set_stuck(None);
        match publisher.publish(connection).await {
            Ended::Stopped => return,
            Ended::Lost { asked, why } => {
                state.fails(Part::Publisher, &why);
                queue.set_stuck(Some(asked));
                tokio::select! {
                    () = sleep(backoff.next()) => telemetry::broker_reconnecting(),
                    () = publisher.expire() => return,
                }
            }
        }
    }
}

async fn connect(link: &Link, backoff: &mut Backoff, state: &State) -> MultiplexedConnection {
    loop {
        match link.open().await {
            Ok(connection) => return connection,
            Err(error) => {
                state.fails(Part::Publisher, &error);
                sleep(backoff.next()).await;
                telemetry::broker_reconnecting();
            }
        }
    }
}

enum Ended {
    /// Nobody can publish any more.
    Stopped,
    /// The connection broke or Redis hangs.
    Lost { asked: Instant, why: String },
}

struct Publisher {
    prefix: Arc<str>,
    node: NodeId,
    items: mpsc::Receiver<Item>,
    /// Taken off the queue and not yet sent, oldest first; at most [`BATCH_MAX`].
    held: VecDeque<Item>,
    /// Redis refused something of the last batch.
    refused: bool,
}

impl Publisher {
    async fn publish(&mut self, mut connection: MultiplexedConnection) -> Ended {
        let mut come = Vec::with_capacity(BATCH_MAX);
        loop {
            if self.held.is_empty() {
                if self.items.recv_many(&mut come, BATCH_MAX).await == 0 {
                    return Ended::Stopped;
                }
                self.held.extend(come.drain(..));
            }
            let mut batch = self.next_batch();
            let Some(oldest) = batch.first() else { continue };
            let deadline = oldest.deadline.max(Instant::now() + ANSWER_TIME_MIN);
            let mut pipeline = Pipeline::with_capacity(batch.len());
            let asked = Instant::now();
            for item in &batch {
                let channel = [self.prefix.as_bytes(), item.channel.as_str().as_bytes()].concat();
                let payload = header::write(&item.publication, self.node);
                pipeline.cmd("PUBLISH").arg(channel).arg(payload);
            }
            let answers = connection.req_packed_commands(&pipeline, 0, batch.len());
            match timeout_at(deadline, answers).await {
                Ok(Ok(answers)) => {
                    self.tell_refusal(&answers);
                    for (item, answer) in batch.drain(..).zip(answers) {
                        item.answer(taken(&answer));
                    }
                }
                failed => {
                    batch.drain(..).for_each(|item| item.answer(Err(UNANSWERED)));
                    let why = match failed {
                        Ok(Err(error)) => error.to_string(),
                        _ => "no answer".to_owned(),
                    };
                    return Ended::Lost { asked, why };
                }
            }
        }
    }

    /// Tells the first of Redis' refusals in a row: there may be thousands a second.
    fn tell_refusal(&mut self, answers: &[Value]) {
        let refusal = answers.iter().find(|answer| taken(answer).is_err());
        if let (Some(error), false) = (refusal, self.refused) {
            telemetry::broker_refused("PUBLISH", &format_args!("{error:?}"));
        }
        self.refused = refusal.is_some();
    }

    /// What goes out together: no more bytes than are worth it, and nothing that is late.
    fn next_batch(&mut self) -> Vec<Item> {
        let mut batch = Vec::with_capacity(self.held.len());
        let mut bytes = 0;
        while bytes < BATCH_BYTES_MAX
            && let Some(item) = self.held.pop_front()
        {
            if item.is_late() {
                item.answer(Err(LATE));
                continue;
            }
            bytes += item.publication.payload.len();
            batch.push(item);
        }
        batch
    }

    /// Answers publications whose time is over while there is no connection. Returns when nobody
    /// can publish any more. Cancel safe: what is taken off the queue is held.
    async fn expire(&mut self) {
        loop {
            match self.held.front() {
                Some(oldest) => {
                    sleep_until(oldest.deadline).await;
                    if let Some(late) = self.held.pop_front() {
                        late.answer(Err(LATE));
                    }
                }
                None => match self.items.recv().await {
                    Some(item) => self.held.push_back(item),
                    None => return,
                },
            }
        }
    }
}

fn taken(answer: &Value) -> Result<Option<Position>, Unavailable> {
    match answer {
        Value::ServerError(_) => Err(REFUSED),
        _ => Ok(None),
    }
}
