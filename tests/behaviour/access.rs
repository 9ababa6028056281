//! Who may do what: tokens, rules, and the life of a token.

mod by_rule;
mod end;
mod limits;
mod plain;
mod refresh;
mod secret;
mod server_side;
mod strangers;

use testkit::node::Node;
use testkit::token::KEYS;

/// What most stories here are about.
const RULES: &str = r#"rules=[
    { pattern = "user:{user}", subscribe = "user", publish = "nobody", presence = true },
    { pattern = "chat:*", history = { size = 10, age = "1m" }, presence = true },
    { pattern = "lobby", subscribe = "user", publish = "user", presence = true }]"#;

/// A node that takes tokens, with rules that let strangers do nothing.
async fn guarded(settings: &[&str]) -> Node {
    let mut all = vec![KEYS, RULES];
    all.extend_from_slice(settings);
    Node::alone(&all).await
}
