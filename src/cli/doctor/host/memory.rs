//! Whether memory suffices for the configured connections.

use super::super::finding::{Finding, Level};
use super::super::sizes::{KERNEL_BYTES, bytes, connection_bytes, many};
use super::facts::Facts;
use super::room::{capacity_level, configured_connections};
use crate::config::Config;

/// The node's memory without connections, including rules and histories being read.
const BASE_BYTES: usize = 64 << 20;

/// The percentage of its memory limit from which a node refuses connections (docs/operating/limits.md).
const USABLE_PERCENT: usize = 85;

/// If fewer slow consumers than this can fill the memory, that is a warning.
const SLOW_MIN: usize = 100;

pub fn findings(facts: &Facts, config: &Config) -> Vec<Finding> {
    if facts.memory == 0 {
        return Vec::new();
    }
    [Some(ceiling(facts, config)), Some(connections(facts, config)), Some(queues(facts, config))]
        .into_iter()
        .chain([kernel(facts, config)])
        .flatten()
        .collect()
}

/// The effective value of `limits.memory_max`.
fn memory_max(facts: &Facts, config: &Config) -> usize {
    match config.limits.memory_max {
        0 => facts.memory / 10 * 9,
        max => max,
    }
}

fn ceiling(facts: &Facts, config: &Config) -> Finding {
    let max = memory_max(facts, config);
    let measured = format!("limits.memory_max is {} of {}", bytes(max), bytes(facts.memory));
    let level = match max {
        max if max > facts.memory => Level::Problem,
        max if max / 95 > facts.memory / 100 => Level::Warning,
        _ => Level::Ok,
    };
    let why = "the system kills the process before the node can shed load itself, which disconnects all its clients \
               at once; socket buffers count too";
    let remedy = "leave limits.memory_max unset, which means nine tenths of the available memory; or allow more memory";
    Finding::new(level, "memory ceiling", measured, why, remedy)
}

/// The node's own memory; the kernel's is not part of `limits.memory_max`.
fn connections(facts: &Facts, config: &Config) -> Finding {
    let each = connection_bytes(config);
    let usable = memory_max(facts, config) / 100 * USABLE_PERCENT;
    let fits = usable.saturating_sub(BASE_BYTES) / each;
    let measured = format!("room for {} idle connections at {} each", many(fits), bytes(each));
    let why = "the node cannot shed the memory of idle connections: from 85 % of its limit it is not ready and \
               refuses new connections";
    let connections = configured_connections(config).unwrap_or_default();
    let remedy = format!(
        "memory for {} more, or a smaller limits.connections_max",
        bytes((connections * each + BASE_BYTES).saturating_sub(usable))
    );
    Finding::new(capacity_level(fits, config), "memory of connections", measured, why, remedy)
}

/// The kernel's memory, which the control group counts and `limits.memory_max` does not.
fn kernel(facts: &Facts, config: &Config) -> Option<Finding> {
    let connections = configured_connections(config)?;
    let kernel = connections.saturating_mul(KERNEL_BYTES);
    let left = facts.memory.saturating_sub(memory_max(facts, config));
    let needed = connection_bytes(config) * connections + BASE_BYTES + kernel;
    let level = match kernel {
        _ if needed > facts.memory => Level::Problem,
        kernel if kernel > left => Level::Warning,
        _ => Level::Ok,
    };
    let measured = format!(
        "{} for {} idle connections; {} are left beside limits.memory_max",
        bytes(kernel),
        many(connections),
        bytes(left)
    );
    let why = "the control group counts sockets and limits.memory_max does not: the system may kill the process \
               while the node still has room by its own measure";
    let remedy = match level {
        Level::Problem => format!("{} of memory or more, or fewer connections", bytes(needed)),
        _ => format!("limits.memory_max = \"{}MiB\"", facts.memory.saturating_sub(kernel) >> 20),
    };
    Some(Finding::new(level, "memory of the kernel", measured, why, remedy))
}

fn queues(facts: &Facts, config: &Config) -> Finding {
    let each = config.session.queue_bytes_max;
    let slow = memory_max(facts, config).saturating_sub(BASE_BYTES) / each;
    let measured = format!("{} slow consumers with {} each fill it", many(slow), bytes(each));
    let level = if slow < SLOW_MIN { Level::Warning } else { Level::Ok };
    let why = "each slow consumer may have session.queue_bytes_max queued; when memory is short, the node closes \
               those with the most (1013), and accepts no new connections meanwhile";
    let remedy = "a smaller session.queue_bytes_max, or more memory";
    Finding::new(level, "memory of queues", measured, why, remedy)
}

#[cfg(test)]
mod tests {
    use super::super::tests::config;
    use super::*;

    fn level(memory: usize, flags: &[&str], subject: &str) -> Option<Level> {
        let found = findings(&Facts { memory, ..Facts::default() }, &config(flags));
        found.iter().find(|finding| finding.subject == subject).map(|finding| finding.level)
    }

    #[test]
    fn a_memory_max_above_the_available_memory_is_a_problem() {
        let of = |flags: &[&str]| level(1 << 30, flags, "memory ceiling");
        assert_eq!(of(&[]), Some(Level::Ok));
        assert_eq!(of(&["limits.memory_max=1000MiB"]), Some(Level::Warning));
        assert_eq!(of(&["limits.memory_max=2GiB"]), Some(Level::Problem));
        assert_eq!(level(0, &[], "memory ceiling"), None, "the system does not say");
    }

    #[test]
    fn too_little_memory_for_the_connections_is_reported() {
        let of = |memory, max: &str| {
            level(memory, &[&format!("limits.connections_max={max}")], "memory of connections")
        };
        assert_eq!(of(1 << 30, "200000"), Some(Level::Ok));
        assert_eq!(of(1 << 30, "300000"), Some(Level::Problem));
        assert_eq!(of(100 << 20, "0"), Some(Level::Warning));
    }

    #[test]
    fn too_little_memory_for_the_kernel_is_reported() {
        let of = |max: &str| {
            level(1 << 30, &[&format!("limits.connections_max={max}")], "memory of the kernel")
        };
        assert_eq!(of("0"), None, "limits.connections_max is not set");
        assert_eq!(of("20000"), Some(Level::Ok));
        assert_eq!(of("50000"), Some(Level::Warning));
        assert_eq!(of("200000"), Some(Level::Problem));
    }

    #[test]
    fn too_few_slow_consumers_that_fill_the_memory_are_a_warning() {
        let of = |flags: &[&str]| level(1 << 30, flags, "memory of queues");
        assert_eq!(of(&[]), Some(Level::Ok));
        assert_eq!(of(&["session.queue_bytes_max=64MiB"]), Some(Level::Warning));
    }
}
