//! Limits on the lengths of the files and functions of `src/`.

use std::fs;

use crate::tokens::{Token, nesting, tokens};
use crate::{source_directory, sources};

const FILE_LINES_MEDIAN: usize = 150;
const FILE_LINES_MAX: usize = 400;
/// At most one function in twenty may be longer.
const FUNCTION_LINES_P95: usize = 30;

/// Lengths in lines, each with the name of the file or function.
type Lengths = Vec<(usize, String)>;

fn files() -> Lengths {
    let files = sources(&source_directory()).into_iter().map(|path| {
        let source = fs::read_to_string(&path).expect("a source is text");
        let file = path.strip_prefix(source_directory()).expect("it was found there");
        (source.lines().count(), file.display().to_string())
    });
    ordered(files.collect())
}

/// All functions with a body outside tests, including nested ones.
fn functions() -> Lengths {
    let mut functions = Lengths::new();
    for path in sources(&source_directory()) {
        let file = path.strip_prefix(source_directory()).expect("it was found there").display();
        if is_tests(&file.to_string()) {
            continue;
        }
        let source = fs::read_to_string(&path).expect("a source is text");
        let in_file = lengths(&tokens(&source)).into_iter();
        functions.extend(in_file.map(|(lines, name)| (lines, format!("{file}: {name}"))));
    }
    ordered(functions)
}

/// `hub/channel_cursor/tests/model.rs` is part of the tests of `hub/channel_cursor.rs`.
fn is_tests(file: &str) -> bool {
    file.split('/').any(|part| part.trim_end_matches(".rs") == "tests")
}

fn lengths(tokens: &[Token<'_>]) -> Lengths {
    let functions = tokens.windows(2).enumerate().filter_map(|(at, pair)| {
        let is_function = pair[0].text == "fn" && pair[1].is_word();
        let last = is_function.then(|| end(&tokens[at..])).flatten()?;
        Some((last.line - pair[0].line + 1, pair[1].text.to_owned()))
    });
    functions.collect()
}

/// The `}` of the function's body; `None` if it has none.
fn end<'a>(function: &[Token<'a>]) -> Option<Token<'a>> {
    let mut depth = 0;
    for token in function {
        depth += nesting(token.text);
        match token.text {
            ";" if depth == 0 => return None,
            "}" if depth == 0 => return Some(*token),
            _ => {}
        }
    }
    None
}

fn ordered(mut lengths: Lengths) -> Lengths {
    lengths.sort();
    lengths
}

/// The length that `percent` of the entries do not exceed.
fn percentile(lengths: &Lengths, percent: usize) -> usize {
    lengths[(lengths.len() * percent).div_ceil(100) - 1].0
}

fn longest(lengths: &Lengths, above: usize) -> String {
    let long = lengths.iter().rev().filter(|(lines, _)| *lines > above);
    long.map(|(lines, what)| format!("    {lines:4} {what}\n")).collect()
}

#[test]
fn the_median_file_length_is_within_its_limit() {
    let files = files();
    let median = percentile(&files, 50);
    println!("{} files, median {median} lines", files.len());
    assert!(median <= FILE_LINES_MEDIAN, "median {median} lines, limit {FILE_LINES_MEDIAN}");
}

#[test]
fn no_file_is_longer_than_the_limit() {
    let all = longest(&files(), FILE_LINES_MAX);
    assert!(all.is_empty(), "more than {FILE_LINES_MAX} lines:\n{all}");
}

#[test]
fn nineteen_functions_in_twenty_are_within_the_length_limit() {
    let functions = functions();
    let [median, p95] = [50, 95].map(|percent| percentile(&functions, percent));
    let all = longest(&functions, FUNCTION_LINES_P95);
    println!(
        "{} functions: median {median} lines, p95 {p95}; the longest:\n{all}",
        functions.len()
    );
    assert!(
        p95 <= FUNCTION_LINES_P95,
        "median {median}, p95 {p95} lines, limit {FUNCTION_LINES_P95}:\n{all}"
    );
}

#[test]
fn the_length_of_a_function_includes_its_signature_and_braces() {
    let source = "trait T {\n    fn none(&self) -> [u8; 4];\n}\nfn short() {}\nconst fn long<F>(f: F)\nwhere\n    \
                  F: Fn() -> u8,\n{\n    fn within() {\n        \"}\"\n    }\n    // }\n    f()\n}\n\
                  #[cfg(test)]\nmod tests {\n    fn test() {}\n}\n";
    let found = lengths(&tokens(source));
    let found: Vec<(usize, &str)> =
        found.iter().map(|(lines, name)| (*lines, name.as_str())).collect();
    assert_eq!(found, [(1, "short"), (10, "long"), (3, "within")]);
}
