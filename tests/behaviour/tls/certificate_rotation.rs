//! Certificates that are replaced while the node runs, as Kubernetes replaces them: the files are
//! links through one link to a directory, and that one link is replaced.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tempfile::TempDir;
use testkit::authority::{Authority, Identity};
use testkit::eventually;
use testkit::node::Node;
use testkit::tls_client::{TlsClient, peer_certificate};

use super::{tls_refusals, tls_settings};

const REPLACED: &str = r#"tidegate_tls_reloads_total{outcome="replaced"}"#;
const REFUSED: &str = r#"tidegate_tls_reloads_total{outcome="refused"}"#;
const REFUSED_NOW: &str = r#"tidegate_tls_files_refused{listener="server"}"#;
const REFUSED_INSIDE: &str = r#"tidegate_tls_files_refused{listener="internal"}"#;

/// A volume as which Kubernetes mounts a secret.
struct Volume(TempDir);

impl Volume {
    fn new() -> Self {
        let volume = Self(tempfile::tempdir().expect("a temporary directory"));
        let path = |name: &str| volume.0.path().join(name);
        symlink("..data/node.pem", path("node.pem")).expect("a link");
        symlink("..data/node.key", path("node.key")).expect("a link");
        volume
    }

    fn identity(&self) -> Identity {
        let path = |name: &str| self.0.path().join(name);
        Identity { cert: path("node.pem"), key: path("node.key") }
    }

    /// Creates a directory for one version of the files.
    fn directory(&self, name: &str) -> PathBuf {
        let directory = self.0.path().join(name);
        std::fs::create_dir(&directory).expect("a directory");
        directory
    }

    /// Makes the files those of this directory.
    fn switch_to(&self, name: &str) {
        let (new, data) = (self.0.path().join("..new"), self.0.path().join("..data"));
        symlink(name, &new).expect("a link");
        std::fs::rename(new, data).expect("the link is replaced");
    }
}

fn certificate(identity: &Identity) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(&identity.cert).expect("a certificate")
}

#[tokio::test]
async fn a_replaced_certificate_is_used_for_new_handshakes_and_keeps_connections() {
    let (authority, volume) = (Authority::create(), Volume::new());
    authority.issue_into(&volume.directory("..1"), "node", &["localhost"]);
    volume.switch_to("..1");
    let settings = tls_settings("server", &volume.identity());
    let node = Node::standalone(&settings.each_ref().map(String::as_str)).await;
    let trusting = TlsClient::new(&authority);
    let first = certificate(&volume.identity());
    assert_eq!(peer_certificate(&trusting.connect(node.public).await), first);
    let mut client_a = trusting.plain(&node, "news").await;
    let mut client_b = trusting.plain(&node, "news").await;

    authority.issue_into(&volume.directory("..2"), "node", &["localhost"]);
    volume.switch_to("..2");
    let second = certificate(&volume.identity());
    assert_ne!(first, second);
    let mut turns = 0;
    eventually("the new certificate to be used", async || {
        turns += 1;
        client_a.send(format!("{turns}")).await;
        for client in [&mut client_a, &mut client_b] {
            assert_eq!(client.receive_text().await, format!("{turns}"));
        }
        (peer_certificate(&trusting.connect(node.public).await) == second).then_some(())
    })
    .await;
    node.wait_for_metric(REPLACED, 1.).await;

    // A key that does not belong to the certificate.
    let broken = volume.directory("..3");
    authority.issue_into(&broken, "node", &["localhost"]);
    let other = authority.issue("other");
    std::fs::copy(other.key, broken.join("node.key")).expect("a copy");
    volume.switch_to("..3");
    node.wait_for_metric(REFUSED, 1.).await;
    assert_eq!((node.metric(REFUSED_NOW).await, node.metric(REFUSED_INSIDE).await), (1., 0.));
    node.process.wait_for_stderr(&["tls.key: is not the key to the certificate"]).await;
    assert_eq!(peer_certificate(&trusting.connect(node.public).await), second);

    let last = authority.issue_into(&volume.directory("..4"), "node", &["localhost"]);
    volume.switch_to("..4");
    eventually("the last certificate to be used", async || {
        (peer_certificate(&trusting.connect(node.public).await) == certificate(&last)).then_some(())
    })
    .await;
    assert_eq!(node.metric(REFUSED).await, 1.);
    node.wait_for_metric(REFUSED_NOW, 0.).await;
    client_a.send("after all that").await;
    assert_eq!(client_b.receive_text().await, "after all that");
    assert_eq!(tls_refusals(&node).await, 0.);
}

#[tokio::test]
async fn after_client_ca_is_replaced_clients_of_the_old_authority_are_refused() {
    let (authority, old, new) = (Authority::create(), Authority::create(), Authority::create());
    let directory = tempfile::tempdir().expect("a temporary directory");
    let client_ca = directory.path().join("clients.pem");
    std::fs::write(&client_ca, old.pem()).expect("the file is written");
    let [cert, key] = tls_settings("server", &authority.issue("node"));
    let client_ca_setting = format!("server.tls.client_ca={}", client_ca.display());
    let node = Node::standalone(&[&cert, &key, &client_ca_setting]).await;
    let trusting = TlsClient::new(&authority);
    let known = trusting.clone().with_certificate(old.issue("client"));
    let mut client = known.plain(&node, "news").await;

    std::fs::write(&client_ca, new.pem()).expect("the file is written");
    node.wait_for_metric(REPLACED, 1.).await;
    assert!(known.get(node.public, "/").await.is_err());
    trusting
        .with_certificate(new.issue("client"))
        .get(node.public, "/")
        .await
        .expect("the client is accepted");
    client.send("still here").await;
    assert_eq!(client.receive_text().await, "still here");
}
