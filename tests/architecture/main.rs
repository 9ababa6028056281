//! The house: which room may import which, that `lib.rs` names them all in reading order, and that
//! no word of the glossary is used for something else.

mod circles;
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

/// Rooms from the top down. A room imports only from storeys below its own.
const STOREYS: &[&[&str]] = &[
    &["main"],
    &["cli"],
    &["gateway"],
    &["config"],
    &["internal", "transport"],
    &["fleet", "session"],
    &["hub"],
    &["presence"],
    &["auth", "broker", "clock", "drain", "lag", "memory"],
    &["listener", "outbound", "tls"],
    &["critical_tasks"],
    &["telemetry"],
    &["dial", "http", "limits", "protocol"],
    &["backoff", "close", "framing", "live", "publication", "rules", "settings", "sharded"],
];

/// Imports within a storey that are meant: the nouns build on each other.
const BESIDE: &[(&str, &str)] =
    &[("framing", "publication"), ("rules", "live"), ("rules", "settings")];

/// Names that say nothing about what they own.
const EMPTY_NAMES: &[&str] = &["utils", "util", "helpers", "helper", "manager", "common", "misc"];

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("the source is here") {
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

/// `src/broker/redis/link.rs` is in the room `broker`.
fn room(file: &Path) -> String {
    let within = file.strip_prefix(source_directory()).expect("it was found there");
    let first = within.components().next().expect("a file has a name");
    first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

fn storey(room: &str) -> usize {
    let at = STOREYS.iter().position(|rooms| rooms.contains(&room));
    at.unwrap_or_else(|| panic!("the room {room} has no storey in tests/architecture/main.rs"))
}

/// The rooms that a source names: `crate::room::…` and `use crate::{room, …}`.
fn imports(source: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
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
                rooms.extend(parts.map(word).filter(|room| !room.is_empty()));
            }
            None => {
                rooms.insert(word(rest));
            }
        }
    }
    rooms
}

#[test]
fn rooms_import_only_from_below() {
    let mut faults = Vec::new();
    for file in sources(&source_directory()) {
        let room = room(&file);
        if room == "lib" {
            continue;
        }
        let source = fs::read_to_string(&file).expect("a source is text");
        for import in imports(&source) {
            let beside = BESIDE.contains(&(room.as_str(), import.as_str()));
            if import != room && !beside && storey(&import) <= storey(&room) {
                faults.push(format!("{}: {room} imports {import}", file.display()));
            }
        }
    }
    assert!(faults.is_empty(), "imports must point downwards:\n{}", faults.join("\n"));
}

#[test]
fn the_map_names_every_room_in_reading_order() {
    let map = fs::read_to_string(source_directory().join("lib.rs")).expect("lib.rs is there");
    let named: Vec<&str> =
        map.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let expected: Vec<&str> = STOREYS[1..].iter().flat_map(|rooms| rooms.iter().copied()).collect();
    assert_eq!(named, expected);
}

#[test]
fn names_say_what_they_own() {
    for file in sources(&source_directory()) {
        let name = file.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        assert!(!EMPTY_NAMES.contains(&name.as_str()), "{} says nothing", file.display());
    }
}

#[test]
fn imports_are_seen_in_every_form() {
    let source = "use crate::close::Close;\nuse crate::{auth, broker::{self, Url}, drain};\n\
                  let x = crate::hub::Hub::new();";
    let seen: Vec<String> = imports(source).into_iter().collect();
    assert_eq!(seen, ["auth", "broker", "close", "drain", "hub"]);
}
