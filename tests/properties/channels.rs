//! Channel names: an accepted name is safe in a log line, in an HTTP header and in a Redis command.

use proptest::prelude::*;
use tidegate::publication::Channel;

use super::check_property;

/// Valid channel names.
pub fn channel() -> impl Strategy<Value = String> {
    "[^\\s\\p{Cc}]{1,60}"
}

#[test]
fn a_channel_name_has_1_to_255_bytes_without_white_space_and_control_characters() {
    let any_text = prop_oneof![any::<String>(), "[a-z \\x00-\\x1f\\x7f-\\xa0]{0,20}", "é{100,140}"];
    check_property(2000, any_text, |text| {
        let is_plain = !text.chars().any(|c| c.is_whitespace() || c.is_control());
        let fits = (1..=255).contains(&text.len()) && is_plain;
        let name = Channel::new(&text);
        prop_assert_eq!(name.is_ok(), fits);
        if let Ok(name) = name {
            prop_assert_eq!(name.as_str(), &text);
            prop_assert!(!Channel::is_internal(&text), "{:?} is internal", text);
            prop_assert!(text.bytes().all(|byte| byte > b' ' && byte != 0x7F));
        }
        Ok(())
    });
}

#[test]
fn every_generated_channel_name_is_valid() {
    check_property(500, channel(), |name| {
        prop_assert!(Channel::new(&name).is_ok(), "{:?}", name);
        Ok(())
    });
}
