#![no_main]

#[path = "../checks/resp.rs"]
mod resp;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| resp::check(bytes));
