//! Listeners that ask their clients for a certificate.

use rustls::version::{TLS12, TLS13};
use testkit::authority::Authority;
use testkit::eventually;
use testkit::tls_client::TlsClient;

use super::{node, refused};

#[tokio::test]
async fn only_those_with_a_certificate_of_the_named_authority_come_in() {
    let [authority, clients, other] =
        [Authority::create(), Authority::create(), Authority::create()];
    let client_ca = format!("server.tls.client_ca={}", clients.certificate_file().display());
    let node = node(&authority, &[&client_ca]).await;
    let trusting = TlsClient::new(&authority);
    let mut refusals = 0.;
    for version in [&TLS12, &TLS13] {
        let trusting = trusting.clone().with_version(version);
        let known = trusting.clone().with_certificate(clients.issue("client"));
        let mut client = known.plain(&node, "news").await;
        client.send("it is me").await;
        assert_eq!(client.receive_text().await, "it is me");
        for (stranger, alert) in [
            (trusting.clone(), "CertificateRequired HandshakeFailure"),
            (trusting.clone().with_certificate(other.issue("client")), "UnknownCA DecryptError"),
        ] {
            let refusal = stranger.get(node.public, "/").await.unwrap_err().to_string();
            let is_said = alert.split(' ').any(|alert| refusal.contains(alert));
            assert!(is_said, "{refusal} instead of {alert}");
            refusals += 1.;
        }
    }
    let what = "all refusals to be counted";
    eventually(what, async || (refused(&node).await == refusals).then_some(())).await;
}
