//! `tidegate doctor`: checks this host, Redis and the configuration for problems under load, and shows how to fix
//! them. Changes nothing, and always ends: each wait has a limit.

mod finding;
mod host;
mod intermediaries;
mod redis;
mod report;
mod settings;
mod sizes;

use std::process::ExitCode;

use self::finding::{Finding, Level, ReportSection};
use super::failure::{EXIT_FAILURE, Failure};
use super::print::print;
use super::runtime::small_runtime;
use crate::broker;
use crate::config::Config;

/// Exits 0 if there are no problems, only warnings or hints; else 1.
pub fn run(config: &Config, json: bool) -> Result<ExitCode, Failure> {
    let runtime = small_runtime()?;
    let survey = runtime.block_on(broker::survey(&config.broker));
    // Does not wait for a pending name lookup.
    runtime.shutdown_background();
    let mut parts = vec![ReportSection::new("Host", host::findings(&host::Facts::read(), config))];
    parts.extend(redis::parts(survey.as_ref(), config));
    parts.push(ReportSection::new(
        "Configuration",
        settings::findings(config, &settings::Environment::read()),
    ));
    let text = if json {
        report::json(&parts)
    } else {
        report::text(&parts, report::Colouring::of_stdout())
    };
    print(format!("{text}\n"))?;
    let findings = || parts.iter().flat_map(|part| &part.findings);
    let has_problem = findings().any(|Finding { level, .. }| *level == Level::Problem);
    Ok(if has_problem { ExitCode::from(EXIT_FAILURE) } else { ExitCode::SUCCESS })
}
