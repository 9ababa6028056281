//! The internal listener with TLS, and the probe that knows its certificate.

use std::path::Path;
use std::process::Output;

use testkit::authority::{Authority, Identity};
use testkit::node::{Node, run_to_end, tidegate};
use testkit::tls_client::TlsClient;

use super::shows;

struct Stage {
    authority: Authority,
    node: Node,
    settings: Vec<String>,
}

impl Stage {
    async fn new(more: &[&str]) -> Self {
        let authority = Authority::create();
        let identity = authority.issue("internal");
        let mut settings = shows("internal", &identity).to_vec();
        settings
            .extend(more.iter().map(|it| it.replace("{ca}", &path(&authority.certificate_file()))));
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("tidegate.toml");
        std::fs::write(&file, "").expect("it is written");
        let all: Vec<&str> = settings.iter().map(String::as_str).collect();
        let node = Node::with_config_file(&file, &all).await;
        Self { authority, node, settings }
    }

    async fn health(&self, settings: &[String]) -> Output {
        let mut command = tidegate(&["health", "--ready", "--set"]);
        command.arg(format!("internal.listen={}", self.node.internal));
        for setting in settings {
            command.arg("--set").arg(setting);
        }
        run_to_end(command).await
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

#[tokio::test]
async fn it_is_asked_through_tls_and_health_takes_whatever_certificate_it_shows() {
    let stage = Stage::new(&[]).await;
    let trusting = TlsClient::new(&stage.authority);
    let answer = trusting.get(stage.node.internal, "/healthz").await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let ended = stage.health(&stage.settings).await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");

    // Of the same authority, and yet another's.
    let other: Identity = stage.authority.issue("other");
    let ended = stage.health(&shows("internal", &other)).await;
    assert_eq!(ended.status.code(), Some(0), "one that was renewed badly ends no node: {ended:?}");
    let ended = stage.health(&[]).await;
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
}

#[tokio::test]
async fn health_shows_the_nodes_own_certificate_where_one_is_asked_for() {
    let stage = Stage::new(&["internal.tls.client_ca={ca}"]).await;
    let stranger = TlsClient::new(&stage.authority);
    assert!(stranger.get(stage.node.internal, "/healthz").await.is_err());
    let known = stranger.with_certificate(stage.authority.issue("prometheus"));
    let answer = known.get(stage.node.internal, "/metrics").await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let ended = stage.health(&stage.settings).await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}

#[tokio::test]
async fn health_does_not_mind_what_the_node_does_without() {
    let stage = Stage::new(&[]).await;
    let broken = ["server.tls.cert=/nowhere.pem", "server.tls.key=/nowhere.key"];
    let broken = broken.map(str::to_owned);
    let ended = stage.health(&[&stage.settings[..], &broken].concat()).await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}
