//! What a token says of its user, shown to the other members of a channel.

use std::sync::Arc;

use serde_json::Value;

/// What a token says of its user: the claim `info`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserInfo {
    /// A JSON object of at most [`UserInfo::BYTES_MAX`] bytes.
    json: Arc<str>,
    /// When the token was issued, or first accepted if it does not say: in Unix milliseconds. The info of a user's
    /// newest token is shown.
    issued_at: u64,
}

impl UserInfo {
    /// Longest JSON text, in bytes.
    pub const BYTES_MAX: usize = 1024;

    /// Most bytes of the infos in one list of members; further members are listed without.
    pub const LIST_BYTES_MAX: usize = 1 << 20;

    /// None: the text is not a JSON object, is too long, or would make the message unreadable that it becomes a
    /// part of.
    pub fn new(json: &str, issued_at: u64) -> Option<Self> {
        let json = json.trim_ascii();
        let is_object = json.len() <= Self::BYTES_MAX && json.starts_with('{');
        // Parsers limit the depth, and a list of members takes three levels.
        let is_readable =
            is_object && serde_json::from_str::<Value>(&format!("[[[{json}]]]")).is_ok();
        is_readable.then(|| Self { json: json.into(), issued_at })
    }

    pub fn json(&self) -> &Arc<str> {
        &self.json
    }

    pub fn issued_at(&self) -> u64 {
        self.issued_at
    }

    /// The newer one of two. `other`: wins if both are of the same time.
    pub fn newer(this: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (this, other) {
            (Some(this), Some(other)) if this.issued_at > other.issued_at => Some(this),
            (this, other) => other.or(this),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_info_of_a_user_is_a_json_object_of_at_most_a_kibibyte() {
        let info = UserInfo::new(r#" {"name":"Ada","a":[1.50]} "#, 5).unwrap();
        assert_eq!(&**info.json(), r#"{"name":"Ada","a":[1.50]}"#);
        let of_length = |bytes: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes - 8));
        assert!(UserInfo::new(&of_length(1024), 5).is_some());
        let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(124), "]".repeat(124));
        for bad in [
            "",
            "1",
            "[]",
            "{",
            "{} {}",
            r#"{"a":"\ud83d"}"#,
            "{\"a\":1e999}",
            &of_length(1025),
            &deep,
        ] {
            assert_eq!(UserInfo::new(bad, 5), None, "{bad}");
        }
    }

    #[test]
    fn the_newest_info_wins_and_the_later_one_of_the_same_time() {
        let info = |name: &str, at| UserInfo::new(&format!(r#"{{"n":"{name}"}}"#), at);
        assert_eq!(UserInfo::newer(info("a", 2), info("b", 1)), info("a", 2));
        assert_eq!(UserInfo::newer(info("a", 2), info("b", 2)), info("b", 2));
        assert_eq!(UserInfo::newer(info("a", 2), None), info("a", 2));
        assert_eq!(UserInfo::newer(None, info("b", 1)), info("b", 1));
    }
}
