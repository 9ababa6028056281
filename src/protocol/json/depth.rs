//! The nesting depth of a text. A client's payload is passed on unchanged, and the parsers of others may use
//! their stack for each level.

/// Whether the text is nested deeper than `max`. Brackets within strings do not count. The bytes need not be
/// valid.
pub fn exceeds(text: &[u8], max: usize) -> bool {
    // Most texts contain fewer brackets altogether.
    brackets(text) > max && deepest(text) > max
}

/// The number of opening brackets. Counted per chunk in a `u8` that cannot overflow, so that the processor
/// can count many bytes at once.
fn brackets(text: &[u8]) -> usize {
    let count = |count: u8, byte: &u8| count.wrapping_add(u8::from(matches!(byte, b'[' | b'{')));
    text.chunks(u8::MAX.into()).map(|chunk| usize::from(chunk.iter().fold(0, count))).sum()
}

fn deepest(text: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let (mut in_string, mut is_escaped) = (false, false);
    for byte in text {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nested_brackets_outside_strings_count_for_depth() {
        for (text, depth) in [
            ("", 0),
            ("1", 0),
            ("[]", 1),
            ("[[],[],{}]", 2),
            (r#"{"a":[{"b":"[[[["}]}"#, 3),
            (r#"["\"[[[[", "\\", []]"#, 2),
            ("]]]][", 1),
        ] {
            assert!(!exceeds(text.as_bytes(), depth), "{text}");
            assert!(depth == 0 || exceeds(text.as_bytes(), depth - 1), "{text}");
        }
    }

    #[test]
    fn any_nesting_depth_is_counted_correctly() {
        for depth in [255, 256, 512, 100_000] {
            let text = "[".repeat(depth);
            assert!(exceeds(text.as_bytes(), depth - 1) && !exceeds(text.as_bytes(), depth));
        }
    }
}
