//! A Rust source as tokens with line numbers, without comments, the contents of strings and `#[cfg(test)]` items.

/// The token of every string literal, whatever its contents.
pub const STRING: &str = "\"\"";

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Token<'a> {
    pub text: &'a str,
    pub line: usize,
}

impl Token<'_> {
    pub fn is_word(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// The tokens of `source` without its `#[cfg(test)]` items.
pub fn tokens(source: &str) -> Vec<Token<'_>> {
    without_tests(all_tokens(source))
}

/// The tokens of `source`, including its `#[cfg(test)]` items.
pub fn all_tokens(source: &str) -> Vec<Token<'_>> {
    let (mut tokens, mut at, mut line) = (Vec::new(), 0, 1);
    while let Some(next) = source[at..].chars().next() {
        let rest = &source[at..];
        let (length, text) = token(rest, next);
        tokens.extend(text.map(|text| Token { text, line }));
        line += rest[..length].matches('\n').count();
        at += length;
    }
    tokens
}

/// The length in bytes of the first token of `rest`, and its text unless it is a space or a comment.
fn token(rest: &str, next: char) -> (usize, Option<&str>) {
    if next.is_whitespace() {
        return (next.len_utf8(), None);
    }
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), None);
    }
    if rest.starts_with("/*") {
        return (block_comment(rest), None);
    }
    if let Some(length) = string(rest) {
        return (length, Some(STRING));
    }
    let length = match next {
        '\'' => quote(rest),
        _ if word(rest) > 0 => word(rest),
        _ if ["::", "->", "=>"].iter().any(|pair| rest.starts_with(pair)) => 2,
        _ => next.len_utf8(),
    };
    (length, Some(&rest[..length]))
}

fn word(rest: &str) -> usize {
    rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let step = match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => 1,
            [b'*', b'/', ..] => -1,
            _ => {
                at += 1;
                continue;
            }
        };
        depth += step;
        at += 2;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of the string literal at the start of `rest`: `"…"`, `b"…"`, `c"…"`, `r#"…"#` and similar.
fn string(rest: &str) -> Option<usize> {
    let prefix = rest.find(|c| !matches!(c, 'b' | 'c' | 'r'))?;
    let hashes = rest[prefix..].find(|c| c != '#')?;
    let raw = rest[..prefix].ends_with('r');
    if prefix > 2 || (hashes > 0 && !raw) {
        return None;
    }
    let opened = prefix + hashes + 1;
    let body = rest[prefix + hashes..].strip_prefix('"')?;
    if raw {
        let end = format!("\"{}", "#".repeat(hashes));
        return Some(opened + body.find(&end)? + end.len());
    }
    let mut escaped = false;
    let end = body.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    Some(opened + end? + 1)
}

/// The length of the character literal or lifetime at the start of `rest`.
fn quote(rest: &str) -> usize {
    let mut characters = rest[1..].char_indices();
    let (_, first) = characters.next().expect("a quote is followed by something");
    if first == '\\' {
        return 3 + rest[3..].find('\'').expect("a character literal ends") + 1;
    }
    match characters.next() {
        Some((at, '\'')) => at + 2,
        _ => 1 + word(&rest[1..]),
    }
}

const TESTS_ONLY: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];

fn without_tests(tokens: Vec<Token<'_>>) -> Vec<Token<'_>> {
    let mut kept = Vec::with_capacity(tokens.len());
    let mut rest = tokens.as_slice();
    while let [first, following @ ..] = rest {
        let attribute = rest.iter().take(TESTS_ONLY.len()).map(|token| token.text);
        if attribute.eq(TESTS_ONLY) {
            rest = &rest[TESTS_ONLY.len()..];
            rest = &rest[item(rest)..];
        } else {
            kept.push(*first);
            rest = following;
        }
    }
    kept
}

/// The number of tokens of the item at the start of `tokens`: up to its `;`, or to the `}` of its body.
fn item(tokens: &[Token<'_>]) -> usize {
    let (mut depth, mut is_import) = (0, false);
    for (at, token) in tokens.iter().enumerate() {
        depth += nesting(token.text);
        is_import |= depth == 0 && token.text == "use";
        if depth == 0 && (token.text == ";" || (token.text == "}" && !is_import)) {
            return at + 1;
        }
    }
    tokens.len()
}

/// The change of bracket depth at a token.
pub fn nesting(token: &str) -> i32 {
    match token {
        "{" | "(" | "[" => 1,
        "}" | ")" | "]" => -1,
        _ => 0,
    }
}

#[test]
fn braces_in_comments_strings_characters_and_tests_are_not_tokens() {
    let source = r##"fn a<'x>() { /* { /* } */ */ let c = '{'; let d = '\u{7d}'; // }
        b("}\"{", r#"{""#, b'{', b"{"); }
        #[cfg(test)] use super::{a, b};
        #[cfg(test)]
        mod tests { fn c() {} }
        fn end() {}"##;
    let found = tokens(source);
    let braces = |brace| found.iter().filter(|token| token.text == brace).count();
    assert_eq!((braces("{"), braces("}")), (2, 2));
    let end = found.iter().find(|token| token.text == "end").expect("code after the tests is read");
    assert_eq!(end.line, 6);
    assert!(found.iter().all(|token| !["c", "use"].contains(&token.text) || token.line == 1));
}
