//! `traceparent` of the W3C Trace Context, for valid values and almost valid ones.

use proptest::prelude::*;
use proptest::sample::Index;
use tidegate::publication::Traceparent;

use super::check_property;

/// The standard's definition, implemented in another way than the node's: part by part.
fn is_valid(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(5, '-').collect();
    let is_hex = |part: &str, length: usize| {
        part.len() == length && part.chars().all(|c| "0123456789abcdef".contains(c))
    };
    let is_id = |part: &str, length| is_hex(part, length) && part.chars().any(|c| c != '0');
    match parts[..] {
        [version, trace, span, flags] | [version, trace, span, flags, _] => {
            let ends = parts.len() == 4 || version != "00";
            let version = is_hex(version, 2) && version != "ff";
            version && is_id(trace, 32) && is_id(span, 16) && is_hex(flags, 2) && ends
        }
        _ => false,
    }
}

fn well_formed() -> impl Strategy<Value = String> {
    let trace = prop_oneof![8 => "[0-9a-f]{32}", 1 => "0{32}"];
    let span = prop_oneof![8 => "[0-9a-f]{16}", 1 => "0{16}"];
    let version = prop_oneof![8 => "00", 1 => "ff", 3 => "[0-9a-f]{2}"];
    let rest = prop_oneof![4 => "", 1 => "-.{0,9}", 1 => ".{1,9}"];
    (version, trace, span, "[0-9a-f]{2}", rest).prop_map(|(version, trace, span, flags, rest)| {
        format!("{version}-{trace}-{span}-{flags}{rest}")
    })
}

/// A well-formed text with at most one character replaced, inserted or removed.
fn almost_well_formed() -> impl Strategy<Value = String> {
    let change =
        proptest::option::of((any::<Index>(), 0..3u8, prop_oneof!["[0-9a-gA-F-]", ".", "é"]));
    (well_formed(), change).prop_map(|(text, change)| {
        let mut characters: Vec<char> = text.chars().collect();
        if let Some((at, how, character)) = change {
            let at = at.index(characters.len());
            let with = (how < 2).then(|| character.chars().next()).flatten();
            characters.splice(at..at + usize::from(how != 1), with);
        }
        characters.into_iter().collect()
    })
}

#[test]
fn a_traceparent_is_accepted_exactly_if_it_is_valid() {
    check_property(5000, prop_oneof![8 => almost_well_formed(), 1 => any::<String>()], |text| {
        let read = text.parse::<Traceparent>();
        prop_assert_eq!(read.is_ok(), is_valid(&text), "{:?}", text);
        let Ok(read) = read else { return Ok(()) };
        let sampled = u8::from_str_radix(&text[53..55], 16).expect("digits") & 1 == 1;
        prop_assert_eq!(read.is_sampled(), sampled);
        let written = read.to_string();
        prop_assert_eq!(&written[3..52], &text[3..52]);
        if text.starts_with("00") {
            prop_assert_eq!(&written, &text);
        }
        prop_assert_eq!(written.parse(), Ok(read));
        Ok(())
    });
}
