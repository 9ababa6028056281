//! All that speaks to one master: what waits for it, the publisher's and the subscriber's
//! connection, and a pool for questions. Its address never changes; a master elsewhere is another
//! lane.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ::redis::{Cmd, FromRedisValue, Pipeline, RedisError, Value};
use tokio::sync::{Notify, watch};

use crate::broker::redis::connection::link::{Link, Pool, QuestionError};
use crate::broker::redis::connection::server::{Address, Server};
use crate::broker::redis::context::Context;
use crate::broker::redis::functions::library::{Found, Library};
use crate::broker::redis::publishing::line::Line;
use crate::broker::redis::publishing::publisher;
use crate::broker::redis::publishing::verdict::Cause;
use crate::broker::redis::rules::following::Turns;
use crate::broker::redis::rules::routing::PastHistory;
use crate::broker::redis::secret::{Secret, Secrets};
use crate::broker::redis::state::LaneState;
use crate::broker::redis::subscribing::subscriber;
use crate::broker::redis::subscribing::wanted::Wanted;
use crate::live::Live;
use crate::vital;

/// Where publications wait to go out, and channels to be subscribed.
pub struct Place {
    pub line: Line,
    pub wanted: Wanted,
}

/// One master's lane.
pub struct Lane {
    /// Counts up; no two lanes of a process share it.
    pub number: u32,
    pub address: Address,
    pub place: Arc<Place>,
    pub server: Server,
    pub link: Link,
    pub state: LaneState,
    /// What the server's functions sign with. None: it is not known.
    pub secret: Live<Option<Secret>>,
    /// The server is no master: the subscribed connection is worth nothing either.
    pub demoted: Notify,
    /// Held while publications are with Redis.
    pub flight: tokio::sync::Mutex<()>,
    /// Its rules turned to others.
    pub turns: Turns,
    pool: Pool,
    retired: watch::Sender<bool>,
    /// Somebody should look which servers are masters.
    doubt: Arc<Notify>,
}

impl Deref for Lane {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

impl Lane {
    /// The number of no lane.
    pub const NONE: u32 = 0;

    pub fn new(address: &Address, context: &Context) -> Arc<Self> {
        static NUMBERS: AtomicU32 = AtomicU32::new(Lane::NONE + 1);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let server = Server {
            address: address.clone(),
            login: context.login.clone(),
            trust: context.trust.clone(),
        };
        let link = Link::new(&server);
        let timeout = context.publish_timeout;
        Arc::new(Self {
            number,
            address: address.clone(),
            place: Arc::new(Place {
                line: Line::new(timeout),
                wanted: Wanted::new(timeout, context.tally.clone()),
            }),
            server,
            pool: link.pool(),
            link,
            state: context.state.add(number, address.clone()),
            secret: Live::default(),
            demoted: Notify::new(),
            flight: tokio::sync::Mutex::default(),
            turns: Turns::default(),
            retired: watch::Sender::new(false),
            doubt: context.doubt.clone(),
        })
    }

    /// Starts its tasks; they run until it is retired.
    pub fn start(self: &Arc<Self>, context: &Arc<Context>) {
        let publishing = publisher::run(self.clone(), context.clone());
        vital::spawn("publisher", self.clone().until_retired(publishing));
        let subscribing = subscriber::run(self.clone(), context.clone());
        vital::spawn("subscriber", self.clone().until_retired(subscribing));
    }

    /// Ends it: its connections are closed. What waited for it has been taken over.
    pub fn retire(&self) {
        self.state.remove();
        self.retired.send_replace(true);
    }

    /// Asks for a look at which servers are masters.
    pub fn doubt(&self) {
        self.doubt.notify_one();
    }

    /// Notes what the server answered when it was asked for its secret. False: it is none.
    pub fn learn(&self, secrets: &Secrets, answer: &[u8]) -> bool {
        let Some(secret) = secrets.learn(answer) else { return false };
        if self.secret.get().as_ref() != &Some(secret.clone()) {
            self.secret.replace(Some(secret));
        }
        true
    }

    /// Asks one question.
    pub async fn query<T: FromRedisValue>(&self, question: &Cmd) -> Result<T, QuestionError> {
        let answer = self.pool.query(question).await;
        if let Err(QuestionError::Redis(error)) = &answer
            && is_moved(error)
        {
            self.doubt();
        }
        answer
    }

    /// Asks for keys of a slot that is on its way here: each question for its own. They declare one key each.
    pub async fn query_asking(
        &self,
        questions: &[Cmd],
    ) -> Result<Vec<Result<Value, RedisError>>, QuestionError> {
        let mut pipeline = Pipeline::with_capacity(2 * questions.len());
        for question in questions {
            pipeline.cmd("ASKING").add_command(question.clone());
        }
        let mut answers = self.query_each(&pipeline).await?.into_iter();
        let mut each = Vec::with_capacity(questions.len());
        while let (Some(asking), Some(answer)) = (answers.next(), answers.next()) {
            each.push(asking.and(answer));
        }
        Ok(each)
    }

    /// Installs the functions where they are missing, or only reads them, as [`Library`] does.
    pub async fn install(
        &self,
        library: &Library,
        past: &PastHistory,
        only_reads: bool,
    ) -> Result<Found, QuestionError> {
        self.pool.install(library, past, only_reads).await
    }

    /// Asks several questions in one go; each has its own answer.
    pub async fn query_each(
        &self,
        questions: &Pipeline,
    ) -> Result<Vec<Result<Value, RedisError>>, QuestionError> {
        let answers = self.pool.query_each(questions).await?;
        let answers: Vec<_> = answers.into_iter().map(Value::extract_error).collect();
        if answers.iter().any(|answer| answer.as_ref().is_err_and(is_moved)) {
            self.doubt();
        }
        Ok(answers)
    }

    async fn until_retired(self: Arc<Self>, task: impl Future<Output = ()>) {
        let mut retired = self.retired.subscribe();
        tokio::select! {
            () = task => {}
            // Its sender is this lane.
            _ = retired.wait_for(|retired| *retired) => {}
        }
    }
}

fn is_moved(error: &RedisError) -> bool {
    let cause = Cause::of(error.code().unwrap_or_default(), error.detail().unwrap_or_default());
    cause == Some(Cause::Moved)
}
