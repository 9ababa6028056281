#![no_main]

#[path = "../checks/proxy_headers.rs"]
mod proxy_headers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| proxy_headers::check(bytes));
