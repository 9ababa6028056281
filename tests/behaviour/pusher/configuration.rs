//! `pusher.apps`: secrets stay secret, and rules decide access too.

use serde_json::json;
use testkit::node::{Node, run_to_end, tidegate};

use super::{APP, APPS, Pusher, SHOP};

async fn check(settings: &[&str]) -> (bool, String) {
    let mut arguments = vec!["check"];
    settings.iter().for_each(|setting| arguments.extend(["--set", setting]));
    let output = run_to_end(tidegate(&arguments)).await;
    let text = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
    (output.status.success(), text)
}

#[tokio::test]
async fn check_masks_the_secrets_of_applications_and_shows_the_built_in_rules() {
    let (is_valid, text) = check(&[APPS]).await;
    assert!(is_valid, "{text}");
    for secret in [APP.secret, SHOP.secret] {
        assert!(!text.contains(secret), "{text}");
    }
    assert!(text.contains(r#"key = "app-key""#) && text.contains(r#"secret = "***""#), "{text}");
    let rule = r#"{ pattern = "shop:private-*", subscribe = "token", publish = "token" }"#;
    assert!(text.contains(rule) && text.contains("# built in for pusher.apps"), "{text}");
}

#[tokio::test]
async fn two_applications_with_one_prefix_are_a_fault_that_says_what_to_write() {
    let apps = r#"pusher.apps=[{id="1",key="a",secret="s"},{id="2",key="b",secret="s"}]"#;
    let (is_valid, text) = check(&[apps]).await;
    assert!(
        !is_valid && text.contains("pusher.apps[1].prefix") && text.contains("\"shop:\""),
        "{text}"
    );
}

#[tokio::test]
async fn rules_decide_what_a_signature_is_worth() {
    let rules = r#"rules=[{pattern="private-closed",subscribe="nobody",publish="nobody"},
        {pattern="private-{user}",subscribe="user",publish="user"},{pattern="presence-*",subscribe="token",publish="token"},
        {pattern="news",subscribe="anyone",publish="nobody"},{pattern="staff",subscribe="user",publish="nobody"}]"#;
    let node = Node::standalone(&[APPS, rules]).await;
    let mut pusher = Pusher::connect(&node, APP).await;
    pusher.subscribe("news", None).await;
    for (channel, channel_data, status) in [
        ("private-closed", None, 403),
        ("private-ada", None, 403),
        ("staff", None, 403),
        ("elsewhere", None, 403),
        // The rule keeps no presence.
        ("presence-room", Some(json!({"user_id": "u"})), 404),
    ] {
        pusher.ask(channel, channel_data).await;
        let refused = pusher.event().await;
        assert_eq!(
            (&refused["event"], &refused["data"]["status"]),
            (&json!("pusher:subscription_error"), &json!(status)),
            "{channel}: {refused}"
        );
    }
    pusher.sign_in(json!({"id": "ada"})).await;
    pusher.event().await;
    pusher.subscribe("private-ada", None).await;
    pusher.subscribe("staff", None).await;
}
