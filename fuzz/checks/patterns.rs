//! A rule's pattern against its meaning, said as plainly as possible.

use tidegate::rules::Pattern;

/// Up to the first line end the pattern, then the name of a channel.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (pattern, name) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(parsed) = Pattern::parse(pattern) else { return };
    assert_eq!(parsed.as_str(), pattern);
    assert_eq!(parsed.matches(name), means(pattern, name), "{pattern:?} and {name:?}");
    assert!(parsed.lua().starts_with('^') && parsed.lua().ends_with('$'));
    assert!(parsed.lua_depth() as usize <= pattern.len());
}

/// Does the pattern mean the name? Follows the definition, one pair of beginnings after another.
pub fn means(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (words(pattern.as_bytes()), name.as_bytes());
    let within = |byte: u8| !b":/ ".contains(&byte);
    // `can[j]`: the words so far can match the first `j` bytes of the name.
    let mut can = vec![false; name.len() + 1];
    can[0] = true;
    for word in pattern {
        let mut then = vec![false; name.len() + 1];
        for from in (0..=name.len()).filter(|from| can[*from]) {
            let run = |fits: &dyn Fn(u8) -> bool| {
                name[from..].iter().take_while(|byte| fits(**byte)).count()
            };
            match word {
                Word::Byte(byte) if name.get(from) == Some(&byte) => then[from + 1] = true,
                Word::Byte(_) => {}
                Word::Within => then[from..=from + run(&within)].fill(true),
                Word::Across => then[from..=from + run(&|byte| byte != b' ')].fill(true),
                Word::User => then[from + 1..from + 1 + run(&within)].fill(true),
            }
        }
        can = then;
    }
    can[name.len()]
}

enum Word {
    Byte(u8),
    /// `*`
    Within,
    /// `**`
    Across,
    /// `{user}`
    User,
}

fn words(mut pattern: &[u8]) -> Vec<Word> {
    let mut words = Vec::new();
    while let [first, rest @ ..] = pattern {
        let (word, rest) = match (first, rest) {
            (b'*', [b'*', rest @ ..]) => (Word::Across, rest),
            (b'*', _) => (Word::Within, rest),
            (b'{', _) => (Word::User, &rest["user}".len()..]),
            (byte, _) => (Word::Byte(*byte), rest),
        };
        words.push(word);
        pattern = rest;
    }
    words
}
