#![no_main]

#[path = "../checks/stomp_frames.rs"]
mod stomp_frames;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| stomp_frames::check(bytes));
