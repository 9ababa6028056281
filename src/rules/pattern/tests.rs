use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::*;

fn matches(pattern: &str, channel: &str) -> bool {
    Pattern::parse(pattern).unwrap().matches(channel)
}

#[test]
fn one_star_matches_within_a_segment_and_two_across_segments() {
    for (pattern, channels) in [
        ("news", &["news"][..]),
        ("chat:*", &["chat:", "chat:1", "chat:1.2-x", "chat:é"]),
        ("chat:*:log", &["chat::log", "chat:1:log"]),
        ("*", &["news", "a.b"]),
        ("a*z", &["az", "abcz", "azz"]),
        ("chat:**", &["chat:", "chat:1", "chat:1/2:3"]),
        ("**", &["news", "chat:1/2"]),
        ("**:log", &[":log", "a:log", "a/b:log:log"]),
        ("inbox/{user}", &["inbox/ada", "inbox/é"]),
        ("{user}:*/x", &["ada:/x", "ada:y/x"]),
    ] {
        for channel in channels {
            assert!(matches(pattern, channel), "{pattern} and {channel}");
        }
    }
    for (pattern, channels) in [
        ("news", &["new", "news1", "News"][..]),
        ("chat:*", &["chat", "chat:1:2", "chat:1/2", "xchat:1"]),
        ("*", &["chat:1", "a/b"]),
        ("a*z", &["a:z", "abc"]),
        ("chat:**", &["chat", "chats:1"]),
        ("**:log", &["log", "a:logs"]),
        ("inbox/{user}", &["inbox/", "inbox/a/b", "inbox/a:b", "inbox/{user}s:"]),
        ("a.c", &["abc"]),
    ] {
        for channel in channels {
            assert!(!matches(pattern, channel), "{pattern} and {channel}");
        }
    }
}

#[test]
fn no_pattern_matches_the_nodes_own_channels() {
    for pattern in ["**", "probe**", "*", "{user}"] {
        assert!(!matches(pattern, "probe 0123456789ab"), "{pattern}");
    }
}

#[test]
fn invalid_patterns_are_refused() {
    for good in ["a", "**", "{user}", "a{user}b{user}", &"x".repeat(255), "%[^é]-?"] {
        assert_eq!(Pattern::parse(good).unwrap().as_str(), good);
    }
    let too_long = "x".repeat(256);
    for bad in ["", "a b", "a\tb", "\u{7}", "a\u{a0}b", &too_long, "{usr}", "{", "}", "{{user}}"] {
        assert_eq!(Pattern::parse(bad).unwrap_err(), InvalidPattern, "{bad:?}");
    }
}

#[test]
fn the_worst_patterns_are_matched_quickly() {
    let name = "a".repeat(255);
    for (pattern, expected) in [
        ("*a*a*a*a*a*b".to_owned(), false),
        ("*a".repeat(127), true),
        ("*a".repeat(127) + "b", false),
        ("**a".repeat(84) + "**b", false),
        ("{user}".repeat(42), true),
        ("*".repeat(255), true),
    ] {
        assert_eq!(matches(&pattern, &name), expected, "{pattern}");
    }
}

#[test]
fn a_pattern_is_translated_to_lua() {
    for (pattern, lua) in [
        ("chat:*", "^chat:[^:/ ]*$"),
        ("***:{user}/x", "^[^ ]*:[^:/ ]+/x$"),
        ("a.b-c%d[e]^$()+?é", "^a%.b%-c%%d%[e%]%^%$%(%)%+%?é$"),
    ] {
        assert_eq!(Pattern::parse(pattern).unwrap().lua(), lua);
    }
}

#[test]
fn the_wildcards_that_multiply_luas_time_are_counted() {
    for (pattern, depth) in [
        ("news", 0),
        ("a/**", 0),
        ("chat:*", 1),
        ("*:*:*/{user}/x", 1),
        ("**:log:**", 1),
        ("**:log:*", 2),
        ("**:{user}:*/x", 2),
        ("*-*:*-x", 2),
        ("*a*b", 2),
        ("*a*a*", 3),
        ("*{user}*:x", 3),
        ("*a*a*a*a*a*b", 6),
    ] {
        assert_eq!(Pattern::parse(pattern).unwrap().lua_depth(), depth, "{pattern}");
    }
}

/// The definition of matching, as simple as possible; exponential for long inputs.
fn plainly(pattern: &[u8], name: &[u8]) -> bool {
    let within = |byte: &u8| !b":/".contains(byte);
    let runs = |rest: &[u8], from: usize, fits: &dyn Fn(&u8) -> bool| {
        (from..=name.len()).any(|to| name[..to].iter().all(fits) && plainly(rest, &name[to..]))
    };
    match pattern {
        [] => name.is_empty(),
        [b'*', b'*', rest @ ..] => runs(rest, 0, &|_| true),
        [b'*', rest @ ..] => runs(rest, 0, &within),
        [b'{', b'u', b's', b'e', b'r', b'}', rest @ ..] => runs(rest, 1, &within),
        [byte, rest @ ..] => name.first() == Some(byte) && plainly(rest, &name[1..]),
    }
}

#[test]
fn pattern_matching_agrees_with_a_simple_definition() {
    let (mut matched, rounds) = (0, 40_000);
    for seed in 0..rounds {
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        let mut text = |of: &[&str], lengths| {
            let length = random.random_range(lengths);
            (0..length).map(|_| *of.choose(&mut random).unwrap()).collect::<String>()
        };
        let pattern = text(&["a", "b", ":", "/", "é", "*", "*", "**", "{user}"], 1..=6);
        let name = text(&["a", "a", "b", ":", "/", "é"], 0..=7);
        let expected = plainly(pattern.as_bytes(), name.as_bytes());
        assert_eq!(matches(&pattern, &name), expected, "seed {seed}: {pattern} and {name}");
        matched += u64::from(expected);
    }
    assert!(matched > rounds / 50, "only {matched} of {rounds} matched, which tests little");
}

#[test]
fn a_lua_pattern_is_translated_back() {
    for pattern in ["a", "chat:*", "**", "user:{user}:*/**", "a.b-c[%]^$()+?", "é:*x"] {
        let pattern = Pattern::parse(pattern).unwrap();
        let read = Pattern::from_lua(&pattern.lua()).expect("a node wrote it");
        assert_eq!(read.as_str(), pattern.as_str());
    }
    for other in ["", "chat", "^chat", "chat$", "^a*$", "^%", "^[a-z]$", "^%a$b"] {
        assert!(Pattern::from_lua(other).is_none(), "{other}");
    }
}

#[test]
fn the_user_wildcard_matches_only_the_given_user() {
    let matches =
        |pattern, channel, user| Pattern::parse(pattern).unwrap().matches_for(channel, user);
    assert!(matches("user:{user}", "user:u1", Some("u1")));
    assert!(matches("{user}:**", "u1:a:b", Some("u1")));
    assert!(matches("dm:{user}:{user}", "dm:u1:u1", Some("u1")));
    assert!(matches("chat:*", "chat:1", None) && matches("chat:*", "chat:1", Some("u1")));
    for (channel, user) in [
        ("user:u1", None),
        ("user:u2", Some("u1")),
        ("user:u11", Some("u1")),
        ("user:u1", Some("*")),
        ("user:u1", Some("u*")),
        ("user:u1", Some("a name that is longer than the channel")),
    ] {
        assert!(!matches("user:{user}", channel, user), "{channel} {user:?}");
    }
    assert!(matches("user:{user}", "user:*", Some("*")), "of a user called so");
    for user in ["u1:a", "u1/a", ":", "u1:"] {
        let (pattern, channel) =
            (Pattern::parse("user:{user}:**").unwrap(), format!("user:{user}:inbox"));
        assert!(!pattern.matches_for(&channel, Some(user)), "{user} reaches into u1's");
    }
}
