#![no_main]

#[path = "../checks/patterns.rs"]
mod patterns;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| patterns::check(bytes));
