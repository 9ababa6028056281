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
use testkit::trusting::{Trusting, shown};

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
    authority.signs_into(&volume.directory("..1"), "node", &["localhost"]);
    volume.swaps("..1");
    let settings = shows("server", &volume.identity());
    let node = Node::alone(&settings.each_ref().map(String::as_str)).await;
    let trusting = Trusting::new(&authority);
    let first = certificate(&volume.identity());
    assert_eq!(shown(&trusting.connect(node.public).await), first);
    let mut here = trusting.plain(&node, "news").await;
    let mut there = trusting.plain(&node, "news").await;

    authority.signs_into(&volume.directory("..2"), "node", &["localhost"]);
    volume.swaps("..2");
    let second = certificate(&volume.identity());
    assert_ne!(first, second);
    let mut turns = 0;
    eventually("the new certificate to be shown", async || {
        turns += 1;
        here.say(format!("{turns}")).await;
        for client in [&mut here, &mut there] {
            assert_eq!(client.hears_text().await, format!("{turns}"));
        }
        (shown(&trusting.connect(node.public).await) == second).then_some(())
    })
    .await;
    node.metric_becomes(REPLACED, 1.).await;

    // A key that is another's.
    let broken = volume.directory("..3");
    authority.signs_into(&broken, "node", &["localhost"]);
    let other = authority.signs("other");
    std::fs::copy(other.key, broken.join("node.key")).expect("a copy");
    volume.swaps("..3");
    node.metric_becomes(REFUSED, 1.).await;
    assert_eq!((node.metric(REFUSED_NOW).await, node.metric(REFUSED_INSIDE).await), (1., 0.));
    let told = node.process.stderr().join("\n");
    assert!(told.contains("tls.key: is not the key to the certificate"), "{told}");
    assert_eq!(shown(&trusting.connect(node.public).await), second);

    let last = authority.signs_into(&volume.directory("..4"), "node", &["localhost"]);
    volume.swaps("..4");
    eventually("the last certificate to be shown", async || {
        (shown(&trusting.connect(node.public).await) == certificate(&last)).then_some(())
    })
    .await;
    assert_eq!(node.metric(REFUSED).await, 1.);
    node.metric_becomes(REFUSED_NOW, 0.).await;
    here.say("after all that").await;
    assert_eq!(there.hears_text().await, "after all that");
    assert_eq!(refused(&node).await, 0.);
}

#[tokio::test]
async fn clients_of_an_authority_that_was_taken_away_stay_out() {
    let (authority, old, new) = (Authority::create(), Authority::create(), Authority::create());
    let directory = tempfile::tempdir().expect("a temporary directory");
    let client_ca = directory.path().join("clients.pem");
    std::fs::write(&client_ca, old.pem()).expect("it is written");
    let [cert, key] = shows("server", &authority.signs("node"));
    let asks = format!("server.tls.client_ca={}", client_ca.display());
    let node = Node::alone(&[&cert, &key, &asks]).await;
    let trusting = Trusting::new(&authority);
    let known = trusting.clone().showing(old.signs("client"));
    let mut client = known.plain(&node, "news").await;

    std::fs::write(&client_ca, new.pem()).expect("it is written");
    node.metric_becomes(REPLACED, 1.).await;
    assert!(known.get(node.public, "/").await.is_err());
    trusting.showing(new.signs("client")).get(node.public, "/").await.expect("it may come in");
    client.say("still here").await;
    assert_eq!(client.hears_text().await, "still here");
}
