#![no_main]

#[path = "../checks/json_commands.rs"]
mod json_commands;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| json_commands::check(bytes));
