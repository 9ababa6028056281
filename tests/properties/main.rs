//! What holds for everything that comes from outside: over well-formed things of all shapes, and over
//! broken ones, through the very checks that `make fuzz` runs for hours.
//!
//! A failure names its seed; `SEED=number cargo test --test properties NAME` repeats it.

mod anything;
mod channels;
mod commands;
mod frames;
mod headers;
mod patterns;
mod traceparents;

use std::fmt::Debug;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseResult, TestRng, TestRunner};

/// Tries so many cases. The smallest that fails is told.
fn holds<S: Strategy<Value: Debug>>(
    cases: u32,
    some: S,
    property: impl Fn(S::Value) -> TestCaseResult,
) {
    let given = std::env::var("SEED").ok();
    let seed = given.map_or_else(rand::random, |seed| seed.parse().expect("SEED is a number"));
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&u64::to_be_bytes(seed));
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    if let Err(failure) = TestRunner::new_with_rng(config, random).run(&some, property) {
        panic!("SEED={seed}: {failure}");
    }
}
