//! Channel names: what is let in can stand on a line of a log, in a header and in a Redis command.

use proptest::prelude::*;
use tidegate::publication::Channel;

use super::holds;

/// The name of a channel.
pub fn channel() -> impl Strategy<Value = String> {
    "[^\\s\\p{Cc}]{1,60}"
}

#[test]
fn a_name_is_bounded_and_has_no_space_and_no_control_character() {
    let any_text = prop_oneof![any::<String>(), "[a-z \\x00-\\x1f\\x7f-\\xa0]{0,20}", "é{100,140}"];
    holds(2000, any_text, |text| {
        let is_plain = !text.chars().any(|c| c.is_whitespace() || c.is_control());
        let fits = (1..=255).contains(&text.len()) && is_plain;
        let name = Channel::new(&text);
        prop_assert_eq!(name.is_ok(), fits);
        if let Ok(name) = name {
            prop_assert_eq!(name.as_str(), &text);
            prop_assert!(!Channel::is_internal(&text), "{:?} is a node's own", text);
            prop_assert!(text.bytes().all(|byte| byte > b' ' && byte != 0x7F));
        }
        Ok(())
    });
}

#[test]
fn every_name_is_one() {
    holds(500, channel(), |name| {
        prop_assert!(Channel::new(&name).is_ok(), "{:?}", name);
        Ok(())
    });
}
