#![no_main]

#[path = "../checks/pusher_messages.rs"]
mod pusher_messages;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pusher_messages::check(bytes));
