//! The layers of `src/`: which module may import which, that `lib.rs` lists them all in reading order, and that no retired
//! word of the glossary is used.

mod cycles;
mod module;
mod protocols;
mod sizes;
mod tokens;
mod tree;
mod type_names;
mod words;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules from the top down. A module imports only from layers below its own.
const LAYERS: &[&[&str]] = &[
    &["main"],
    &["cli"],
    &["gateway"],
    &["config"],
    &["internal", "transport"],
    &["fleet", "session"],
    &["hub"],
    &["events", "presence", "streams"],
    &["auth", "broker", "clock", "drain", "lag", "memory"],
    &["listener", "outbound", "tls"],
    &["critical_tasks"],
    &["telemetry"],
    &["dial", "http", "limits", "protocol"],
    &[
        "apps",
        "backoff",
        "close",
        "framing",
        "live",
        "publication",
        "rules",
        "settings",
        "sharded",
        "topics",
    ],
];

/// Allowed imports within a layer, as (importing, imported).
const SAME_LAYER_IMPORTS: &[(&str, &str)] = &[
    ("apps", "settings"),
    ("framing", "publication"),
    ("rules", "live"),
    ("rules", "publication"),
    ("rules", "settings"),
    ("topics", "publication"),
    ("topics", "settings"),
];

/// Module names that do not describe what the module contains.
const VAGUE_NAMES: &[&str] = &["utils", "util", "helpers", "helper", "manager", "common", "misc"];

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("the source directory exists") {
        let path = entry.expect("its entries can be read").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files
}

fn source_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// `src/broker/redis/link.rs` is in the module `broker`.
fn top_module(file: &Path) -> String {
    let relative = file.strip_prefix(source_directory()).expect("it was found there");
    let first = relative.components().next().expect("a file has a name");
    first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

fn layer(module: &str) -> usize {
    let at = LAYERS.iter().position(|modules| modules.contains(&module));
    at.unwrap_or_else(|| panic!("the module {module} has no layer in tests/architecture/main.rs"))
}

/// The modules that a source names: `crate::module::…` and `use crate::{module, …}`.
fn imports(source: &str) -> BTreeSet<String> {
    let mut modules = BTreeSet::new();
    for (at, _) in source.match_indices("crate::") {
        let rest = &source[at + "crate::".len()..];
        let word = |text: &str| {
            text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>()
        };
        match rest.strip_prefix('{') {
            Some(group) => {
                let group = &group[..group.find("};").expect("a group of imports ends")];
                let mut depth = 0;
                let parts = group.split(|c| {
                    depth += i32::from(c == '{') - i32::from(c == '}');
                    c == ',' && depth == 0
                });
                modules.extend(parts.map(word).filter(|module| !module.is_empty()));
            }
            None => {
                modules.insert(word(rest));
            }
        }
    }
    modules
}

#[test]
fn a_module_imports_only_from_layers_below() {
    let mut faults = Vec::new();
    for file in sources(&source_directory()) {
        let module = top_module(&file);
        if module == "lib" {
            continue;
        }
        let source = fs::read_to_string(&file).expect("a source is text");
        for import in imports(&source) {
            let allowed = SAME_LAYER_IMPORTS.contains(&(module.as_str(), import.as_str()));
            if import != module && !allowed && layer(&import) <= layer(&module) {
                faults.push(format!("{}: {module} imports {import}", file.display()));
            }
        }
    }
    assert!(faults.is_empty(), "imports must point downwards:\n{}", faults.join("\n"));
}

#[test]
fn lib_rs_lists_every_module_in_reading_order() {
    let lib_rs = fs::read_to_string(source_directory().join("lib.rs")).expect("lib.rs exists");
    let listed: Vec<&str> = lib_rs
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    let expected: Vec<&str> =
        LAYERS[1..].iter().flat_map(|modules| modules.iter().copied()).collect();
    assert_eq!(listed, expected);
}

#[test]
fn no_source_file_has_a_vague_name() {
    for file in sources(&source_directory()) {
        let name = file.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        assert!(!VAGUE_NAMES.contains(&name.as_str()), "{} is a vague name", file.display());
    }
}

#[test]
fn imports_are_found_in_every_form() {
    let source = "use crate::close::Close;\nuse crate::{auth, broker::{self, Url}, drain};\n\
                  let x = crate::hub::Hub::new();";
    let found: Vec<String> = imports(source).into_iter().collect();
    assert_eq!(found, ["auth", "broker", "close", "drain", "hub"]);
}
