//! `tidegate explain --node` and `GET /api/explain`: the rules and tokens of a running node.

use testkit::node::Node;
use testkit::token::{self, KEYS};

use super::{run, stderr, stdout};

const KEY: &str = "internal.api_key=hush-hush";
const RULES: &str = r#"rules=[{ pattern = "chat:*", history = { size = 5, age = "1m" } }, { pattern = "user:{user}" }]"#;

#[tokio::test]
async fn a_node_explains_access_as_the_command_does_from_the_same_configuration() {
    let node = Node::standalone(&[KEYS, RULES, KEY]).await;
    let url = format!("http://{}", node.internal);
    let token = token::for_user("u1", &["chat:1", "a b c"]);
    let good = token::for_user("ü/1&", &["chat:1"]);
    for (channel, token) in [
        ("chat:1", None),
        ("chat:1", Some(&good)),
        ("user:u%2?&", Some(&good)),
        ("chat:1", Some(&token)),
    ] {
        let mut arguments = vec!["explain", "--channel", channel];
        arguments.extend(token.iter().flat_map(|token| ["--token", token]));
        let of_file = ["--set", KEYS, "--set", RULES];
        let by_file = run(&[&arguments[..], &of_file].concat(), &[]).await;
        let at_node = ["--node", &url, "--set", KEY];
        let by_node = run(&[&arguments[..], &at_node].concat(), &[]).await;
        assert_eq!(by_node.status.code(), Some(0), "{}", stderr(&by_node));
        let expected =
            stdout(&by_file).replace("from --set rules", "from the node's configuration");
        assert_eq!(stdout(&by_node), expected);
        assert!(expected.contains(&format!("channel    {channel}\n")), "{expected}");
    }
}

#[tokio::test]
async fn explain_reports_a_token_that_the_node_has_revoked() {
    let node = Node::standalone(&[KEYS]).await;
    let (url, token) = (format!("http://{}", node.internal), token::for_user("u1", &["a"]));
    let arguments = ["explain", "--channel", "a", "--token", &token, "--node", &url];
    assert!(stdout(&run(&arguments, &[]).await).contains("subscribe  yes"));
    assert_eq!(node.post("/api/disconnect?user=u1", &[], b"").await.status, 202);
    let text = stdout(&run(&arguments, &[]).await);
    assert!(text.contains("the token is revoked") && text.contains("subscribe  no"), "{text}");
}

#[tokio::test]
async fn explain_is_refused_without_the_api_key_or_without_one_valid_channel() {
    let node = Node::standalone(&[KEY]).await;
    let url = format!("http://{}", node.internal);
    let ended = run(&["explain", "--channel", "a", "--node", &url], &[]).await;
    assert_eq!(ended.status.code(), Some(1));
    assert!(stderr(&ended).contains("unauthorized"), "{}", stderr(&ended));
    let node = Node::standalone(&[]).await;
    for query in ["", "?token=x", "?channel=a&channel=b", "?channel=a%20b", "?channel=%ff"] {
        let answer = node.get(&format!("/api/explain{query}")).await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
    }
    assert_eq!(node.post("/api/explain?channel=a", &[], b"").await.status, 405);
}
