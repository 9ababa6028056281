//! Listeners that require a client certificate.

use rustls::version::{TLS12, TLS13};
use testkit::authority::Authority;
use testkit::eventually;
use testkit::tls_client::TlsClient;

use super::{node, tls_refusals};

#[tokio::test]
async fn only_clients_with_a_certificate_of_client_ca_are_accepted() {
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
        client.send("accepted").await;
        assert_eq!(client.receive_text().await, "accepted");
        for (untrusted, alert) in [
            (trusting.clone(), "CertificateRequired HandshakeFailure"),
            (trusting.clone().with_certificate(other.issue("client")), "UnknownCA DecryptError"),
        ] {
            let refusal = untrusted.get(node.public, "/").await.unwrap_err().to_string();
            let is_expected = alert.split(' ').any(|alert| refusal.contains(alert));
            assert!(is_expected, "{refusal} instead of {alert}");
            refusals += 1.;
        }
    }
    let what = "all refusals to be counted";
    eventually(what, async || (tls_refusals(&node).await == refusals).then_some(())).await;
}
