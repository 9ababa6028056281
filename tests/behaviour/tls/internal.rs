//! The internal listener with TLS, and `tidegate health` as its probe.

use std::path::Path;
use std::process::Output;

use testkit::authority::{Authority, Identity};
use testkit::node::{Node, run_to_end, tidegate};
use testkit::tls_client::TlsClient;

use super::tls_settings;

struct InternalTls {
    authority: Authority,
    node: Node,
    settings: Vec<String>,
}

impl InternalTls {
    async fn new(more: &[&str]) -> Self {
        let authority = Authority::create();
        let identity = authority.issue("internal");
        let mut settings = tls_settings("internal", &identity).to_vec();
        settings
            .extend(more.iter().map(|it| it.replace("{ca}", &path(&authority.certificate_file()))));
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("tidegate.toml");
        std::fs::write(&file, "").expect("the file is written");
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
async fn health_over_tls_accepts_every_certificate_of_the_internal_listener() {
    let fixture = InternalTls::new(&[]).await;
    let trusting = TlsClient::new(&fixture.authority);
    let answer = trusting.get(fixture.node.internal, "/healthz").await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let ended = fixture.health(&fixture.settings).await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");

    // A certificate of the same authority, but not the one that the node uses.
    let other: Identity = fixture.authority.issue("other");
    let ended = fixture.health(&tls_settings("internal", &other)).await;
    assert_eq!(
        ended.status.code(),
        Some(0),
        "a wrongly renewed certificate must not fail the probe: {ended:?}"
    );
    let ended = fixture.health(&[]).await;
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
}

#[tokio::test]
async fn health_sends_the_nodes_own_certificate_where_a_client_certificate_is_required() {
    let fixture = InternalTls::new(&["internal.tls.client_ca={ca}"]).await;
    let without_certificate = TlsClient::new(&fixture.authority);
    assert!(without_certificate.get(fixture.node.internal, "/healthz").await.is_err());
    let known = without_certificate.with_certificate(fixture.authority.issue("prometheus"));
    let answer = known.get(fixture.node.internal, "/metrics").await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let ended = fixture.health(&fixture.settings).await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}

#[tokio::test]
async fn health_ignores_faults_of_the_public_listeners_tls_settings() {
    let fixture = InternalTls::new(&[]).await;
    let broken = ["server.tls.cert=/nowhere.pem", "server.tls.key=/nowhere.key"];
    let broken = broken.map(str::to_owned);
    let ended = fixture.health(&[&fixture.settings[..], &broken].concat()).await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}
