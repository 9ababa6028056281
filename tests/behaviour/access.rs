//! Access control: tokens, rules, and token expiry.

mod anonymous;
mod expiry;
mod limits;
mod plain;
mod refresh;
mod rules;
mod token_channels;
mod token_secrecy;

use testkit::node::Node;
use testkit::token::KEYS;

/// The rules of most tests in this module.
const RULES: &str = r#"rules=[
    { pattern = "user:{user}", subscribe = "user", publish = "nobody", presence = true },
    { pattern = "chat:*", history = { size = 10, age = "1m" }, presence = true },
    { pattern = "lobby", subscribe = "user", publish = "user", presence = true }]"#;

/// A node that accepts tokens, with rules that allow anonymous clients nothing.
async fn node_requiring_tokens(settings: &[&str]) -> Node {
    let mut all = vec![KEYS, RULES];
    all.extend_from_slice(settings);
    Node::standalone(&all).await
}
