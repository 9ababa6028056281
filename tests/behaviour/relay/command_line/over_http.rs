//! `tidegate publish --http` publishes through a node's API, without Redis.

use testkit::authority::Authority;
use testkit::client::{Client, Message};
use testkit::node::Node;
use testkit::redis::free_address;

use super::{run_with_input, stderr};

const KEY: &str = "internal.api_key=hush-hush";
const RULES: &str = r#"rules=[{ pattern = "h:*", history = { size = 5, age = "1m" } }]"#;

#[tokio::test]
async fn publish_http_reaches_the_nodes_clients_and_prints_the_position() {
    let node = Node::standalone(&[RULES]).await;
    let (url, name) = (format!("http://{}", node.internal), "h:é%?#");
    let mut client = Client::plain(&node, "h:%C3%A9%25%3F%23").await;
    for (payload, message) in [
        (&b"h\xc3\xa9llo"[..], Message::text("h\u{e9}llo")),
        (b"\xff", Message::binary(&b"\xff"[..])),
    ] {
        let ended = run_with_input(&["publish", name, "-", "--http", &url], payload).await;
        assert_eq!(ended.status.code(), Some(0), "{}", stderr(&ended));
        assert_eq!(client.receive().await, message);
        let position = String::from_utf8(ended.stdout).expect("text");
        let (epoch, seq) = position.trim_end().split_once('-').expect("a position");
        assert!(epoch.parse::<u64>().is_ok() && seq.parse::<u64>().is_ok(), "{position}");
    }
    let ended = run_with_input(&["publish", name, "3", "--http", &url, "--json"], b"").await;
    let printed: serde_json::Value = serde_json::from_slice(&ended.stdout).expect("an object");
    assert_eq!((&printed["channel"], &printed["data"]), (&name.into(), &3.into()));
    assert!(printed["position"].is_string(), "{printed}");
}

#[tokio::test]
async fn publish_http_uses_the_api_key_of_configuration_or_option_and_reports_refusals() {
    let node = Node::standalone(&[KEY]).await;
    let mut client = Client::plain(&node, "news").await;
    let url = format!("http://{}", node.internal);
    let publish = ["publish", "news", "x", "--http", &url];
    for key in [&["--set", KEY][..], &["--api-key", "hush-hush"]] {
        let ended = run_with_input(&[&publish[..], key].concat(), b"").await;
        assert_eq!(ended.status.code(), Some(0), "{}", stderr(&ended));
        assert_eq!(client.receive_text().await, "x");
    }
    for key in [&[][..], &["--api-key", "wrong-key"]] {
        let ended = run_with_input(&[&publish[..], key].concat(), b"").await;
        assert_eq!(ended.status.code(), Some(1));
        let errors = stderr(&ended);
        assert!(errors.contains("unauthorized") && errors.contains("internal.api_key"), "{errors}");
        assert!(!errors.contains("wrong-key") && errors.lines().count() == 1, "{errors}");
    }
}

#[tokio::test]
async fn publish_http_reports_an_invalid_or_absent_node_in_one_line() {
    let node = Node::standalone(&[]).await;
    let (absent, public) = (free_address(), node.public);
    for (url, code, why) in [
        (format!("http://{absent}"), 1, format!("http://{absent}: cannot connect: ")),
        // The public listener has no API.
        (format!("http://{public}"), 1, "internal.listen".to_owned()),
        (format!("{}", node.internal), 2, "--http is the address".to_owned()),
        (format!("http://ada:hush@{}", node.internal), 2, "without a user".to_owned()),
        ("http://".to_owned(), 2, "--http is the address".to_owned()),
    ] {
        let ended = run_with_input(&["publish", "news", "x", "--http", &url], b"").await;
        let errors = stderr(&ended);
        assert_eq!(ended.status.code(), Some(code), "{errors}");
        assert!(errors.contains(&why) && errors.lines().count() == 1, "{errors}");
        assert!(!errors.contains("hush"), "{errors}");
    }
}

#[tokio::test]
async fn publish_http_over_tls_verifies_the_nodes_certificate() {
    let authority = Authority::create();
    let identity = authority.issue("internal");
    let tls = [
        format!("internal.tls.cert={}", identity.cert.display()),
        format!("internal.tls.key={}", identity.key.display()),
    ];
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("tidegate.toml");
    std::fs::write(&file, "").expect("the file is written");
    let node = Node::with_config_file(&file, &[&tls[0], &tls[1]]).await;
    let mut client = Client::plain(&node, "news").await;
    let url = format!("https://localhost:{}", node.internal.port());
    let ca = authority.certificate_file().display().to_string();
    let publish = ["publish", "news", "x", "--http", &url];
    let ended = run_with_input(&[&publish[..], &["--ca-file", &ca]].concat(), b"").await;
    assert_eq!(ended.status.code(), Some(0), "{}", stderr(&ended));
    assert_eq!(client.receive_text().await, "x");

    let other = Authority::create();
    let ca = other.certificate_file().display().to_string();
    let ended = run_with_input(&[&publish[..], &["--ca-file", &ca]].concat(), b"").await;
    assert_eq!(ended.status.code(), Some(1), "{}", stderr(&ended));
    assert!(stderr(&ended).contains("certificate"), "{}", stderr(&ended));
}
