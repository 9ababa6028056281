//! The checks of the fuzz targets, on their seeds and on mutations of these: bytes changed, inserted, removed, duplicated.

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::check_property;

#[path = "../../fuzz/checks/ai_frames.rs"]
mod ai_frames;
#[path = "../../fuzz/checks/frames.rs"]
pub mod frames;
#[path = "../../fuzz/checks/header_line.rs"]
mod header_line;
#[path = "../../fuzz/checks/json_commands.rs"]
mod json_commands;
#[path = "../../fuzz/checks/mercure_requests.rs"]
mod mercure_requests;
#[path = "../../fuzz/checks/mqtt_packets.rs"]
mod mqtt_packets;
#[path = "../../fuzz/checks/patterns.rs"]
pub mod patterns;
#[path = "../../fuzz/checks/proxy_headers.rs"]
mod proxy_headers;
#[path = "../../fuzz/checks/pusher_messages.rs"]
mod pusher_messages;
#[path = "../../fuzz/checks/resp.rs"]
mod resp;
#[path = "../../fuzz/checks/stomp_frames.rs"]
mod stomp_frames;
#[path = "../../fuzz/checks/tokens.rs"]
mod tokens;

#[test]
fn the_ai_frames_check_passes_for_mutated_seeds() {
    check_mutated_seeds("ai_frames", ai_frames::check);
}

#[test]
fn the_frames_check_passes_for_mutated_seeds() {
    check_mutated_seeds("frames", frames::check);
}

#[test]
fn the_header_line_check_passes_for_mutated_seeds() {
    check_mutated_seeds("header_line", header_line::check);
}

#[test]
fn the_json_commands_check_passes_for_mutated_seeds() {
    check_mutated_seeds("json_commands", json_commands::check);
}

#[test]
fn the_mqtt_packets_check_passes_for_mutated_seeds() {
    check_mutated_seeds("mqtt_packets", mqtt_packets::check);
}

#[test]
fn the_mercure_requests_check_passes_for_mutated_seeds() {
    check_mutated_seeds("mercure_requests", mercure_requests::check);
}

#[test]
fn the_patterns_check_passes_for_mutated_seeds() {
    check_mutated_seeds("patterns", patterns::check);
}

#[test]
fn the_pusher_messages_check_passes_for_mutated_seeds() {
    check_mutated_seeds("pusher_messages", pusher_messages::check);
}

#[test]
fn the_resp_check_passes_for_mutated_seeds() {
    check_mutated_seeds("resp", resp::check);
}

#[test]
fn the_proxy_headers_check_passes_for_mutated_seeds() {
    check_mutated_seeds("proxy_headers", proxy_headers::check);
}

#[test]
fn the_stomp_frames_check_passes_for_mutated_seeds() {
    check_mutated_seeds("stomp_frames", stomp_frames::check);
}

#[test]
fn the_tokens_check_passes_for_mutated_seeds() {
    check_mutated_seeds("tokens", tokens::check);
}

#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Cut(Index, Index),
    Duplicate(Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (at(), vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (at(), at()).prop_map(|(from, to)| Change::Cut(from, to)),
        (at(), at()).prop_map(|(from, to)| Change::Duplicate(from, to)),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: Change) {
    let position = |bytes: &Vec<u8>, at: Index| at.index(bytes.len() + 1);
    let range = |bytes: &Vec<u8>, from: Index, to: Index| {
        let (from, to) = (position(bytes, from), position(bytes, to));
        from.min(to)..from.max(to)
    };
    match change {
        Change::Set(at, byte) if !bytes.is_empty() => *at.get_mut(bytes) = byte,
        Change::Set(..) => {}
        Change::Insert(at, inserted) => {
            let at = position(bytes, at);
            bytes.splice(at..at, inserted);
        }
        Change::Cut(from, to) => drop(bytes.drain(range(bytes, from, to))),
        Change::Duplicate(from, to) => bytes.extend_from_within(range(bytes, from, to)),
    }
}

fn check_mutated_seeds(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let entries = fs::read_dir(folder).expect("every target has seeds");
    let seeds = entries.map(|it| fs::read(it.expect("an entry").path()).expect("a seed"));
    let seeds: Vec<Vec<u8>> = seeds.collect();
    seeds.iter().for_each(|seed| check(seed));
    check_property(2000, (select(seeds), vec(change(), 1..6)), |(mut bytes, changes)| {
        changes.into_iter().for_each(|change| apply(&mut bytes, change));
        check(&bytes);
        Ok(())
    });
}
