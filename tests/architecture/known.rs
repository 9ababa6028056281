//! What is not yet as it is meant to be. These lists only get shorter: an entry that is no longer true fails its test.

/// Files of `src/` that need each other; an empty line stands between two circles.
pub const CIRCLES: &str = "
gateway.rs
gateway/leaving.rs
";

/// Files of `src/` of more than 400 lines.
pub const LONG_FILES: &[&str] = &[];
