use super::*;
use crate::broker::redis::functions::fleet::SETTLE_MILLIS;
use crate::publication::Channel;
use crate::rules::Rules;

const LANE: u32 = 1;
const OFF: u32 = 0;
const ON: u32 = 5;

/// A server's clock and rules, and one node's view of them.
struct Stage {
    now: u64,
    fleet: LibraryFleet,
    node: Routing,
    /// The rules that the node uses.
    own: Arc<RuleTable>,
    installs: u64,
}

impl Stage {
    /// With rules that keep `size` entries of the channel `h`, which the node knows.
    fn with(size: u32) -> Self {
        let now = 1_000_000;
        let mut stage = Self {
            now,
            fleet: LibraryFleet { kept_since: vec![now], ..fleet(size) },
            node: Routing::default(),
            own: own(size),
            installs: 0,
        };
        stage.check();
        stage
    }

    /// A node installs these rules.
    fn install(&mut self, size: u32) {
        self.installs += 1;
        let new = LibraryFleet { since: self.installs, ..fleet(size) };
        self.fleet = new.replacing(&self.fleet, self.now);
    }

    fn found(&self) -> Found {
        Found {
            fleet: Some(self.fleet.clone()),
            now: self.now,
            started_at: self.now,
            is_new: false,
        }
    }

    /// Nothing is in flight when the read begins.
    fn begin_read(&self) -> RulesRead {
        let number = self.node.plain_publishes.begin();
        RulesRead { number, unanswered_since: number }
    }

    fn read(&self) {
        _ = self.node.learn(LANE, self.begin_read(), &self.found(), Some(self.own.clone()));
    }

    /// What the node does periodically, and when it learned of a change.
    fn check(&mut self) {
        self.read();
        if self.node.is_settled(LANE) {
            return;
        }
        let before = self.begin_read();
        let report = self.node.begin_report(LANE);
        self.fleet.interrupt(&report.bypassed, self.now);
        self.read();
        self.node.end_report(LANE, &report, true, before.unanswered_since);
    }

    fn wait(&mut self, millis: u64) {
        self.now += millis;
    }

    /// The node publishes to `h`. Returns whether it appends.
    fn publish(&self) -> bool {
        let appends =
            self.own.of("h").history.is_some() || self.node.appends_besides(&self.own, "h");
        if !appends {
            self.node.plain_publishes.published(&Channel::new("h").unwrap());
        }
        appends
    }

    /// Since when the function keeps the history of `h`.
    fn kept_since(&self) -> Option<u64> {
        let before = self.fleet.rules_before(self.now);
        before.map_or_else(|| self.fleet.rules(), |(before, _)| before).kept_since("h")
    }
}

fn fleet(size: u32) -> LibraryFleet {
    LibraryFleet { rules: vec![("^h$".to_owned(), size, 600_000)], ..LibraryFleet::default() }
}

/// A node's rules that keep as many entries of `h`.
fn own(size: u32) -> Arc<RuleTable> {
    let rules = match size {
        OFF => r#"[{ pattern = "h" }]"#.to_owned(),
        _ => format!(r#"[{{ pattern = "h", history = {{ size = {size}, age = "10m" }} }}]"#),
    };
    Rules::of_text(&rules).current()
}

#[test]
fn a_master_without_rules_is_known_and_settled_once_read() {
    let routing = Routing::default();
    assert!(!routing.is_known() && !routing.appends("h:1"));
    let read = RulesRead { number: 1, unanswered_since: 1 };
    assert!(routing.learn(1, read, &Found::default(), None).is_none());
    assert!(routing.is_known() && routing.is_settled(1) && !routing.appends("h:1"));
}

#[test]
fn a_node_whose_own_rules_end_a_history_early_appends_until_redis_ends_it() {
    let mut stage = Stage::with(ON);
    stage.install(OFF);
    stage.check();
    stage.wait(SETTLE_MILLIS - 100);
    // The node reads the rules once more, and uses its new ones a moment before they take effect.
    stage.check();
    stage.own = own(OFF);
    assert!(stage.publish(), "redis still keeps the history");
    // Others switch history on again before it was off.
    let kept_since = stage.kept_since();
    stage.install(ON);
    assert!(stage.publish());
    stage.check();
    assert_eq!(stage.kept_since(), kept_since);
    stage.wait(2 * SETTLE_MILLIS);
    assert_eq!(stage.kept_since(), kept_since);
    assert!(stage.publish());
}

#[test]
fn a_history_that_a_node_bypassed_begins_again_even_while_newer_rules_are_pending() {
    let mut stage = Stage::with(OFF);
    // The node does not hear of rules that keep history, and publishes plainly.
    stage.install(ON);
    stage.wait(SETTLE_MILLIS);
    let kept_since = stage.kept_since().expect("it is kept");
    stage.wait(5);
    assert!(!stage.publish());
    // Other rules that keep the same history are pending when the node reads them.
    stage.install(ON + 1);
    stage.wait(5);
    stage.check();
    let again = stage.kept_since();
    assert_eq!(again, Some(stage.now), "not {kept_since}");
    assert_eq!(stage.fleet.rules().kept_since("h"), again);
    assert!(stage.publish());
}

#[test]
fn a_history_that_a_node_learned_of_in_time_does_not_begin_again_however_late_it_is_checked() {
    let mut stage = Stage::with(OFF);
    assert!(!stage.publish());
    stage.install(ON);
    stage.read();
    let kept_since = stage.fleet.rules().kept_since("h");
    assert!(stage.publish());
    // The node is busy until the rules are in force.
    stage.wait(SETTLE_MILLIS + 300);
    stage.check();
    assert!(stage.node.is_settled(LANE));
    assert_eq!(stage.kept_since(), kept_since);
}

#[test]
fn a_history_that_a_node_switches_on_itself_does_not_begin_again_if_the_node_learns_of_it_late() {
    let mut stage = Stage::with(OFF);
    assert!(!stage.publish());
    let (read, started_at) = (stage.begin_read(), stage.now);
    stage.install(ON);
    let kept_since = stage.fleet.rules().kept_since("h");
    // The answer to its installation arrives late.
    stage.wait(SETTLE_MILLIS + 300);
    let found = Found { started_at, ..stage.found() };
    _ = stage.node.learn(LANE, read, &found, Some(stage.own.clone()));
    stage.check();
    assert!(stage.node.is_settled(LANE));
    assert_eq!(stage.kept_since(), kept_since);
}

#[test]
fn a_publication_past_a_history_that_a_node_learns_of_late_makes_it_begin_again() {
    let mut stage = Stage::with(OFF);
    stage.install(ON);
    stage.wait(SETTLE_MILLIS + 10);
    assert!(!stage.publish(), "the node does not know");
    stage.wait(10);
    stage.check();
    assert!(stage.node.is_settled(LANE));
    assert_eq!(stage.kept_since(), Some(stage.now));
}

#[test]
fn a_publication_that_was_in_flight_when_rules_took_effect_makes_the_history_begin_again() {
    let mut stage = Stage::with(OFF);
    let in_flight = stage.node.plain_publishes.newest();
    assert!(!stage.publish());
    stage.install(ON);
    let read = RulesRead { unanswered_since: in_flight, ..stage.begin_read() };
    _ = stage.node.learn(LANE, read, &stage.found(), Some(stage.own.clone()));
    stage.wait(SETTLE_MILLIS + 300);
    stage.check();
    assert_eq!(stage.kept_since(), Some(stage.now));
}

#[test]
fn the_answer_to_an_older_read_of_the_rules_does_not_displace_that_to_a_newer_one() {
    let mut stage = Stage::with(OFF);
    let (older, found) = (stage.begin_read(), stage.found());
    stage.install(ON);
    stage.read();
    assert!(stage.publish());
    assert!(stage.node.learn(LANE, older, &found, Some(stage.own.clone())).is_none());
    assert!(stage.publish(), "the older answer displaced the newer one");
    assert!(!stage.node.is_settled(LANE), "the rules are read again");
    stage.check();
    assert!(stage.node.is_settled(LANE) && stage.publish());
}
