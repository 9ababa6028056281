//! Decides whether this node has so many more connections than its share that it sheds some. Plain
//! numbers, no I/O.

use std::time::Duration;

use tokio::time::Instant;

use super::shedding_backoff::SheddingBackoff;
use crate::drain::Config;
use crate::publication::NodeId;

/// A surplus that is never worth moving, because small numbers differ by chance.
const EXCESS_MIN: usize = 10;

/// The most connections that one step sheds per second, in percent of the node's; and the minimum, for nodes
/// with few.
const PERCENT_PER_SECOND_MAX: usize = 1;
const PER_SECOND_MIN: usize = 10;

/// The limit as a fraction of `drain.reconnects_per_second`, because other nodes may shed or drain too.
const SHARE_OF_RECONNECTS: usize = 10;

/// The longest step. After it, the node checks where the clients have reconnected.
const STEP_MAX: Duration = Duration::from_secs(60);

/// How long the node has had too many, with the same other nodes, and whether shedding helped.
#[derive(Debug, Default)]
pub struct Balance {
    since: Option<ImbalanceSince>,
    backoff: SheddingBackoff,
}

#[derive(Debug)]
struct ImbalanceSince {
    at: Instant,
    nodes: Vec<NodeId>,
}

/// How many connections to shed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SheddingStep {
    pub count: usize,
    pub within: Duration,
    /// The number the node keeps in any case: the mean.
    pub keep: usize,
}

impl Balance {
    /// Restarts the time.
    pub fn restart_wait(&mut self) {
        self.since = None;
    }

    /// `own`: the connections of this node, which keeps running; `others`: the other nodes that accept clients, with
    /// theirs.
    pub fn step(
        &mut self,
        own: usize,
        others: &[(NodeId, u64)],
        config: &Config,
        now: Instant,
    ) -> Option<SheddingStep> {
        let mean = mean(own, others);
        let tolerated = (mean.saturating_mul(config.rebalance_percent) / 100).max(EXCESS_MIN);
        let is_off = config.rebalance_percent == 0 || others.is_empty();
        if is_off || own <= mean.saturating_add(tolerated) {
            self.since = None;
            return None;
        }
        let nodes = || others.iter().map(|(node, _)| *node);
        let since = self.since.take().filter(|since| since.nodes.iter().copied().eq(nodes()));
        let since = since.unwrap_or_else(|| ImbalanceSince { at: now, nodes: nodes().collect() });
        let waited = now.saturating_duration_since(since.at);
        // Waits at least `rebalance_after`, so that the clients of the last step have reconnected when it is judged.
        if waited < config.rebalance_after
            || waited < self.backoff.wait(others, config.rebalance_after, now)
        {
            self.since = Some(since);
            return None;
        }
        // Sheds down to the mean and not to the tolerated surplus, because otherwise a few new clients would exceed it
        // again. Then the time restarts, so that clients can reconnect and nodes can announce them.
        let per_second = per_second(own, config.reconnects_per_second);
        let count = (own - mean).min(per_second * STEP_MAX.as_secs() as usize);
        let within = Duration::from_secs_f64(count as f64 / per_second as f64);
        self.backoff.tried(others, count, now);
        Some(SheddingStep { count, within, keep: mean })
    }
}

/// Rounded up, so that no node sheds below it.
fn mean(own: usize, others: &[(NodeId, u64)]) -> usize {
    let sum =
        others.iter().fold(own as u128, |sum, (_, connections)| sum + u128::from(*connections));
    // Other nodes' numbers are not trusted.
    usize::try_from(sum.div_ceil(others.len() as u128 + 1)).unwrap_or(usize::MAX)
}

fn per_second(own: usize, cap: usize) -> usize {
    let some = (own * PERCENT_PER_SECOND_MAX / 100).max(PER_SECOND_MIN);
    match cap {
        0 => some,
        cap => some.min((cap / SHARE_OF_RECONNECTS).max(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn config(percent: usize) -> Config {
        Config {
            rebalance_percent: percent,
            rebalance_after: Duration::from_secs(30),
            ..Config::read(&mut Settings::default())
        }
    }

    fn nodes<const N: usize>(connections: [u64; N]) -> [(NodeId, u64); N] {
        let mut nodes = connections.map(|connections| (NodeId::random(), connections));
        nodes.sort_unstable();
        nodes
    }

    /// The first step within `seconds`, at one look per second.
    fn first(
        balance: &mut Balance,
        own: usize,
        others: &[(NodeId, u64)],
        config: &Config,
        start: Instant,
        seconds: u64,
    ) -> Option<(u64, SheddingStep)> {
        (0..=seconds).find_map(|second| {
            let now = start + Duration::from_secs(second);
            balance.step(own, others, config, now).map(|step| (second, step))
        })
    }

    #[test]
    fn a_node_that_has_too_many_for_long_enough_sheds_down_to_the_mean() {
        let (mut balance, start) = (Balance::default(), Instant::now());
        let others = nodes([1000, 1000]);
        let config = config(20);
        let (second, step) =
            first(&mut balance, 4000, &others, &config, start, 100).expect("it has twice the mean");
        assert_eq!(second, 30);
        assert_eq!((step.count, step.keep), (2000, 2000));
        assert_eq!(step.within, Duration::from_secs(50), "1 % of 4000 a second");
        // Then it waits the same time again, or twice as long if no clients moved.
        let next = start + Duration::from_secs(31);
        let [(a, _), (b, _)] = others;
        let fuller = [(a, 1400), (b, 1400)];
        let (second, _) = first(&mut balance, 3000, &fuller, &config, next, 100).expect("again");
        assert_eq!(second, 30);
        let next = start + Duration::from_secs(62);
        let (second, _) = first(&mut balance, 3000, &fuller, &config, next, 100).expect("again");
        assert_eq!(second, 60);
    }

    #[test]
    fn a_tolerated_surplus_is_not_shed() {
        let others = nodes([1000]);
        for (own, percent, others) in [
            (1480, 20, &others[..]), // the mean is 1240, and 20 % above it 1488
            (4000, 0, &others[..]),
            (4000, 20, &[]),
            (18, 1, &nodes([0])[..]), // small numbers
            (500, 20, &others[..]),
            (0, 20, &nodes([0, 0])[..]),
            (usize::MAX / 1001, 20, &nodes([u64::MAX, u64::MAX])[..]),
        ] {
            let mut balance = Balance::default();
            let step = first(&mut balance, own, others, &config(percent), Instant::now(), 100);
            assert_eq!(step, None, "{own} beside {others:?}, {percent} %");
        }
        let mut balance = Balance::default();
        let step = first(&mut balance, 1520, &others, &config(20), Instant::now(), 100);
        assert_eq!(step.expect("more than 20 %").1.count, 260);
    }

    #[test]
    fn the_waiting_time_restarts_when_nodes_change_or_the_surplus_ends() {
        let (mut balance, start) = (Balance::default(), Instant::now());
        let at = |second| start + Duration::from_secs(second);
        let (two, three) = (nodes([100]), nodes([100, 100]));
        let config = config(20);
        assert_eq!(first(&mut balance, 500, &two, &config, start, 29), None);
        assert_eq!(first(&mut balance, 500, &three, &config, at(30), 29), None);
        assert_eq!(balance.step(110, &three, &config, at(60)), None);
        assert_eq!(first(&mut balance, 500, &three, &config, at(61), 29), None);
        assert!(balance.step(500, &three, &config, at(91)).is_some());
    }

    #[test]
    fn shedding_is_slow_and_one_step_takes_at_most_a_minute() {
        let mut config = config(20);
        config.rebalance_after = Duration::ZERO;
        let step = |own, config: &Config| {
            Balance::default().step(own, &nodes([0]), config, Instant::now()).expect("a step")
        };
        let large = step(1_000_000, &config);
        assert_eq!((large.count, large.within), (6000, STEP_MAX), "a tenth of the cap");
        config.reconnects_per_second = 0;
        assert_eq!(step(1_000_000, &config).count, 500_000, "1 % a second");
        config.reconnects_per_second = 5;
        assert_eq!(step(1000, &config).within, STEP_MAX);
        assert_eq!(step(60, &config).count, 30);
    }

    #[test]
    fn nodes_that_only_exchange_clients_shed_less_and_less_often() {
        let (mut a, mut b) = (Balance::default(), Balance::default());
        // The third node announces itself as serving, but no balancer sends it clients.
        let [one, other, third] = [(); 3].map(|()| NodeId::random());
        let (mut has, config, start) = ([3000_usize, 3000], config(20), Instant::now());
        let sorted = |node, count: usize| {
            let mut all = [(node, count as u64), (third, 0)];
            all.sort_unstable();
            all
        };
        let mut steps = Vec::new();
        for second in 0..4 * 3600 {
            let now = start + Duration::from_secs(second);
            let [at_a, at_b] = has;
            if let Some(step) = a.step(at_a, &sorted(other, at_b), &config, now) {
                has = [has[0] - step.count, has[1] + step.count];
                steps.push(second);
            }
            if let Some(step) = b.step(at_b, &sorted(one, at_a), &config, now) {
                has = [has[0] + step.count, has[1] - step.count];
                steps.push(second);
            }
        }
        // Without the backoff, one every 30 seconds.
        assert!(steps.len() <= 60, "{} steps in four hours", steps.len());
    }

    #[test]
    fn a_fleet_stops_shedding_when_it_is_balanced() {
        let (mut a, mut b) = (Balance::default(), Balance::default());
        let [one, other] = [(); 2].map(|()| NodeId::random());
        let (mut has, config, start) = ([10_000_usize, 0], config(10), Instant::now());
        let mut last = 0;
        for second in 0..3600 {
            let now = start + Duration::from_secs(second);
            let [at_a, at_b] = has;
            // Balancers distribute reconnecting clients evenly over the nodes.
            if let Some(step) = a.step(at_a, &[(other, at_b as u64)], &config, now) {
                has = [at_a - step.count / 2, at_b + step.count / 2];
                last = second;
            }
            if let Some(step) = b.step(at_b, &[(one, at_a as u64)], &config, now) {
                panic!("{step:?} of a node that had too few");
            }
        }
        assert!((4950..=5500).contains(&has[0]), "{has:?}");
        assert!(last < 1800, "still shedding after {last} s");
    }
}
