//! Reloads that widen access: an intended one is logged, and a truncated file is refused.

use serde_json::json;
use testkit::client::Client;
use testkit::eventually;

use super::{ConfigFile, rules};

/// The node cannot know whether the change is intended, so it logs every wider permission.
#[tokio::test]
async fn a_reload_that_widens_access_is_logged_as_a_warning() {
    let closed = r#"{ pattern = "a", subscribe = "nobody", publish = "nobody" }"#;
    let open = r#"{ pattern = "a", subscribe = "anyone", publish = "nobody" }"#;
    let file = ConfigFile::new(&rules(closed));
    let node = file.node(&[]).await;
    file.reload(&node, &rules(open), "taken_up").await;
    let is_logged = async |what: &str| {
        eventually("a warning", async || {
            let lines = node.process.stderr();
            let is_warning = |line: &String| line.contains("WARN") && line.contains(what);
            lines.iter().any(is_warning).then_some(())
        })
        .await;
    };
    is_logged("subscribe: nobody -> anyone").await;
    let listed = format!("{}[server]\norigins = [\"one.example\"]\n", rules(open));
    file.reload(&node, &listed, "taken_up").await;
    is_logged("server.origins: [] -> ").await;
    let before = node.process.stderr().len();
    file.reload(&node, &rules(closed), "taken_up").await;
    let since = eventually("the reload in the log", async || {
        let since = node.process.stderr().split_off(before);
        since.iter().any(|line| line.contains("configuration reloaded")).then_some(since)
    })
    .await;
    assert!(!since.iter().any(|line| line.contains("widens access")), "{since:?}");
}

/// A file that ends within a rule or before the first one is refused.
#[tokio::test]
async fn a_file_truncated_within_its_rules_is_refused_and_access_stays_restricted() {
    let whole = "[session]\nchannels_max = 5\n[[rules]]\npattern = \"a\"\nsubscribe = \"nobody\"\n\
                 publish = \"nobody\"\n";
    let file = ConfigFile::new(whole);
    let node = file.node(&[]).await;
    for end in ["publish", "subscribe", "pattern", "[[rules]]"] {
        let cut = &whole[..whole.find(end).expect("the word is in the file")];
        file.reload(&node, cut, "refused").await;
        let mut client = Client::json(&node).await;
        let answer = client.request(json!({"type": "subscribe", "id": 5, "channel": "a"})).await;
        assert_eq!(answer["code"], "forbidden", "{end}: {answer}");
    }
    // `rules = []` written out is intended.
    file.reload(&node, "rules = []\n", "taken_up").await;
    Client::json(&node).await.subscribe("a").await;
}
