//! Keeps the node in step with the rules that its fleet has in Redis: they are looked at whenever another
//! node says that it has installed some, whenever that could have gone unheard, and now and then.
//!
//! Other rules take effect a moment after they were installed, at one time of the server's clock for the
//! whole fleet. A node that has heard of them by then appends what they keep, whatever its own
//! configuration says. One that heard of them later has published past histories, and has them begin
//! anew.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::broker::redis::announcement;
use crate::broker::redis::connection::link::QuestionError;
use crate::broker::redis::context::Context;
use crate::broker::redis::functions::library::{Fleet, Found, Library};
use crate::broker::redis::lanes::lane::Lane;
use crate::broker::redis::rules::routing::{PastHistory, RuleList, Turn};
use crate::publication::Publication;
use crate::telemetry;

/// How often the rules in Redis are looked at though nobody said that they are others: cut by up to half
/// at random, so that the nodes of a fleet do not ask in one instant.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// The same while it is not known what this node has published past other rules.
const UNSETTLED_INTERVAL: Duration = Duration::from_secs(1);

/// How long what goes out by the rules from before is waited for.
const FLIGHT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long before other rules hold the channels that they are about begin to wait for them.
const EARLY: Duration = Duration::from_millis(200);

/// How much later than that a node goes by its own new rules.
const EARLY_OF_OWN: Duration = Duration::from_millis(100);

/// How long the rules in Redis may be others than those of the node before that is told.
pub const MISMATCH_LASTS: Duration = Duration::from_secs(30);

/// Most turns of a lane that wait for their time. More are told at once.
const TURNS_MAX: usize = 16;

/// What the broker has at hand for it.
#[derive(Default)]
pub struct Following {
    /// The rules in Redis may have changed.
    pub news: Notify,
}

/// Turns of one master's rules, each until it is to be told to the hub.
#[derive(Default)]
pub struct Turns(Mutex<Vec<(Instant, Turn)>>);

impl Turns {
    fn add(&self, turn: Turn, now: Instant) {
        let mut turns = self.0.lock().expect("no code panics while it holds the lock");
        if turns.len() >= TURNS_MAX {
            turns.iter_mut().for_each(|(due, _)| *due = now);
        }
        let due = now + Duration::from_millis(turn.left).saturating_sub(EARLY);
        turns.push((due, turn));
    }

    /// Takes those whose time has come.
    pub fn due(&self, now: Instant) -> Vec<Turn> {
        let mut turns = self.0.lock().expect("no code panics while it holds the lock");
        turns.extract_if(.., |(due, _)| *due <= now).map(|(_, turn)| turn).collect()
    }
}

impl Context {
    /// Takes up the rules that a master was found to have. `own`: the rules this node goes by anyway.
    pub fn learn(&self, lane: &Lane, found: &Found, own: &RuleList) -> Option<Turn> {
        let turn = self.routing.learn(lane.number, found, own);
        if !self.routing.is_settled(lane.number) {
            self.following.news.notify_one();
        }
        if found.is_new && !self.is_visitor {
            let news = Publication::bare(announcement::news(self.node).into());
            // Who does not hear it looks by itself. Nobody waits for it.
            drop(self.map.publish(&self.intake, announcement::channel(), news));
        }
        turn
    }

    /// The same, and has the hub hear of it in time.
    pub fn learn_and_tell(&self, lane: &Lane, found: &Found) {
        // A visitor goes by none of its own.
        let own = match self.is_visitor {
            true => RuleList::default(),
            false => Library::list(&self.rules),
        };
        if let Some(turn) = self.learn(lane, found, &own) {
            lane.turns.add(turn, Instant::now());
        }
    }

    /// Brings this node's rules to a master, or only reads those there where it has none to bring.
    pub async fn install(&self, lane: &Lane, past: &PastHistory) -> Result<(), QuestionError> {
        let found = lane.install(&self.library.current(), past, self.is_visitor).await?;
        self.learn_and_tell(lane, &found);
        Ok(())
    }

    /// Brings this node's new rules to all masters, and waits until they are about to hold.
    pub async fn bring_rules(&self) {
        let library = self.library.current();
        let lanes = self.map.lanes();
        let installs = lanes.iter().map(|lane| async {
            match lane.install(&library, &PastHistory::default(), self.is_visitor).await {
                Ok(found) => {
                    // All of them: in a moment this node's own are others. The hub looks for itself.
                    self.learn(lane, &found, &RuleList::default());
                    let pending = found.fleet.and_then(|fleet| fleet.rules_before(found.now));
                    pending.map_or(0, |(_, left)| left)
                }
                // Who cannot be asked now is told when it is connected again.
                Err(error) => {
                    telemetry::broker_did_not_answer(&error);
                    0
                }
            }
        });
        let left = join_all(installs).await.into_iter().max().unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(left).saturating_sub(EARLY_OF_OWN)).await;
    }
}

/// Looks at the rules of all masters, for ever.
pub async fn run(context: Arc<Context>) -> Infallible {
    let mut watch = Watch::default();
    let mut is_settled = true;
    loop {
        let pause = if is_settled { CHECK_INTERVAL } else { UNSETTLED_INTERVAL };
        let pause = pause.mul_f64(rand::random_range(0.5..=1.0));
        // Whether there is news or not.
        let _ = timeout(pause, context.following.news.notified()).await;
        let lanes = context.map.lanes();
        let numbers: Vec<_> = lanes.iter().map(|lane| lane.number).collect();
        context.routing.forget_others(&numbers);
        let looks = join_all(lanes.iter().map(|lane| look(&context, lane))).await;
        if looks.iter().all(|look| matches!(look, Ok(Look::Same))) {
            context.routing.nothing_has_changed();
        }
        is_settled = numbers.iter().all(|lane| context.routing.is_settled(*lane));
        let library = context.library.current();
        let fleets = context.routing.fleets();
        let other = fleets.iter().find(|fleet| !library.is_as_configured(fleet));
        watch.look(other.map(Fleet::installed_by), Instant::now());
    }
}

enum Look {
    Same,
    Changed,
}

/// Looks at the rules of one master, and tells it what this node has published past them.
async fn look(context: &Context, lane: &Lane) -> Result<Look, QuestionError> {
    let looked = context.install(lane, &PastHistory::default()).await;
    looked.inspect_err(|error| telemetry::broker_did_not_answer(error))?;
    if context.routing.is_settled(lane.number) {
        return Ok(Look::Same);
    }
    // What went out by the rules from before is answered; what comes later goes by the new ones.
    drop(timeout(FLIGHT_TIMEOUT, lane.flight.lock()).await);
    let past = context.routing.past();
    context.install(lane, &past).await?;
    context.routing.settle(lane.number);
    Ok(Look::Changed)
}

/// Whether the rules in Redis have been others than this node's for so long that somebody must hear.
#[derive(Default)]
struct Watch {
    since: Option<Instant>,
    told: Option<String>,
}

impl Watch {
    /// `other`: who installed rules that are not this node's. None: they are.
    fn look(&mut self, other: Option<&str>, now: Instant) {
        let Some(other) = other else {
            self.since = None;
            telemetry::rules_in_redis_differ(false);
            if self.told.take().is_some() {
                telemetry::rules_agree_again("redis");
            }
            return;
        };
        let since = *self.since.get_or_insert(now);
        if now.duration_since(since) < MISMATCH_LASTS {
            return;
        }
        telemetry::rules_in_redis_differ(true);
        if self.told.as_deref() != Some(other) {
            telemetry::rules_replaced_in_redis(other);
            self.told = Some(other.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_rules_in_redis_are_told_once_they_last_and_told_to_be_over() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        watch.look(Some("b"), start);
        watch.look(Some("b"), start + MISMATCH_LASTS / 2);
        assert_eq!(watch.told, None, "so it is while a fleet is given new rules");
        watch.look(Some("b"), start + MISMATCH_LASTS);
        assert_eq!(watch.told.as_deref(), Some("b"));
        watch.look(None, start + MISMATCH_LASTS);
        assert_eq!(watch.told, None);
        watch.look(Some("c"), start + MISMATCH_LASTS * 2);
        assert_eq!(watch.told, None, "it begins anew");
    }

    #[test]
    fn a_turn_is_told_before_its_rules_hold_and_too_many_at_once() {
        let (turns, now) = (Turns::default(), Instant::now());
        let turn = Turn { before: RuleList::default(), after: RuleList::default(), left: 1000 };
        turns.add(turn.clone(), now);
        assert_eq!(turns.due(now).len(), 0);
        assert_eq!(turns.due(now + Duration::from_millis(800)).len(), 1);
        for _ in 0..=TURNS_MAX {
            turns.add(turn.clone(), now);
        }
        assert_eq!(turns.due(now).len(), TURNS_MAX);
    }
}
