#![no_main]

#[path = "../checks/ai_frames.rs"]
mod ai_frames;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ai_frames::check(bytes));
