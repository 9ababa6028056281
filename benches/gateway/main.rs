//! Measurements of a node's CPU, memory and throughput with a real redis-server. `README.md` explains the results.
//!
//! | file | contains |
//! | --- | --- |
//! | `fanout` `flood` `memory` `event_streams` `protocols` `publish` `history` `receive` `connect` `events` `order` `slowloris` `runs` | one measurement each |
//! | `node` `redis` `floor` | the processes: the node under test, its Redis, the minimal server for comparison |
//! | `contender` | a node with subscribers of one kind, compared with others |
//! | `client` `connection` `frame` `json` `mqtt` | the load generator |
//! | `process` `cores` `table` | CPU and memory of a process, pinning, the table of results |

#![expect(
    clippy::disallowed_methods,
    reason = "the bench has one thread and no runtime: it sleeps to pace and to wait"
)]

mod client;
mod connect;
mod connection;
mod contender;
mod cores;
mod event_streams;
mod events;
mod fanout;
mod flood;
mod floor;
mod frame;
mod history;
mod json;
mod memory;
mod mqtt;
mod node;
mod order;
mod process;
mod protocols;
mod publish;
mod receive;
mod redis;
mod runs;
mod slowloris;
mod table;

use std::process::ExitCode;

use anyhow::Result;

use crate::table::{Length, Table};

type Measurement = fn(Length, &mut Table) -> Result<()>;

const MEASUREMENTS: [(&str, Measurement); 13] = [
    ("fanout", fanout::measure),
    ("flood", flood::measure),
    ("memory", memory::measure),
    ("event_streams", event_streams::measure),
    ("protocols", protocols::measure),
    ("publish", publish::measure),
    ("history", history::measure),
    ("receive", receive::measure),
    ("connect", connect::measure),
    ("events", events::measure),
    ("order", order::measure),
    ("slowloris", slowloris::measure),
    ("runs", runs::measure),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, payload] = arguments.as_slice()
        && first == floor::ARGUMENT
    {
        return match floor::serve(payload) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => report_failure("the floor", &error),
        };
    }
    // Cargo adds `--bench`; each argument that is no flag names a measurement.
    let (flags, names): (Vec<_>, Vec<_>) =
        arguments.into_iter().partition(|argument| argument.starts_with('-'));
    let length =
        if flags.iter().any(|flag| flag == "--quick") { Length::Quick } else { Length::Full };
    if let Some(unknown) =
        names.iter().find(|name| MEASUREMENTS.iter().all(|(known, _)| known != name))
    {
        let known = MEASUREMENTS.map(|(name, _)| name).join(", ");
        eprintln!("no measurement is named {unknown}; there are {known} (and --quick)");
        return ExitCode::from(2);
    }
    run(length, &names)
}

/// Runs the named measurements, or all. A measurement that fails is a failure; a missed goal is not.
fn run(length: Length, names: &[String]) -> ExitCode {
    let mut table = Table::default();
    let mut code = ExitCode::SUCCESS;
    for (name, measure) in MEASUREMENTS {
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            println!("{name}");
            if let Err(error) = measure(length, &mut table) {
                code = report_failure(name, &error);
                table.add_failed(name);
            }
        }
    }
    println!("\n{table}");
    code
}

fn report_failure(what: &str, error: &anyhow::Error) -> ExitCode {
    eprintln!("{what} failed: {error:#}");
    ExitCode::FAILURE
}
