//! References that are generated from the code, so that they cannot get out of date. `make docs` writes
//! them; the tests here compare them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;

use tidegate::config::{Config, Sources};
use tidegate::settings::KeySpec;
use tidegate::telemetry::{Levels, exposition};

use super::path;

/// Set by `make docs`: write the files rather than compare them.
const UPDATE: &str = "UPDATE_DOCS";

fn assert_is_as_generated(name: &str, generated: &str) {
    if std::env::var_os(UPDATE).is_some() {
        fs::write(path(name), generated).expect("the file can be written");
    }
    let written = fs::read_to_string(path(name)).unwrap_or_default();
    assert!(written == generated, "{name} is not what the code says; run `make docs`");
}

/// Every key of the configuration.
pub fn known() -> Vec<KeySpec> {
    Config::load(&Sources::default()).expect("the defaults are valid").key_specs
}

/// Keys by section, in the order the code reads them.
fn sections() -> Vec<(String, Vec<KeySpec>)> {
    let mut sections: Vec<(String, Vec<KeySpec>)> = Vec::new();
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
fn the_config_page_lists_every_key_of_the_code() {
    let mut text = String::from(
        "# Configuration\n\n\
         <!-- Made from the code by `make docs`. -->\n\n\
         Settings come from the defaults, a file (`--config FILE`, TOML or YAML), the environment \
         (`TIDEGATE__SECTION__KEY`) and flags (`--set section.key=value`). Each of these overrides the ones before it. \
         A node checks the whole configuration before it binds an address, and reports all faults at once.\n\n\
         `tidegate check` prints the effective configuration and the source of each value, with secrets masked. \
         In the environment and in flags, commas separate the items of a list, or the list is TOML (`[\"a\", \"b\"]`). \
         `config/default.toml` has the same content as this page, as a file. `config/production.toml` is an example.\n\n\
         A node reads its configuration again on SIGHUP and when one of its files has changed. Keys marked ⟳ then take \
         effect without closing connections; others need a restart. A node refuses a configuration with faults and \
         keeps the old one.\n",
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
        for KeySpec { doc, allowed, effective, .. } in &lists {
            let name = section.trim_end_matches("[]");
            let (flag, variable) =
                (format!("--set '{name}=…'"), name.to_uppercase().replace('.', "__"));
            write!(
                text,
                "\n{doc}\n\nThis is {allowed}. A list from a later source replaces the whole list of an earlier one. \
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
    assert_is_as_generated("docs/CONFIG.md", &text);
}

#[test]
fn the_default_configuration_file_has_every_key_with_its_default() {
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
    assert_is_as_generated("config/default.toml", &text);
    let written =
        Config::load(&Sources { file: Some(path("config/default.toml")), ..Sources::default() })
            .expect("the default file is valid");
    for (written, default) in written.key_specs.iter().zip(known()) {
        assert_eq!((&written.key, &written.effective), (&default.key, &default.effective));
    }
}

/// A table of a list that is empty by default, behind `#`.
fn example(keys: &[KeySpec]) -> String {
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
fn the_command_line_page_has_the_help_of_every_command() {
    let mut text = String::from(
        "# Command line\n\n\
         <!-- Made from the code by `make docs`. -->\n\n\
         This page has the output of `tidegate --help` and `tidegate COMMAND --help`. `tidegate man` prints the same as \
         manual pages, and `tidegate completion SHELL` prints a script that completes commands and options.\n\n\
         Every command writes its result to standard output and everything else to standard error, one line each. \
         Exit codes: 0 success, 2 configuration or usage, 1 anything else.\n\n\
         `publish` and `subscribe` use `broker.url` as any service does, so they need Redis. `publish` uses the rules for \
         history that the nodes have installed in Redis. `subscribe` catches up according to the rules of its own \
         configuration: pass it the nodes' configuration (`--config FILE`). `publish --http URL` sends the publication to a \
         node instead, and needs neither Redis nor the rules.\n\n\
         With `--json`, each publication is one object a line, \
         `{\"type\":\"publication\",\"channel\":…,\"data\"|\"text\"|\"base64\":…,\"position\":…,\"user\":…,\"time\":…}`, \
         as in the [json protocol](protocol/json.md). Where publications may be missing, the line is \
         `{\"type\":\"gap\",\"channel\":…,\"reason\":…}`, with a reason of the protocol or `output_too_slow`: standard \
         output was not read in time and the channel has no history to read the publications from again.\n",
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
        let command = tidegate.find_subcommand_mut(name).expect("the name is of a command");
        add(command, &format!("tidegate {name}"));
    }
    assert_is_as_generated("docs/CLI.md", &text);
}

/// What `--help` prints, without white space at the ends of lines.
fn help(command: &mut clap::Command) -> String {
    let help = command.render_help().to_string();
    help.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

#[test]
fn the_metrics_page_lists_every_metric_and_label_of_the_code() {
    let mut text = String::from(
        "# Metrics\n\n\
         <!-- Made from the code by `make docs`. -->\n\n\
         `GET /metrics` on the internal listener answers in Prometheus' text format. All metrics exist from the \
         start, at zero. No label contains a channel, a user or a session, so the number of series does not grow with \
         traffic. All histograms have the same buckets, 10 µs to 10 s, so that you can add up the histograms of nodes.\n\n\
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
    assert_is_as_generated("docs/METRICS.md", &text);
}

/// A metric's labels and their values. All exist from the start.
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
