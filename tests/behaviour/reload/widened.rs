//! Files that would let more people in: what was meant is told, and what was cut short is refused.

use serde_json::json;
use testkit::client::Client;
use testkit::eventually;

use super::{File, rules};

/// Rights that grow are told in the log, whoever wrote the file.
#[tokio::test]
async fn what_a_reload_lets_more_people_do_is_warned_of() {
    let closed = r#"{ pattern = "a", subscribe = "nobody", publish = "nobody" }"#;
    let open = r#"{ pattern = "a", subscribe = "anyone", publish = "nobody" }"#;
    let file = File::new(&rules(closed));
    let node = file.node(&[]).await;
    file.reload(&node, &rules(open), "taken_up").await;
    let told = async |what: &str| {
        eventually("a warning", async || {
            let lines = node.process.stderr();
            let said = |line: &String| line.contains("WARN") && line.contains(what);
            lines.iter().any(said).then_some(())
        })
        .await;
    };
    told("subscribe: nobody -> anyone").await;
    let listed = format!("{}[server]\norigins = [\"one.example\"]\n", rules(open));
    file.reload(&node, &listed, "taken_up").await;
    told("server.origins: [] -> ").await;
    let before = node.process.stderr().len();
    file.reload(&node, &rules(closed), "taken_up").await;
    let since = node.process.stderr().split_off(before);
    assert!(!since.iter().any(|line| line.contains("lets more people in")), "{since:?}");
}

/// A cut within a rule or before the first one is refused, whatever the rest says.
#[tokio::test]
async fn a_file_that_was_cut_within_its_rules_opens_nothing() {
    let whole = "[session]\nchannels_max = 5\n[[rules]]\npattern = \"a\"\nsubscribe = \"nobody\"\n\
                 publish = \"nobody\"\n";
    let file = File::new(whole);
    let node = file.node(&[]).await;
    for end in ["publish", "subscribe", "pattern", "[[rules]]"] {
        let cut = &whole[..whole.find(end).expect("it is there")];
        file.reload(&node, cut, "refused").await;
        let mut client = Client::json(&node).await;
        let answer = client.request(json!({"type": "subscribe", "id": 5, "channel": "a"})).await;
        assert_eq!(answer["code"], "forbidden", "{end}: {answer}");
    }
    // Said in so many words, it is meant.
    file.reload(&node, "rules = []\n", "taken_up").await;
    Client::json(&node).await.subscribe("a").await;
}
