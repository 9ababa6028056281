//! The references are made from the code, so that they cannot go stale. `make docs` writes them
//! anew; the tests here only compare.

mod pages;
mod records;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use tidegate::close::Close;
use tidegate::config::{Config, Sources};
use tidegate::protocol::Format;
use tidegate::settings::Known;
use tidegate::telemetry::{Levels, exposition};

/// Set by `make docs`: write the files rather than compare them.
const UPDATE: &str = "UPDATE_DOCS";

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn is_as_generated(name: &str, generated: &str) {
    if std::env::var_os(UPDATE).is_some() {
        fs::write(path(name), generated).expect("the file can be written");
    }
    let there = fs::read_to_string(path(name)).unwrap_or_default();
    assert!(there == generated, "{name} is not what the code says; run `make docs`");
}

fn known() -> Vec<Known> {
    Config::load(&Sources::default()).expect("the defaults are valid").known
}

/// Keys by section, in the order the code reads them.
fn sections() -> Vec<(String, Vec<Known>)> {
    let mut sections: Vec<(String, Vec<Known>)> = Vec::new();
    for known in known() {
        let section = known.split().0.to_owned();
        match sections.last_mut() {
            Some((name, keys)) if *name == section => keys.push(known),
            _ => sections.push((section, vec![known])),
        }
    }
    sections
}

#[test]
fn config_reference() {
    let mut text = String::from(
        "# Configuration\n\n\
         <!-- Made from the code by `make docs`. -->\n\n\
         Settings come from the defaults, a file (`--config FILE`, TOML or YAML), the environment \
         (`TIDEGATE__SECTION__KEY`) and flags (`--set section.key=value`); later ones win. \
         Everything is checked before anything is bound, and all faults are shown at once.\n\n\
         `tidegate check` prints the effective configuration and where each value came from, \
         secrets masked. In the environment and in flags, a list is separated by commas. \
         `config/default.toml` is this page as a file; `config/production.toml` is an example.\n\n\
         A node reads its configuration again on SIGHUP and when one of its files has changed. Keys \
         marked ⟳ take effect then, without dropping anyone; others need a restart. A configuration with \
         faults is refused, and the old one goes on.\n",
    );
    for (section, keys) in sections() {
        let title = match section.strip_suffix("[]") {
            Some(list) => format!("`[[{list}]]`"),
            None if section.is_empty() => "At the top".to_owned(),
            None => format!("`[{section}]`"),
        };
        write!(text, "\n## {title}\n").unwrap();
        let (lists, keys): (Vec<_>, Vec<_>) =
            keys.into_iter().partition(|known| known.split().1.is_empty());
        for Known { doc, allowed, effective, .. } in &lists {
            let name = section.trim_end_matches("[]");
            let (flag, variable) =
                (format!("--set '{name}=…'"), name.to_uppercase().replace('.', "__"));
            write!(
                text,
                "\n{doc}\n\nThis is {allowed}; one that is given later replaces all of an earlier one. \
                 `{flag}` and `TIDEGATE__{variable}` take it as TOML:\n\n\
                 ```toml\n{effective}\n```\n"
            )
            .unwrap();
        }
        write!(text, "\n| key | default | allowed | |\n| --- | --- | --- | --- |\n").unwrap();
        for known in keys {
            let default = match known.default.as_str() {
                "" => "not set".to_owned(),
                default => format!("`{default}`"),
            };
            let (key, allowed, doc) = (known.split().1, &known.allowed, known.doc);
            let live = if Config::is_live(&known.key) { " ⟳" } else { "" };
            writeln!(text, "| `{key}`{live} | {default} | {allowed} | {doc} |").unwrap();
        }
    }
    is_as_generated("docs/CONFIG.md", &text);
}

#[test]
fn default_configuration_file() {
    let mut text = String::from(
        "# Every key with its default. Made from the code by `make docs`; docs/CONFIG.md says more.\n",
    );
    for (section, keys) in sections() {
        if section.ends_with("[]") {
            text.push_str(&example(&keys));
            continue;
        }
        if !section.is_empty() {
            write!(text, "\n[{section}]\n").unwrap();
        }
        for known in keys {
            writeln!(text, "\n# {}", wrapped(known.doc)).unwrap();
            writeln!(text, "# {}.", wrapped(&known.allowed)).unwrap();
            let key = known.split().1;
            match known.default.as_str() {
                "" => writeln!(text, "# {key} =").unwrap(),
                default => writeln!(text, "{key} = {default}").unwrap(),
            }
        }
    }
    is_as_generated("config/default.toml", &text);
    let written =
        Config::load(&Sources { file: Some(path("config/default.toml")), ..Sources::default() })
            .expect("the default file is valid");
    for (written, default) in written.known.iter().zip(known()) {
        assert_eq!((&written.key, &written.effective), (&default.key, &default.effective));
    }
}

/// A table of a list that is empty by default, behind `#`.
fn example(keys: &[Known]) -> String {
    let mut text = String::new();
    for known in keys {
        let (list, key) = known.split();
        write!(text, "\n# {}\n# {}.\n", wrapped(known.doc), wrapped(&known.allowed)).unwrap();
        match key {
            "" => writeln!(text, "# [[{}]]", list.trim_end_matches("[]")).unwrap(),
            key => {
                let line = format!("# {key} = {}", known.effective);
                writeln!(text, "{}", line.trim_end()).unwrap();
            }
        }
    }
    text
}

/// Comment lines of at most 100 characters.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        if lines.last().is_some_and(|line| line.len() + word.len() > 96) {
            lines.push(String::new());
        }
        let line = lines.last_mut().expect("there is a first line");
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.join("\n# ")
}

#[test]
fn command_line_reference() {
    let mut text = String::from(
        "# Command line\n\n\
         <!-- Made from the code by `make docs`. -->\n\n\
         What `tidegate --help` and `tidegate COMMAND --help` print. `tidegate man` prints the same as manual pages, and \
         `tidegate completion SHELL` a script that completes commands and options.\n\n\
         Every command writes what was asked for to standard output and everything else to standard error, one clear line \
         each. Exit codes: 0 success, 2 configuration or usage, 1 anything else.\n\n\
         `publish` and `subscribe` go through `broker.url` as any service does, so they need Redis. What the channels \
         keep, `publish` takes from the rules that the nodes have installed there, and `subscribe`, to catch up, from those of \
         the configuration: give it the nodes' own (`--config FILE`). `publish --http URL` asks a node instead, and needs \
         neither. With `--json` a publication is one object a line, \
         `{\"type\":\"publication\",\"channel\":…,\"data\"|\"text\"|\"base64\":…,\"position\":…,\"user\":…,\"time\":…}`, \
         as in the json protocol ([PROTOCOL.md](PROTOCOL.md)), and where publications may be missing there is \
         `{\"type\":\"gap\",\"channel\":…,\"reason\":…}`: for the protocol's reasons, or `output_too_slow`, where \
         standard output was not read in time and the channel has no history to read it from again.\n",
    );
    let mut tidegate = tidegate::cli::command().term_width(100);
    tidegate.build();
    let names: Vec<String> =
        tidegate.get_subcommands().map(|it| it.get_name().to_owned()).collect();
    let mut add = |command: &mut clap::Command, title: &str| {
        write!(text, "\n## {title}\n\n```text\n{}\n```\n", help(command)).unwrap();
    };
    add(&mut tidegate, "tidegate");
    for name in names.iter().filter(|name| *name != "help") {
        let command = tidegate.find_subcommand_mut(name).expect("it is one of them");
        add(command, &format!("tidegate {name}"));
    }
    is_as_generated("docs/CLI.md", &text);
}

/// What `--help` prints, without white space at the ends of lines.
fn help(command: &mut clap::Command) -> String {
    let help = command.render_help().to_string();
    help.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

#[test]
fn production_example_is_valid() {
    let sources = Sources {
        file: Some(path("config/production.toml")),
        environment: vec![("TIDEGATE__INTERNAL__API_KEY".into(), "0123456789abcdef".into())],
        ..Sources::default()
    };
    let config = Config::load(&sources).expect("the production example is valid");
    assert!(!config.demo, "no demo page in production");
    assert!(!config.server.listen.ip().is_loopback());
}

#[test]
fn metrics_reference() {
    let mut text = String::from(
        "# Metrics\n\n\
         <!-- Made from the code by `make docs`. -->\n\n\
         `GET /metrics` on the internal listener, in Prometheus' text format. All are there from \
         the start, at zero. No label carries a channel, a user or a session: their number does \
         not grow with traffic. Histograms have one set of buckets, 10 µs to 10 s, so that \
         replicas can be added up.\n\n\
         | metric | type | labels | |\n| --- | --- | --- | --- |\n",
    );
    let exposition = exposition(Levels::default());
    let mut helps: BTreeMap<&str, &str> = BTreeMap::new();
    for line in exposition.lines() {
        if let Some((name, help)) =
            line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' '))
        {
            helps.insert(name, help);
        }
        let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        else {
            continue;
        };
        let labels = labels(&exposition, name);
        writeln!(text, "| `{name}` | {kind} | {labels} | {} |", helps[name]).unwrap();
    }
    is_as_generated("docs/METRICS.md", &text);
}

/// A metric's labels and their values, which are all there from the start.
fn labels(exposition: &str, name: &str) -> String {
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for sample in exposition.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')) {
        let (pairs, _) = sample.split_once('}').expect("labels end");
        for (label, value) in pairs.split(',').filter_map(|pair| pair.split_once('=')) {
            labels.entry(label).or_default().insert(value.trim_matches('"'));
        }
    }
    let written = labels.iter().map(|(label, values)| {
        let values: Vec<&str> = values.iter().copied().collect();
        format!("`{label}`: {}", values.join(", "))
    });
    written.collect::<Vec<_>>().join("; ")
}

#[test]
fn close_codes_page_names_every_close_code() {
    let page = fs::read_to_string(path("docs/protocol/close-codes.md")).expect("the page is there");
    for close in Close::EACH {
        // A close frame's payload begins with its code.
        let frame = Format::Json.close(close).expect("it says why it ends");
        if let Some([high, low]) = frame.get(2..4) {
            let code = u16::from_be_bytes([*high, *low]);
            assert!(
                page.contains(&code.to_string()),
                "docs/protocol/close-codes.md does not name {code}"
            );
        }
    }
}

/// What the first screens of README.md have to have, in this order.
const README_LEADS_WITH: [&str; 8] = [
    "# Tidegate",
    "prefers-color-scheme: dark",
    "make run",
    "make test",
    "A fresh machine needs",
    "docs/images/demo.png",
    "## Five minutes",
    "make bench",
];

#[test]
fn the_readme_leads_with_its_purpose_the_two_commands_and_what_they_need() {
    let readme = fs::read_to_string(path("README.md")).expect("README.md is there");
    let places = README_LEADS_WITH
        .map(|text| readme.find(text).unwrap_or_else(|| panic!("README.md does not have {text}")));
    assert!(places.is_sorted(), "README.md has these in another order: {README_LEADS_WITH:?}");
}
