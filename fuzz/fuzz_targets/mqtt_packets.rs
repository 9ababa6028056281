#![no_main]

#[path = "../checks/mqtt_packets.rs"]
mod mqtt_packets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mqtt_packets::check(bytes));
