//! Seeds of the fuzz targets, and what becomes of them when bytes are changed, cut out and doubled.

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::holds;

#[path = "../../fuzz/checks/frames.rs"]
pub mod frames;
#[path = "../../fuzz/checks/header_line.rs"]
mod header_line;
#[path = "../../fuzz/checks/json_commands.rs"]
mod json_commands;
#[path = "../../fuzz/checks/patterns.rs"]
pub mod patterns;
#[path = "../../fuzz/checks/proxy_headers.rs"]
mod proxy_headers;
#[path = "../../fuzz/checks/resp.rs"]
mod resp;
#[path = "../../fuzz/checks/tokens.rs"]
mod tokens;

#[test]
fn frames() {
    mutated("frames", frames::check);
}

#[test]
fn header_line() {
    mutated("header_line", header_line::check);
}

#[test]
fn json_commands() {
    mutated("json_commands", json_commands::check);
}

#[test]
fn patterns() {
    mutated("patterns", patterns::check);
}

#[test]
fn resp() {
    mutated("resp", resp::check);
}

#[test]
fn proxy_headers() {
    mutated("proxy_headers", proxy_headers::check);
}

#[test]
fn tokens() {
    mutated("tokens", tokens::check);
}

#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Cut(Index, Index),
    Double(Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (at(), vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (at(), at()).prop_map(|(from, to)| Change::Cut(from, to)),
        (at(), at()).prop_map(|(from, to)| Change::Double(from, to)),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: Change) {
    let place = |bytes: &Vec<u8>, at: Index| at.index(bytes.len() + 1);
    let range = |bytes: &Vec<u8>, from: Index, to: Index| {
        let (from, to) = (place(bytes, from), place(bytes, to));
        from.min(to)..from.max(to)
    };
    match change {
        Change::Set(at, byte) if !bytes.is_empty() => *at.get_mut(bytes) = byte,
        Change::Set(..) => {}
        Change::Insert(at, some) => {
            let at = place(bytes, at);
            bytes.splice(at..at, some);
        }
        Change::Cut(from, to) => drop(bytes.drain(range(bytes, from, to))),
        Change::Double(from, to) => bytes.extend_from_within(range(bytes, from, to)),
    }
}

fn mutated(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let entries = fs::read_dir(folder).expect("every target has seeds");
    let seeds = entries.map(|it| fs::read(it.expect("an entry").path()).expect("a seed"));
    let seeds: Vec<Vec<u8>> = seeds.collect();
    seeds.iter().for_each(|seed| check(seed));
    holds(2000, (select(seeds), vec(change(), 1..6)), |(mut bytes, changes)| {
        changes.into_iter().for_each(|change| apply(&mut bytes, change));
        check(&bytes);
        Ok(())
    });
}
