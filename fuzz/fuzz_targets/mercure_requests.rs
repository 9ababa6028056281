#![no_main]

#[path = "../checks/mercure_requests.rs"]
mod mercure_requests;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mercure_requests::check(bytes));
