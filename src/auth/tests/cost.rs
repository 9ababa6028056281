//! What verifying a token costs, compared with the about 21 µs of CPU that a plain handshake takes.
//! `cargo test --release --lib -- --ignored --nocapture a_check_costs`

use std::hint::black_box;
use std::time::Instant;

use jsonwebtoken::{DecodingKey, Validation, decode};

use super::*;

/// Microseconds per call; the best of five measurements.
fn micros(mut what: impl FnMut()) -> f64 {
    const TIMES: u32 = 2000;
    let measure = |_| {
        let began = Instant::now();
        (0..TIMES).for_each(|_| what());
        began.elapsed().as_secs_f64() * 1e6 / f64::from(TIMES)
    };
    (0..5).map(measure).fold(f64::INFINITY, f64::min)
}

#[test]
#[ignore = "a measurement, for a release build on a quiet machine"]
fn verifying_a_token_takes_cpu_time() {
    let claims = json!({
        "sub": "user-4711", "iss": "https://issuer.example", "aud": "tidegate", "iat": NOW,
        "exp": NOW + 3600, "subscribe": ["chat:*", "user:{user}:**"], "publish": ["chat:*"],
    });
    println!("algorithm, µs: checked, seen before, by jsonwebtoken");
    for algorithm in Algorithm::EACH {
        let pair = SigningPair::new(algorithm);
        let token = pair.token(&claims.to_string());
        let checked = micros(|| {
            black_box(check(&token, [&pair.key].into_iter(), &terms(), now())).unwrap();
        });
        let (seen, digest) =
            (verified_tokens::VerifiedTokens::default(), verified_tokens::Digest::of(&token));
        let verified = check::verified(&token, [&pair.key].into_iter(), &terms()).unwrap();
        seen.put(digest, 0, Arc::new(verified), token.len());
        let seen_before = micros(|| {
            let claims = seen.get(verified_tokens::Digest::of(&token), 0).unwrap();
            black_box(claims.identity(Duration::ZERO, now())).unwrap();
        });
        let mut validation = Validation::new(pair.theirs);
        validation.validate_exp = false;
        validation.validate_aud = false;
        let key: &DecodingKey = &pair.their_key;
        let theirs = micros(|| {
            black_box(decode::<Value>(&token, key, &validation)).unwrap();
        });
        println!("{}: {checked:.2}, {seen_before:.2}, {theirs:.2}", algorithm.name());
    }
}
