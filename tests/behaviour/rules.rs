//! A rule's pattern matches the same channels in Redis as on a node.

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use redis::aio::MultiplexedConnection;
use testkit::redis::Redis;
use testkit::soon;
use tidegate::rules::Pattern;

/// Whether each pattern matches its name by Lua in Redis.
async fn lua_matches(redis: &mut MultiplexedConnection, pairs: &[(Pattern, String)]) -> Vec<bool> {
    let mut command = redis::cmd("EVAL");
    command.arg(
        "local all = {} \
         for i = 1, #ARGV, 2 do \
             table.insert(all, string.match(ARGV[i + 1], ARGV[i]) and 1 or 0) \
         end \
         return all",
    );
    command.arg(0);
    for (pattern, name) in pairs {
        command.arg(pattern.lua()).arg(name);
    }
    soon("EVAL", command.query_async(redis)).await.expect("the script runs")
}

#[tokio::test]
async fn a_pattern_matches_the_same_names_in_rust_and_lua() {
    let redis = Redis::start().await;
    let mut connection = redis.connection().await;
    let mut matched = 0;
    for seed in 0..20 {
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        let mut text = |of: &[&str], length: std::ops::RangeInclusive<usize>| {
            let length = random.random_range(length);
            (0..length).map(|_| *of.choose(&mut random).expect("a choice")).collect::<String>()
        };
        let mut pair = || {
            let literals = ["a", "b", ":", "/", "é", ".", "%", "-", "[a]", "^", "$", "+", "(", "?"];
            let wildcards = ["*", "*", "**", "{user}", "*", "**", "a", "b", ":", "/"];
            let pattern = text(&[&wildcards[..], &literals].concat(), 1..=5);
            let name = match seed % 2 {
                // A name that likely matches.
                0 => pattern.replace("{user}", "ab").replace("**", "b/").replace('*', "%a"),
                _ => text(&["a", "a", "b", ":", "/", "é", ".", "%", "-", " "], 0..=6),
            };
            (Pattern::parse(&pattern).expect("a pattern"), name)
        };
        let pairs: Vec<_> = (0..500).map(|_| pair()).collect();
        let found = lua_matches(&mut connection, &pairs).await;
        for ((pattern, name), found) in pairs.iter().zip(found) {
            let (text, lua) = (pattern.as_str(), pattern.lua());
            assert_eq!(pattern.matches(name), found, "seed {seed}: {text} ({lua}) and {name}");
            matched += u32::from(found);
        }
    }
    assert!((2_000..8_000).contains(&matched), "{matched} of 10,000 pairs matched");
}
