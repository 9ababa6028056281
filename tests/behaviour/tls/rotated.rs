//! Certificates that are exchanged while the node runs, as Kubernetes exchanges them: the files are
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

use super::{refused, shows};

const REPLACED: &str = r#"tidegate_tls_reloads_total{outcome="replaced"}"#;
const REFUSED: &str = r#"tidegate_tls_reloads_total{outcome="refused"}"#;
const REFUSED_NOW: &str = r#"tidegate_tls_files_refused{listener="server"}"#;
const REFUSED_INSIDE: &str = r#"tidegate_tls_files_refused{listener="internal"}"#;

/// A volume that a secret is mounted as.
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

    /// A directory for the files of one time.
    fn directory(&self, name: &str) -> PathBuf {
        let directory = self.0.path().join(name);
        std::fs::create_dir(&directory).expect("a directory");
        directory
    }

    /// From here on the files are those of this directory.
    fn swaps(&self, name: &str) {
        let (new, data) = (self.0.path().join("..new"), self.0.path().join("..data"));
        symlink(name, &new).expect("a link");
        std::fs::rename(new, data).expect("the link is replaced");
    }
}

fn certificate(identity: &Identity) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(&identity.cert).expect("a certificate")
}

#[tokio::test]
async fn new_handshakes_get_the_new_one_and_connections_live_on() {
    let (authority, volume) = (Authority::create(), Volume::new());
    authority.issue_into(&volume.directory("..1"), "node", &["localhost"]);
    volume.swaps("..1");
    let settings = shows("server", &volume.identity());
    let node = Node::standalone(&settings.each_ref().map(String::as_str)).await;
    let trusting = TlsClient::new(&authority);
    let first = certificate(&volume.identity());
    assert_eq!(peer_certificate(&trusting.connect(node.public).await), first);
    let mut here = trusting.plain(&node, "news").await;
    let mut there = trusting.plain(&node, "news").await;

    authority.issue_into(&volume.directory("..2"), "node", &["localhost"]);
    volume.swaps("..2");
    let second = certificate(&volume.identity());
    assert_ne!(first, second);
    let mut turns = 0;
    eventually("the new certificate to be shown", async || {
        turns += 1;
        here.send(format!("{turns}")).await;
        for client in [&mut here, &mut there] {
            assert_eq!(client.receive_text().await, format!("{turns}"));
        }
        (peer_certificate(&trusting.connect(node.public).await) == second).then_some(())
    })
    .await;
    node.wait_for_metric(REPLACED, 1.).await;

    // A key that is another's.
    let broken = volume.directory("..3");
    authority.issue_into(&broken, "node", &["localhost"]);
    let other = authority.issue("other");
    std::fs::copy(other.key, broken.join("node.key")).expect("a copy");
    volume.swaps("..3");
    node.wait_for_metric(REFUSED, 1.).await;
    assert_eq!((node.metric(REFUSED_NOW).await, node.metric(REFUSED_INSIDE).await), (1., 0.));
    let told = node.process.stderr().join("\n");
    assert!(told.contains("tls.key: is not the key to the certificate"), "{told}");
    assert_eq!(peer_certificate(&trusting.connect(node.public).await), second);

    let last = authority.issue_into(&volume.directory("..4"), "node", &["localhost"]);
    volume.swaps("..4");
    eventually("the last certificate to be shown", async || {
        (peer_certificate(&trusting.connect(node.public).await) == certificate(&last)).then_some(())
    })
    .await;
    assert_eq!(node.metric(REFUSED).await, 1.);
    node.wait_for_metric(REFUSED_NOW, 0.).await;
    here.send("after all that").await;
    assert_eq!(there.receive_text().await, "after all that");
    assert_eq!(refused(&node).await, 0.);
}

#[tokio::test]
async fn clients_of_an_authority_that_was_taken_away_stay_out() {
    let (authority, old, new) = (Authority::create(), Authority::create(), Authority::create());
    let directory = tempfile::tempdir().expect("a temporary directory");
    let client_ca = directory.path().join("clients.pem");
    std::fs::write(&client_ca, old.pem()).expect("it is written");
    let [cert, key] = shows("server", &authority.issue("node"));
    let asks = format!("server.tls.client_ca={}", client_ca.display());
    let node = Node::standalone(&[&cert, &key, &asks]).await;
    let trusting = TlsClient::new(&authority);
    let known = trusting.clone().with_certificate(old.issue("client"));
    let mut client = known.plain(&node, "news").await;

    std::fs::write(&client_ca, new.pem()).expect("it is written");
    node.wait_for_metric(REPLACED, 1.).await;
    assert!(known.get(node.public, "/").await.is_err());
    trusting
        .with_certificate(new.issue("client"))
        .get(node.public, "/")
        .await
        .expect("it may come in");
    client.send("still here").await;
    assert_eq!(client.receive_text().await, "still here");
}
