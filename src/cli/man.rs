//! `tidegate man`: the manual pages, made from the help texts.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Command};
use clap_mangen::Man;

use super::argument::wrong;
use super::examples;
use super::failure::Failure;
use super::print::print;

#[derive(Args)]
#[command(after_help = examples::MAN)]
pub struct Arguments {
    /// Prints the page of this command; without it, that of tidegate itself.
    command: Option<String>,
}

pub fn run(arguments: &Arguments, tidegate: Command) -> Result<ExitCode, Failure> {
    let mut page = tidegate;
    // Gives each command its full name too.
    page.build();
    if let Some(name) = &arguments.command {
        let command = page.find_subcommand(name);
        let command = command.ok_or_else(|| wrong(format!("there is no command {name:?}")))?;
        page = command.clone();
    }
    let mut roff = Vec::new();
    let page = Man::new(page).source(concat!("tidegate ", env!("CARGO_PKG_VERSION")));
    page.render(&mut roff).context("cannot write the page")?;
    let roff = String::from_utf8_lossy(&roff);
    // `clap_mangen` calls the text after the options EXTRA; `.nf` keeps the examples' lines.
    print(roff.replace(".SH EXTRA\nExamples:", ".SH EXAMPLES\n.nf"))?;
    Ok(ExitCode::SUCCESS)
}
