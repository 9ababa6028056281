#![no_main]

#[path = "../checks/header_line.rs"]
mod header_line;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| header_line::check(bytes));
