//! How many connections the host has room for.

mod facts;
mod memory;
mod network;
mod room;

pub use self::facts::Facts;
use self::room::{capacity_level, configured_connections};
use super::finding::{Finding, Level};
use super::sizes::{ROOM_MIN, many};
use crate::config::Config;
use crate::transport::RESERVED_FILES;

pub fn findings(facts: &Facts, config: &Config) -> Vec<Finding> {
    let mut findings = vec![open_files(facts, config)];
    findings.extend(all_files(facts, config));
    findings.extend(network::findings(facts, config));
    findings.extend(memory::findings(facts, config));
    findings.extend(processors(facts));
    findings
}

/// Open files that suffice for most nodes, if the number of connections is not configured.
const FILES_DEFAULT: usize = 65_536;

fn open_files(facts: &Facts, config: &Config) -> Finding {
    let fits = facts.open_files.saturating_sub(RESERVED_FILES);
    let measured = match facts.open_files {
        usize::MAX => "no limit".to_owned(),
        files => format!("{}: room for {} connections", many(files), many(fits)),
    };
    let files = match configured_connections(config) {
        Some(connections) => connections.saturating_add(RESERVED_FILES),
        None => FILES_DEFAULT.min(facts.nr_open.unwrap_or(FILES_DEFAULT)),
    };
    let why = match configured_connections(config) {
        Some(wanted) => format!(
            "each connection is a file, and limits.connections_max is {}: clients beyond the room are answered \
             503",
            many(wanted)
        ),
        None => {
            "each connection is a file, and 128 files are reserved for other uses; clients beyond that are \
                 answered 503"
                .to_owned()
        }
    };
    let above = match facts.nr_open {
        Some(nr_open) if nr_open < files => format!("sysctl -w fs.nr_open={files}, then "),
        _ => String::new(),
    };
    let remedy = format!(
        "{above}LimitNOFILE={files} in the systemd unit, --ulimit nofile={files} for a container, or \
         ulimit -Hn {files}, all as root: only root may raise a hard limit; the node raises its soft limit \
         itself"
    );
    Finding::new(capacity_level(fits, config), "open files", measured, why, remedy)
}

/// The limit of all processes together.
fn all_files(facts: &Facts, config: &Config) -> Option<Finding> {
    let (used, max) = facts.all_files?;
    let left = max.saturating_sub(used);
    // Current systems allow practically any number.
    let measured = match max {
        max if max > 1 << 40 => "no limit".to_owned(),
        max => format!("{} of {} used", many(used), many(max)),
    };
    let level = match capacity_level(left, config) {
        Level::Ok if left < facts.open_files.min(ROOM_MIN) => Level::Warning,
        level => level,
    };
    // The same again for the rest of the host.
    let max = configured_connections(config)
        .unwrap_or(FILES_DEFAULT)
        .saturating_mul(2)
        .max(max.saturating_mul(2));
    let why = "all processes of the host share these";
    Some(Finding::new(
        level,
        "files of the host",
        measured,
        why,
        format!("sysctl -w fs.file-max={max}, as root"),
    ))
}

fn processors(facts: &Facts) -> Option<Finding> {
    let processors = facts.processors?;
    let measured = format!("{}", (processors * 10.0).round() / 10.0);
    let level = if processors < 1.0 { Level::Warning } else { Level::Ok };
    let why = "a control group with less than one processor stops the node for the rest of each 100 ms once its \
               share is used: all clients wait, and during a storm of reconnects probes fail";
    let remedy = "a CPU limit of 1 or more, or none and only a request";
    Some(Finding::new(level, "processors", measured, why, remedy))
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::config::Sources;

    /// A configuration with these settings.
    pub fn config(flags: &[&str]) -> Config {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Config::load(&Sources { flags, ..Sources::default() }).unwrap()
    }

    fn facts() -> Facts {
        Facts {
            open_files: 100_064,
            all_files: Some((1_000, usize::MAX)),
            processors: Some(2.0),
            ..Facts::default()
        }
    }

    fn of<'a>(findings: &'a [Finding], subject: &str) -> &'a Finding {
        findings.iter().find(|finding| finding.subject == subject).expect(subject)
    }

    #[test]
    fn too_few_open_files_for_the_connections_are_reported() {
        let with = |open_files, flags: &[&str]| {
            open_files_of(&Facts { open_files, nr_open: Some(1 << 20), ..facts() }, flags)
        };
        assert_eq!(with(1024, &[]).level, Level::Warning);
        assert_eq!(with(1024, &["limits.connections_max=896"]).level, Level::Ok);
        assert_eq!(with(1 << 20, &[]).level, Level::Ok);
        let short = with(1024, &["limits.connections_max=50000"]);
        assert_eq!(short.level, Level::Problem);
        assert!(short.measured.contains("room for 896 connections"), "{short:?}");
        assert!(short.remedy.contains("LimitNOFILE=50128"), "{short:?}");
        let large = with(1024, &["limits.connections_max=5000000"]);
        assert!(large.remedy.contains("fs.nr_open=5000128"), "{large:?}");
    }

    #[test]
    fn without_connections_max_the_proposed_file_limit_is_one_that_can_be_set() {
        let remedy = |nr_open| {
            open_files_of(&Facts { open_files: 256, nr_open: Some(nr_open), ..facts() }, &[]).remedy
        };
        let usual = remedy(1 << 20);
        assert!(usual.starts_with("LimitNOFILE=65536 ") && usual.contains("as root"), "{usual}");
        assert!(remedy(4096).starts_with("LimitNOFILE=4096 "), "{}", remedy(4096));
    }

    fn open_files_of(facts: &Facts, flags: &[&str]) -> Finding {
        of(&findings(facts, &config(flags)), "open files").clone()
    }

    #[test]
    fn too_few_files_of_the_host_and_less_than_one_processor_are_reported() {
        let well = findings(&facts(), &config(&[]));
        assert!(well.iter().all(|finding| finding.level == Level::Ok), "{well:#?}");
        let scarce = Facts { all_files: Some((9_000, 10_000)), processors: Some(0.5), ..facts() };
        let found = findings(&scarce, &config(&[]));
        let files = of(&found, "files of the host");
        assert_eq!(files.level, Level::Warning);
        assert!(files.remedy.contains("fs.file-max=131072,"), "{files:?}");
        assert_eq!(of(&found, "processors").level, Level::Warning);
        let found = findings(&scarce, &config(&["limits.connections_max=5000"]));
        assert_eq!(of(&found, "files of the host").level, Level::Problem);
    }
}
