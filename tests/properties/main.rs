//! Properties of the parsers of all outside input, for random valid input and for mutated seeds of the fuzz targets.
//! The latter run the same checks as `make fuzz`.
//!
//! A failure prints its seed; `SEED=number cargo test --test properties NAME` repeats it.

mod channels;
mod commands;
mod frames;
mod headers;
mod mutated_seeds;
mod patterns;
mod traceparents;

use std::fmt::Debug;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseResult, TestRng, TestRunner};

/// Tests the property with this many random values. Panics with the smallest value found that fails.
fn check_property<S: Strategy<Value: Debug>>(
    cases: u32,
    values: S,
    property: impl Fn(S::Value) -> TestCaseResult,
) {
    let given = std::env::var("SEED").ok();
    let seed = given.map_or_else(rand::random, |seed| seed.parse().expect("SEED is a number"));
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&u64::to_be_bytes(seed));
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    if let Err(failure) = TestRunner::new_with_rng(config, random).run(&values, property) {
        panic!("SEED={seed}: {failure}");
    }
}
